"""The two identifying UIDs at the start of an encoded data set, without decoding the rest.

The receiver runs beside no parser: whatever follows (0008,0018) is not looked at, so a data set built to hurt a parser cannot hurt the
receiver. Elements come in ascending order (PS3.5 section 7.1), so the two UIDs lie within the first few hundred bytes.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

SOP_CLASS_UID, SOP_INSTANCE_UID = (0x0008, 0x0016), (0x0008, 0x0018)
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
UNDEFINED_LENGTH = 0xFFFFFFFF
DEEPEST_NESTING = 8
START_BYTES = 1 << 16
"""More than everything up to (0008,0018) can reasonably take."""
_LONG_VR = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


class NotDicomError(ValueError):
    """The bytes are not the start of a data set in the transfer syntax named."""


@dataclass(frozen=True)
class DatasetStart:
    """What the start of a data set says about itself; empty where it says nothing."""

    sop_class_uid: str
    sop_instance_uid: str


def is_uid(text: str) -> bool:
    """True for a non-empty UID of at most 64 characters (PS3.5 section 9.1); leading zeros, which occur in the field, are let pass."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_start(data: bytes | memoryview, transfer_syntax: str) -> DatasetStart:
    """Read up to (0008,0018).

    Args:
        data: the encoded data set, without preamble and file meta information.
        transfer_syntax: UID that the data set is encoded in.

    Raises:
        NotDicomError: the bytes do not begin like a data set in that transfer syntax.
    """
    head = bytes(data[:START_BYTES])
    if transfer_syntax == DEFLATED:
        head = _inflate(head)
    order = ">" if transfer_syntax == EXPLICIT_BIG_ENDIAN else "<"
    explicit = transfer_syntax != IMPLICIT_LITTLE_ENDIAN
    found: dict[tuple[int, int], str] = {}
    at, last = 0, (0, 0)
    while at + 8 <= len(head):
        tag = struct.unpack_from(f"{order}HH", head, at)
        if tag <= last or tag[0] <= 0x0004:
            raise NotDicomError("elements out of order")
        value_at, length = _value(head, at, order, explicit)
        if tag > SOP_INSTANCE_UID:
            break
        if length == UNDEFINED_LENGTH:
            value_at, length = _skip_sequence(head, value_at, order, explicit), 0
        if value_at + length > len(head):
            raise NotDicomError("the data set ends within an element")
        if tag in (SOP_CLASS_UID, SOP_INSTANCE_UID):
            found[tag] = head[value_at : value_at + length].decode("ascii", "replace").strip("\0 ")
        at, last = value_at + length, tag
    if not found:
        raise NotDicomError("no SOP Class UID and no SOP Instance UID")
    return DatasetStart(sop_class_uid=found.get(SOP_CLASS_UID, ""), sop_instance_uid=found.get(SOP_INSTANCE_UID, ""))


def _inflate(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, START_BYTES)
    except zlib.error as error:
        raise NotDicomError("not deflated") from error


def _value(head: bytes, at: int, order: str, explicit: bool) -> tuple[int, int]:
    """Where the value of the element at ``at`` starts, and its length (PS3.5 sections 7.1.2 and 7.1.3)."""
    if not explicit:
        return at + 8, struct.unpack_from(f"{order}L", head, at + 4)[0]
    vr = head[at + 4 : at + 6]
    if not (vr.isalpha() and vr.isupper()):
        raise NotDicomError("no value representation where one must be")
    if vr in _LONG_VR:
        if at + 12 > len(head):
            raise NotDicomError("the data set ends within an element")
        return at + 12, struct.unpack_from(f"{order}L", head, at + 8)[0]
    return at + 8, struct.unpack_from(f"{order}H", head, at + 6)[0]


def _skip_sequence(head: bytes, at: int, order: str, explicit: bool, depth: int = 0) -> int:
    """Where a sequence of undefined length, whose first item is at ``at``, has ended (PS3.5 section 7.5.2)."""
    if depth > DEEPEST_NESTING:
        raise NotDicomError("sequences nested too deeply")
    while at + 8 <= len(head):
        group, element, length = struct.unpack_from(f"{order}HHL", head, at)
        at += 8
        if (group, element) == SEQUENCE_END:
            return at
        if (group, element) != ITEM:
            break
        at = at + length if length != UNDEFINED_LENGTH else _skip_item(head, at, order, explicit, depth)
    raise NotDicomError("a sequence without an end")


def _skip_item(head: bytes, at: int, order: str, explicit: bool, depth: int) -> int:
    """Where an item of undefined length, whose first element is at ``at``, has ended."""
    while at + 8 <= len(head):
        if struct.unpack_from(f"{order}HH", head, at) == ITEM_END:
            return at + 8
        at, length = _value(head, at, order, explicit)
        at = at + length if length != UNDEFINED_LENGTH else _skip_sequence(head, at, order, explicit, depth + 1)
    raise NotDicomError("an item without an end")
