"""The last settings with which the box started: safe mode receives by them where the site's own cannot be used any more.

Without them a slip of the hand in the settings would leave a scanner without anybody to send to. Only safe mode uses them, so that the
normal service never runs with other settings than those that the site sees.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from appliance.archive.files import make_folder, write_durably
from appliance.settings import Settings

FOLDER = "last-good"


def keep_settings(settings: Settings, path: Path) -> None:
    """Copy a settings file that was just read without a fault, and the profiles beside it, into the data folder; not at any price."""
    target = settings.data / FOLDER
    with contextlib.suppress(OSError):
        files = {Path(path.name): path.read_bytes()}
        files |= {Path("profiles") / each.name: each.read_bytes() for each in sorted((path.parent / "profiles").glob("*.toml"))}
        for name, content in files.items():
            copy = target / name
            if not copy.is_file() or copy.read_bytes() != content:
                make_folder(copy.parent)
                write_durably(copy, content)
