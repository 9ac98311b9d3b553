"""Whether systemd runs our units as they were shipped. One that was edited by hand may start the box without its limits, or not at all.

In the image the units lie in the verified root, so that only files laid over them (``/etc``, ``/run``) can differ; elsewhere the files
themselves can. Nothing is put right here: what somebody did on purpose is named, and the box goes on.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.errors import Reason

COMPONENT = "units"
FOLDERS = tuple(
    Path(folder) for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
)
"""Where systemd looks, in its order (systemd.unit(5)); what lies in the first two was laid over what was installed."""
LAID_OVER = 2
OURS = frozenset({"peers.conf"})
"""Additions that the appliance writes itself (`appliance apply-config`)."""
LOOK_S = 600.0
MOST_NAMED = 3


def shipped() -> Mapping[str, str]:
    """Name -> SHA-256 of each unit of this version."""
    digests: dict[str, str] = json.loads(Path(__file__).with_name("units.json").read_text("ascii"))
    return digests


def changed_units(folders: Sequence[Path] = FOLDERS, *, digests: Mapping[str, str] | None = None) -> list[str]:
    """Names of our units that are not as shipped, masked, or have additions that are not ours; none where none is installed at all."""
    found = []
    for name, digest in sorted((shipped() if digests is None else digests).items()):
        places = [folder / name for folder in folders if (folder / name).exists() or (folder / name).is_symlink()]
        if places and _digest(places[0]) != digest:
            found.append(name)
        found += [f"{name}.d/{path.name}" for folder in folders[:LAID_OVER] for path in _additions(folder / f"{name}.d")]
    return found


def units_fault(changed: Sequence[str]) -> Reason | None:
    """What people are told; None if everything is as shipped."""
    if not changed:
        return None
    names = ", ".join(changed[:MOST_NAMED]) + (", ..." if len(changed) > MOST_NAMED else "")
    return Reason(code="WF-084", zh=f"系统服务文件被改动:{names}", en=f"units of the system were changed by hand: {names}")


def watch_units(archive: Archive, stop: threading.Event, *, folders: Sequence[Path] = FOLDERS) -> None:
    """Say it when it changes; one worker of the daemon."""
    told: list[str] | None = None
    while True:
        changed = changed_units(folders)
        if changed != told:
            archive.components.report(COMPONENT, ready=not changed, reason=units_fault(changed))
            told = changed
        if stop.wait(LOOK_S):
            return


def our_units(repository: Path) -> dict[str, Path]:
    """Name -> file of each unit in the sources: those that go anywhere, and those of the image alone."""
    folders = (repository / "systemd/system", repository / "image-build/root/usr/lib/systemd/system")
    return {path.name: path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()}


def main(repository: Path) -> int:
    """For developers, after a change of a unit: ``python -m appliance.workflow.unit_watch`` writes the digests anew."""
    units = {name: _digest(path) for name, path in sorted(our_units(repository).items())}
    Path(__file__).with_name("units.json").write_text(json.dumps(units, indent=1) + "\n", "ascii")
    return 0


def _digest(path: Path) -> str:
    """Of the file's content; nothing that could be right for one that cannot be read (masked, a broken link)."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _additions(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("*.conf") if path.name not in OURS)
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[2]))
