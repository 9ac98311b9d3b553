"""A TPM 2.0 for the emulated box: swtpm behind QEMU's own TPM device, its state in a folder."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class Chip:
    """One power-on of it; the box must be started within the block and ended before it.

    Args:
        folder: where its state is kept from one power-on to the next.
    """

    def __init__(self, folder: Path) -> None:
        self._state = folder / "state"
        self._door = folder / "chip"
        self._process: subprocess.Popen[bytes]

    @property
    def words(self) -> tuple[str, ...]:
        """What the emulator is told of it."""
        chardev = ("-chardev", f"socket,id=chip,path={self._door}")
        return (*chardev, "-tpmdev", "emulator,id=tpm0,chardev=chip", "-device", "tpm-crb,tpmdev=tpm0")

    def __enter__(self) -> Self:
        self._state.mkdir(parents=True, exist_ok=True)
        self._door.unlink(missing_ok=True)
        words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}", "--ctrl", f"type=unixio,path={self._door}", "--terminate"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._door.exists():
            assert self._process.poll() is None, "the TPM has ended"
            assert time.monotonic() < deadline, "the TPM does not start"
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(30)

    def forget(self) -> None:
        """Another chip in its place, or the same one cleared; while it is off."""
        shutil.rmtree(self._state)


def chip_is_here() -> bool:
    """Whether swtpm is installed."""
    return shutil.which("swtpm") is not None
