"""The outbox: what has to reach a printer or a PACS, kept until it has.

One row is one piece of work for one destination: a set of instances to store, or the pages of one film session. What happened to each file
is kept with the file (sent, accepted, committed), so that a retry sends only what was not accepted. A row is ``done`` when all of it was
accepted; it is settled when, besides, a destination that offers storage commitment (PS3.4 annex J) has committed all of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import Reason
from appliance.worklist import DeliveryRow

Kind = Literal["store", "print"]
Purpose = Literal["results", "source"]
State = Literal["pending", "sending", "done", "retrying"]

MAYBE_PRINTED = Reason(
    code="ARC-040",
    zh="打印被中断,胶片可能已打印;请核对打印机后点“重试”",
    en="printing was interrupted, the films may be out already; look at the printer, then press retry",
)

OPEN, ALL_COMMITTED = 1, 2
"""Column ``commitment`` of a row: 0 where it is not offered. Only open ones are looked at when there is something to ask."""
_UNCOMMITTED = (
    "(commitment = 1 AND EXISTS (SELECT 1 FROM outbox_files AS file WHERE file.outbox = outbox.id AND file.committed = 0"
    " AND file.left_out = 0))"
)
"""Of a row of the outbox."""


@dataclass(frozen=True)
class OutboxFile:
    """One file of a row; ``path`` is relative to the data folder."""

    path: str
    accepted: bool = False
    status: int | None = None
    sent: bool = False
    """The destination has answered to it, whatever it said."""
    committed: bool = False
    left_out: bool = False
    """The treatment of the route did not let it go; nothing is owed for it any more."""


class FileAnswer(NamedTuple):
    """What came of one file in one try; the UIDs are those that went out."""

    accepted: bool
    status: int | None
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None
    left_out: bool = False


@dataclass(frozen=True)
class OutboxRow:
    """One piece of work. ``held`` rows wait for a person.

    Attributes:
        route: the route that sends it; None for films.
        treatment: what the route does to each file on the way (JSON), fixed when the row is made; None: the file goes as it is.
        urgent: goes before others to the same destination.
        commitment: the destination offers storage commitment.
    """

    id: int
    study: str
    generation: int
    destination: str
    kind: Kind
    purpose: Purpose
    description: str
    state: State
    attempts: int
    next_attempt_at: float | None
    held: bool
    last_error: Reason | None
    files: tuple[OutboxFile, ...]
    route: str | None = None
    treatment: bytes | None = None
    urgent: bool = False
    commitment: bool = False

    def delivery(self) -> DeliveryRow:
        """The row as a person sees it."""
        return DeliveryRow(
            id=self.id,
            destination=self.destination,
            kind=self.kind,
            description=self.description,
            state=self.state,
            attempts=self.attempts,
            last_error=self.last_error,
            next_attempt_at=self.next_attempt_at,
            route=self.route,
            files=len(self.files),
            sent=sum(file.sent for file in self.files),
            accepted=sum(file.accepted and not file.left_out for file in self.files),
            committed=sum(file.committed for file in self.files) if self.commitment else None,
            left_out=sum(file.left_out for file in self.files),
        )


class Outbox:
    """Rows of the outbox. Times of the next attempt are for display: the worker's own monotonic clock decides."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        *,
        study: str,
        generation: int,
        destination: str,
        kind: Kind,
        purpose: Purpose,
        description: str,
        files: Sequence[str],
        route: str | None = None,
        treatment: bytes | None = None,
        urgent: bool = False,
        commitment: bool = False,
    ) -> int:
        """Enlist one piece of work; ``files`` are paths relative to the data folder, for the rest see `OutboxRow`. Returns its number."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO outbox (study, generation, destination, kind, purpose, description, state, attempts, created_at, held, route,"
                " treatment, urgent, commitment) VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?, 0, ?, ?, ?, ?)",
                (
                    study, generation, destination, kind, purpose, description, self._clock.wall(), route, treatment, int(urgent),
                    int(commitment),
                ),
            )  # fmt: skip
            number = int(cursor.lastrowid or 0)
            connection.executemany(
                "INSERT INTO outbox_files (outbox, position, path, accepted, status) VALUES (?, ?, ?, 0, NULL)",
                [(number, position, path) for position, path in enumerate(files)],
            )
        return number

    def resume(self) -> int:
        """At start: rows that were being sent when the process ended. Returns how many.

        A store goes again at once: storing the same SOP instance twice is harmless (PS3.4 B.2.3). A print may be out of
        the printer already; it is held, visibly, until a person says that it shall go again, since nobody would know which of two films is
        the right one.
        """
        with self._database.transaction() as connection:
            stores = connection.execute("UPDATE outbox SET state = 'retrying' WHERE state = 'sending' AND kind = 'store'").rowcount
            prints = connection.execute(
                "UPDATE outbox SET state = 'retrying', held = 1, next_attempt_at = NULL, last_error = ? WHERE state = 'sending'",
                (msgspec.json.encode(MAYBE_PRINTED),),
            ).rowcount
        return stores + prints

    def waiting_for(self, destination: str) -> list[OutboxRow]:
        """Rows of a destination that are neither done nor held, without their files: urgent ones first, then the oldest."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM outbox WHERE destination = ? AND state <> 'done' AND held = 0 ORDER BY urgent DESC, id", (destination,)
            )
            return [_row(row, ()) for row in rows]

    def get(self, number: int) -> OutboxRow:
        """The row with that number.

        Raises:
            KeyError: no such row.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM outbox WHERE id = ?", (number,)).fetchone()
            if row is None:
                raise KeyError(number)
            return _with_files(connection, row)

    def of_study(self, study: str) -> list[OutboxRow]:
        """All rows of a study, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM outbox WHERE study = ? ORDER BY id", (study,)).fetchall()
            return [_with_files(connection, row) for row in rows]

    def undelivered(self, study: str, *, generation: int) -> int:
        """How many rows with results of that generation are not done."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*) AS number FROM outbox WHERE study = ? AND generation = ? AND purpose = 'results' AND state <> 'done'",
                (study, generation),
            ).fetchone()
            return int(row["number"])

    def unsettled(self, study: str) -> int:
        """How many rows of a study, of any generation, still need its files: not delivered, or not committed where that is offered."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT count(*) AS number FROM outbox WHERE study = ? AND (state <> 'done' OR {_UNCOMMITTED})",  # noqa: S608 - a constant
                (study,),
            ).fetchone()
            return int(row["number"])

    def offer_commitment(self, destination: str, *, offered: bool) -> None:
        """At start: take over what the settings say of a destination. What was settled without commitment stays so."""
        unfinished = f"commitment <> {OPEN} AND state <> 'done'" if offered else "commitment <> 0"
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE outbox SET commitment = ? WHERE destination = ? AND kind = 'store' AND {unfinished}",  # noqa: S608 - constants
                (int(offered), destination),
            )

    def begin(self, number: int) -> None:
        """The row is being sent from now on; committed before the first byte goes out."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE outbox SET state = 'sending', attempts = attempts + 1, next_attempt_at = NULL WHERE id = ?", (number,)
            )

    def answered(self, number: int, *, answers: Mapping[str, FileAnswer | tuple[bool, int | None]]) -> None:
        """Record what the destination said to each file: path -> answer, its status None if there was none."""
        said = [(path, FileAnswer(*answer)) for path, answer in answers.items()]
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE outbox_files SET accepted = max(accepted, ?), status = ?, sent = max(sent, ?), left_out = ?,"
                " sop_class_uid = coalesce(?, sop_class_uid), sop_instance_uid = coalesce(?, sop_instance_uid)"
                " WHERE outbox = ? AND path = ?",
                [
                    (
                        each.accepted, each.status, each.status is not None, each.left_out, each.sop_class_uid, each.sop_instance_uid,
                        number, path,
                    )
                    for path, each in said
                ],
            )  # fmt: skip

    def done(self, number: int, *, warning: Reason | None = None) -> None:
        """The destination has accepted all of the row."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE outbox_files SET accepted = 1, sent = max(sent, NOT left_out) WHERE outbox = ?", (number,))
            connection.execute(
                "UPDATE outbox SET state = 'done', done_at = ?, next_attempt_at = NULL, last_error = ? WHERE id = ?",
                (self._clock.wall(), None if warning is None else msgspec.json.encode(warning), number),
            )

    def failed(self, number: int, *, reason: Reason, wait_s: float | None) -> None:
        """It did not work: try again after ``wait_s`` seconds, or hold the row for a person if None."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE outbox SET state = 'retrying', held = ?, next_attempt_at = ?, last_error = ? WHERE id = ?",
                (int(wait_s is None), None if wait_s is None else self._clock.wall() + wait_s, msgspec.json.encode(reason), number),
            )

    def resend(self, study: str) -> int:
        """A person asks: rows of a study that wait (held ones too) shall go at once; returns how many there were."""
        with self._database.transaction() as connection:
            return connection.execute(
                "UPDATE outbox SET state = 'pending', held = 0, next_attempt_at = NULL WHERE study = ? AND state = 'retrying'", (study,)
            ).rowcount

    def send_again(self, numbers: Sequence[int]) -> None:
        """A person asks: rows that are done go once more, those that wait at once. Nothing of what goes once more counts as accepted."""
        marks = [(number,) for number in numbers]
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE outbox_files SET accepted = 0, sent = 0, status = NULL, left_out = 0, committed = 0, asked = NULL, failures = 0"
                " WHERE outbox = (SELECT id FROM outbox WHERE id = ? AND state = 'done')",
                marks,
            )
            connection.executemany(
                "UPDATE outbox SET state = 'pending', held = 0, next_attempt_at = NULL, last_error = NULL, done_at = NULL,"
                " commitment = min(commitment, 1) WHERE id = ? AND state IN ('done', 'retrying')",
                marks,
            )

    def unreachable(self, known: Sequence[str], *, reason: Reason) -> int:
        """Mark rows for destinations that are not among the known ones; returns how many. They go when their destination is back."""
        marks = ", ".join("?" * len(known))
        with self._database.transaction() as connection:
            return connection.execute(
                f"UPDATE outbox SET state = 'retrying', next_attempt_at = NULL, last_error = ?"  # noqa: S608 - only marks
                f" WHERE state <> 'done' AND held = 0 AND destination NOT IN ({marks})",
                (msgspec.json.encode(reason), *known),
            ).rowcount


def _with_files(connection: sqlite3.Connection, row: sqlite3.Row) -> OutboxRow:
    files = connection.execute("SELECT * FROM outbox_files WHERE outbox = ? ORDER BY position", (row["id"],))
    return _row(row, tuple(_file(file) for file in files))


def _file(row: sqlite3.Row) -> OutboxFile:
    return OutboxFile(
        path=row["path"],
        accepted=bool(row["accepted"]),
        status=row["status"],
        sent=bool(row["sent"]),
        committed=bool(row["committed"]),
        left_out=bool(row["left_out"]),
    )


def _row(row: sqlite3.Row, files: tuple[OutboxFile, ...]) -> OutboxRow:
    return OutboxRow(
        id=row["id"],
        study=row["study"],
        generation=row["generation"],
        destination=row["destination"],
        kind=row["kind"],
        purpose=row["purpose"],
        description=row["description"],
        state=row["state"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        held=bool(row["held"]),
        last_error=None if row["last_error"] is None else msgspec.json.decode(row["last_error"], type=Reason),
        files=files,
        route=row["route"],
        treatment=row["treatment"],
        urgent=bool(row["urgent"]),
        commitment=bool(row["commitment"]),
    )
