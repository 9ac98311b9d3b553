"""Which TensorRT is taken, what its builder says of layers, and the shapes that engines are made for."""

from __future__ import annotations

from types import ModuleType

import pytest

from appliance.errors import InferenceError
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.tensorrt_layers import read_layers
from appliance.inference.tensorrt_library import NAMES, Messages, open_library, parse_capability
from appliance.inference.tensorrt_shapes import Shapes, shapes_of

CATALOG = ModelCatalog.load(installed_catalog())
TENSOR = "{ Name: %s, Dimensions: %s, Strides: [-1,1,-1,-1,4], StrideOrder: [4,0,3,2,1], Datatype: %s, Format: (NDHWC) Channel major }"
SCALES = ", ".join((TENSOR % ("one", "[1]", "Float"), TENSOR % ("scale", "[1,32,1,1,1]", "Float")))


def convolution(read: str, kernel: str) -> str:
    """A line of the builder's log, as TensorRT for RTX 1.7 writes it."""
    given, weights = TENSOR % ("x", "[1,4,-1,-1,-1]", read), TENSOR % ("k", "[32,4,2,2,2]", kernel)
    head = f"Name: a/Conv_myl0_2, LayerType: correlation, Inputs: [ {given}], Constants: [ {weights}, {SCALES}], "
    return f"{head}Outputs: [ {TENSOR % ('y', '[1,32,-1,-1,-1]', 'Half')}], TacticName: , StreamId: 0, Metadata: "


OTHER = f"Name: b, LayerType: kgen, Inputs: [ {TENSOR % ('y', '[1,32,-1]', 'Float')}], Constants: [], Outputs: [], TacticName: "


def modules(*there: str, broken: tuple[str, ...] = ()) -> object:
    def load(name: str) -> ModuleType:
        if name in broken:
            raise OSError("libnvinfer.so.10: cannot open shared object file")
        if name not in there:
            raise ModuleNotFoundError(f"No module named {name!r}")
        module = ModuleType(name)
        module.Builder = module.IBuilderConfig = object  # type: ignore[attr-defined]
        return module

    return load


@pytest.mark.parametrize(("there", "name"), [(NAMES, "tensorrt"), (NAMES[1:], "tensorrt_rtx"), (NAMES[2:], "tensorrt_rtx")])
def test_the_full_library_is_preferred(there: tuple[str, ...], name: str) -> None:
    library = open_library(importer=modules(*there))  # type: ignore[arg-type]
    assert (library.name, library.ahead()) == (name, ())


def test_one_that_cannot_be_loaded_is_passed_over_and_none_is_an_error_with_the_causes() -> None:
    assert open_library(importer=modules(NAMES[2], broken=("tensorrt",))).name == "tensorrt_rtx"  # type: ignore[arg-type]
    with pytest.raises(InferenceError, match=r"INF-070.*libnvinfer.*No module"):
        open_library(importer=modules(broken=("tensorrt",)))  # type: ignore[arg-type]


def test_capabilities_are_numbers() -> None:
    assert parse_capability("12.0") == (12, 0)
    for text in ("8", "8.6.1", "sm86", "", "8.66"):
        with pytest.raises(ValueError, match="compute capability"):
            parse_capability(text)


def test_a_float_kernel_or_input_is_told_and_scales_are_not() -> None:
    lines = [convolution(*types) for types in (("Half", "Half"), ("Int8", "Int8"), ("Float", "Half"), ("Half", "Float"))]
    layers = read_layers([*lines, OTHER, "Engine Metadata:"])
    assert (len(layers.layers), len(layers.convolutions)) == (5, 4)
    assert layers.precisions() == {"Half": 2, "Int8": 1, "Float": 1}
    assert len(layers.float_convolutions()) == 2
    assert (layers.read_as("Float"), layers.read_as("Half")) == (2, 2)


def test_messages_are_sorted_and_bounded() -> None:
    messages = Messages()
    assert messages.cause()
    messages.take(complaint=True, text="first " + "x" * 10_000)
    messages.take(complaint=True, text="second")
    messages.take(complaint=False, text=f"Layers:\n{OTHER}\n\nBindings:\n")
    messages.take(complaint=False, text=OTHER)
    assert messages.cause().startswith("first ")
    assert len(messages.cause()) == 2000
    assert messages.layers == [OTHER]


def test_every_shape_that_a_network_may_run_at_is_in_its_profile() -> None:
    for model in CATALOG.values():
        shapes = shapes_of(model)
        assert shapes.takes(shapes.least)
        assert shapes.takes(shapes.usual)
        channels = (1, len(model.channels))
        assert model.takes(shapes.usual[2:]) or model.tile is None
        for tile in (model.tile, model.largest_tile):
            assert tile is None or shapes.takes((*channels, *tile)), model.name
    cor_seg = shapes_of(CATALOG["cor-seg"])
    assert cor_seg.least[2:] == (96, 96, 96)
    assert cor_seg.largest[2:] == (160, 160, 160)


def test_a_shape_of_another_rank_or_size_is_not_taken() -> None:
    shapes = Shapes((1, 2, 8), (1, 2, 16), (4, 2, 32))
    assert [shapes.takes(shape) for shape in ((4, 2, 32), (5, 2, 32), (1, 2, 40), (1, 3, 16))] == [True, False, False, False]
    assert [shapes.most_items(shape) for shape in ((9, 2, 16), (9, 2, 40))] == [4, 0]
    assert not shapes.takes((1, 2, 16, 16))
