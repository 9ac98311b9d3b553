"""Durable files: what has been written here is on the disk when the function returns.

The order is write to ``<name>.part``, fsync, rename, fsync of the folder (a rename alone may be lost with the power).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from appliance.errors import ArchiveError

PART = ".part"


def sync_folder(folder: Path) -> None:
    """Put the entries of a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, each entry durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def write_durably(path: Path, data: bytes | bytearray | memoryview, *, part: Path | None = None) -> None:
    """Write a whole file so that it is either there and whole or not there, whatever happens.

    Args:
        path: where the file shall be; an existing one is replaced.
        data: its content.
        part: name to write under first, in the same folder; ``<path>.part`` if not given.

    Raises:
        OSError: the file could not be written; nothing is left behind.
    """
    part = part or path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_full(error: BaseException) -> bool:
    """Whether the error says that the disk, or the share of it that we may use, is full."""
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    return "full" in str(error)


def disk_full_error() -> ArchiveError:
    """The refusal for want of room: PS3.4 B.2.3 status 0xA700, so that the sender keeps the image and tries again."""
    return ArchiveError(
        "ARC-020",
        zh="磁盘空间不足,未接收影像",
        en="the disk is full, the image was not accepted",
        status=0xA700,
    )
