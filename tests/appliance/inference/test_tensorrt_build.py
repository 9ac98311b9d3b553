"""Engines of the real networks, built by the real TensorRT for RTX without any GPU, and looked into."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("onnx", reason="engines are built from FP16 copies, which onnx makes (image-build/requirements-gpu.lock)")
pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed (image-build/requirements-gpu.lock)", exc_type=ImportError
)

from appliance.__main__ import main
from appliance.errors import InferenceError
from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.engine_cache import EngineCache
from appliance.inference.int8_table import Int8Table
from appliance.inference.onnx_copies import half_copy, int8_copy
from appliance.inference.tensorrt_build import Built, Order, build
from appliance.inference.tensorrt_engine import engine_for
from appliance.inference.tensorrt_library import open_library, parse_capability
from appliance.inference.tensorrt_network import TensorRtNetwork
from appliance.inference.tensorrt_shapes import shapes_of
from tests.appliance.inference.cuda.hostcuda import HostDriver

CATALOG = ModelCatalog.load(installed_catalog())
PLACES = [*((name, "8.6") for name in CATALOG), ("cor-seg", "8.9"), ("heart-loc", "8.9"), ("cor-seg", "8.0"), ("cor-seg", "12.0")]


def graph_of(content: bytes) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load_from_string(content).graph.node]


@functools.cache
def built(name: str, capability: str) -> tuple[Built, tuple[float, ...]]:
    parts: list[float] = []
    order = Order(
        name=name,
        content=half_copy(CATALOG[name].verified_bytes()),
        shapes=shapes_of(CATALOG[name]),
        capability=parse_capability(capability),
    )
    return build(open_library(), order, progress=parts.append), tuple(parts)


@pytest.mark.parametrize(("name", "capability"), PLACES)
def test_every_network_builds_and_multiplies_in_half_precision_only(name: str, capability: str) -> None:
    engine, parts = built(name, capability)
    model = CATALOG[name]
    operations = graph_of(model.verified_bytes())
    costly = operations.count("Conv") + operations.count("ConvTranspose")
    assert engine.layers.float_convolutions() == ()
    assert set(engine.layers.precisions()) == {"Half"}
    # products of matrices may be told as convolutions, and neighbours that read the same may be joined
    assert 0.5 * costly <= len(engine.layers.convolutions) <= 2 * costly
    assert len(engine.layers.layers) < len(operations), "nothing was fused"
    weights = 2 * model.parameters
    assert weights < len(engine.plan) < weights + 8_000_000
    assert list(parts) == sorted(parts)
    assert (parts[0] < 0.5, parts[-1]) == (True, 1.0)


def test_an_int8_engine_multiplies_bytes_where_the_table_says(tmp_path: Path) -> None:
    model = CATALOG["cor-seg"]
    names = convolution_inputs(model)[1:]
    table = Int8Table(sha256=model.sha256, method="test", ranges=dict.fromkeys(names, (0.0, 8.0)))
    order = Order(model.name, int8_copy(model.verified_bytes(), table), shapes_of(model), (8, 6))
    layers = build(open_library(), order).layers
    operations = graph_of(model.verified_bytes())
    assert layers.precisions() == {"Int8": operations.count("Conv") - 1, "Half": operations.count("ConvTranspose") + 1}
    # why FP16 is preferred: sums of INT8 convolutions lie in float32 between two kernels
    assert layers.read_as("Float") > built("cor-seg", "8.6")[0].layers.read_as("Float")
    with pytest.raises(InferenceError, match="INF-055"):
        int8_copy(model.verified_bytes(), msgspec.structs.replace(table, ranges={"elsewhere": (0.0, 1.0)}))


def convolution_inputs(model: Model) -> list[str]:
    import onnx

    nodes = onnx.load_from_string(model.verified_bytes()).graph.node
    return list(dict.fromkeys(node.input[0] for node in nodes if node.op_type == "Conv"))


def test_a_capability_that_the_library_does_not_know_is_refused_with_the_list() -> None:
    with pytest.raises(InferenceError, match=r"INF-071.*9\.0.*8\.6"):
        build(open_library(), Order("heart-loc", b"", shapes_of(CATALOG["heart-loc"]), (9, 0)))


def test_a_file_that_is_no_network_is_refused_with_the_parsers_words() -> None:
    with pytest.raises(InferenceError, match=r"INF-071.*heart-loc"):
        build(open_library(), Order("heart-loc", b"nonsense", shapes_of(CATALOG["heart-loc"]), (8, 6)))


def test_shapes_that_the_network_cannot_take_are_refused() -> None:
    model = CATALOG["repair"]
    shapes = shapes_of(model)
    wrong = msgspec.structs.replace(shapes, least=(1, 9, 48, 48, 48), usual=(1, 9, 48, 48, 48), largest=(1, 9, 48, 48, 48))
    with pytest.raises(InferenceError, match="INF-071"):
        build(open_library(), Order(model.name, half_copy(model.verified_bytes()), wrong, (8, 6)))


def test_without_a_driver_the_real_runtime_refuses_the_engine_with_the_cause(tmp_path: Path) -> None:
    if any(path.exists() for path in (Path("/dev/nvidiactl"), Path("/dev/nvhost-gpu"))):
        pytest.skip("this machine has a GPU")
    library, model = open_library(), CATALOG["repair"]
    entry = engine_for(library, model, (8, 6), cache=EngineCache(tmp_path))
    with pytest.raises(InferenceError, match=r"INF-072.*CUDA driver"):
        TensorRtNetwork(library=library, driver=HostDriver(), model=model, plan=entry.plan, shapes=shapes_of(model))


def test_the_command_builds_ahead_and_finds_what_it_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["engines", "build", "--model", "repair", "--capability", "8.6", "8.9", "--out", str(tmp_path)]
    assert main(words) == 0
    assert capsys.readouterr().out.count("built in") == 2
    assert main(words) == 0
    assert capsys.readouterr().out.count("was there") == 2
    assert main(["engines", "list", "--out", str(tmp_path)]) == 0
    next(tmp_path.glob("*.engine")).write_bytes(b"damaged")
    assert main(["engines", "list", "--out", str(tmp_path)]) == 1
    assert main(["engines", "build", "--model", "repair", "--capability", "9.0", "--out", str(tmp_path)]) == 1
    assert main(["engines", "build", "--capability", "six", "--out", str(tmp_path)]) == 2
