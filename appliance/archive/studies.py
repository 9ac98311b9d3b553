"""Studies and their numbered events.

`StudyStore.save` is the only way a study changes; it writes the row and its event in one transaction, so that whoever reads an event reads
the row that belongs to it. Which change is allowed is not decided here but in the state table of the workflow.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.archive.found import write_study
from appliance.errors import ArchiveError, Reason
from appliance.study import Approval, StudyHeader
from appliance.worklist import StudyRow, StudyState

EVENTS_KEPT = 10_000


class StudyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A study as the database keeps it; `StudyRow` describes the fields that people see.

    Attributes:
        generation: counts how often images came after the study had been taken as complete; a result belongs to one generation.
        attempts: how often the present piece of work was begun.
        main_series: Series Instance UID of the series that is analysed.
        draft: folder of the present draft, relative to the drafts folder.
    """

    key: str
    study_uid: str
    state: StudyState
    header: StudyHeader
    received_at: float
    updated_at: float
    revision: int = 0
    generation: int = 1
    images: int = 0
    urgent: bool = False
    attempts: int = 0
    stage: str | None = None
    progress: float | None = None
    cad_rads: str | None = None
    reason: Reason | None = None
    approval: Approval | None = None
    main_series: str | None = None
    draft: str | None = None

    def row(self, *, undo_seconds: float | None = None) -> StudyRow:
        """The line of the worklist."""
        return StudyRow(
            key=self.key,
            state=self.state,
            revision=self.revision,
            header=self.header,
            images=self.images,
            received_at=self.received_at,
            updated_at=self.updated_at,
            urgent=self.urgent,
            stage=self.stage,
            progress=self.progress,
            cad_rads=self.cad_rads,
            reason=self.reason,
            approval=self.approval,
            undo_seconds=undo_seconds,
        )


