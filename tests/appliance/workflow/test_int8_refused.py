"""A processor on which INT8 gives other answers than the golden ones: the analysis goes on without INT8."""

from __future__ import annotations

import shutil
from pathlib import Path

import openvino
import pytest

from appliance.analysis.golden import record
from appliance.analysis.pipeline import Models
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.int8_table import Int8Table, write_table
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.openvino_engine import OpenVinoEngine
from appliance.settings import AnalysisSettings, Settings
from appliance.workflow import draft as drafts
from tests.appliance.inference.conftest import CATALOG

DATA = Path(__file__).parents[1] / "inference" / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box with the real locator and a tiny second network, golden answers, and an INT8 table that clips everything away."""
    installed = installed_catalog()
    located = next(entry for entry in installed.read_text("utf-8").split("[[model]]") if 'name = "heart-loc"' in entry)
    tiny = CATALOG.split("[[model]]")[1].replace('"threshold"', '"cor-seg"')
    (tmp_path / "catalog.toml").write_text(f"[[model]]{located}\n[[model]]{tiny}", "utf-8")
    (tmp_path / "weights").mkdir()
    shutil.copy(installed.parent / "weights/heart-loc.onnx", tmp_path / "weights")
    shutil.copy(DATA / "threshold.onnx", tmp_path)
    catalog, right = ModelCatalog.load(tmp_path / "catalog.toml"), OnnxRuntimeEngine(threads=1)
    record(Models(engine=right, sessions={name: right.load(catalog[name]) for name in catalog}))
    model = catalog["heart-loc"]
    graph = openvino.Core().read_model(model.path)
    inputs = [node.input_value(0) for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]
    ranges = {name: (0.0, 1e-6) for source in inputs for name in source.get_names()}
    write_table(model, Int8Table(sha256=model.sha256, method="test", ranges=ranges, accepted=True))
    return Settings(data=tmp_path / "data", analysis=AnalysisSettings(catalog=tmp_path / "catalog.toml", threads=1, engine="openvino"))


def test_the_analysis_goes_on_without_int8_where_its_answers_are_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = OpenVinoEngine(threads=1)
    engine.load(ModelCatalog.load(settings.analysis.catalog or installed_catalog())["heart-loc"])
    if engine.precision != "int8":
        pytest.skip("this processor does not multiply bytes")
    monkeypatch.setattr(drafts, "warm_up", lambda: None)
    said = drafts.StudyDrafts(settings=settings).self_test()
    assert said.startswith("openvino")
    assert "int8" not in said
    assert "INF-051" in caplog.text
