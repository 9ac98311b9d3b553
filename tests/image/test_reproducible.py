"""Two builds of one commit from the same packages give the same bytes, whatever the folder and the hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.image, pytest.mark.timeout(7200)]

REPO = Path(__file__).resolve().parents[2]
DECLARED: frozenset[str] = frozenset()
"""Files that may differ: none. Other days bring other Debian packages; the cache of the first build holds these fixed."""


def test_the_file_system_is_the_same_in_another_folder_at_another_time(image: Path, tmp_path: Path, figures: dict[str, Any]) -> None:
    builds = [image.parent] if _of_this_commit(image.parent) else [_build(tmp_path / "one", zone="UTC")]
    builds.append(_build(tmp_path / "another/place", zone="Asia/Shanghai"))
    told = [json.loads((out / "slot/slot.json").read_text("ascii"))["files"] for out in builds]
    different = {name for name in told[0] if told[0][name] != told[1][name]} - DECLARED
    figures["reproducible"] = not different
    assert not different, listing(*builds)


def _of_this_commit(out: Path) -> bool:
    """Whether the image under test was built from what would be built now."""
    commit = subprocess.run(["git", "-C", str(REPO), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    return (out / "root/opt/coronet/venv/lib/python3.11/site-packages/appliance/COMMIT").read_text("ascii") == commit


def _build(out: Path, *, zone: str) -> Path:
    """Everything anew, Debian's part too, from the package files and wheels that the first build fetched."""
    words = [sys.executable, "image-build/build", "--until", "slot", "--out", str(out), "--cache", str(REPO / "build/image/cache")]
    subprocess.run(words, cwd=REPO, check=True, env=os.environ | {"TZ": zone, "LC_ALL": "C"})
    return out


def listing(one: Path, other: Path) -> str:
    """Which files of the two roots differ: what somebody who mends this wants to know first."""
    done = subprocess.run(["diff", "-rq", "--no-dereference", str(one / "root"), str(other / "root")], check=False, capture_output=True)
    return done.stdout.decode(errors="replace")[:4000]
