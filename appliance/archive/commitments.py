"""Storage commitment both ways (PS3.4 annex J): what we ask of archives, and what the CT asks of us. All of it survives a restart.

An instance counts as committed by a destination when that destination has said so in an N-EVENT-REPORT. The CT is told so only when the
long-term archive has committed the instance; until then it hears nothing and keeps its images.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.archive.outbox import ALL_COMMITTED, OPEN
from appliance.errors import Reason

NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0112, 0x0119
"""Failure Reason (0008,1197), PS3.3 C.14.1.1."""
FAILURES_PASSED_ON = 2
"""An archive that could not commit gets the instance once more; the CT is told when that did not help either."""
SETTLING_S = 30.0
"""An instance may reach the index a moment after its C-STORE was answered; only after this time is it called unknown."""

NOT_COMMITTED = Reason(
    code="ARC-080", zh="归档未能确认保存,正在重新发送", en="the archive could not commit to some instances; they are sent again"
)


@dataclass(frozen=True)
class Uncommitted:
    """An instance that a destination has accepted and not committed yet; ``failures`` counts how often it said that it could not."""

    row: int
    position: int
    sop_class_uid: str
    sop_instance_uid: str
    failures: int


@dataclass(frozen=True)
class CommitmentItem:
    """One instance of a request; ``outcome`` is None while undecided, 0 if committed, else the Failure Reason."""

    sop_class_uid: str
    sop_instance_uid: str
    outcome: int | None = None


@dataclass(frozen=True)
class CommitmentRequest:
    """What the CT has asked. ``called`` is the AE title by which it knows us."""

    id: int
    transaction_uid: str
    requester: str
    called: str
    received_at: float
    items: tuple[CommitmentItem, ...]

    @property
    def decided(self) -> bool:
        """Whether the outcome of every instance is known."""
        return all(item.outcome is not None for item in self.items)


class Commitments:
    """Rows of storage commitment."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # -- what we ask of archives

    def to_ask(self, destination: str, *, limit: int) -> list[Uncommitted]:
        """Accepted instances that the destination has not been asked about, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT file.* FROM outbox JOIN outbox_files AS file ON file.outbox = outbox.id WHERE outbox.destination = ?"
                " AND outbox.commitment = 1 AND file.accepted = 1 AND file.left_out = 0 AND file.committed = 0 AND file.asked IS NULL"
                " AND file.sop_instance_uid IS NOT NULL ORDER BY outbox.id, file.position LIMIT ?",
                (destination, limit),
            )
            return [
                Uncommitted(row["outbox"], row["position"], row["sop_class_uid"], row["sop_instance_uid"], row["failures"]) for row in rows
            ]

    def asked(self, transaction_uid: str, *, destination: str, items: Sequence[Uncommitted]) -> None:
        """Record a request; committed before it goes out."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO commitments_asked (transaction_uid, destination, asked_at) VALUES (?, ?, ?)",
                (transaction_uid, destination, self._clock.wall()),
            )
            connection.executemany(
                "UPDATE outbox_files SET asked = ? WHERE outbox = ? AND position = ?",
                [(transaction_uid, item.row, item.position) for item in items],
            )

    def forget(self, transaction_uid: str) -> None:
        """No report has come: its instances are asked about again. A report that comes late still counts."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE outbox_files SET asked = NULL WHERE asked = ? AND committed = 0", (transaction_uid,))

    def forget_all(self, destination: str) -> None:
        """At start: whatever was asked is asked again, since nobody knows how long the answer has been due."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE outbox_files SET asked = NULL WHERE committed = 0 AND asked IN"
                " (SELECT transaction_uid FROM commitments_asked WHERE destination = ? AND answered_at IS NULL)",
                (destination,),
            )

    def answered(self, transaction_uid: str) -> bool:
        """Whether a report on that request has come."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT answered_at FROM commitments_asked WHERE transaction_uid = ?", (transaction_uid,)).fetchone()
            return row is not None and row["answered_at"] is not None

    def report(self, transaction_uid: str, *, committed: Sequence[str], failed: Mapping[str, int]) -> bool:
        """Take in an N-EVENT-REPORT; what failed is sent again. False (and nothing done) if no such request was made.

        Args:
            transaction_uid: of the request.
            committed: SOP Instance UIDs.
            failed: SOP Instance UID -> Failure Reason.
        """
        with self._database.transaction() as connection:
            row = connection.execute("SELECT destination FROM commitments_asked WHERE transaction_uid = ?", (transaction_uid,)).fetchone()
            if row is None:
                return False
            connection.execute(
                "UPDATE commitments_asked SET answered_at = ? WHERE transaction_uid = ?", (self._clock.wall(), transaction_uid)
            )
            rows = connection.execute("SELECT DISTINCT outbox FROM outbox_files WHERE asked = ?", (transaction_uid,)).fetchall()
            connection.executemany(
                "UPDATE outbox_files SET committed = 1, asked = NULL WHERE sop_instance_uid = ? AND accepted = 1"
                " AND outbox IN (SELECT id FROM outbox WHERE destination = ?)",
                [(uid, row["destination"]) for uid in committed],
            )
            again = connection.executemany(
                "UPDATE outbox_files SET accepted = 0, asked = NULL, failures = failures + 1, failure_reason = ?"
                " WHERE sop_instance_uid = ? AND asked = ?",
                [(reason, uid, transaction_uid) for uid, reason in failed.items()],
            ).rowcount
            # neither committed nor failed: the report does not speak of it, so it is asked about again
            connection.execute("UPDATE outbox_files SET asked = NULL WHERE asked = ?", (transaction_uid,))
            connection.executemany(
                f"UPDATE outbox SET commitment = {ALL_COMMITTED} WHERE id = ? AND commitment = {OPEN} AND state = 'done' AND NOT EXISTS"  # noqa: S608 - constants
                " (SELECT 1 FROM outbox_files WHERE outbox = outbox.id AND committed = 0 AND left_out = 0)",
                [(number,) for number in {each["outbox"] for each in rows} | _rows_of(connection, committed, row["destination"])],
            )
            if again > 0:
                connection.executemany(
                    "UPDATE outbox SET state = 'retrying', held = 0, next_attempt_at = NULL, last_error = ? WHERE id = ? AND EXISTS"
                    " (SELECT 1 FROM outbox_files WHERE outbox = outbox.id AND accepted = 0)",
                    [(msgspec.json.encode(NOT_COMMITTED), each["outbox"]) for each in rows],
                )
            return True

    # -- what the CT asks of us

    def receive(
        self, transaction_uid: str, *, requester: str, called: str, items: Sequence[tuple[str, str]]
    ) -> Literal["new", "known", "conflict"]:
        """Keep a request for (SOP class UID, SOP instance UID) items; asked again it is known, with other items it is a conflict."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT id FROM commitment_requests WHERE requester = ? AND transaction_uid = ?", (requester, transaction_uid)
            ).fetchone()
            if row is not None:
                kept = [(item.sop_class_uid, item.sop_instance_uid) for item in _items(connection, row["id"])]
                return "known" if kept == list(items) else "conflict"
            cursor = connection.execute(
                "INSERT INTO commitment_requests (transaction_uid, requester, called, received_at) VALUES (?, ?, ?, ?)",
                (transaction_uid, requester, called, self._clock.wall()),
            )
            connection.executemany(
                "INSERT INTO commitment_items (request, position, sop_class_uid, sop_instance_uid) VALUES (?, ?, ?, ?)",
                [(cursor.lastrowid, position, *item) for position, item in enumerate(items)],
            )
        return "new"

    def open_requests(self) -> list[CommitmentRequest]:
        """Requests that have had no report yet, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM commitment_requests WHERE answered_at IS NULL ORDER BY id").fetchall()
            return [
                CommitmentRequest(
                    id=row["id"],
                    transaction_uid=row["transaction_uid"],
                    requester=row["requester"],
                    called=row["called"],
                    received_at=row["received_at"],
                    items=_items(connection, row["id"]),
                )
                for row in rows
            ]

    def decide(self, request: CommitmentRequest, *, archive: str, local: bool, settled: bool) -> CommitmentRequest:
        """Fill in the outcomes that are known by now, and keep them.

        Args:
            request: as it was read.
            archive: the destination whose commitment counts.
            local: the site has decided that having the instance here is enough.
            settled: the request is old enough to call an instance unknown.
        """
        with self._database.reading() as connection:
            outcomes = [
                (_outcome(connection, item, archive=archive, local=local, settled=settled), request.id, position)
                for position, item in enumerate(request.items)
                if item.outcome is None
            ]
        known = [each for each in outcomes if each[0] is not None]
        if not known:
            return request
        with self._database.transaction() as connection:
            connection.executemany("UPDATE commitment_items SET outcome = ? WHERE request = ? AND position = ?", known)
            items = _items(connection, request.id)
        return CommitmentRequest(request.id, request.transaction_uid, request.requester, request.called, request.received_at, items)

    def told(self, request: int) -> None:
        """The requester has had its report."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE commitment_requests SET answered_at = ? WHERE id = ?", (self._clock.wall(), request))


