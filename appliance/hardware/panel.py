"""The front panel: four lights, a buzzer, two buttons. What it says and takes stands in ``firmware-config/panel/PROTOCOL.md``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from appliance.errors import HardwareError
from appliance.hardware.panel_frames import (
    ACKNOWLEDGE,
    BUTTON,
    BUZZER,
    HELLO,
    HELLO_REPLY,
    LIGHTS,
    VERSION,
    Decoder,
    Frame,
    encode,
)
from appliance.hardware.ports import OpenPort, Port, SerialPort

log = logging.getLogger(__name__)

ANSWER_S = 1.0
TRIES = 3
REFRESH_S = 2.0
"""The panel shows "no box" by itself when it has heard nothing for 10 s."""
BUTTON_MUTE, BUTTON_POWER = 1, 2
PRESSED, RELEASED, HELD = 1, 0, 2
"""``HELD``: for three seconds, as the panel counts them."""


class Light(IntEnum):
    """What a light does."""

    OFF = 0
    ON = 1
    SLOW = 2
    FAST = 3


@dataclass(frozen=True)
class Lights:
    """What people see from across the room."""

    ready: Light = Light.OFF
    """Green: images can be received."""
    busy: Light = Light.OFF
    """Blue: blinks while images arrive, stands while a study is analysed."""
    attention: Light = Light.OFF
    """Amber: something should be looked at; the kiosk says what."""
    fault: Light = Light.OFF
    """Red: images cannot be received."""
    alarm: bool = False
    """The buzzer, until somebody presses "mute"."""


class Panel:
    """A `Device` (see `appliance.hardware.keeper`).

    Args:
        device: the serial port.
        baud: its speed.
        lights: what should be shown now; asked once a turn.
        pressed: called with button and action of each press.
        open_port: opens a serial port.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        device: Path,
        baud: int,
        lights: Callable[[], Lights],
        pressed: Callable[[int, int], None],
        open_port: OpenPort = SerialPort,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._baud = baud
        self._lights = lights
        self._pressed = pressed
        self._open_port = open_port
        self._clock = clock
        self._sequence = 0
        self._muted = False
        self._sounds: bool | None = None

    def serve(self, stop: threading.Event, *, ready: Callable[[str], None]) -> None:
        """See `appliance.hardware.keeper.Device`. Raises HW-001, HW-002, HW-010, HW-011, HW-012."""
        port = self._open_port(self._device, self._baud)
        try:
            line = _Line(port, pressed=self._press, clock=self._clock)
            ready(self._greet(line))
            shown: Lights | None = None
            self._sounds = None
            sent = -REFRESH_S
            while not stop.is_set():
                lights = self._lights()
                if lights != shown or self._clock() - sent >= REFRESH_S:
                    self._show(line, lights)
                    shown, sent = lights, self._clock()
                line.read()
        finally:
            port.close()

    def _greet(self, line: _Line) -> str:
        answer = self._ask(line, HELLO, bytes((VERSION,)), expected=HELLO_REPLY)
        if len(answer.data) < 4 or answer.data[0] != VERSION:
            speaks = answer.data[0] if answer.data else 0
            raise HardwareError(
                "HW-011", zh=f"面板协议版本 {speaks} 不支持", en=f"the panel speaks version {speaks} of the protocol, not {VERSION}"
            )
        return f"firmware {answer.data[1]}.{answer.data[2]}, {answer.data[3]} buttons"

    def _show(self, line: _Line, lights: Lights) -> None:
        if not lights.alarm:
            self._muted = False
        data = bytes((lights.ready, lights.busy, lights.attention, lights.fault))
        self._order(line, LIGHTS, data)
        sounds = lights.alarm and not self._muted
        # also to a panel that was unplugged with its buzzer sounding, and to one whose "mute" was pressed
        if sounds or sounds != self._sounds:
            self._order(line, BUZZER, bytes((int(sounds),)))
            self._sounds = sounds

    def _order(self, line: _Line, kind: int, data: bytes) -> None:
        answer = self._ask(line, kind, data, expected=ACKNOWLEDGE)
        if answer.data != b"\0":
            raise HardwareError("HW-012", zh="面板拒绝了指令", en="the panel refuses an order", order=kind)

    def _ask(self, line: _Line, kind: int, data: bytes, *, expected: int) -> Frame:
        """Send until the answer to this very frame comes, `TRIES` times."""
        self._sequence = (self._sequence + 1) & 0xFF
        for _ in range(TRIES):
            line.send(Frame(kind=kind, data=data, sequence=self._sequence))
            answer = line.answer(expected, self._sequence, within_s=ANSWER_S)
            if answer is not None:
                return answer
        raise HardwareError("HW-010", zh="前面板无应答", en="the front panel does not answer")

    def _press(self, button: int, action: int) -> None:
        if button == BUTTON_MUTE and action == PRESSED:
            self._muted = True
        self._pressed(button, action)


class _Line:
    """Frames over a port. A press that comes while an answer is awaited is not lost."""

    def __init__(self, port: Port, *, pressed: Callable[[int, int], None], clock: Callable[[], float]) -> None:
        self._port = port
        self._pressed = pressed
        self._clock = clock
        self._decoder = Decoder()
        self._last_press = -1
        port.write(b"\0")  # closes whatever noise may have begun at the other end

    def send(self, frame: Frame) -> None:
        self._port.write(encode(frame))

    def read(self) -> list[Frame]:
        """The answers that have come; presses go to their handler, each once however often the panel repeats it, and are acknowledged."""
        answers = []
        for frame in self._decoder.feed(self._port.read()):
            if frame.kind != BUTTON:
                answers.append(frame)
                continue
            self.send(Frame(kind=ACKNOWLEDGE, data=b"\0", sequence=frame.sequence))
            if len(frame.data) == 2 and frame.sequence != self._last_press:
                self._last_press = frame.sequence
                self._pressed(frame.data[0], frame.data[1])
        return answers

    def answer(self, kind: int, sequence: int, *, within_s: float) -> Frame | None:
        deadline = self._clock() + within_s
        while self._clock() < deadline:
            for frame in self.read():
                if frame.kind == kind and frame.sequence == sequence:
                    return frame
        return None
