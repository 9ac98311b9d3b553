"""Two builds of one commit from the same packages give the same bytes, whatever the folder and the hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.image.machine import emulator_is_here

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
DECLARED: frozenset[str] = frozenset()
"""Files that may differ: none. Other days bring other Debian packages; the cache of the first build holds these fixed."""


def test_the_file_system_is_the_same_in_another_folder_at_another_time(tmp_path: Path, figures: dict[str, Any]) -> None:
    if not emulator_is_here():
        pytest.skip("only root can build")
    builds = []
    for name, zone in (("one", "UTC"), ("another/place", "Asia/Shanghai")):
        out = tmp_path / name
        words = [sys.executable, "image-build/build", "--until", "slot", "--out", str(out), "--cache", str(REPO / "build/image/cache")]
        subprocess.run(words, cwd=REPO, check=True, env=os.environ | {"TZ": zone, "LC_ALL": "C"})
        builds.append(out)
    told = [json.loads((out / "slot/slot.json").read_text("ascii"))["files"] for out in builds]
    different = {name for name in told[0] if told[0][name] != told[1][name]} - DECLARED
    figures["reproducible"] = not different
    assert not different, listing(*builds)


def listing(one: Path, other: Path) -> str:
    """Which files of the two roots differ: what somebody who mends this wants to know first."""
    done = subprocess.run(["diff", "-rq", "--no-dereference", str(one / "root"), str(other / "root")], check=False, capture_output=True)
    return done.stdout.decode(errors="replace")[:4000]