def _rows_of(connection: sqlite3.Connection, uids: Sequence[str], destination: str) -> set[int]:
    """Rows of a destination that hold one of the instances."""
    found: set[int] = set()
    for uid in uids:
        rows = connection.execute(
            "SELECT outbox.id FROM outbox_files AS file JOIN outbox ON outbox.id = file.outbox"
            " WHERE file.sop_instance_uid = ? AND outbox.destination = ?",
            (uid, destination),
        )
        found.update(row["id"] for row in rows)
    return found


def _outcome(connection: sqlite3.Connection, item: CommitmentItem, *, archive: str, local: bool, settled: bool) -> int | None:
    kept = connection.execute(
        # a row whose file is lost (`repair.mark_missing`) is no instance
        "SELECT sop_class_uid FROM instances WHERE sop_instance_uid = ? AND coalesce(CAST(problem AS TEXT), '') NOT LIKE '%ARC-057%'",
        (item.sop_instance_uid,),
    ).fetchone()
    if kept is not None and kept["sop_class_uid"] != item.sop_class_uid:
        return CLASS_CONFLICT
    if kept is not None and local:
        return 0
    rows = connection.execute(
        "SELECT file.sop_class_uid, file.committed, file.failures, file.failure_reason"
        " FROM outbox_files AS file JOIN outbox ON outbox.id = file.outbox"
        " WHERE file.sop_instance_uid = ? AND outbox.destination = ? AND outbox.purpose = 'source' ORDER BY file.committed DESC",
        (item.sop_instance_uid, archive),
    ).fetchall()
    if rows and rows[0]["committed"]:
        return 0 if rows[0]["sop_class_uid"] == item.sop_class_uid else CLASS_CONFLICT
    if kept is None:  # what the archive has committed may have been removed here since, anything else must be here
        return NO_SUCH_INSTANCE if settled else None
    failed = [row for row in rows if row["failures"] >= FAILURES_PASSED_ON]
    return int(failed[0]["failure_reason"]) if failed else None


def _items(connection: sqlite3.Connection, request: int) -> tuple[CommitmentItem, ...]:
    rows = connection.execute("SELECT * FROM commitment_items WHERE request = ? ORDER BY position", (request,))
    return tuple(CommitmentItem(row["sop_class_uid"], row["sop_instance_uid"], row["outcome"]) for row in rows)
