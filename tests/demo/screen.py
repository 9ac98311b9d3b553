"""A real kiosk in a real window, touched as a finger would: Xvfb where there is no screen, xdotool, screenshots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.waiting import wait_until

SIZE = (1920, 1080)


@dataclass(frozen=True)
class Kiosk:
    """A running kiosk that says where everything on its screen is."""

    process: subprocess.Popen[bytes]
    announced: Path
    environment: dict[str, str]

    def shown(self) -> dict[str, Any]:
        """What is on the screen now; empty before the first frame."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the kiosk ended with {self.process.returncode}")
        try:
            content: dict[str, Any] = json.loads(self.announced.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return content

    def wait_for(self, test_id: str, *, timeout_s: float = 30.0) -> None:
        """Wait until a widget can be tapped."""
        wait_until(lambda: test_id in self.shown().get("widgets", {}), timeout_s=timeout_s, what=f"{test_id} on the kiosk")

    def tap(self, test_id: str) -> None:
        """Tap a widget with the pointer."""
        self.wait_for(test_id)
        x, y, width, height = self.shown()["widgets"][test_id]
        command = ["xdotool", "mousemove", str(x + width // 2), str(y + height // 2), "click", "1"]
        subprocess.run(command, env=self.environment, check=True, timeout=10)

    def screenshot(self, path: Path) -> None:
        """Photograph the whole screen, once the screen has stopped changing."""
        last = -1
        for _ in range(20):
            frame = int(self.shown().get("frame", 0))
            if frame == last:
                break
            last = frame
            time.sleep(0.25)  # lets the window draw what it announced; nothing is decided by it
        subprocess.run(["import", "-window", "root", str(path)], env=self.environment, check=True, timeout=30)


@contextmanager
def display(size: tuple[int, int] = SIZE) -> Iterator[dict[str, str]]:
    """The environment of a screen: the one there is, or a virtual one."""
    if os.environ.get("DISPLAY"):
        yield dict(os.environ)
        return
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            number = answer.readline().strip()
        if not number:
            raise RuntimeError("Xvfb did not start")
        yield {**os.environ, "DISPLAY": f":{number}", "LIBGL_ALWAYS_SOFTWARE": "1"}
    finally:
        server.terminate()
        server.wait(timeout=10)


@contextmanager
def kiosk(socket: Path, folder: Path, log: Path, *, size: tuple[int, int] = SIZE) -> Iterator[Kiosk]:
    """Run the kiosk on an appliance's socket."""
    with ExitStack() as stack:
        environment = stack.enter_context(display(size))
        announced = folder / "kiosk.json"
        words = ["--socket", str(socket), "--announce", str(announced), "--size", f"{size[0]}x{size[1]}", "--hide-cursor"]
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "kiosk", *words], env={**environment, "XDG_CACHE_HOME": str(folder)}, stdout=output, stderr=output
        )
        try:
            yield Kiosk(process, announced, environment)
        finally:
            process.terminate()
            process.wait(timeout=20)
