"""A mark on the disk while a process uses the GPU: a driver or library that brings the whole process down must not do so again and again.

A mark that is still there and whose process is gone means that it ended without saying goodbye (a crash within the driver, say): the next
process leaves the card alone, the one after that tries it again. A mark from before a restart of the machine says nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from appliance.errors import InferenceError

FILE = "gpu-in-use"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Mark(msgspec.Struct, frozen=True):
    pid: int
    started: str
    boot: str


class UseMark:
    """See the module.

    Args:
        folder: where the mark lies.
        boot_id: tells one start of the machine from another.
    """

    def __init__(self, folder: Path, *, boot_id: Path = BOOT_ID) -> None:
        self._path = folder / FILE
        self._boot = _text(boot_id).strip()
        self._mine = False

    def begin(self) -> None:
        """From now on this process uses the card.

        Raises:
            InferenceError: INF-074 where the process before ended while it did; the mark is taken away.
        """
        try:
            mark = msgspec.json.decode(self._path.read_bytes(), type=_Mark)
        except (OSError, msgspec.MsgspecError):
            mark = None
        if mark is not None and mark.boot == self._boot and mark.pid != os.getpid():
            if mark.started and _started(mark.pid) == mark.started:
                return  # another process is at it, such as the analyst while the doctor looks: the mark stays its own
            self._remove()
            raise InferenceError(
                "INF-074",
                zh="上次使用 GPU 时分析进程意外终止；本次改用处理器，下次启动时重试。",
                en="The process before ended unexpectedly while it used the GPU: the processor does the work until the next start.",
            )
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(msgspec.json.encode(_Mark(pid=os.getpid(), started=_started(os.getpid()), boot=self._boot)))
            self._mine = True

    def end(self) -> None:
        """This process has done with the card, or ends as it should."""
        if self._mine:
            self._mine = False
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine's start; empty where there is no such process (proc(5), stat, field 22)."""
    return next(iter(_text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[19:20]), "")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
