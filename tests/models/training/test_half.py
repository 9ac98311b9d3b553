"""FP16 copies give the answers of the originals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from appliance.analysis.golden import golden_input  # noqa: E402
from appliance.inference.catalog import ModelCatalog, installed_catalog  # noqa: E402
from models.training.half import make_half_copies  # noqa: E402

pytestmark = pytest.mark.train


def test_half_copies_answer_like_the_originals(tmp_path: Path) -> None:
    catalog = ModelCatalog.load(installed_catalog())
    files = list(make_half_copies(catalog, folder=tmp_path))
    assert [file.name for file in files] == [f"{name}.fp16.onnx" for name in catalog]
    for model, file in zip(catalog.values(), files, strict=True):
        assert _weight_bytes(file) < 0.55 * _weight_bytes(model.path)
        values = {"channels": golden_input(model)}
        whole, half = (ort.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in (model.path, file))
        names = [output.name for output in whole.get_outputs()]
        for output, a, b in zip(names, whole.run(names, values), half.run(names, values), strict=True):
            assert a.dtype == b.dtype
            if a.dtype == np.uint8 and "classes" in output:
                assert (a == b).mean() > 0.999, (model.name, output)
            else:
                scale = 255.0 if a.dtype == np.uint8 else max(1.0, float(np.abs(a).max()))
                assert np.abs(a.astype(np.float64) - b).mean() < 0.01 * scale, (model.name, output)


def _weight_bytes(file: Path) -> int:
    """Bytes of an ONNX file's weights: the description of the graph beside them does not shrink, and weighs as much in a small network."""
    return sum(onnx.numpy_helper.to_array(weight).nbytes for weight in onnx.load(file).graph.initializer)
