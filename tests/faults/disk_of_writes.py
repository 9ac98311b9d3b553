"""A disk that remembers each write and each flush: a FUSE file system with one file, for a loop device to lie on.

Run as ``python -m tests.faults.disk_of_writes MOUNTPOINT BYTES LOG``. The kernel's own file system (ext4) is made on that file, so what is
recorded is what reaches the disk, in its order, with the flushes that its journal and our fsyncs cause. The log is written before a request
is answered. Protocol: linux/fuse.h, version 7.31, of which a loop device needs a dozen requests.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 38, 42
ROOT, FILE = 1, 2
MAXIMUM_WRITE = 128 << 10
BIG_WRITES = 1 << 5
WRITTEN, FLUSHED = 1, 2
IN, OUT, RECORD = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ"), struct.Struct("<BQI")


class DiskOfWrites:
    """Serves one FUSE connection.

    Args:
        descriptor: of /dev/fuse, mounted.
        size: of the file in bytes.
        log: where writes and flushes are recorded.
    """

    def __init__(self, descriptor: int, size: int, log: Path) -> None:
        self._descriptor = descriptor
        self._content = bytearray(size)
        self._log = log.open("wb", buffering=0)

    def serve(self) -> None:
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = os.read(self._descriptor, MAXIMUM_WRITE + 8192)
            except InterruptedError:
                continue
            except OSError:
                return
            _, opcode, unique, node, *_ = IN.unpack_from(request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            body = self._answer(opcode, node, request[IN.size :])
            error, data = (-body, b"") if isinstance(body, int) else (0, body)
            os.write(self._descriptor, OUT.pack(OUT.size + len(data), error, unique) + data)
            if opcode == DESTROY:
                return

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 131072, BIG_WRITES, 16, 12, MAXIMUM_WRITE, 1, 0, 0, 0)
        if opcode == LOOKUP:
            return struct.pack("<QQQQII", FILE, 0, 3600, 3600, 0, 0) + self._attributes(FILE) if body == b"disk\0" else errno.ENOENT
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes(node)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return bytes(self._content[offset : offset + size])
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = body[40 : 40 + size]
            self._content[offset : offset + size] = data
            self._log.write(RECORD.pack(WRITTEN, offset, size) + data)
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            self._log.write(RECORD.pack(FLUSHED, 0, 0))
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII24x", len(self._content) // 4096, 0, 0, 2, 0, 4096, 255, 4096, 0)
        return b"" if opcode in (RELEASE, RELEASEDIR, FLUSH, READDIR, DESTROY) else errno.ENOSYS

    def _attributes(self, node: int) -> bytes:
        size, mode = (len(self._content), 0o100600) if node == FILE else (0, 0o040755)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def mount(target: Path) -> int:
    """Mount the file system of this process; its descriptor.

    Raises:
        OSError: not allowed here.
    """
    descriptor = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"disk-of-writes", str(target).encode(), b"fuse", 0, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor


def read_log(log: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Each record: where it ends in the log, its kind, the offset on the disk, the data."""
    at = 0
    while at + RECORD.size <= len(log):
        kind, offset, size = RECORD.unpack_from(log, at)
        at += RECORD.size + size
        yield at, kind, offset, log[at - size : at]


if __name__ == "__main__":
    disk = DiskOfWrites(mount(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3]))
    sys.stdout.write("mounted\n")
    sys.stdout.flush()
    disk.serve()
