"""FP16 copies: bytes leave only at the end, the answers stay (all networks: tests/models/training/test_half.py)."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="copies are made with onnx (image-build/requirements-gpu.lock)")

import onnxruntime  # noqa: E402

from appliance.analysis.golden import golden_input  # noqa: E402
from appliance.inference.catalog import ModelCatalog, installed_catalog  # noqa: E402
from appliance.inference.onnx_copies import half_copy  # noqa: E402

CATALOG = ModelCatalog.load(installed_catalog())


@pytest.mark.parametrize("name", list(CATALOG))
def test_bytes_are_made_only_where_they_leave_and_kernels_are_halves(name: str) -> None:
    graph = onnx.load_from_string(half_copy(CATALOG[name].verified_bytes())).graph
    leaving = {output.name for output in graph.output}
    to_bytes = [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.UINT8]
    assert {output for node in to_bytes for output in node.output} <= leaving
    original = onnx.load_from_string(CATALOG[name].verified_bytes()).graph
    assert [output.name for output in graph.output] == [output.name for output in original.output]
    assert [output.type for output in graph.output] == [output.type for output in original.output]
    kernels = {node.input[1] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")}
    types = {weight.data_type for weight in graph.initializer if weight.name in kernels}
    assert types <= {onnx.TensorProto.FLOAT16}


def test_a_copy_whose_bytes_were_moved_answers_like_the_original() -> None:
    model = CATALOG["ostia"]
    values = {"channels": golden_input(model)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    whole, half = (
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, values)
        for content in (model.verified_bytes(), half_copy(model.verified_bytes()))
    )
    for a, b in zip(whole, half, strict=True):
        assert a.dtype == b.dtype
        scale = 255.0 if a.dtype == np.uint8 else max(1.0, float(np.abs(a).max()))
        assert np.abs(a.astype(np.float64) - b).mean() < 0.01 * scale
