"""Every operation of the store path on the disk, as one collaborator: tests stop the power between any two of them (``tests/faults``)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

Bytes = bytes | bytearray | memoryview


class Disk:
    """The machine's own file system. Descriptors are plain file descriptors; every method may raise OSError."""

    def create(self, path: Path) -> int:
        """Open a new or emptied file for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)

    def open(self, path: Path) -> int:
        """Open a file for reading and writing in place, making it if it is not there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, parts: Sequence[Bytes], at: int) -> None:
        """Write all parts one after the other from an offset on; in the page cache only."""
        views = [memoryview(part) for part in parts if len(part)]
        while views:
            done = os.pwritev(descriptor, views, at)
            at += done
            while views and done >= len(views[0]):
                done -= len(views.pop(0))
            if views:
                views[0] = views[0][done:]

    def flush(self, descriptor: int) -> None:
        """Put the content of a file, and the size it needs to be read, on the disk."""
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        os.close(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its name; not on the disk before `flush_all`."""
        os.replace(old, new)  # noqa: PTH105 - one system call, no Path in between

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        path.unlink(missing_ok=True)

    def flush_all(self, folder: Path) -> None:
        """Put everything of the file system that holds ``folder`` on the disk: contents, names and folders (syncfs(2))."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
