"""kill -9 at every step of the store path: before, within and after each operation on the disk, and between the statements of SQLite.

The same images are stored again and again in a child process that kills itself at the next step each time, until a run gets through.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.archive import database as database_module
from appliance.archive.archive import open_archive
from appliance.archive.disk import Bytes, Disk
from tests.faults.senders import losses, send
from tests.faults.tally import Tally

IMAGES = 8


class SteppingDisk(Disk):
    """Calls ``reached`` before and after each operation, and in the middle of each write.

    Args:
        reached: may not return.
    """

    def __init__(self, reached: Callable[[], None]) -> None:
        self._reached = reached

    def create(self, path: Path) -> int:
        self._reached()
        return super().create(path)

    def write(self, descriptor: int, parts: Sequence[Bytes], at: int) -> None:
        self._reached()
        whole = b"".join(parts)
        half = len(whole) // 2
        super().write(descriptor, (whole[:half],), at)
        self._reached()
        super().write(descriptor, (whole[half:],), at + half)
        self._reached()

    def flush(self, descriptor: int) -> None:
        super().flush(descriptor)
        self._reached()

    def rename(self, old: Path, new: Path) -> None:
        self._reached()
        super().rename(old, new)
        self._reached()

    def flush_all(self, folder: Path) -> None:
        super().flush_all(folder)
        self._reached()


def kills(*, every: int = 1, threads: int = 1) -> Tally:
    """Kill at each step, or at every n-th.

    Args:
        every: 1 for all steps.
        threads: senders at once; with more than one the order of the steps differs from run to run.
    """
    tally = Tally()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    step = 1
    while True:
        # a killed process loses nothing of the page cache, so memory will do for a disk
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
            data = Path(name) / "data"
            open_archive(data).close()
            survived, acknowledged = _run(data, step, threads)
            if survived:
                tally.count("steps of a whole run", step - 1)
                return tally
            tally.count("kills")
            tally.count("images promised", len(acknowledged))
            tally.losses += [f"killed at step {step}: {text}" for text in losses(data, acknowledged)]
        step += every


def _run(data: Path, step: int, threads: int) -> tuple[bool, set[str]]:
    """Whether the child got through without reaching the step, and what it acknowledged."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            _send_and_die(data, step, threads, write)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        lines = pipe.read().split()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the child ended with {code}")
    return code == 0, set(lines)


def _send_and_die(data: Path, step: int, threads: int, pipe: int) -> None:
    lock = threading.Lock()
    count = 0

    def reached() -> None:
        nonlocal count
        with lock:
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    _watch_statements(reached)
    send(
        data,
        images=IMAGES,
        threads=threads,
        disk=SteppingDisk(reached),
        acknowledged=lambda uid: os.write(pipe, f"{uid}\n".encode()) and None,
    )
    os._exit(0)


def _watch_statements(reached: Callable[[], None]) -> None:
    """Count the statements of every writing transaction as steps; in the child process only."""

    class Watched(database_module._Connection):
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            self.set_trace_callback(self._trace)

        def _trace(self, statement: str) -> None:
            if statement.startswith(("BEGIN IMMEDIATE", "INSERT", "UPDATE", "COMMIT")):
                reached()

    database_module._Connection = Watched  # type: ignore[misc]
    sqlite3.enable_callback_tracebacks(True)
