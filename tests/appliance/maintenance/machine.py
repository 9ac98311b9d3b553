"""A machine with two slots in a folder: the loader's rule, RAUC's order of doing things, the real boot state, and a cut at any system call.

What is real: the boot state and its backend script (image-build/updates), bundles, the updater, the trial, every file. What stands in:
RAUC's writing (copies images block by block into files, in RAUC's order: mark bad, write, make primary) and the firmware.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from appliance.errors import UpdateError
from appliance.maintenance.slots import SlotStatus
from appliance.workflow.update_states import Slot

REPOSITORY = Path(__file__).parents[3]
UPDATES = REPOSITORY / "image-build/updates"
BACKEND = UPDATES / "root/usr/lib/coronet/slots/backend"
PARTS = ("root.img", "verity.img", "boot.img")
BLOCK = 1 << 16


def load(path: Path) -> ModuleType:
    """A script as a module."""
    loader = importlib.machinery.SourceFileLoader(path.stem, str(path))
    spec = importlib.util.spec_from_loader(path.stem, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class RestartedError(Exception):
    """The machine restarts: the process that ordered it goes no further."""


class Machine:
    """See the module; `Slots` for the updater. All that survives a cut lies in ``folder``."""

    def __init__(self, folder: Path, *, stick: Path, unpacked: dict[str, Path]) -> None:
        self.folder = folder
        self._stick = stick
        self._unpacked = unpacked
        self._backend = load(BACKEND)
        self.environment = {"CORONET_GRUBENV": str(folder / "grubenv"), "CORONET_CMDLINE": str(folder / "cmdline")}

    def make(self, version_a: dict[str, bytes]) -> None:
        """Slot A holds a version that has proved itself, B nothing."""
        for slot in "AB":
            (self.folder / slot).mkdir(parents=True)
            for name in PARTS:
                (self.folder / slot / name).write_bytes(version_a[name] if slot == "A" else b"")
        (self.folder / "boots").write_text("0")
        self.backend("set-primary", "A")
        self.backend("set-state", "A", "good")
        self.boot()

    def backend(self, *words: str) -> str:
        """The real script."""
        out = io.StringIO()
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            with contextlib.redirect_stdout(out):
                assert self._backend.main(list(words)) == 0
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        return out.getvalue().strip()

    # -- the firmware

    def boot(self, starts: Callable[[Slot], bool] = lambda _slot: True) -> Slot:
        """Start by the loader's rule until a slot comes up (``starts``); each start counts."""
        while True:
            slot = self._choose()
            (self.folder / "boots").write_text(str(int((self.folder / "boots").read_text()) + 1))
            (self.folder / "cmdline").write_text(f"quiet rauc.slot={slot} ro\n")
            if starts(slot):
                return slot

    def _choose(self) -> Slot:
        path = str(self.folder / "grubenv")
        state = self._backend.read(path)
        for slot in state["ORDER"].split():
            if state[f"{slot}_OK"] == "1" and int(state[f"{slot}_TRY"]) < 3:
                self._backend.write(path, {**state, f"{slot}_TRY": str(int(state[f"{slot}_TRY"]) + 1)})
                return slot  # type: ignore[no-any-return]
        raise AssertionError(f"the loader finds no slot to start: {state}")

    @property
    def boot_identity(self) -> str:
        return (self.folder / "boots").read_text()

    def holds(self, slot: Slot) -> dict[str, bytes]:
        """What lies in a slot."""
        return {name: (self.folder / slot / name).read_bytes() for name in PARTS}

    # -- Slots

    def status(self) -> SlotStatus:
        primary: Any = self.backend("get-primary")
        booted: Any = self.backend("get-current")
        return SlotStatus(booted=booted, primary=primary)

    def mount(self) -> Path:
        if not self._stick.exists():
            raise UpdateError("UPD-002", zh="没有", en="no stick")
        return self._stick

    def unmount(self) -> None:
        return

    def install(self, name: str, *, progress: Callable[[float], None]) -> None:
        other = self.status().other
        self.backend("set-state", other, "bad")
        for number, part in enumerate(PARTS):
            source, target = self._unpacked[name] / part, self.folder / other / part
            with source.open("rb") as reading, target.open("r+b") as writing:
                writing.truncate(source.stat().st_size)
                while block := reading.read(BLOCK):
                    writing.write(block)
                    writing.flush()
                    os.fsync(writing.fileno())
            progress((number + 1) / len(PARTS))
        self.backend("set-primary", other)

    def mark_good(self) -> None:
        self.backend("set-state", self.status().booted, "good")

    def mark_bad(self) -> None:
        self.backend("set-state", self.status().booted, "bad")

    def restart(self) -> None:
        raise RestartedError


def unpack(bundle: Path, folder: Path) -> Path:
    """What a bundle holds."""
    subprocess.run(["unsquashfs", "-q", "-n", "-d", str(folder), str(bundle)], check=True, capture_output=True, timeout=60)
    return folder


@contextlib.contextmanager
def killed_at(call: int | None) -> Iterator[list[int]]:
    """In a child process: SIGKILL before the n-th system call that changes the disk; the calls are counted either way."""
    count = [0]
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in ("fsync", "replace", "pwrite", "unlink", "mkdir")}

    def counted(name: str) -> Callable[..., Any]:
        def instead(*arguments: Any, **more: Any) -> Any:
            count[0] += 1
            if count[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*arguments, **more)

        return instead

    for name in real:
        setattr(os, name, counted(name))
    try:
        yield count
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def in_child(work: Callable[[], int]) -> int | Literal["killed"]:
    """Run in a forked process, so that a kill is a real one."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        except BaseException:  # noqa: BLE001 - a child must not go on as pytest
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else os.waitstatus_to_exitcode(status)
