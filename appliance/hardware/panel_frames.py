"""Frames of the front panel: COBS, length, CRC-16. The protocol is written down in ``firmware-config/panel/PROTOCOL.md``.

A frame on the line is the COBS encoding (Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Trans. Networking 7,
1999) of ``version, sequence, type, length, data..., CRC high, CRC low``, then one zero byte. A zero occurs nowhere else, so a reader that
has lost its place finds it again at the next one.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

VERSION = 1
MAXIMUM_DATA = 32
_HEAD, _CRC = 4, 2
MAXIMUM_FRAME = MAXIMUM_DATA + _HEAD + _CRC + 1
"""Bytes of a COBS block, without its closing zero: less than 254 data bytes need exactly one more."""

HELLO, LIGHTS, BUZZER, PING = 0x01, 0x02, 0x03, 0x04
HELLO_REPLY, ACKNOWLEDGE, BUTTON, PONG = 0x81, 0x82, 0x83, 0x84


@dataclass(frozen=True)
class Frame:
    """One message. ``sequence`` 0..255 counts the sender's frames; an answer carries the sequence of what it answers."""

    kind: int
    data: bytes = b""
    sequence: int = 0
    version: int = VERSION


def encode(frame: Frame) -> bytes:
    """The frame as it goes over the line, closing zero included.

    Raises:
        ValueError: more than `MAXIMUM_DATA` bytes.
    """
    if len(frame.data) > MAXIMUM_DATA:
        raise ValueError(f"{len(frame.data)} bytes do not fit into a frame")
    body = bytes((frame.version, frame.sequence & 0xFF, frame.kind, len(frame.data))) + frame.data
    return _stuff(body + crc(body).to_bytes(2, "big")) + b"\0"


def crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF; of "123456789" it is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


class Decoder:
    """Finds frames in a stream of bytes. Whatever is no frame is counted in `dropped` and left out; memory is bounded.

    Attributes:
        dropped: blocks that were too long, not COBS, of a wrong length, or of a wrong CRC.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._block = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they come; returns the frames that they complete."""
        frames = []
        for byte in data:
            if byte:
                self._too_long = self._too_long or len(self._block) >= MAXIMUM_FRAME
                if not self._too_long:
                    self._block.append(byte)
                continue
            block, too_long = bytes(self._block), self._too_long
            self._block.clear()
            self._too_long = False
            if not block and not too_long:
                continue  # a zero after a zero: a sender may open with one to close what noise has begun
            frame = None if too_long else _frame(block)
            if frame is None:
                self.dropped += 1
            else:
                frames.append(frame)
        return frames


def _frame(block: bytes) -> Frame | None:
    body = _unstuff(block)
    if body is None or len(body) < _HEAD + _CRC or body[3] != len(body) - _HEAD - _CRC:
        return None
    if crc(body[:-_CRC]) != int.from_bytes(body[-_CRC:], "big"):
        return None
    return Frame(kind=body[2], data=body[_HEAD:-_CRC], sequence=body[1], version=body[0])


def _stuff(data: bytes) -> bytes:
    """COBS of less than 254 bytes: each run between zeros is preceded by its length + 1."""
    return b"".join(bytes((len(run) + 1,)) + run for run in data.split(b"\0"))


def _unstuff(block: bytes) -> bytes | None:
    runs, position = [], 0
    while position < len(block):
        end = position + block[position]
        if end > len(block):
            return None
        runs.append(block[position + 1 : end])
        position = end
    return b"\0".join(runs)
