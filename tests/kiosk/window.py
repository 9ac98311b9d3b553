"""A real kiosk in a real window: Xvfb is the screen, xdotool the finger, the announce file tells where everything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageGrab

DEADLINE_S = 60.0
Seen = dict[str, Any]


class KioskWindow:
    """Starts the kiosk, and a virtual screen for it unless a ``display`` is given; taps and looks; ends what it started."""

    def __init__(
        self,
        *,
        socket: Path,
        folder: Path,
        language: str = "zh",
        size: tuple[int, int] = (1280, 800),
        display: str | None = None,
        first: str = "sign_in",
        run: Path | None = None,
    ) -> None:
        self._first = first
        self._run = run
        self._given_display = display
        self._announce = folder / f"announce-{language}-{size[0]}.json"
        self._log = folder / f"kiosk-{language}-{size[0]}.log"
        self._size = size
        self._command = [sys.executable, "-m", "kiosk", "--socket", str(socket), "--announce", str(self._announce)]
        self._command += ["--language", language, "--size", f"{size[0]}x{size[1]}"] + (["--run", str(run)] if run else [])

    def __enter__(self) -> KioskWindow:
        self._screen: subprocess.Popen[bytes] | None = None
        if self._given_display:
            self.display = self._given_display
        else:
            self._screen, self.display = _start_screen(self._size)
        environment = {**os.environ, "DISPLAY": self.display, "LIBGL_ALWAYS_SOFTWARE": "1"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        # a box whose start was stopped has nothing behind the screen
        self.wait(lambda seen: seen["screen"] == self._first and (seen["online"] or self._run is not None))
        return self

    def __exit__(self, *_exception: object) -> None:
        started = [process for process in (self.process, self._screen) if process is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.wait(10)

    @property
    def seen(self) -> Seen:
        """What is on the screen now."""
        try:
            return dict(json.loads(self._announce.read_text("utf-8")))
        except FileNotFoundError:
            return {"screen": None, "online": False, "widgets": {}, "texts": [], "cut": []}

    def wait(self, condition: Callable[[Seen], bool], *, what: str = "") -> Seen:
        """What is seen as soon as ``condition`` is true of it."""
        end = time.monotonic() + DEADLINE_S
        while True:
            seen = self.seen
            if condition(seen):
                return seen
            assert self.process.poll() is None, f"the kiosk ended: {self._log.read_text('utf-8')[-2000:]}"
            assert time.monotonic() < end, f"not seen: {what} {seen}"
            time.sleep(0.02)

    def tap(self, *names: str) -> None:
        """Touch widgets one after another, each when it is there."""
        for name in names:
            x, y, width, height = self.wait(lambda seen, name=name: name in seen["widgets"], what=name)["widgets"][name]  # type: ignore[misc]
            self._finger("mousemove", str(x + width // 2), str(y + height // 2), "click", "1")

    def swipe(self, name: str, across: int) -> None:
        """Draw a finger over a widget, to the right for a positive number of pixels."""
        x, y, width, height = self.wait(lambda seen: name in seen["widgets"], what=name)["widgets"][name]
        start, level = x + width // 2 - across // 2, y + height // 2
        self._finger("mousemove", str(start), str(level), "mousedown", "1")
        # a finger rests longer than a frame; when down and move fall into one frame, Kivy knows only where the touch ended
        self.wait(lambda seen: bool(seen.get("touched")), what="the finger")
        for part in range(1, 9):
            self._finger("mousemove", str(start + across * part // 8), str(level))
        self._finger("mouseup", "1")
        self.wait(lambda seen: not seen.get("touched"), what="the finger to go")

    def sign_in(self, pin: str) -> None:
        """Type a PIN on the pad."""
        self.tap(*(f"digit-{digit}" for digit in pin), "sign-in")

    def picture(self) -> Image.Image:
        """The screen as it is, once two looks in a row are the same."""
        end = time.monotonic() + DEADLINE_S
        before: Image.Image | None = None
        while True:
            now = ImageGrab.grab(xdisplay=self.display)
            if (before is not None and before.tobytes() == now.tobytes()) or time.monotonic() > end:
                return now
            before = now
            time.sleep(0.15)

    def glance(self) -> Image.Image:
        """The screen as it is at this moment."""
        return ImageGrab.grab(xdisplay=self.display)

    def _finger(self, *arguments: str) -> None:
        subprocess.run(["xdotool", *arguments], env={**os.environ, "DISPLAY": self.display}, check=True, timeout=20)


def _start_screen(size: tuple[int, int]) -> tuple[subprocess.Popen[bytes], str]:
    """A virtual screen on a free display number."""
    reading, writing = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-r", "-displayfd", str(writing), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as numbers:
        return screen, f":{numbers.readline().strip()}"
