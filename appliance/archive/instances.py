"""The spool: instance files, and the promise behind a C-STORE success.

Order of one store: write ``.part`` (page cache), put the whole image into the journal with one flush, rename, queue the index row, then the
reply. What the power takes from file or row the journal gives back at the next start (`Spool.recover`). An image too large for the journal,
or on a disk without room for one, is made durable by itself: write, fsync, rename, fsync of the folder, one database transaction.
Files lie under ``spool/<2 hex>/<sha256 of the SOP Instance UID>.dcm``: no name comes from what a peer sent.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.archive.disk import Disk
from appliance.archive.files import PART, disk_full_error, is_full, make_folder, sync_folder, write_durably
from appliance.archive.instance_files import Part10, data_set, hold_lock, instance_name
from appliance.archive.journal import SEGMENT_BYTES, Journal, open_journal
from appliance.archive.registrar import AssociationEnd, AssociationRow, InstanceRow, Registrar, release, write_entry
from appliance.archive.sameness import same_instance
from appliance.errors import ArchiveError

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

    def settle(self) -> None:
        """Wait until the rows of all instances stored so far can be seen in the database."""
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
        disk: operations on the disk; the machine's own if not given.
        segment_bytes: size of a segment of the journal.
        series_reserve_bytes: with less than this on top of it a new association is refused, so that no series breaks off in the middle.

    Raises:
        ArchiveError: another process holds the spool.
    """

    def __init__(
        self,
        *,
        database: Database,
        root: Path,
        clock: Clock,
        minimum_free_bytes: int,
        series_reserve_bytes: int = 0,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._database = database
        self._root = root
        self._clock = clock
        self._minimum_free_bytes = minimum_free_bytes
        self._series_reserve_bytes = series_reserve_bytes
        self._disk = disk or Disk()
        self._parts = itertools.count()
        # two associations may bring the same instance at the same moment; one lock per first byte of the name keeps them apart
        self._locks = [threading.Lock() for _ in range(256)]
        self._opening = threading.Lock()
        self._recovered = False
        self._associations: dict[int, AssociationRow] = {}
        self._last_association: int | None = None
        make_folder(root)
        self._held = hold_lock(root / "receiver.lock", what="spool")
        for byte in range(256):
            (root / f"{byte:02x}").mkdir(exist_ok=True)
        sync_folder(root)
        self._journal: Journal | None = open_journal(root, disk=self._disk, segment_bytes=segment_bytes, room=self.free_bytes)
        self._registrar = Registrar(database=database, journal=self._journal, disk=self._disk, root=root)

    def close(self) -> None:
        """Put everything on the disk and let another process have the spool."""
        self._registrar.close()
        if self._journal is not None:
            self._journal.close()
        self._held.close()

    def association_opened(self, *, peer: str, calling_ae: str, called_ae: str) -> int:
        """Record a new association; its number goes with every `store`.

        Raises:
            ArchiveError: status 0xA700, there is no room for a whole series: better refused before its first image than in the middle.
        """
        if self.free_bytes() < self._minimum_free_bytes + self._series_reserve_bytes:
            raise disk_full_error()
        with self._opening:
            if self._last_association is None:
                with self._database.reading() as connection:
                    self._last_association = int(connection.execute("SELECT coalesce(max(id), 0) FROM associations").fetchone()[0])
            self._last_association += 1
            row = AssociationRow(self._last_association, calling_ae, called_ae, peer, self._clock.wall())
            self._associations[row.id] = row
        self._registrar.put(row)
        return row.id

    def association_closed(self, association: int, *, outcome: Outcome, instances: int) -> None:
        """Record its end, after the rows of all its instances; a second call changes nothing."""
        self._associations.pop(association, None)
        self._registrar.put(AssociationEnd(association, self._clock.wall(), outcome, instances))

    def store(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, part10: Part10, association: int | None
    ) -> Stored:
        """Keep one instance; when this returns, it survives a power cut, file and row alike.

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
        self._make_ready()
        with self._locks[int(instance_name(sop_instance_uid)[:2], 16)]:
            kept = self._kept(sop_instance_uid)
            path = self.path(sop_instance_uid)
            if kept is not None and path.exists():
                if data_set(path.read_bytes()) == data_set(part10) or same_instance(path, part10):
                    return "duplicate"
                raise ArchiveError(
                    "ARC-022",
                    zh="已存有相同 UID 而内容不同的影像,保留先到者",
                    en="an instance with this UID and other content is kept already; the first one stays",
                    status=STATUS_CONFLICT,
                )
            if self.free_bytes() < self._minimum_free_bytes:
                raise disk_full_error()
            opened = self._associations.get(association) if association is not None else None
            row = InstanceRow(
                sop_instance_uid, sop_class_uid, transfer_syntax_uid, hashlib.sha256(part10).hexdigest(), len(part10),
                self._clock.wall(), association, opened,
            )  # fmt: skip
            if self._journal is None or len(part10) > self._journal.largest:
                self._write(row, part10)
            else:
                self._journalise(self._journal, row, part10)
            return "stored"

    def settle(self) -> None:
        """Wait until the rows of all instances stored so far can be seen in the database.

        Raises:
            ArchiveError: they cannot be written now; the journal keeps them.
        """
        self._registrar.settle()

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

        What the journal still holds is put in its place, unfinished files are removed, whole files without a row (renamed, but the power
        went before the commit) are taken in, associations left open are closed as lost. Nothing that has a row is touched; rows whose
        file is missing are reported.
        """
        self.settle()
        adopted = self._replay()
        with self._database.transaction() as connection:
            connection.execute("UPDATE associations SET closed_at = ?, outcome = 'lost' WHERE closed_at IS NULL", (self._clock.wall(),))
            uids = {instance_name(row["sop_instance_uid"]): row["sop_instance_uid"] for row in connection.execute(_ALL_UIDS)}
        swept = 0
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

    def _make_ready(self) -> None:
        """Nothing may be written over what the journal still holds."""
        if not self._recovered:
            with self._opening:
                self._replay()
        if self._registrar.problem is not None:
            raise self._registrar.problem

    def _replay(self) -> int:
        """Give back what the power took: files and rows of the journal's records that were not let go; returns how many were missing."""
        journal = self._journal
        if self._recovered or journal is None:
            self._recovered = True
            return 0
        with self._database.reading() as connection:
            done = connection.execute("SELECT released FROM journal").fetchone()
            gone = {row["name"] for row in connection.execute("SELECT name FROM removals WHERE kind = 'image'")}
        released, rows, missing = (0 if done is None else int(done["released"])), [], 0
        for record in journal.records(after=released):
            row = msgspec.json.decode(record.meta, type=InstanceRow)
            kept = self._kept(row.sop_instance_uid)
            if kept not in (None, row.sha256) or row.sop_instance_uid in gone:
                continue
            path = self.path(row.sop_instance_uid)
            whole = path.exists() and path.stat().st_size == row.bytes and hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
            if not whole:
                self._disk.rename(self._put_part(path, record.data), path)
            missing += kept is None or not whole
            rows.append(row)
        with self._database.transaction() as connection:
            for row in rows:
                write_entry(connection, row)
        last = max(journal.unreleased, released)
        if last > released:
            release(self._database, self._disk, self._root, last)
        journal.begin(last)
        self._recovered = True
        return missing

    def _kept(self, sop_instance_uid: str) -> str | None:
        """Digest of the file that is kept under a UID."""
        pending = self._registrar.pending(sop_instance_uid)
        if pending is not None:
            return pending.sha256
        with self._database.reading() as connection:
            row: sqlite3.Row | None = connection.execute(
                "SELECT sha256 FROM instances WHERE sop_instance_uid = ?", (sop_instance_uid,)
            ).fetchone()
            return None if row is None else str(row["sha256"])

    def _put_part(self, path: Path, part10: Part10) -> Path:
        """Write an unfinished file beside its place; without a flush."""
        part = path.with_name(f"{path.stem}.{next(self._parts)}{PART}")
        try:
            descriptor = self._disk.create(part)
            try:
                self._disk.write(descriptor, (part10,), 0)
            finally:
                self._disk.close(descriptor)
        except OSError:
            self._disk.remove(part)
            raise
        return part

    def _journalise(self, journal: Journal, row: InstanceRow, part10: Part10) -> None:
        """One flush for the image, shared with whoever waits at the same time; its file and row follow without one."""
        path = self.path(row.sop_instance_uid)
        try:
            part = self._put_part(path, part10)
        except OSError as error:
            raise _unwritable(error) from error
        try:
            number = journal.append(msgspec.json.encode(row), part10, sha256=bytes.fromhex(row.sha256))
        except ArchiveError:
            self._disk.remove(part)
            raise
        try:
            self._disk.rename(part, path)
        except OSError as error:
            journal.done([number])
            raise _unwritable(error) from error
        self._registrar.put(row, record=number)

    def _write(self, row: InstanceRow, part10: Part10) -> None:
        path = self.path(row.sop_instance_uid)
        try:
            write_durably(path, memoryview(part10), part=path.with_name(f"{path.stem}.{next(self._parts)}{PART}"))
        except OSError as error:
            path.unlink(missing_ok=True)  # it may have got its name before the folder could not be written
            raise _unwritable(error) from error
        try:
            self._insert(row)
        except ArchiveError:
            # the sender is told that it failed, so the file must go; should that fail too, the next start adopts it, which harms nobody
            path.unlink(missing_ok=True)
            raise

    def _insert(self, row: InstanceRow) -> None:
        with self._database.transaction() as connection:
            write_entry(connection, row)

    def _orphan(self, path: Path) -> InstanceRow | None:
        """The row that a file without one should have; None if the file is not a whole instance at its own place."""
        import pydicom  # here, so that an archive can be opened before it is read in

        try:
            meta = pydicom.filereader.read_file_meta_info(path)
            uid, sop_class, syntax = (str(meta[keyword].value) for keyword in _META)
            data = path.read_bytes()
        except (OSError, pydicom.errors.InvalidDicomError, KeyError, EOFError, ValueError, AttributeError):
            return None
        if instance_name(uid) != f"{path.parent.name}/{path.name}":
            return None
        digest = hashlib.sha256(data).hexdigest()
        return InstanceRow(uid, sop_class, syntax, digest, len(data), self._clock.wall())


_ALL_UIDS = "SELECT sop_instance_uid FROM instances"
_META = ("MediaStorageSOPInstanceUID", "MediaStorageSOPClassUID", "TransferSyntaxUID")


def _unwritable(error: OSError) -> ArchiveError:
    if is_full(error):
        return disk_full_error()
    return ArchiveError("ARC-023", zh=f"无法写入影像:{error}", en=f"an image cannot be written: {error}", status=0xA700)
