"""What the spool's files are called, what makes two of them the same, and the lock of the process that holds them."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from typing import IO

from appliance.errors import ArchiveError

Part10 = bytes | bytearray | memoryview


def instance_name(sop_instance_uid: str) -> str:
    """Path of an instance's file below the spool: two hex digits, then the SHA-256 of its UID."""
    digest = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
    return f"{digest[:2]}/{digest}.dcm"


def data_set(part10: Part10) -> memoryview:
    """The data set alone.

    The file meta information (PS3.10 7.1) names the receiver's implementation and peers, so it is no part of what makes two instances
    the same. Its length is in (0002,0000), the first element after the prefix.
    """
    view = memoryview(part10)
    start = 0
    if len(view) >= 144 and bytes(view[128:140]) == b"DICM\x02\x00\x00\x00UL\x04\x00":
        start = 144 + int.from_bytes(view[140:144], "little")
    return view[start:]


def hold_lock(path: Path, *, what: str) -> IO[str]:
    """Take a lock that dies with the process; keep the returned file open as long as it shall be held.

    Raises:
        ArchiveError: another process holds it.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ArchiveError(
            "ARC-003", zh=f"另一个进程正在使用 {what}", en=f"another process uses the {what} already", lock=path.name
        ) from error
    return file
