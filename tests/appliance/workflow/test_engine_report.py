"""What the analyst's engine says of itself reaches the table that the kiosk shows: at the start, while building, after a failure."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="engines are built from FP16 copies, which onnx makes (image-build/requirements-gpu.lock)")

from appliance.__main__ import main
from appliance.analysis.golden import record
from appliance.analysis.pipeline import Models
from appliance.archive.archive import open_archive
from appliance.errors import InferenceError, Reason
from appliance.hardware.gpu import GpuState
from appliance.inference.catalog import ModelCatalog
from appliance.inference.choose import GpuPlan
from appliance.inference.cuda.nvrtc import library_path
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.maintenance.examination import Finding, worst
from appliance.maintenance.gpu_examination import examine_gpu
from appliance.settings import AnalysisSettings, Settings
from appliance.workflow import draft as drafts
from appliance.workflow.engine_plan import COMPONENT
from tests.appliance.inference.conftest import CATALOG
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.appliance.inference.faketensorrt import FakeTensorRt

DATA = Path(__file__).parents[1] / "inference" / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A box whose two networks are tiny ones, with golden answers."""
    entry = CATALOG.split("[[model]]")[1]
    text = "".join("[[model]]" + entry.replace('"threshold"', f'"{name}"') for name in ("heart-loc", "cor-seg"))
    (tmp_path / "catalog.toml").write_text(text, "utf-8")
    shutil.copy(DATA / "threshold.onnx", tmp_path)
    catalog, right = ModelCatalog.load(tmp_path / "catalog.toml"), OnnxRuntimeEngine(threads=1)
    record(Models(engine=right, sessions={name: right.load(catalog[name]) for name in catalog}))
    return Settings(data=tmp_path / "data", analysis=AnalysisSettings(catalog=tmp_path / "catalog.toml", threads=1))


class Card:
    """A stand-in of library and card behind the plan of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.driver = HostDriver()
        self.trt = FakeTensorRt(self.driver)
        self.settings = settings

    def plan(self, settings: Settings | None = None, **told: object) -> GpuPlan:
        node = self.settings.data.parent
        return GpuPlan(
            cache=self.settings.data / "engines",
            shipped=(),
            driver=lambda _: self.driver,
            library=self.trt.library,
            nodes=(node,),
            at_exit=lambda _: None,
            **told,  # type: ignore[arg-type]
        )


@pytest.fixture
def card(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card(settings)
    monkeypatch.setattr(drafts, "gpu_plan", card.plan)
    monkeypatch.setattr(drafts, "warm_up", lambda: None)
    return card


def test_the_table_says_how_far_building_is_what_runs_and_what_went_wrong(settings: Settings, card: Card) -> None:
    settings.data.mkdir()
    with closing(open_archive(settings.data)) as archive:
        said: list[tuple[bool, str, Reason | None]] = []

        def on_engine(ready: bool, detail: str, reason: Reason | None) -> None:
            said.append((ready, detail, reason))
            archive.components.report(COMPONENT, ready=ready, detail=detail, reason=reason)

        work = drafts.StudyDrafts(settings=settings, on_engine=on_engine)
        card.driver.load = lambda _: None  # type: ignore[method-assign]
        work.self_test()
        building = [detail for ready, detail, reason in said if reason is not None and reason.code == "INF-073"]
        assert building[0].startswith("heart-loc ")
        assert building[-1] == "cor-seg 100 %"
        card.trt.breaks = "nan"
        said.clear()
        work.self_test()
        assert said[-1][0] is False
        assert said[-1][1].startswith(("openvino", "onnxruntime"))
        shown = archive.components.troubles()
        assert [reason.code for reason in shown] == ["INF-022"]
        assert shown[0].zh
        card.trt.breaks = "driver"
        work.self_test()
        assert [reason.code for reason in archive.components.troubles()] == ["INF-072"]
        (settings.data.parent / "golden.json").unlink()
        with pytest.raises(InferenceError, match="INF-050"):
            work.self_test()
        assert archive.components.troubles() == [], "the analyst's own row says why there is no engine"


class Health:
    def look(self) -> GpuState:
        return GpuState(name="Host", celsius=50, slowed=False, uncorrected=0, xid=None)

    def close(self) -> None:
        pass


def states(findings: list[Finding]) -> dict[str, str]:
    return {each.part: each.code or each.state for each in findings}


def test_the_doctor_tells_card_memory_library_cache_and_what_runs_where(settings: Settings, card: Card) -> None:
    def load(plan: GpuPlan) -> Models:
        return Models.load(catalog=settings.analysis.catalog, threads=1, gpu=plan)

    first = states(examine_gpu(card.plan(), models=load, probe=Health))
    assert first["card"] == first["memory"] == first["library"] == first["health"] == first["network cor-seg"] == "good"
    compiled = "good" if library_path() is not None else "INF-065"  # by the wheel nvidia-cuda-nvrtc, where it is installed
    assert (first["cached engine"], first["kernels"]) == ("absent", compiled)
    card.driver.closed = False
    file = next((settings.data / "engines").glob("cor-seg*.engine"))
    file.write_bytes(b"damaged")
    card.driver.taken = 7 << 30
    findings = examine_gpu(card.plan(), models=load, probe=Health)
    assert {"INF-056", "INF-060"} <= {each.code for each in findings}
    assert all(each.zh and each.en for each in findings)
    card.trt.breaks = "wrong"
    findings = examine_gpu(card.plan(), models=load, probe=Health)
    assert (worst(findings), states(findings)["engine"]) == ("bad", "INF-051")


def test_the_doctor_on_a_machine_without_a_card_says_so_and_ends_well(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if any(path.exists() for path in (Path("/dev/nvidiactl"), Path("/dev/nvhost-gpu"))):
        pytest.skip("this machine has a GPU")
    file = tmp_path / "coronet.toml"
    file.write_text(f'data = "{settings.data}"\n[analysis]\ncatalog = "{settings.analysis.catalog}"\nthreads = 1\n')
    assert main(["doctor", "--gpu", "--json", "--settings", str(file)]) == 0
    parts = {each["part"]: each for each in json.loads(capsys.readouterr().out)["parts"]}
    assert parts["card"]["state"] == "absent"
    assert parts["engine"]["state"] == parts["network cor-seg"]["state"] == "good"
