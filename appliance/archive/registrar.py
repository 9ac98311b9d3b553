"""The index rows of acknowledged images: written behind the receiver's back, many in one transaction.

The journal has made an image durable before its row is queued here, so these transactions need no flush, and an image need not wait until
another process lets go of the database. Before the journal lets go of its records, files and rows are flushed once for all of them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.archive.database import Database
from appliance.archive.disk import Disk
from appliance.archive.journal import Journal
from appliance.errors import ArchiveError

BATCH = 256
IDLE_S = 2.0
"""Silence after which the journal lets go of everything."""
RETRY_S = 0.5

log = logging.getLogger(__name__)


class InstanceRow(msgspec.Struct, frozen=True, array_like=True):
    """One row of the table ``instances``, and of the association that brought it; also the metadata of a journal record."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    bytes: int
    received_at: float
    association: int | None = None
    opened: AssociationRow | None = None


class AssociationRow(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an association when it opens."""

    id: int
    calling_ae: str
    called_ae: str
    peer: str
    opened_at: float


@dataclass(frozen=True)
class AssociationEnd:
    """How an association ended."""

    id: int
    closed_at: float
    outcome: str
    instances: int


Entry = InstanceRow | AssociationRow | AssociationEnd


def write_entry(connection: sqlite3.Connection, entry: Entry) -> None:
    """Write one entry; doing it again changes nothing."""
    if isinstance(entry, AssociationRow):
        connection.execute(
            "INSERT OR IGNORE INTO associations (id, calling_ae_title, called_ae_title, peer, opened_at) VALUES (?, ?, ?, ?, ?)",
            (entry.id, entry.calling_ae, entry.called_ae, entry.peer, entry.opened_at),
        )
    elif isinstance(entry, AssociationEnd):
        connection.execute(
            "UPDATE associations SET closed_at = ?, outcome = ?, instances = ? WHERE id = ? AND closed_at IS NULL",
            (entry.closed_at, entry.outcome, entry.instances, entry.id),
        )
    else:
        if entry.opened is not None:
            write_entry(connection, entry.opened)
        connection.execute(
            "INSERT INTO instances (sop_instance_uid, sop_class_uid, transfer_syntax_uid, sha256, bytes, association,"
            " received_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (sop_instance_uid) DO UPDATE SET sha256 = excluded.sha256,"
            " bytes = excluded.bytes, transfer_syntax_uid = excluded.transfer_syntax_uid,"
            # an image whose file had been lost has come again
            " problem = CASE WHEN CAST(problem AS TEXT) LIKE '%ARC-057%' THEN NULL ELSE problem END",
            (
                entry.sop_instance_uid, entry.sop_class_uid, entry.transfer_syntax_uid, entry.sha256, entry.bytes,
                entry.association, entry.received_at,
            ),
        )  # fmt: skip


class Registrar:
    """A thread that writes entries in the order in which they were queued.

    Args:
        database: the archive's database.
        journal: told what it may let go of; None where there is none.
        disk: operations on the disk.
        root: folder of the instance files.
    """

    def __init__(self, *, database: Database, journal: Journal | None, disk: Disk, root: Path) -> None:
        self._database = database
        self._journal = journal
        self._disk = disk
        self._root = root
        self._changed = threading.Condition()
        self._queue: deque[tuple[Entry, int]] = deque()
        self._pending: dict[str, InstanceRow] = {}
        self._problem: ArchiveError | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> ArchiveError | None:
        """Why the last transaction failed; None once one has succeeded."""
        return self._problem

    def put(self, entry: Entry, *, record: int = 0) -> None:
        """Queue an entry; ``record`` is its number in the journal."""
        with self._changed:
            if isinstance(entry, InstanceRow):
                self._pending[entry.sop_instance_uid] = entry
            self._queue.append((entry, record))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def pending(self, sop_instance_uid: str) -> InstanceRow | None:
        """The row of an instance if it is still on its way to the database."""
        with self._changed:
            return self._pending.get(sop_instance_uid)

    def settle(self) -> None:
        """Wait until every entry queued so far is in the database.

        Raises:
            ArchiveError: the database cannot be written; the entries stay queued.
        """
        with self._changed:
            while self._queue:
                if self._problem is not None:
                    raise self._problem
                self._changed.wait()

    def close(self) -> None:
        """Write what is queued, flush it, and end the thread; what cannot be written the journal brings back at the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    # -- the thread

    def _run(self) -> None:
        # the journal, not this connection, makes the rows durable
        while not self._attempt(self._database.relax):
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, RETRY_S):
                    return
        while True:
            with self._changed:
                idle = not self._queue and not self._changed.wait_for(lambda: bool(self._queue) or self._stopping, IDLE_S)
                batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
                stopping = self._stopping
            if batch and not self._attempt(lambda: self._write(batch)):  # noqa: B023 - called at once
                if stopping:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, RETRY_S)
                continue
            if self._journal is not None and (idle or stopping or self._journal.full_before(self._journal.releasable)):
                self._attempt(self._release)
            if stopping and not self._queue:
                return

    def _attempt(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except (ArchiveError, OSError, sqlite3.Error) as error:
            problem = error if isinstance(error, ArchiveError) else _failed(error)
            if self._problem is None:
                log.error("index rows wait: %s", problem.code, extra={"event": "registrar.problem"})  # noqa: TRY400
            with self._changed:
                self._problem = problem
                self._changed.notify_all()
            return False
        with self._changed:
            self._problem = None
            self._changed.notify_all()
        return True

    def _write(self, batch: list[tuple[Entry, int]]) -> None:
        with self._database.transaction() as connection:
            for entry, _ in batch:
                write_entry(connection, entry)
        if self._journal is not None:
            self._journal.done(record for _, record in batch)
        with self._changed:
            for entry, _ in batch:
                self._queue.popleft()
                if isinstance(entry, InstanceRow) and self._pending.get(entry.sop_instance_uid) is entry:
                    del self._pending[entry.sop_instance_uid]
            self._changed.notify_all()

    def _release(self) -> None:
        """Flush files and rows, then let the journal use their space again."""
        # an image whose row is not queued yet may have a lower number than one whose row is written: its record must stay
        if self._journal is not None and (done := self._journal.releasable):
            release(self._database, self._disk, self._root, done)
            self._journal.release(done)


def release(database: Database, disk: Disk, root: Path, number: int) -> None:
    """Put files and rows on the disk, then record durably that the journal is not needed up to a record."""
    disk.flush_all(root)
    with database.durable() as connection:
        connection.execute(
            "INSERT INTO journal (id, released) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET released = excluded.released", (number,)
        )


def _failed(error: Exception) -> ArchiveError:
    return ArchiveError("ARC-026", zh=f"影像索引无法写入:{error}", en=f"the index of the images cannot be written: {error}", status=0xA700)
