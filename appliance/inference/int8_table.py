"""What INT8 needs to know of a network: the range of values at the input of each convolution, measured on virtual patients.

The table lies beside the weights as ``<name>.int8.json`` and belongs to exactly one file of weights. Both INT8 engines read it: OpenVINO
puts quantisers into its own graph, TensorRT gets an ONNX copy with explicit Q/DQ pairs.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.inference.catalog import Model


class Int8Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ranges of one network, and what says that they may be used.

    Attributes:
        sha256: of the weights that were calibrated.
        method: how the ranges were found, for people.
        ranges: by ONNX tensor name: lowest and highest value that is told apart; beyond them values are clipped.
        lumen_dice: lowest Dice of the class masks against float32 over the development patients on which it was judged; 0: not judged.
        accepted: whether that was judged good enough to be used by engines that may choose.
    """

    sha256: str
    method: str
    ranges: dict[str, tuple[float, float]]
    lumen_dice: float = 0.0
    accepted: bool = False


def table_path(model: Model) -> Path:
    """Where the table of a model lies, if it has one."""
    return model.path.with_suffix(".int8.json")


def read_table(model: Model) -> Int8Table | None:
    """The table of these very weights; None where there is none, it cannot be read, or it belongs to other weights."""
    try:
        table = msgspec.json.decode(table_path(model).read_bytes(), type=Int8Table)
    except (OSError, msgspec.MsgspecError):
        return None
    return table if table.sha256 == model.sha256 else None


def write_table(model: Model, table: Int8Table) -> Path:
    """Write the table beside the weights."""
    path = table_path(model)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")
    return path
