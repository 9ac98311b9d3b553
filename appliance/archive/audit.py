"""The audit trail: who did what to which study, each entry bound to the one before by its hash.

A changed, removed or inserted entry breaks the chain from there on; entries cut off at the end show in the number that SQLite keeps of the
last one given out. (Whoever can rewrite the whole file can rewrite the whole chain: it shows tampering, it does not prevent it.)
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database

_ORIGIN = "0" * 64


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: what a person or the appliance itself (actor ``coronet``) did."""

    number: int
    at: float
    actor: str
    action: str
    study: str | None
    details: dict[str, Any]


class AuditTrail:
    """Appends to the trail and checks it."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, *, actor: str, action: str, study: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """Append one entry, as a part of the transaction that makes the change (no patient data in ``details``)."""
        text = msgspec.json.encode(dict(details or {}), order="sorted").decode()
        with self._database.transaction() as connection:
            last = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
            number, previous = (1, _ORIGIN) if last is None else (last["number"] + 1, last["hash"])
            at = self._clock.wall()
            connection.execute(
                "INSERT INTO audit (number, at, actor, action, study, details, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (number, at, actor, action, study, text, previous, _digest(number, at, actor, action, study, text, previous)),
            )

    def entries(self, *, study: str | None = None) -> list[AuditEntry]:
        """All entries, or those of one study, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM audit WHERE ? IS NULL OR study = ? ORDER BY number", (study, study))
            return [
                AuditEntry(
                    number=row["number"], at=row["at"], actor=row["actor"], action=row["action"], study=row["study"],
                    details=msgspec.json.decode(row["details"], type=dict[str, Any]),
                )
                for row in rows
            ]  # fmt: skip

    def verify(self) -> int | None:
        """None if the trail is whole, else the number of the first entry that is missing or not as it was written."""
        expected, previous = 1, _ORIGIN
        with self._database.reading() as connection:
            for row in connection.execute("SELECT * FROM audit ORDER BY number"):
                if row["number"] != expected or row["previous"] != previous or row["hash"] != _row_digest(row):
                    return expected
                expected, previous = expected + 1, row["hash"]
            given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
        return expected if given is not None and given["seq"] >= expected else None


def _row_digest(row: sqlite3.Row) -> str:
    return _digest(row["number"], row["at"], row["actor"], row["action"], row["study"], row["details"], row["previous"])


def _digest(*fields: str | float | None) -> str:
    """SHA-256 (hex) of the fields as one JSON array, which keeps their borders."""
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()
