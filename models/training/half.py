"""FP16 copies of the networks for strongly typed TensorRT: made from the tracked files when an image is built, never committed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.inference.catalog import ModelCatalog

KEPT_FLOAT = ("ReduceMean", "ReduceSum", "Exp", "Softmax", "Div", "Sqrt", "Pow")
"""Sums and ratios keep float32: 65504 is the largest half, and a mean over a tile adds up a million values."""


def make_half_copies(catalog: ModelCatalog, *, folder: Path) -> Iterator[Path]:
    """Write ``<name>.fp16.onnx`` for each model into ``folder``, with float32 inputs and outputs; yields the files.

    The first operations of each graph clip and scale the raw values, so no half ever holds more than the clipped range.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for model in catalog.values():
        file = folder / f"{model.name}.fp16.onnx"
        file.write_bytes(half_copy(model.verified_bytes()))
        yield file


def half_copy(content: bytes) -> bytes:
    """An ONNX file's graph with weights and arithmetic in FP16 except for `KEPT_FLOAT`; inputs and outputs as they were."""
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    graph: Any = onnx.load_from_string(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights below the smallest half become it; the comparison in the tests judges that
        half = convert_float_to_float16(graph, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *KEPT_FLOAT])
    _keep_float_between(half)
    OnnxModel(half).topological_sort()
    onnx.checker.check_model(half)
    copy: bytes = half.SerializeToString()
    return copy


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
