"""What an engine consists of, read from the library's own description of its layers: kinds, precisions, bytes moved.

The builder writes the description to its log at the end of a build, so an engine can be looked into where no device could run it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_LAYER = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \[(?P<constants>.*?)\], Outputs: "
)
_TENSOR = re.compile(r"Dimensions: \[(?P<shape>[-\d,]*)\].*?Datatype: (?P<type>\w+)")
CONVOLUTIONS = frozenset({"correlation", "deconv", "Convolution", "CaskConvolution", "CaskDeconvolutionV2", "Deconvolution", "gemm"})
"""Kinds of layer that do the costly arithmetic, as the compiler (lower case) and the older builder name them."""
TYPE_BYTES = {"Float": 4, "Half": 2, "BFloat16": 2, "Int8": 1, "UInt8": 1, "Int32": 4, "Int64": 8, "Bool": 1}


class Layer(msgspec.Struct, frozen=True):
    """One layer of an engine: the types of what it reads, and of its kernels (constants with two long axes; not scales, biases)."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]

    @property
    def is_convolution(self) -> bool:
        """Whether the layer multiplies with weights."""
        return self.kind in CONVOLUTIONS


class Layers(msgspec.Struct, frozen=True):
    """The layers of an engine."""

    layers: tuple[Layer, ...] = ()

    @property
    def convolutions(self) -> tuple[Layer, ...]:
        """Those that do the costly arithmetic."""
        return tuple(layer for layer in self.layers if layer.is_convolution)

    def precisions(self) -> dict[str, int]:
        """Convolutions by the type of what they read."""
        counts: dict[str, int] = {}
        for layer in self.convolutions:
            kind = layer.inputs[0] if layer.inputs else "?"
            counts[kind] = counts.get(kind, 0) + 1
        return counts

    def float_convolutions(self) -> tuple[str, ...]:
        """Convolutions that read or multiply in float32: none belongs into an FP16 engine."""
        return tuple(layer.name for layer in self.convolutions if "Float" in (*layer.inputs, *layer.weights))

    def read_as(self, kind: str) -> int:
        """Tensors of a type that layers hand to each other; a float32 between two layers costs twice the bytes of a half."""
        return sum(layer.inputs.count(kind) for layer in self.layers)


def read_layers(lines: Iterable[str]) -> Layers:
    """The layers of the builder's description, one line each; other lines are left out."""
    found = (_LAYER.match(line) for line in lines)
    return Layers(
        tuple(Layer(match["name"], match["kind"], _types(match["inputs"]), _types(match["constants"], axes=2)) for match in found if match)
    )


def _types(text: str, *, axes: int = 0) -> tuple[str, ...]:
    """Types of the tensors in a list that are longer than 1 along at least so many axes (-1 is an axis of free length)."""
    return tuple(
        tensor["type"] for tensor in _TENSOR.finditer(text) if sum(side not in ("", "1") for side in tensor["shape"].split(",")) >= axes
    )
