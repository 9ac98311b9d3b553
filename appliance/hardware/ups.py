"""The UPS, through NUT's service: a small client of its network protocol (networkupstools.org, "Network protocol information"; RFC 9271).

NUT's drivers know hundreds of models; this side only asks ``GET VAR`` over one TCP connection, bounded in time and size. What follows from
the answers is `judge`, a pure function.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from appliance.errors import HardwareError, Reason

POLL_S = 2.0
TIMEOUT_S = 5.0
MAXIMUM_LINE = 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_ABSENT = {"VAR-NOT-SUPPORTED"}

Power = Literal["line", "battery", "low", "end"]
"""``battery``: go on. ``low``: finish what is in hand, begin nothing. ``end``: switch off now."""


@dataclass(frozen=True)
class UpsState:
    """What the UPS says. ``flags`` as in NUT's ``ups.status``: OL on line, OB on battery, LB battery low, RB replace the battery."""

    flags: frozenset[str]
    charge: float | None = None
    """Percent."""
    runtime_s: float | None = None


@dataclass(frozen=True)
class UpsLimits:
    """From when on power counts as low, and as at its end."""

    low_charge: float
    end_charge: float
    end_runtime_s: float


def judge(state: UpsState, limits: UpsLimits) -> Power:
    """What the state of the UPS means for the box. On line it is never at its end, however empty the battery still is."""
    if "OB" not in state.flags:
        return "line"
    charge = 100.0 if state.charge is None else state.charge
    runtime_s = limits.end_runtime_s if state.runtime_s is None else state.runtime_s
    if {"LB", "FSD"} & state.flags or charge <= limits.end_charge or runtime_s < limits.end_runtime_s:
        return "end"
    return "low" if charge <= limits.low_charge else "battery"


def power_reason(power: Power, state: UpsState) -> Reason | None:
    """What people are told; None on line with a good battery."""
    charge = "" if state.charge is None else f" {state.charge:.0f} %"
    match power:
        case "battery":
            return Reason(code="HW-032", zh=f"市电中断,正在使用电池{charge}", en=f"no mains power, on battery{charge}")
        case "low":
            zh, en = f"电池电量低{charge},不再开始新的分析", f"battery low{charge}, no new analysis is begun"
            return Reason(code="HW-033", zh=zh, en=en)
        case "end" if not state.flags:
            zh, en = "电池供电时与 UPS 失去联系,正在关机", "on battery, and the UPS is no longer heard of: switching off"
            return Reason(code="HW-036", zh=zh, en=en)
        case "end":
            return Reason(code="HW-034", zh="电池即将耗尽,正在关机", en="the battery is at its end, switching off")
        case "line":
            replace = Reason(code="HW-035", zh="UPS 电池需要更换", en="the battery of the UPS must be replaced")
            return replace if "RB" in state.flags else None


class UpsClient:
    """One connection to upsd.

    Args:
        host: where upsd is; normally this machine.
        port: its TCP port.
        name: the UPS, as upsd knows it.

    Raises:
        HardwareError: HW-030 upsd is not reached, HW-031 it refuses or sends what is no answer.
    """

    def __init__(self, *, host: str, port: int, name: str) -> None:
        if not _NAME.match(name):
            raise _refused("the name of the UPS is not one that NUT allows")
        self._name = name
        self._rest = b""
        try:
            self._socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        except OSError as error:
            raise _unreached() from error

    def state(self) -> UpsState:
        """Ask once."""
        status = self._variable("ups.status")
        if status is None:
            raise _refused("the UPS has no ups.status")
        charge, runtime_s = self._number("battery.charge"), self._number("battery.runtime")
        return UpsState(flags=frozenset(status.split()), charge=charge, runtime_s=runtime_s)

    def model(self) -> str:
        """Maker and model, as far as the UPS tells."""
        parts = (self._variable("device.mfr"), self._variable("device.model"))
        return " ".join(part.strip() for part in parts if part and part.strip()) or self._name

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"LOGOUT\n")
        self._socket.close()

    def _number(self, variable: str) -> float | None:
        value = self._variable(variable)
        try:
            return None if value is None else float(value)
        except ValueError as error:
            raise _refused(f"{variable} is no number") from error

    def _variable(self, variable: str) -> str | None:
        """Its value; None where this UPS has no such variable."""
        try:
            self._socket.sendall(f"GET VAR {self._name} {variable}\n".encode())
            line = self._line()
        except OSError as error:
            raise _unreached() from error
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise _refused("what is no answer") from error
        if len(words) == 4 and words[:3] == ["VAR", self._name, variable]:
            return words[3]
        if len(words) >= 2 and words[0] == "ERR":
            if words[1] in _ABSENT:
                return None
            raise _refused(words[1])
        raise _refused("what is no answer")

    def _line(self) -> str:
        while b"\n" not in self._rest:
            if len(self._rest) > MAXIMUM_LINE:
                raise _refused("a line without end")
            data = self._socket.recv(MAXIMUM_LINE)
            if not data:
                raise _unreached()
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode("utf-8", "replace")


class Ups:
    """A `Device` (see `appliance.hardware.keeper`).

    Args:
        connect: opens a client.
        changed: told each state of the UPS, about every `poll_s`.
        silent: told for how many seconds nothing has been heard of the UPS, each time that it cannot be asked.
        poll_s: how often it is asked.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], UpsClient],
        changed: Callable[[UpsState], None],
        silent: Callable[[float], None] = lambda _seconds: None,
        poll_s: float = POLL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._changed = changed
        self._silent = silent
        self._poll_s = poll_s
        self._clock = clock
        self._heard = clock()

    def serve(self, stop: threading.Event, *, ready: Callable[[str], None]) -> None:
        """See `appliance.hardware.keeper.Device`. Raises HW-030, HW-031."""
        try:
            self._listen(stop, ready)
        except HardwareError:
            self._silent(self._clock() - self._heard)
            raise

    def _listen(self, stop: threading.Event, ready: Callable[[str], None]) -> None:
        client = self._connect()
        try:
            state, model = client.state(), client.model()
            ready(model)
            while True:
                self._heard = self._clock()
                self._changed(state)
                if stop.wait(self._poll_s):
                    return
                state = client.state()
        finally:
            client.close()


def order_power_off(switch: str) -> None:
    """Switch the machine off by the one door that systemd keeps for it (coronet-power.socket): the connection is the order.

    Raises:
        HardwareError: HW-050, nobody takes the order.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(TIMEOUT_S)
        try:
            door.connect(switch)
        except OSError as error:
            raise HardwareError("HW-050", zh="无法关闭主机电源", en="the machine cannot be switched off from here") from error


def _unreached() -> HardwareError:
    return HardwareError("HW-030", zh="UPS 服务未连接", en="the UPS service is not reached")


def _refused(what: str) -> HardwareError:
    # upsd's own words for a UPS that has gone: DATA-STALE, DRIVER-NOT-CONNECTED
    return HardwareError("HW-031", zh=f"UPS 数据不可用:{what}", en=f"no data of the UPS: {what}")
