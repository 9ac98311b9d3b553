"""The processes that a process has started, read from /proc: what ps prints may be cut to the width of a terminal."""

from __future__ import annotations

from pathlib import Path


def children_of(parent: int) -> dict[int, tuple[str, ...]]:
    """Process number -> its whole command line, for each child of `parent`; one that ends meanwhile is left out."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status["PPid"]) == parent:
            found[int(folder.name)] = tuple(part.decode() for part in command.rstrip(b"\0").split(b"\0"))
    return found


def child_named(parent: int, name: str) -> int | None:
    """Number of the child with the word `name` on its command line; None where there is none."""
    return next((pid for pid, command in children_of(parent).items() if name in command), None)
