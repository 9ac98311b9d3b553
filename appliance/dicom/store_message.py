"""The two messages of a C-STORE and the head of the file that it becomes, byte by byte.

Command sets are in Implicit VR Little Endian (PS3.7 section 6.3.1), the messages are those of PS3.7 section 9.3.1, the head is that of
PS3.10 section 7.1. They are read and written here without pydicom, which takes longer for them than the network for an image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID

P_DATA_TF = 0x04
COMMAND, LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 annex E.2)."""
PDV_OVERHEAD = 6
C_STORE_RQ, C_STORE_RSP, NO_DATA_SET = 0x0001, 0x8001, 0x0101
_ELEMENT = struct.Struct("<HHL")
_LONGEST_COMMENT = 64


@dataclass(frozen=True)
class StoreRequest:
    """A C-STORE-RQ as its command set tells it; a UID that is not given is empty."""

    context: int
    message_id: int
    sop_class: str
    sop_instance: str


def parse_store_request(command: bytes, context: int) -> StoreRequest | None:
    """The request in a command set, or None if it is another message, has no data set, or cannot be read."""
    values: dict[int, bytes] = {}
    at = 0
    while at + 8 <= len(command):
        group, element, length = _ELEMENT.unpack_from(command, at)
        if group != 0 or at + 8 + length > len(command):
            return None
        values[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    numbers = [int.from_bytes(values.get(element, b""), "little") for element in (0x0100, 0x0110, 0x0800)]
    if at != len(command) or numbers[0] != C_STORE_RQ or 0x0110 not in values or numbers[2] == NO_DATA_SET:
        return None
    sop_class, sop_instance = (values.get(element, b"").decode("ascii", "replace").strip("\0 ") for element in (0x0002, 0x1000))
    return StoreRequest(context, numbers[1] & 0xFFFF, sop_class, sop_instance)


def store_response(request: StoreRequest, *, status: int, comment: str, maximum_length: int) -> bytes:
    """The P-DATA-TF PDUs of the C-STORE-RSP.

    Args:
        request: what is answered.
        status: of PS3.4 section B.2.3.
        comment: Error Comment (0000,0902); left out if empty.
        maximum_length: of a PDU, as the peer told; 0: without limit.
    """
    elements = [
        (0x0002, _text(request.sop_class, b"\0")),
        (0x0100, struct.pack("<H", C_STORE_RSP)),
        (0x0120, struct.pack("<H", request.message_id)),
        (0x0800, struct.pack("<H", NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        *([(0x0902, _text(comment[:_LONGEST_COMMENT], b" "))] if comment else []),
        (0x1000, _text(request.sop_instance, b"\0")),
    ]
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    command = _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body
    step = max(maximum_length - PDV_OVERHEAD, 2) if maximum_length else len(command)
    pdus = []
    for at in range(0, len(command), step):
        fragment = command[at : at + step]
        control = COMMAND | (LAST if at + step >= len(command) else 0)
        pdus.append(struct.pack(">BBLLBB", P_DATA_TF, 0, len(fragment) + 6, len(fragment) + 2, request.context, control) + fragment)
    return b"".join(pdus)


def part10_head(*, sop_class: str, sop_instance: str, transfer_syntax: str, source: str) -> bytes:
    """Preamble, prefix and file meta information (Explicit VR Little Endian) before a data set.

    Args:
        sop_class: Media Storage SOP Class UID.
        sop_instance: Media Storage SOP Instance UID.
        transfer_syntax: that the data set is encoded in.
        source: AE title that sent it.
    """
    body = b"".join(
        [
            struct.pack("<HH2s2xL", 0x0002, 0x0001, b"OB", 2) + b"\x00\x01",
            _meta(0x0002, b"UI", _text(sop_class, b"\0")),
            _meta(0x0003, b"UI", _text(sop_instance, b"\0")),
            _meta(0x0010, b"UI", _text(transfer_syntax, b"\0")),
            _meta(0x0012, b"UI", _text(PYNETDICOM_IMPLEMENTATION_UID, b"\0")),
            _meta(0x0016, b"AE", _text(source, b" ")),
        ]
    )
    return bytes(128) + b"DICM" + _meta(0x0000, b"UL", struct.pack("<L", len(body))) + body


def _meta(element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _text(value: str, padding: bytes) -> bytes:
    encoded = value.encode("ascii", "replace")
    return encoded + padding * (len(encoded) % 2)
