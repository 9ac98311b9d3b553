"""Whether two encodings hold the same instance: senders write the same data set with other sequence lengths or another transfer syntax."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAXIMUM_DEPTH = 20


def same_instance(kept: Path, offered: bytes | bytearray | memoryview) -> bool:
    """Whether both hold the same values of all standard attributes (PS3.6), pixels included.

    Private attributes do not count, since implicit VR loses what they are; nor do group lengths. What cannot be read is not the same.
    """
    import pydicom  # here, so that an archive can be opened before it is read in

    try:
        return _values(pydicom.dcmread(kept)) == _values(pydicom.dcmread(BytesIO(offered)))
    except Exception:  # noqa: BLE001 - whatever a peer has sent, the answer is no, and the first one stays
        return False


def _values(dataset: Dataset, depth: int = 0) -> dict[int, Any]:
    if depth > MAXIMUM_DEPTH:
        raise RecursionError
    values: dict[int, Any] = {}
    for element in dataset:
        if element.tag.is_private or element.tag.element == 0:
            continue
        if element.VR == "SQ":
            values[element.tag] = [_values(item, depth + 1) for item in element.value]
        else:
            values[element.tag] = element.value
    return values
