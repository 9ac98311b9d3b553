"""The files of a stick, CD or folder that somebody else made: names, links and loops in it are not to be trusted.

No symbolic link is followed, no file but regular ones is opened, no folder is entered twice (mount loops), depth and number are bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import WorkflowError

DEEPEST_FOLDER = 32
MOST_FILES = 200_000


@dataclass(frozen=True)
class Found:
    """A regular file, by its path below the folder that was looked through."""

    path: Path
    bytes: int


@dataclass
class Skipped:
    """What was not looked at, counted."""

    links: int = 0
    special: int = 0
    unreadable: int = 0
    too_deep: int = 0


def files_below(folder: Path, skipped: Skipped) -> Iterator[Found]:
    """All regular files below a folder, in the order of their names.

    Raises:
        WorkflowError: WF-060 it is no folder, or cannot be read; WF-061 it holds too many files.
    """
    try:
        top = os.stat(folder)  # noqa: PTH116 - with os.scandir below, one set of system calls
    except OSError as error:
        raise _unreadable() from error
    if not stat.S_ISDIR(top.st_mode):
        raise _unreadable()
    entered: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, int]] = [(folder, 0)]
    number = 0
    while waiting:
        place, depth = waiting.pop()
        folders = []
        for entry, status in _entries(place, entered, skipped):
            if stat.S_ISDIR(status.st_mode):
                if depth < DEEPEST_FOLDER:
                    folders.append((Path(entry.path), depth + 1))
                else:
                    skipped.too_deep += 1
            elif stat.S_ISREG(status.st_mode):
                number += 1
                if number > MOST_FILES:
                    raise WorkflowError(
                        "WF-061", zh=f"文件超过 {MOST_FILES} 个,请分批导入", en=f"more than {MOST_FILES} files: import them in parts"
                    )
                yield Found(Path(entry.path), status.st_size)
            elif stat.S_ISLNK(status.st_mode):
                skipped.links += 1
            else:
                skipped.special += 1
        waiting += reversed(folders)


def _entries(place: Path, entered: set[tuple[int, int]], skipped: Skipped) -> list[tuple[os.DirEntry[str], os.stat_result]]:
    """What lies in a folder, by name; nothing if it was looked at before."""
    found = []
    try:
        itself = os.lstat(place)
        if (itself.st_dev, itself.st_ino) in entered:
            return []
        entered.add((itself.st_dev, itself.st_ino))
        with os.scandir(place) as entries:
            for entry in entries:
                try:
                    found.append((entry, entry.stat(follow_symlinks=False)))
                except OSError:
                    skipped.unreadable += 1
    except OSError:
        skipped.unreadable += 1
    return sorted(found, key=lambda pair: pair[0].name)


def open_regular(path: Path) -> int:
    """A descriptor of a regular file; never waits (a pipe under that name), never follows a link put there meanwhile.

    Raises:
        OSError: it is no regular file, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def _unreadable() -> WorkflowError:
    return WorkflowError("WF-060", zh="无法读取该文件夹", en="the folder cannot be read")
