"""A second version out of a finished root, for tests of updates: another version, or one that does not come up."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from coronet_image.run import Places, run


def make_variant(places: Places, base: Path, *, version: str, broken: str = "") -> Path:
    """A folder of hard links to ``base/root`` in which version and, for ``broken`` = ``daemon``, one unit differ."""
    root = places.root
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-al", base / "root", root)
    release = (root / "usr/lib/os-release").read_text("utf-8")
    _replace(root / "usr/lib/os-release", re.sub(r'IMAGE_VERSION="[^"]*"', f'IMAGE_VERSION="{version}"', release))
    _replace(root / "usr/lib/coronet/version", f"{version}\n")
    if broken == "daemon":
        unit = root / "usr/lib/systemd/system/coronet.service"
        _replace(unit, re.sub(r"^ExecStart=.*", "ExecStart=/bin/false", unit.read_text("utf-8"), flags=re.MULTILINE))
    return root


def _replace(file: Path, text: str) -> None:
    """Write anew: the other names of the old file keep the old content."""
    file.unlink()
    file.write_text(text, "utf-8")
