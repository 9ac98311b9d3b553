"""The journal of the spool: what makes an image durable with one flush of the disk, shared by all that wait for it.

A record holds an image whole, and what its index row needs. Records are appended to segments of fixed size that are set aside once and
then used again and again, so that a flush moves the image's own bytes and no metadata of the file system. Whoever comes while a
flush is under way waits for the next one, which then serves all of them (group commit).

Files and index rows follow without a flush of their own; once they are durable too, their records are let go (`release`).
After a crash `records` gives what was not let go; a record cut short by the power fails its checksum and was acknowledged to nobody.

Layout of a record, padded to whole pages so that no page must be read to be written: a head (magic, number, lengths, checksum), the
metadata (JSON), the image. Numbers only grow; in one segment they follow each other without a gap.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.archive.disk import Bytes, Disk
from appliance.archive.files import disk_full_error, is_full, sync_folder
from appliance.errors import ArchiveError

SEGMENT_BYTES = 32 << 20
SEGMENTS = 4
PAGE = 4096
MAGIC = b"CORONETJ"
WAIT_S = 30.0
"""How long an image waits for a segment to be let go before it is refused."""
_HEAD = struct.Struct("<8sQIQ32s")
_CRC = struct.Struct("<L")


@dataclass(frozen=True)
class Record:
    """One image as the journal keeps it.

    Attributes:
        number: place in the order of arrival.
        meta: what the index row needs, as the writer encoded it.
        data: the part 10 file.
    """

    number: int
    meta: bytes
    data: bytes


@dataclass
class _Segment:
    path: Path
    descriptor: int
    last: int = 0
    """Number of its last record; it can be used again once that has been released."""


class Journal:
    """Segments in a folder, for one process.

    Args:
        folder: where the segments lie.
        disk: operations on the disk.
        segment_bytes: size of one segment; a record may take half of it.
        segments: how many there are.

    Raises:
        ArchiveError: there is no room for the segments, or they cannot be opened.
    """

    def __init__(self, folder: Path, *, disk: Disk, segment_bytes: int = SEGMENT_BYTES, segments: int = SEGMENTS) -> None:
        self._folder = folder
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._changed = threading.Condition()
        self._written = self._flushed = self._released = 0
        self._open_records: set[int] = set()
        self._flushing = False
        self._failure: OSError | None = None
        self._at = 0
        self._active = 0
        try:
            self._segments = [self._open(folder / f"journal-{index}") for index in range(segments)]
            sync_folder(folder)
        except OSError as error:
            raise _unwritable(error) from error

    @property
    def largest(self) -> int:
        """Bytes of data that a record may have."""
        return self._segment_bytes // 2

    @property
    def unreleased(self) -> int:
        """Number of the last record written, 0 if all have been let go."""
        with self._changed:
            return self._written if self._written > self._released else 0

    @property
    def releasable(self) -> int:
        """The last record that may be let go now, 0 if there is none: it and all before it are `done` (images overtake each other)."""
        with self._changed:
            last = min(self._open_records, default=self._written + 1) - 1
            return last if last > self._released else 0

    def done(self, numbers: Iterable[int]) -> None:
        """File and row of these records are in their places, or will never be: then nobody was told of a success."""
        with self._changed:
            self._open_records.difference_update(numbers)

    def records(self, *, after: int) -> Iterator[Record]:
        """What the segments hold beyond a record number, in the order of arrival. Before the first `append`."""
        found = [(record.number, index) for index in range(len(self._segments)) for record in self._read(index)]
        self._written = self._flushed = max([after, *(number for number, _ in found)])
        self._released = after
        for number, index in sorted(found):
            self._segments[index].last = max(self._segments[index].last, number)
        for index in sorted({index for number, index in found if number > after}, key=lambda index: self._segments[index].last):
            yield from (record for record in self._read(index) if record.number > after)

    def begin(self, released: int) -> None:
        """Write from here on over what has been let go: all of it, since nothing else is left after a recovery."""
        with self._changed:
            self._written = self._flushed = self._released = max(self._written, released)
            self._active, self._at = 0, 0

    def append(self, meta: Bytes, data: Bytes, *, sha256: bytes) -> int:
        """Put one record on the disk; when this returns its number, it survives a power cut. It is kept until `done` and `release`.

        Args:
            meta: what the index row needs.
            data: the part 10 file.
            sha256: digest of ``data``.

        Raises:
            ArchiveError: status 0xA700, it could not be written, now or earlier: after a failed flush nobody knows what the disk holds.
        """
        size = _padded(_HEAD.size + _CRC.size + len(meta) + len(data))
        with self._changed:
            self._check()
            segment = self._segment_for(size)
            number = self._written + 1
            head = _HEAD.pack(MAGIC, number, len(meta), len(data), sha256)
            crc = _CRC.pack(zlib.crc32(meta, zlib.crc32(head)))
            padding = bytes(size - _HEAD.size - _CRC.size - len(meta) - len(data))
            try:
                self._disk.write(segment.descriptor, (head, crc, meta, data, padding), self._at)
            except OSError as error:
                raise self._broken(error) from error
            self._written = segment.last = number
            self._open_records.add(number)
            self._at += size
            self._flush_to(number)
        return number

    def release(self, number: int) -> None:
        """Files and rows up to a record are durable by themselves: its space may be used again."""
        with self._changed:
            self._released = max(self._released, number)
            self._changed.notify_all()

    def full_before(self, number: int) -> bool:
        """Whether releasing up to a record would free a segment that is waited for, or soon will be."""
        with self._changed:
            return any(self._released < segment.last <= number for index, segment in enumerate(self._segments) if index != self._active)

    def close(self) -> None:
        """Close the segments; whatever has not been released is found again by `records`."""
        with self._changed:
            self._failure = self._failure or OSError("closed")
            while self._flushing:
                self._changed.wait()
        for segment in self._segments:
            self._disk.close(segment.descriptor)

    # -- writing; all of it with the lock held

    def _segment_for(self, size: int) -> _Segment:
        """The segment that the next record goes to, waiting for one to be let go if need be."""
        deadline = time.monotonic() + WAIT_S
        # waiting lets others write: look again after each wait
        while self._at + size > self._segment_bytes:
            following = (self._active + 1) % len(self._segments)
            if self._flushed < self._written:
                self._flush_to(self._written)
            elif self._segments[following].last <= self._released:
                self._active, self._at = following, 0
            elif not self._changed.wait(deadline - time.monotonic()):
                raise ArchiveError(
                    "ARC-025", zh="磁盘写入跟不上,影像未接收", en="the disk does not keep up, the image was not accepted", status=0xA700
                )
            self._check()
        return self._segments[self._active]

    def _flush_to(self, number: int) -> None:
        """Wait until a record is on the disk, flushing for everyone if nobody does."""
        while self._flushed < number:
            self._check()
            if self._flushing:
                self._changed.wait()
                continue
            self._flushing = True
            written, descriptor = self._written, self._segments[self._active].descriptor
            self._changed.release()
            failure: OSError | None = None
            try:
                self._disk.flush(descriptor)
            except OSError as error:
                failure = error
            finally:
                self._changed.acquire()
                self._flushing = False
                self._changed.notify_all()
            if failure is not None:
                raise self._broken(failure) from failure
            self._flushed = max(self._flushed, written)

    def _check(self) -> None:
        if self._failure is not None:
            raise _unwritable(self._failure)

    def _broken(self, error: OSError) -> ArchiveError:
        self._failure = error
        self._changed.notify_all()
        return _unwritable(error)

    # -- opening and reading

    def _open(self, path: Path) -> _Segment:
        """Open a segment, its space set aside."""
        descriptor = self._disk.open(path)
        if os.fstat(descriptor).st_size < self._segment_bytes:
            os.posix_fallocate(descriptor, 0, self._segment_bytes)
            self._disk.flush(descriptor)
        return _Segment(path, descriptor)

    def _read(self, index: int) -> Iterator[Record]:
        """The whole records of a segment from its start on."""
        descriptor, at, previous = self._segments[index].descriptor, 0, 0
        while True:
            head = os.pread(descriptor, _HEAD.size + _CRC.size, at)
            if len(head) < _HEAD.size + _CRC.size or head[:8] != MAGIC:
                return
            _, number, meta_length, data_length, digest = _HEAD.unpack_from(head)
            if (previous and number != previous + 1) or meta_length + data_length > self._segment_bytes:
                return
            body = os.pread(descriptor, meta_length + data_length, at + len(head))
            meta, data = body[:meta_length], body[meta_length:]
            if _CRC.unpack_from(head, _HEAD.size)[0] != zlib.crc32(meta, zlib.crc32(head[: _HEAD.size])):
                return
            if len(data) != data_length or hashlib.sha256(data).digest() != digest:
                return
            yield Record(number, meta, data)
            at, previous = at + _padded(len(head) + len(body)), number


def open_journal(folder: Path, *, disk: Disk, segment_bytes: int, room: Callable[[], int]) -> Journal | None:
    """The journal, or None where the disk has no room for it: images are then made durable one by one.

    Args:
        folder: where the segments lie.
        disk: operations on the disk.
        segment_bytes: size of one segment; 0: no journal.
        room: free bytes of the disk.
    """
    there = all((folder / f"journal-{index}").exists() for index in range(SEGMENTS))
    if not segment_bytes or (not there and room() < 4 * SEGMENTS * segment_bytes):
        return None
    return Journal(folder, disk=disk, segment_bytes=segment_bytes)


def _padded(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _unwritable(error: OSError) -> ArchiveError:
    if is_full(error):
        return disk_full_error()
    return ArchiveError(
        "ARC-024", zh=f"影像日志无法写入:{error}", en=f"the journal of the images cannot be written: {error}", status=0xA700
    )
