"""The analyst of the image comes up under its own unit, with all that the unit forbids: golden case, compiled kernels, then ready.

In emulation its vector arithmetic takes more than ten minutes, so here the built root's own systemd starts the two units on this machine's
kernel and processor, in name spaces of its own (``box-here.sh``).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.image.starting import PATIENCE_S
from tests.systemd.real import remove_group

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2] / "build/image/root"
HIERARCHY = Path("/sys/fs/cgroup/systemd")
SPACES = ("--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "--cgroup")
Ask = Callable[[str], str]


@pytest.fixture
def box(image: Path, tmp_path: Path) -> Iterator[Ask]:
    """Asks a shell inside."""
    if not (HIERARCHY / "cgroup.procs").is_file():
        pytest.skip("a systemd of its own needs the control groups' hierarchy of that name")
    group = HIERARCHY / f"coronet-image-{os.getpid()}"
    group.mkdir()
    start = f"echo $$ > {group}/cgroup.procs; exec unshare {' '.join(SPACES)} {Path(__file__).with_name('box-here.sh')} {ROOT} {tmp_path}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", start], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(command: str) -> str:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (init := children.read_text("ascii").split()):  # its first process has yet to begin
            assert process.poll() is None, (tmp_path / "log").read_text("utf-8")
            time.sleep(0.05)
        inside = ["nsenter", "-t", init[0], "-m", "-p", "-n", "-u", "-i", "-r", "-w", "--", "/bin/sh", "-c", command]
        return subprocess.run(inside, check=False, capture_output=True, text=True).stdout.strip()

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        remove_group(group)


def test_the_analyst_is_ready_under_its_own_unit(box: Ask, figures: dict[str, Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (state := box("systemctl is-active coronet-analyst.service")) != "active":
        assert time.monotonic() < deadline, box("systemctl status --no-pager coronet coronet-analyst; cat /run/*.log")
        assert state != "failed", box("systemctl status --no-pager coronet-analyst; cat /run/*.log")
        time.sleep(1)
    assert box("systemctl is-active coronet.service") == "active"
    assert box("systemctl show -P NRestarts coronet-analyst.service") == "0"
    status = box('grep -E "Seccomp:|NoNewPrivs:" /proc/$(systemctl show -P MainPID coronet-analyst.service)/status')
    assert status.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]
    assert "ready on" in box("cat /run/coronet-analyst.log")
    figures["analyst_ready"] = True
