"""INT8 on the processor: quantisers where the table says, answers close to f32, nothing without an accepted table of these very weights."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import openvino
import pytest

from appliance.analysis.golden import golden_input
from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.int8_table import Int8Table, read_table, table_path, write_table
from appliance.inference.openvino_engine import OpenVinoEngine
from appliance.inference.openvino_int8 import put_quantisers
from appliance.inference.processor import Processor

VNNI = Processor("x86_64", frozenset({"avx512_vnni", "avx512_bf16"}), 1)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """The locator in a folder of its own, so that a table can lie beside it."""
    installed = ModelCatalog.load(installed_catalog())["heart-loc"]
    shutil.copy(installed.path, tmp_path)
    return msgspec.structs.replace(installed, path=tmp_path / installed.path.name)


def inner(model: Model) -> np.ndarray:
    """The middle of the golden input: enough, and eight times quicker."""
    return np.ascontiguousarray(golden_input(model)[:, :, 24:72, 24:72, 24:72])


def ranges_of(model: Model) -> dict[str, tuple[float, float]]:
    """Ranges of all convolution inputs, from one run of the graph with them as outputs."""
    core = openvino.Core()
    graph = core.read_model(model.path)
    inputs = [node.input_value(0) for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"][1:]
    names = {next(iter(source.get_names())): source for source in inputs if source.get_names()}
    graph.add_outputs(list(names.values()))
    request = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}).create_infer_request()
    request.infer({0: inner(model)})
    found = {name: request.get_tensor(request.model_outputs[number + len(model.outputs)]).data for number, name in enumerate(names)}
    return {name: (min(0.0, float(data.min())), float(data.max())) for name, data in found.items()}


def test_quantised_answers_stay_close_and_only_accepted_tables_count(model: Model) -> None:
    table = Int8Table(sha256=model.sha256, method="test", ranges=ranges_of(model), accepted=True)
    graph = openvino.Core().read_model(model.path)
    before = Counter(node.get_type_name() for node in graph.get_ops())
    assert put_quantisers(graph, table) == before["Convolution"] - 1
    after = Counter(node.get_type_name() for node in graph.get_ops())
    assert after["FakeQuantize"] == len(table.ranges) + before["Convolution"] - 1

    exact = OpenVinoEngine(threads=1, precision="f32").load(model).run(inner(model))
    write_table(model, table)
    engine = OpenVinoEngine(threads=1, processor=VNNI)
    quantised = engine.load(model).run(inner(model))
    assert (engine.precision, engine.precision_of(model.name)) == ("int8", "int8")
    assert "int8 for heart-loc" in engine.describe()
    assert (quantised["classes"] == exact["classes"]).mean() > 0.99
    assert np.abs(quantised["blood_pool"].astype(int) - exact["blood_pool"]).mean() < 2.0
    assert any((quantised[name] != exact[name]).any() for name in ("classes", "blood_pool")), "nothing was quantised"

    for other in (
        msgspec.structs.replace(table, accepted=False),
        msgspec.structs.replace(table, sha256="0" * 64),
        msgspec.structs.replace(table, ranges={}),
    ):
        write_table(model, other)
        engine = OpenVinoEngine(threads=1, processor=VNNI)
        engine.load(model)
        assert engine.precision_of(model.name) != "int8"
    write_table(model, table)
    for engine in (
        OpenVinoEngine(threads=1, processor=VNNI, int8=False),
        OpenVinoEngine(threads=1, processor=VNNI, precision="f32"),
        OpenVinoEngine(threads=1, processor=Processor("x86_64", frozenset({"avx2"}), 1)),
    ):
        engine.load(model)
        assert engine.precision_of(model.name) != "int8"


def test_a_table_that_cannot_be_read_is_none(model: Model) -> None:
    assert read_table(model) is None
    table_path(model).write_bytes(b"{")
    assert read_table(model) is None


def test_the_tables_that_are_released_belong_to_their_weights() -> None:
    for released in ModelCatalog.load(installed_catalog()).values():
        if table_path(released).exists():
            assert read_table(released) is not None, f"{released.name}: the table is of other weights; calibrate anew or remove it"
