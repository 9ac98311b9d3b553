"""Arithmetic and memory traffic of a network, counted from its ONNX file for one input shape.

Arithmetic: two operations per multiplication with addition, in convolutions, transposed convolutions and matrix products; everything else
is small beside them. Traffic: each convolution reads its input and weights once and writes its output once, in half precision; what
is done value by value (ReLU, sums, norms) is taken to be fused into the convolution before it, but the second operand of a sum is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HALF = 2
_COSTLY = ("Conv", "ConvTranspose", "MatMul", "Gemm")


@dataclass(frozen=True)
class Layer:
    """One costly layer: floating-point operations and bytes of one run."""

    name: str
    flop: float
    moved: float


def count(path: Path, shape: tuple[int, ...]) -> list[Layer]:
    """The costly layers of a network for an input of this shape (n, channels, ...).

    Raises:
        ImportError: the package onnx is not installed.
    """
    import onnx

    model = onnx.load(path)
    given = model.graph.input[0].type.tensor_type.shape.dim
    if given[1].dim_value != shape[1]:
        raise ValueError(f"{path.name} takes {given[1].dim_value} channels, not {shape[1]}")
    for dim, size in zip(given, shape, strict=True):
        dim.Clear()
        dim.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    sizes |= {weight.name: list(weight.dims) for weight in inferred.graph.initializer}
    weights = {weight.name for weight in inferred.graph.initializer}
    layers = []
    for node in inferred.graph.node:
        if node.op_type in _COSTLY:
            layers.append(_costly(node, sizes))
        elif node.op_type == "Add" and not weights.intersection(node.input):
            layers.append(Layer(node.name, 0.0, float(HALF * min(_volume(sizes[name]) for name in node.input if name in sizes))))
    return layers


def _costly(node: Any, sizes: dict[str, list[int]]) -> Layer:
    source, weight, out = sizes[node.input[0]], sizes[node.input[1]], sizes[node.output[0]]
    if node.op_type == "Conv":
        work = _volume(out) * _volume(weight[1:])
    elif node.op_type == "ConvTranspose":
        work = _volume(source) * _volume(weight[1:])
    else:
        work = _volume(out) * source[-1]
    return Layer(node.name, 2.0 * work, float(HALF * (_volume(source) + _volume(weight) + _volume(out))))


def _volume(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
