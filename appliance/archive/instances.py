"""The spool: instance files, and the promise behind a C-STORE success.

Order of one store: write ``.part``, fsync, rename, fsync of the folder, one database transaction, then the reply. A crash before the
transaction leaves at most a file that was never acknowledged; `Spool.recover` sweeps or adopts it at the next start. Files lie under
``spool/<2 hex>/<sha256 of the SOP Instance UID>.dcm``: no name comes from what a peer sent.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import re
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

import pydicom
from pydicom.errors import InvalidDicomError

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.archive.files import PART, disk_full_error, is_full, make_folder, sync_folder, write_durably
from appliance.archive.sameness import same_instance
from appliance.errors import ArchiveError

Part10 = bytes | bytearray | memoryview
Stored = Literal["stored", "duplicate"]
Outcome = Literal["released", "aborted", "lost"]

STATUS_INVALID_UID = 0x0117
"""PS3.7 9.1.1.1.9: invalid SOP instance."""
STATUS_CONFLICT = 0xC111
"""PS3.4 B.2.3 class C (error: cannot understand): the UID is taken by other content. It is no A7xx status (out of resources), which would
make the sender try again for ever, and no success, since what was sent is not what is kept."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")


class InstanceStore(Protocol):
    """What the receiver needs of the archive."""

    def association_opened(self, *, peer: str, calling_ae: str, called_ae: str) -> int:
        """Record a new association; its number goes with every `store`."""
        ...

    def association_closed(self, association: int, *, outcome: Outcome, instances: int) -> None:
        """Record its end (released by the peer, aborted by either side, or lost) and how many instances it brought."""
        ...

    def store(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, part10: Part10, association: int | None
    ) -> Stored:
        """Keep one instance, durably before the return; ``ArchiveError.details["status"]`` is the DICOM status of a refusal."""
        ...

    def free_bytes(self) -> int:
        """Room left on the disk of the spool."""
        ...


@dataclass(frozen=True)
class Recovery:
    """What `Spool.recover` found: unfinished files removed, whole files taken in, files that cannot be, rows without their file."""

    swept: int
    adopted: int
    foreign: tuple[Path, ...]
    missing: tuple[str, ...]


