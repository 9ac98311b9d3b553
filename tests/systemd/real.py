"""A real systemd, in name spaces of its own over a copy of this machine's root in memory (``start.sh``), for what only systemd can show."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HIERARCHY = Path("/sys/fs/cgroup/systemd")
SPACES = ("--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "--cgroup")
PATIENCE_S = 600.0
"""How long something may take before a test gives up: a limit, never a measure."""


class Systemd:
    """One that runs; commands are asked for inside.

    Args:
        process: what started it.
        folder: holds its log.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def told(self) -> str:
        """What its start said."""
        return (self._folder / "log").read_text("utf-8", errors="replace")

    def ask(self, command: str) -> str:
        """What a shell inside prints, errors too."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while not (init := children.read_text("ascii").split()):  # its first process has yet to begin
            assert self._process.poll() is None, self.told()
            time.sleep(0.05)
        inside = ["nsenter", "-t", init[0], "-m", "-p", "-n", "-u", "-i", "-r", "-w", "--", "/bin/sh", "-c", f"exec 2>&1; {command}"]
        return subprocess.run(inside, check=False, capture_output=True, text=True, timeout=PATIENCE_S).stdout.strip()

    def until(self, command: str, wanted: str) -> None:
        """Wait until a command prints what is wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while (said := self.ask(command)) != wanted:
            assert self._process.poll() is None, self.told()
            if time.monotonic() > deadline:
                state = self.ask("systemctl --no-pager list-units --all; systemctl --no-pager list-jobs; tail -n 40 /run/*.log")
                raise AssertionError(f"{command}: {said}, not {wanted}\n{self.told()}\n{state}")
            time.sleep(0.2)


@contextmanager
def systemd(folder: Path, *, units: Mapping[str, str], over: Mapping[str, str] | None = None) -> Iterator[Systemd]:
    """Start one.

    Args:
        folder: an empty one.
        units: name (or ``NAME.d/NAME.conf``) -> content. ``all.target`` is what is started.
        over: path below the root -> content of files beside.
    """
    if os.geteuid() != 0 or not (HIERARCHY / "cgroup.procs").is_file() or shutil.which("systemd-sysusers") is None:
        pytest.skip("a systemd of its own needs root and the control groups' hierarchy of that name")
    beside = {
        "run/sysusers.conf": (REPOSITORY / "systemd/sysusers.d/coronet.conf").read_text("utf-8"),
        "run/tmpfiles.conf": (REPOSITORY / "systemd/tmpfiles.d/coronet.conf").read_text("utf-8"),
    } | dict(over or {})
    for place, files in (("units", units), ("over", beside)):
        for name, content in files.items():
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
            path.chmod(0o755 if content.startswith("#!") else 0o644)
    group = HIERARCHY / f"coronet-test-{os.getpid()}"
    group.mkdir()
    script = Path(__file__).with_name("start.sh")
    start = f"echo $$ > {group}/cgroup.procs; exec unshare {' '.join(SPACES)} {script} {REPOSITORY} {folder}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", start], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Systemd(process, folder)
    finally:
        process.kill()
        process.wait()
        remove_group(group)


def remove_group(group: Path) -> None:
    """A control group and those below it; its processes end with their first one."""
    deadline = time.monotonic() + PATIENCE_S
    while group.exists():
        for each in sorted((one for one in [group, *group.rglob("*")] if one.is_dir()), reverse=True):
            try:
                each.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                break
