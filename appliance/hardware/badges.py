"""Badge readers on a serial line: the formats that common 125 kHz readers speak, and one for readers that send a line of text.

``em4100``     STX, ten hexadecimal digits, two of the XOR of the five bytes, [CR, LF,] ETX: the ASCII frame of the usual EM4100 modules
``wiegand``    a line of 26 or 34 characters 0 and 1 as they come over the two wires: even parity over the first half, odd over the second
``line``       4 to 64 printable characters, then CR or LF; no checksum

A badge number is a name, not a secret: EM4100 badges can be copied by anyone who holds them for a second.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from appliance.errors import HardwareError
from appliance.hardware.ports import OpenPort, SerialPort

BadgeFormat = Literal["em4100", "wiegand", "line"]

STX, ETX = 0x02, 0x03
MAXIMUM_LINE = 64
SAME_BADGE_S = 2.0
"""A badge that lies on the reader is sent again and again: it counts once, until it was away so long."""
GARBAGE = 20
"""So many readings in a row that are no badge: the settings name the wrong format or speed."""


class BadgeDecoder:
    """Finds badge numbers in a stream of bytes; memory is bounded.

    Attributes:
        dropped: readings that were no badge.
    """

    def __init__(self, kind: BadgeFormat) -> None:
        self.dropped = 0
        self._kind = kind
        self._parse = {"em4100": _em4100, "wiegand": _wiegand, "line": _line}[kind]
        self._text = bytearray()
        self._overflow = False

    def feed(self, data: bytes) -> list[str]:
        """Take bytes as they come; returns the badge numbers that they complete."""
        badges = []
        for byte in data:
            if self._kind == "em4100" and byte == STX:
                self._begin()
            elif not self._ends(byte):
                if len(self._text) >= MAXIMUM_LINE:  # counted as it comes: noise may never end a line
                    self.dropped += 1
                    self._text.clear()
                    self._overflow = True
                self._text.append(byte)
            elif self._text:
                badge = None if self._overflow else self._parse(bytes(self._text))
                self._text.clear()
                self._overflow = False
                if badge is None:
                    self.dropped += 1
                else:
                    badges.append(badge)
        return badges

    def _begin(self) -> None:
        self.dropped += bool(self._text)
        self._text.clear()
        self._overflow = False

    def _ends(self, byte: int) -> bool:
        return byte == ETX if self._kind == "em4100" else byte in b"\r\n"


class BadgeReader:
    """A `Device` (see `appliance.hardware.keeper`).

    Args:
        device: the serial port.
        baud: its speed.
        kind: what the reader speaks.
        read: called with the number of each badge that is shown.
        open_port: opens a serial port.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        device: Path,
        baud: int,
        kind: BadgeFormat,
        read: Callable[[str], None],
        open_port: OpenPort = SerialPort,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._baud = baud
        self._kind = kind
        self._read = read
        self._open_port = open_port
        self._clock = clock

    def serve(self, stop: threading.Event, *, ready: Callable[[str], None]) -> None:
        """See `appliance.hardware.keeper.Device`. Raises HW-001, HW-002, HW-020."""
        port = self._open_port(self._device, self._baud)
        try:
            ready(self._kind)
            decoder = BadgeDecoder(self._kind)
            last, seen = "", -SAME_BADGE_S
            while not stop.is_set():
                for badge in decoder.feed(port.read()):
                    decoder.dropped = 0
                    now = self._clock()
                    if badge != last or now - seen >= SAME_BADGE_S:
                        self._read(badge)
                    last, seen = badge, now
                if decoder.dropped >= GARBAGE:
                    raise HardwareError("HW-020", zh="读卡器数据格式不符", en=f"what the badge reader sends is not {self._kind}")
        finally:
            port.close()


def _em4100(text: bytes) -> str | None:
    digits = text.strip(b"\r\n")
    if not re.fullmatch(rb"[0-9A-Fa-f]{12}", digits):
        return None
    *number, check = bytes.fromhex(digits.decode())
    parity = 0
    for byte in number:
        parity ^= byte
    return digits[:10].decode().upper() if parity == check else None


def _wiegand(text: bytes) -> str | None:
    if not re.fullmatch(rb"[01]{26}|[01]{34}", text):
        return None
    half = len(text) // 2
    if text[:half].count(b"1") % 2 or not text[half:].count(b"1") % 2:
        return None
    return f"{len(text)}:{int(text[1:-1], 2):X}"


def _line(text: bytes) -> str | None:
    return text.decode() if re.fullmatch(rb"[!-~]{4,64}", text) else None
