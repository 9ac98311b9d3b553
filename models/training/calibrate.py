"""INT8 calibration: the range of values at the input of each convolution, over patches of virtual patients of the train family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.catalog import Model
from appliance.inference.int8_table import Int8Table
from models.training.coronary_patches import coronary_patches
from models.training.samples import Sample

QUANTILE = 0.9999
"""The few values beyond are clipped: one far outlier must not make all steps coarse."""
_SAMPLED = 20_000


def calibrate(model: Model, inputs: Iterable[NDArray[np.float32]]) -> Int8Table:
    """The ranges of a network's convolution inputs over raw inputs (1, c, z, y, x); its first and its last layer stay as they are.

    Raises:
        ValueError: there was no input.
    """
    import onnxruntime

    content, names = _with_outputs(model.verified_bytes())
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    lows: dict[str, list[float]] = {name: [] for name in names}
    highs: dict[str, list[float]] = {name: [] for name in names}
    patches = 0
    for channels in inputs:
        patches += 1
        for name, values in zip(names, session.run(names, {"channels": channels}), strict=True):
            low, high = np.quantile(values.ravel()[:: max(values.size // _SAMPLED, 1)], (1 - QUANTILE, QUANTILE))
            lows[name].append(float(low))
            highs[name].append(float(high))
    if not patches:
        raise ValueError("calibration needs at least one input")
    ranges = {name: (min(0.0, *lows[name], 0.0), max(highs[name])) for name in names}
    return Int8Table(sha256=model.sha256, method=f"{QUANTILE} quantile, {patches} patches of train seeds", ranges=ranges)


def _with_outputs(content: bytes) -> tuple[bytes, list[str]]:
    """The graph with the inputs of its inner convolutions as outputs, and their names."""
    import onnx

    graph: Any = onnx.load_from_string(content)
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    names = list(dict.fromkeys(node.input[0] for node in convolutions[1:]))
    graph.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    copy: bytes = graph.SerializeToString()
    return copy, names


def calibration_patches(model: Model, *, count: int, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Raw inputs of cor-seg from patches of the train family."""
    for sample in islice(coronary_patches(seed), count):
        yield raw_channels(model, sample)


def raw_channels(model: Model, sample: Sample) -> NDArray[np.float32]:
    """A sample as the appliance would hand it to the network, (1, c, z, y, x)."""
    given: dict[str, Any] = {"hu": sample.hu, "blood_hu": np.float32(sample.blood_hu or 0.0)}
    if sample.context is not None:
        given["inside_pericardium"], given["blood_pool"] = sample.context[:2]
    shape = sample.hu.shape
    return np.stack([np.broadcast_to(given[channel.name], shape) for channel in model.channels])[None].astype(np.float32)
