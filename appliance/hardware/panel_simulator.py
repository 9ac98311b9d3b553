"""The reference front panel in software, on a pseudo-terminal: ``python -m appliance.hardware.panel_simulator`` prints the device to use.

It behaves as ``firmware-config/panel/PROTOCOL.md`` asks a panel to: what the document says and this file does must be the same thing.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
import tty
from pathlib import Path

from appliance.hardware.panel_frames import (
    ACKNOWLEDGE,
    BUTTON,
    BUZZER,
    HELLO,
    HELLO_REPLY,
    LIGHTS,
    PING,
    PONG,
    VERSION,
    Decoder,
    Frame,
    encode,
)

FIRMWARE = (1, 0)
BUTTONS = 2
SILENT_S = 10.0
REPEAT_S = 0.5
REPEATS = 4
REFUSED = 1


class PanelSimulator:
    """A panel at the other end of a pseudo-terminal, served by a thread.

    Attributes:
        device: the terminal that the box opens.
        lights: the four lights as they stand.
        buzzer: whether it sounds.
        noise: bytes sent before each answer, as a bad line would.
    """

    def __init__(self, *, version: int = VERSION) -> None:
        self.lights: tuple[int, ...] = (0, 0, 0, 0)
        self.buzzer = False
        self.noise = b""
        self.mute_to_the_box = False
        self._version = version
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.device = Path(os.ttyname(slave))
        self._slave = slave  # held open, so that the line stays while the box opens and closes it
        self._sequence = 0
        self._unacknowledged: dict[int, tuple[float, int, bytes]] = {}
        self._decoder = Decoder()
        self._heard = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="panel", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Blocks from the box that were no frames."""
        return self._decoder.dropped

    @property
    def sees_no_box(self) -> bool:
        """Whether the panel has heard nothing for `SILENT_S` and shows that by itself."""
        return time.monotonic() - self._heard > SILENT_S

    def press(self, button: int, action: int = 1) -> None:
        """A finger."""
        self._sequence = (self._sequence + 1) & 0xFF
        data = encode(Frame(kind=BUTTON, data=bytes((button, action)), sequence=self._sequence))
        self._unacknowledged[self._sequence] = (time.monotonic() + REPEAT_S, REPEATS, data)
        self.send_raw(data)

    def send_raw(self, data: bytes) -> None:
        """Anything, e.g. noise or half a frame."""
        with contextlib.suppress(OSError):
            os.write(self._master, data)

    def unplug(self) -> None:
        """Pull the cable: the terminal is gone."""
        self._stop.set()
        self._thread.join(5)
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        while not self._stop.is_set():
            readable, _, _ = select.select([self._master], [], [], 0.05)
            if readable:
                try:
                    data = os.read(self._master, 256)
                except OSError:
                    return
                for frame in self._decoder.feed(data):
                    self._heard = time.monotonic()
                    self._answer(frame)
            self._repeat()

    def _answer(self, frame: Frame) -> None:
        if frame.kind == ACKNOWLEDGE:
            self._unacknowledged.pop(frame.sequence, None)
        elif frame.kind == HELLO:
            self._reply(HELLO_REPLY, bytes((self._version, *FIRMWARE, BUTTONS)), frame)
        elif frame.kind == PING:
            self._reply(PONG, b"", frame)
        elif frame.kind == LIGHTS and len(frame.data) == 4 and max(frame.data) <= 3:
            self.lights = tuple(frame.data)
            self._reply(ACKNOWLEDGE, b"\0", frame)
        elif frame.kind == BUZZER and frame.data in {b"\0", b"\1"}:
            self.buzzer = frame.data == b"\1"
            self._reply(ACKNOWLEDGE, b"\0", frame)
        else:
            self._reply(ACKNOWLEDGE, bytes((REFUSED,)), frame)

    def _reply(self, kind: int, data: bytes, to: Frame) -> None:
        if not self.mute_to_the_box:
            self.send_raw(self.noise + encode(Frame(kind=kind, data=data, sequence=to.sequence)))

    def _repeat(self) -> None:
        now = time.monotonic()
        for sequence, (due, left, data) in list(self._unacknowledged.items()):
            if now < due:
                continue
            self._unacknowledged[sequence] = (now + REPEAT_S, left - 1, data)
            if left <= 0:
                del self._unacknowledged[sequence]
            else:
                self.send_raw(data)


def main() -> int:
    """Show a panel in the terminal until Ctrl-C; keys 1 and 2 with Enter press its buttons."""
    panel = PanelSimulator()
    sys.stdout.write(f"panel on {panel.device}\n")
    shown: object = None
    try:
        while True:
            state = (panel.lights, panel.buzzer, panel.sees_no_box)
            if state != shown:
                shown = state
                sys.stdout.write(f"ready {state[0][0]} busy {state[0][1]} attention {state[0][2]} fault {state[0][3]} buzzer {state[1]}\n")
                sys.stdout.flush()
            readable, _, _ = select.select([sys.stdin], [], [], 0.2)
            key = sys.stdin.readline().strip() if readable else ""
            if key in {"1", "2"}:
                panel.press(int(key))
    except KeyboardInterrupt:
        panel.unplug()
        return 0


if __name__ == "__main__":
    sys.exit(main())
