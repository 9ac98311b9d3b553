"""Copies of the networks in FP16 and INT8 for strongly typed TensorRT (10 and 11: the types stand in the graph, no flag changes them).

Made from the tracked float32 files when engines are built, never committed. Needs ``onnx`` (and ONNX Runtime's converter), not PyTorch.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.int8_table import Int8Table

KEPT_FLOAT = ("ReduceMean", "ReduceSum", "Exp", "Softmax", "Div", "Sqrt", "Pow")
"""Sums and ratios keep float32: 65504 is the largest half, and a mean over a tile adds up a million values."""
_QDQ_OPSET = 19
"""The first in which Q/DQ take half scales (ONNX, QuantizeLinear-19)."""
_LEAST_SCALE = 2.0**-14
"""The smallest normal half."""


def half_copy(content: bytes) -> bytes:
    """An ONNX file's graph with weights and arithmetic in FP16 except for `KEPT_FLOAT`; inputs and outputs as they were.

    The first operations of each graph clip and scale the raw values, so no half ever holds more than the clipped range.

    Raises:
        InferenceError: INF-054 where ``onnx`` is not installed.
    """
    return _whole(_half(content))


def int8_copy(content: bytes, table: Int8Table) -> bytes:
    """The FP16 copy with explicit Q/DQ pairs at the convolutions that the table knows: symmetric, weights for each output channel.

    Raises:
        InferenceError: INF-054 where ``onnx`` is not installed, INF-055 where the table fits no convolution of the graph.
    """
    from onnx import version_converter

    graph = _half(content)
    if graph.opset_import[0].version < _QDQ_OPSET:
        graph = version_converter.convert_version(graph, _QDQ_OPSET)
    if not _put_pairs(graph, table):
        raise InferenceError("INF-055", zh="INT8 校准表与模型不符。", en="The INT8 table fits no convolution of the model.")
    return _whole(graph)


def _half(content: bytes) -> Any:
    try:
        import onnx
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise InferenceError(
            "INF-054",
            zh="未安装 onnx，无法制作半精度模型副本。",
            en=f"Copies of the networks in FP16 cannot be made: {error}. Engines must come with the image.",
        ) from error
    graph: Any = onnx.load_from_string(content)
    _bytes_last(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights below the smallest half become it; the comparison in the tests judges that
        half = convert_float_to_float16(graph, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT])
    _keep_float_between(half)
    OnnxModel(half).topological_sort()
    return half


def _whole(graph: Any) -> bytes:
    import onnx

    onnx.checker.check_model(graph)
    copy: bytes = graph.SerializeToString()
    return copy


def _bytes_last(model: Any) -> None:
    """Turn values into bytes only where they leave the graph: TensorRT has no bytes between two operations.

    What stands between such a cast and an output (slices and the like) only picks values.
    """
    import onnx

    graph, byte = model.graph, onnx.TensorProto.UINT8
    leaving = {output.name for output in graph.output}
    early = {node.output[0]: node.input[0] for node in graph.node if _casts_to(node, byte) and node.output[0] not in leaving}
    kept = [node for node in graph.node if not (node.output and node.output[0] in early)]
    for node in kept:
        for number, name in enumerate(node.input):
            node.input[number] = early.get(name, name)
    late = []
    for output in graph.output:
        maker = next((node for node in kept if output.name in node.output), None)
        if early and output.type.tensor_type.elem_type == byte and maker is not None and not _casts_to(maker, byte):
            maker.output[list(maker.output).index(output.name)] = f"{output.name}_value"
            late.append(onnx.helper.make_node("Cast", [f"{output.name}_value"], [output.name], name=f"{output.name}_bytes", to=byte))
    del graph.node[:]
    graph.node.extend([*kept, *late])
    known = [value for value in graph.value_info if value.type.tensor_type.elem_type != byte]
    del graph.value_info[:]
    graph.value_info.extend(known)


def _keep_float_between(model: Any) -> None:
    """Pass values straight on from one operation in float32 to the next: in halves between, as the converter has it, a sum overflows."""
    import onnx

    makers = {output: node for node in model.graph.node for output in node.output}
    straight = {}
    for node in model.graph.node:
        inner = makers.get(node.input[0]) if _casts_to(node, onnx.TensorProto.FLOAT) else None
        if inner is not None and _casts_to(inner, onnx.TensorProto.FLOAT16):
            straight[node.output[0]] = inner.input[0]
    for node in model.graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = straight.get(name, name)


def _casts_to(node: Any, kind: int) -> bool:
    return bool(node.op_type == "Cast" and any(attribute.name == "to" and attribute.i == kind for attribute in node.attribute))


def _put_pairs(model: Any, table: Int8Table) -> int:
    """Put Q/DQ pairs before the known convolutions, in the graph's order; returns how many convolutions got them."""
    import onnx

    weights = {each.name: each for each in model.graph.initializer}
    nodes, added, count = [], set[str](), 0
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] in table.ranges and node.input[1] in weights:
            source, kernel = node.input[0], node.input[1]
            if source not in added:
                added.add(source)
                scale = np.float16(max(max(abs(bound) for bound in table.ranges[source]) / 127.0, _LEAST_SCALE))
                nodes.extend(_activation_pair(model, source, scale))
            if kernel not in added:
                added.add(kernel)
                nodes.append(_weight_dequantiser(model, onnx.numpy_helper.to_array(weights[kernel]).astype(np.float32), kernel))
            node.input[0], node.input[1] = f"{source}_dq", f"{kernel}_dq"
            count += 1
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return count


def _activation_pair(model: Any, name: str, scale: np.float16) -> list[Any]:
    from onnx import helper

    _constant(model, f"{name}_scale", np.asarray(scale))
    _constant(model, f"{name}_zero", np.zeros((), np.int8))
    given = [f"{name}_scale", f"{name}_zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *given], [f"{name}_q"], name=f"{name}_quantize"),
        helper.make_node("DequantizeLinear", [f"{name}_q", *given], [f"{name}_dq"], name=f"{name}_dequantize"),
    ]


def _weight_dequantiser(model: Any, values: NDArray[np.float32], name: str) -> Any:
    from onnx import helper

    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)))
    scale = np.maximum(largest / 127.0, _LEAST_SCALE).astype(np.float16)
    steps = np.rint(values / scale.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1)))
    _constant(model, f"{name}_int8", np.clip(steps, -127, 127).astype(np.int8))
    _constant(model, f"{name}_scale", scale)
    _constant(model, f"{name}_zero", np.zeros(len(scale), np.int8))
    given = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
    return helper.make_node("DequantizeLinear", given, [f"{name}_dq"], name=f"{name}_dequantize", axis=0)


def _constant(model: Any, name: str, values: NDArray[Any]) -> None:
    import onnx

    model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
