"""Keeps a child process running: started again with back-off when it ends, told to stop when the daemon stops."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Sequence

from appliance.archive.clock import Clock

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
PROVEN_S = 60.0
"""A child that ran this long starts with the shortest wait again."""
STOP_S = 15.0
POLL_S = 0.2


class Child:
    """One supervised process. One thread calls `run`.

    Args:
        name: for the log.
        command: what to start.
        clock: its monotonic time counts.
        ended: called whenever the process has ended.
    """

    def __init__(self, *, name: str, command: Sequence[str], clock: Clock, ended: Callable[[], None]) -> None:
        self.name = name
        self._command = list(command)
        self._clock = clock
        self._ended = ended
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def restart(self) -> None:
        """Kill the process, so that it is started again; for one that runs but does not work."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def run(self, stop: threading.Event) -> None:
        """Start the process, and again whenever it ends, until told to stop; then stop it."""
        while not stop.is_set():
            started = self._clock.monotonic()
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
            log.info("%s started as process %d", self.name, self._process.pid)
            while self._process.poll() is None and not stop.wait(POLL_S):
                pass
            if stop.is_set():
                break
            self._ended()
            stop.wait(self._wait_s(ran_s=self._clock.monotonic() - started, status=self._process.returncode))
        self._stop()

    def _wait_s(self, *, ran_s: float, status: int) -> float:
        self._failures = 1 if ran_s >= PROVEN_S else self._failures + 1
        wait_s: float = min(FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 30), LONGEST_WAIT_S)
        log.warning("%s ended with status %d after %.0f s, started again in %.1f s", self.name, status, ran_s, wait_s)
        return wait_s

    def _stop(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop in %.0f s and is killed", self.name, STOP_S)
            process.kill()
            process.wait()
        self._ended()
