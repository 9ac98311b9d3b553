"""Serial ports: opened by pyserial, their faults typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import serial

from appliance.errors import HardwareError

READ_S = 0.2
WRITE_S = 2.0
CHUNK = 256


class Port(Protocol):
    """A serial line. Raises HardwareError HW-002 when it has gone."""

    def read(self) -> bytes:
        """What has come, after `READ_S` at most; empty if nothing has."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of it."""
        ...

    def close(self) -> None:
        """Give it back; nothing happens if it is closed."""
        ...


OpenPort = Callable[[Path, int], Port]


class SerialPort:
    """A `Port` on a device of this machine, 8 data bits, no parity, one stop bit; nobody else may hold it.

    Args:
        device: e.g. ``/dev/coronet/panel`` (udev names it, firmware-config/udev).
        baud: symbols a second.

    Raises:
        HardwareError: HW-001, it is not there or cannot be opened.
    """

    def __init__(self, device: Path, baud: int) -> None:
        self._name = device.name
        try:
            self._serial = serial.Serial(str(device), baud, timeout=READ_S, write_timeout=WRITE_S, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise HardwareError("HW-001", zh=f"未连接:{device.name}", en=f"not connected: {device.name}") from error

    def read(self) -> bytes:
        """See `Port`."""
        try:
            data: bytes = self._serial.read(max(1, min(self._serial.in_waiting, CHUNK)))
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: pyserial's own, of a port closed while it reads
            raise self._gone() from error
        return data

    def write(self, data: bytes) -> None:
        """See `Port`."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone() from error

    def close(self) -> None:
        """See `Port`."""
        self._serial.close()

    def _gone(self) -> HardwareError:
        return HardwareError("HW-002", zh=f"设备已断开:{self._name}", en=f"the device has gone: {self._name}")