def study_key(study_uid: str) -> str:
    """The name of a study in folders, logs and the API: 16 hex digits of the SHA-256 of its UID."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:16]


class StudyStore:
    """Rows of the studies and the numbered events of their changes."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, header: StudyHeader) -> StudyRecord:
        """Begin a study in state ``receiving``.

        Raises:
            ArchiveError: there is one with that Study Instance UID.
        """
        now = self._clock.wall()
        record = StudyRecord(
            key=study_key(header.study_uid), study_uid=header.study_uid, state="receiving", header=header, received_at=now, updated_at=now
        )
        with self._database.transaction() as connection:
            try:
                connection.execute(f"INSERT INTO studies ({_COLUMNS}) VALUES ({_VALUES})", _parameters(record))  # noqa: S608 - constants
            except sqlite3.IntegrityError as error:
                raise ArchiveError("ARC-011", zh="检查已存在", en="the study exists already") from error
            _write_found(connection, record)
            connection.execute("INSERT INTO study_events (study) VALUES (?)", (record.key,))
        return record

    def save(self, record: StudyRecord) -> StudyRecord:
        """Write all fields of a study that exists, and one event; returns it with the new time of change.

        Raises:
            ArchiveError: no such study.
        """
        record = msgspec.structs.replace(record, updated_at=self._clock.wall())
        with self._database.transaction() as connection:
            cursor = connection.execute(f"UPDATE studies SET {_ASSIGNMENTS} WHERE key = :key", _parameters(record))  # noqa: S608 - constants
            if cursor.rowcount != 1:
                raise _unknown(record.key)
            _write_found(connection, record)
            connection.execute("INSERT INTO study_events (study) VALUES (?)", (record.key,))
            connection.execute("DELETE FROM study_events WHERE number <= (SELECT max(number) FROM study_events) - ?", (EVENTS_KEPT,))
        return record

    def get(self, key: str) -> StudyRecord:
        """The study with that key.

        Raises:
            ArchiveError: no such study.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM studies WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise _unknown(key)
        return _record(row)

    def find(self, study_uid: str) -> StudyRecord | None:
        """The study with that Study Instance UID, if there is one."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM studies WHERE study_uid = ?", (study_uid,)).fetchone()
        return None if row is None else _record(row)

    def report_progress(self, key: str, *, generation: int, stage: str, progress: float) -> bool:
        """Note how far the analysis has come; False (and nothing noted) if the study is no longer being worked on for that generation."""
        with self._database.transaction():
            record = self.get(key)
            if record.state not in {"analysing", "approved"} or record.generation != generation:
                return False
            self.save(msgspec.structs.replace(record, stage=stage, progress=progress))
            return True

    def refresh_search(self) -> int:
        """Bring the search index up to date with the studies, those from before there was one; returns how many there are."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM studies WHERE key NOT IN (SELECT study FROM found_studies)")
            records = [_record(row) for row in rows]
            for record in records:
                _write_found(connection, record)
        return len(records)

    def rows(self, keys: Sequence[str]) -> list[StudyRecord]:
        """The studies with these keys, in their order; one that is gone is left out."""
        marks = ", ".join("?" * len(keys))
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT * FROM studies WHERE key IN ({marks})", tuple(keys))  # noqa: S608 - only marks
            found = {row["key"]: _record(row) for row in rows}
        return [found[key] for key in keys if key in found]

    def in_state(self, *states: StudyState) -> list[StudyRecord]:
        """All studies in one of the states: urgent ones first, then by arrival."""
        marks = ", ".join("?" * len(states))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM studies WHERE state IN ({marks}) ORDER BY urgent DESC, received_at, rowid",  # noqa: S608 - only marks
                states,
            )
            return [_record(row) for row in rows]

    def latest(self, *, limit: int) -> list[StudyRecord]:
        """The studies that arrived last, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM studies ORDER BY received_at DESC, rowid DESC LIMIT ?", (limit,))
            return [_record(row) for row in rows]

    def last_event(self) -> int:
        """Number of the last event; 0 before the first."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'study_events'").fetchone()
        return 0 if row is None else int(row["seq"])

    def events_after(self, number: int) -> list[tuple[int, StudyRecord]] | None:
        """The changes after an event: for each study that changed, the number of its last event, and its row as it is now.

        Returns:
            None if some of the events after ``number`` are no longer kept, or ``number`` has not happened yet: ask for a snapshot.
        """
        with self._database.reading() as connection:
            last = self.last_event()
            first = connection.execute("SELECT min(number) AS number FROM study_events").fetchone()["number"]
            if number > last or (number < last and (first is None or number < first - 1)):
                return None
            rows = connection.execute(
                "SELECT max(event.number) AS number, studies.* FROM study_events AS event JOIN studies ON studies.key = event.study"
                " WHERE event.number > ? GROUP BY event.study ORDER BY max(event.number)",
                (number,),
            )
            return [(row["number"], _record(row)) for row in rows]


_FIELDS = tuple(field.name for field in msgspec.structs.fields(StudyRecord))
_COLUMNS = ", ".join(_FIELDS)
_VALUES = ", ".join(f":{name}" for name in _FIELDS)
_ASSIGNMENTS = ", ".join(f"{name} = :{name}" for name in _FIELDS if name not in {"key", "study_uid", "received_at"})
_JSON: dict[str, type[Any]] = {"header": StudyHeader, "reason": Reason, "approval": Approval}


def _parameters(record: StudyRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _FIELDS}
    for name in _JSON:
        values[name] = None if values[name] is None else msgspec.json.encode(values[name])
    values["urgent"] = int(record.urgent)
    return values


def _record(row: sqlite3.Row) -> StudyRecord:
    values = {name: row[name] for name in _FIELDS}
    for name, kind in _JSON.items():
        values[name] = None if values[name] is None else msgspec.json.decode(values[name], type=kind)
    values["urgent"] = bool(values["urgent"])
    return StudyRecord(**values)


def _write_found(connection: sqlite3.Connection, record: StudyRecord) -> None:
    write_study(connection, key=record.key, state=record.state, urgent=record.urgent, received_at=record.received_at, header=record.header)


def _unknown(key: str) -> ArchiveError:
    return ArchiveError("ARC-010", zh="没有此检查", en="there is no such study", study=key)
