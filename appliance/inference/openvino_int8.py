"""INT8 in OpenVINO: quantisers are put before the convolutions of its own graph, whose plugin then multiplies bytes (VNNI, AMX).

Activations: 256 levels over the calibrated range, for the whole tensor. Weights: 255 levels, symmetric, for each output channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from appliance.inference.int8_table import Int8Table

_LEVELS = 256
_WEIGHT_LEVELS = 255


def put_quantisers(graph: Any, table: Int8Table) -> int:
    """Put quantisers before every convolution whose input the table knows; returns how many convolutions got them."""
    quantisers: dict[str, Any] = {}
    count = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Convolution":
            continue
        source = node.input_value(0)
        name = next((each for each in source.get_names() if each in table.ranges), None)
        if name is None or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        if name not in quantisers:
            quantisers[name] = _quantiser(source, *(np.float32(bound) for bound in table.ranges[name]), levels=_LEVELS)
        weights: NDArray[np.float32] = node.input_value(1).get_node().get_data().astype(np.float32)
        largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True).clip(1e-12)
        node.input(0).replace_source_output(quantisers[name].output(0))
        node.input(1).replace_source_output(_quantiser(node.input_value(1), -largest, largest, levels=_WEIGHT_LEVELS).output(0))
        count += 1
    graph.validate_nodes_and_infer_types()
    return count


def _quantiser(source: Any, low: Any, high: Any, *, levels: int) -> Any:
    lowest, highest = (openvino.opset13.constant(np.asarray(bound, np.float32)) for bound in (low, high))
    return openvino.opset13.fake_quantize(source, lowest, highest, lowest, highest, levels)