class Spool:
    """The `InstanceStore` of the product. One process at a time may hold it.

    Args:
        database: the archive's database.
        root: folder of the instance files.
        clock: wall time of the records.
        minimum_free_bytes: with less room than this on the disk, images are refused with status 0xA700.
        series_reserve_bytes: with less than this on top of it a new association is refused, so that no series breaks off in the middle.

    Raises:
        ArchiveError: another process holds the spool.
    """

    def __init__(self, *, database: Database, root: Path, clock: Clock, minimum_free_bytes: int, series_reserve_bytes: int = 0) -> None:
        self._database = database
        self._root = root
        self._clock = clock
        self._minimum_free_bytes = minimum_free_bytes
        self._series_reserve_bytes = series_reserve_bytes
        self._parts = itertools.count()
        # two associations may bring the same instance at the same moment; one lock per first byte of the name keeps them apart
        self._locks = [threading.Lock() for _ in range(256)]
        make_folder(root)
        self._held = hold_lock(root / "receiver.lock", what="spool")
        for byte in range(256):
            (root / f"{byte:02x}").mkdir(exist_ok=True)
        sync_folder(root)

    def close(self) -> None:
        """Let another process have the spool."""
        self._held.close()

    def association_opened(self, *, peer: str, calling_ae: str, called_ae: str) -> int:
        """Record a new association; its number goes with every `store`.

        Raises:
            ArchiveError: status 0xA700, there is no room for a whole series: better refused before its first image than in the middle.
        """
        if self.free_bytes() < self._minimum_free_bytes + self._series_reserve_bytes:
            raise disk_full_error()
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO associations (calling_ae_title, called_ae_title, peer, opened_at) VALUES (?, ?, ?, ?)",
                (calling_ae, called_ae, peer, self._clock.wall()),
            )
            return int(cursor.lastrowid or 0)

    def association_closed(self, association: int, *, outcome: Outcome, instances: int) -> None:
        """Record its end; a second call changes nothing."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE associations SET closed_at = ?, outcome = ?, instances = ? WHERE id = ? AND closed_at IS NULL",
                (self._clock.wall(), outcome, instances, association),
            )

    def store(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, part10: Part10, association: int | None
    ) -> Stored:
        """Keep one instance; when this returns, file and row are on the disk.

        Args:
            sop_class_uid: Affected SOP Class UID of the request.
            sop_instance_uid: Affected SOP Instance UID of the request.
            transfer_syntax_uid: syntax of the accepted presentation context.
            part10: the whole file (PS3.10): preamble, file meta information, data set.
            association: number from `association_opened`.

        Returns:
            ``"duplicate"`` if the same data set is kept already, whatever its encoding and file meta information.

        Raises:
            ArchiveError: with ``details["status"]`` 0x0117 (the UID is none), 0xC111 (the UID is taken by another data set; the first
                one is kept) or 0xA700 (no room, or the database cannot be written).
        """
        if len(sop_instance_uid) > 64 or not _UID.match(sop_instance_uid):
            raise ArchiveError("ARC-021", zh="SOP 实例 UID 无效", en="the SOP Instance UID is not valid", status=STATUS_INVALID_UID)
        content = content_digest(part10)
        with self._locks[int(instance_name(sop_instance_uid)[:2], 16)]:
            kept = self._kept(sop_instance_uid)
            path = self.path(sop_instance_uid)
            if kept is not None and path.exists():
                if kept["content_sha256"] == content or same_instance(path, part10):
                    return "duplicate"
                raise ArchiveError(
                    "ARC-022",
                    zh="已存有相同 UID 而内容不同的影像,保留先到者",
                    en="an instance with this UID and other content is kept already; the first one stays",
                    status=STATUS_CONFLICT,
                )
            if self.free_bytes() < self._minimum_free_bytes:
                raise disk_full_error()
            row = _Row(
                sop_instance_uid, sop_class_uid, transfer_syntax_uid, hashlib.sha256(part10).hexdigest(), content, len(part10), association
            )
            self._write(row, part10)
            return "stored"

    def free_bytes(self) -> int:
        """Room left on the disk of the spool, in bytes."""
        room = os.statvfs(self._root)
        return room.f_bavail * room.f_frsize

    def path(self, sop_instance_uid: str) -> Path:
        """Where the file of an instance lies."""
        return self._root / instance_name(sop_instance_uid)

    def remove(self, sop_instance_uid: str) -> bool:
        """Remove the file of an instance whose row has gone (`removals`); False, with nothing done, if the instance has come again.

        No store of the same instance runs meanwhile: from the writing of its file to its row it holds the same lock.
        """
        with self._locks[int(instance_name(sop_instance_uid)[:2], 16)]:
            if self._kept(sop_instance_uid) is not None:
                return False
            self.path(sop_instance_uid).unlink(missing_ok=True)
            return True

    def recover(self) -> Recovery:
        """Bring files and rows together after a crash; call it before the first association.

        Unfinished files are removed, whole files without a row (renamed, but the power went before the commit) are taken in, associations
        left open are closed as lost. Nothing that has a row is touched; rows whose file is missing are reported.
        """
        with self._database.transaction() as connection:
            connection.execute("UPDATE associations SET closed_at = ?, outcome = 'lost' WHERE closed_at IS NULL", (self._clock.wall(),))
            uids = {instance_name(row["sop_instance_uid"]): row["sop_instance_uid"] for row in connection.execute(_ALL_UIDS)}
        swept = adopted = 0
        foreign: list[Path] = []
        for path in sorted(self._root.glob("[0-9a-f][0-9a-f]/*")):
            if path.name.endswith(PART):
                path.unlink()
                swept += 1
            elif f"{path.parent.name}/{path.name}" not in uids:
                orphan = self._orphan(path)
                if orphan is None:
                    foreign.append(path)
                else:
                    self._insert(orphan)
                    adopted += 1
        missing = tuple(uid for name, uid in uids.items() if not (self._root / name).exists())
        return Recovery(swept=swept, adopted=adopted, foreign=tuple(foreign), missing=missing)

    def _kept(self, sop_instance_uid: str) -> sqlite3.Row | None:
        with self._database.reading() as connection:
            row: sqlite3.Row | None = connection.execute(
                "SELECT content_sha256 FROM instances WHERE sop_instance_uid = ?", (sop_instance_uid,)
            ).fetchone()
            return row

    def _write(self, row: _Row, part10: Part10) -> None:
        path = self.path(row.sop_instance_uid)
        try:
            write_durably(path, memoryview(part10), part=path.with_name(f"{path.stem}.{next(self._parts)}{PART}"))
        except OSError as error:
            path.unlink(missing_ok=True)  # it may have got its name before the folder could not be written
            if is_full(error):
                raise disk_full_error() from error
            raise ArchiveError("ARC-023", zh=f"无法写入影像:{error}", en=f"an image cannot be written: {error}", status=0xA700) from error
        try:
            self._insert(row)
        except ArchiveError:
            # the sender is told that it failed, so the file must go; should that fail too, the next start adopts it, which harms nobody
            path.unlink(missing_ok=True)
            raise

    def _insert(self, row: _Row) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO instances (sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256, content_sha256, bytes, association,"
                " received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (sop_instance_uid) DO UPDATE SET sha256 = excluded.sha256, content_sha256 = excluded.content_sha256,"
                " bytes = excluded.bytes",
                (
                    row.sop_instance_uid, row.sop_class_uid, row.transfer_syntax_uid, row.sha256, row.content, row.bytes, row.association,
                    self._clock.wall(),
                ),
            )  # fmt: skip

    def _orphan(self, path: Path) -> _Row | None:
        """The row that a file without one should have; None if the file is not a whole instance at its own place."""
        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            uid, sop_class, syntax = (str(meta[keyword].value) for keyword in _META)
            data = path.read_bytes()
        except (OSError, InvalidDicomError, KeyError, EOFError, ValueError, AttributeError):
            return None
        if instance_name(uid) != f"{path.parent.name}/{path.name}":
            return None
        return _Row(uid, sop_class, syntax, hashlib.sha256(data).hexdigest(), content_digest(data), len(data), None)


@dataclass(frozen=True)
class _Row:
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    content: str
    bytes: int
    association: int | None


_ALL_UIDS = "SELECT sop_instance_uid FROM instances"
_META = ("MediaStorageSOPInstanceUID", "MediaStorageSOPClassUID", "TransferSyntaxUID")


def instance_name(sop_instance_uid: str) -> str:
    """Path of an instance's file below the spool: two hex digits, then the SHA-256 of its UID."""
    digest = hashlib.sha256(sop_instance_uid.encode()).hexdigest()
    return f"{digest[:2]}/{digest}.dcm"


def content_digest(part10: Part10) -> str:
    """SHA-256 (hex) of the data set alone.

    The file meta information (PS3.10 7.1) names the receiver's implementation and peers, so it is no part of what makes two instances
    the same. Its length is in (0002,0000), the first element after the prefix.
    """
    view = memoryview(part10)
    start = 0
    if len(view) >= 144 and bytes(view[128:140]) == b"DICM\x02\x00\x00\x00UL\x04\x00":
        start = 144 + int.from_bytes(view[140:144], "little")
    return hashlib.sha256(view[start:]).hexdigest()


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
