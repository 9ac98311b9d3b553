"""The database looked at without touching it: read only, never migrated, whether the daemon runs or not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import ArchiveError, Reason

TIMEOUT_S = 10.0


class DatabaseView:
    """Read-only questions to ``coronet.db`` of a data folder.

    Args:
        data: the data folder.
    """

    def __init__(self, data: Path) -> None:
        self.path = data / "coronet.db"

    def damage(self) -> str | None:
        """What SQLite finds wrong with the file; None if nothing. Raises ArchiveError ARC-001 if it cannot be read at all."""
        answer = str(self._rows("PRAGMA quick_check(1)")[0][0])
        return None if answer == "ok" else answer

    def components(self) -> dict[str, tuple[bool, str, Reason | None]]:
        """Last word of each component: ready, detail, reason."""
        rows = self._rows("SELECT name, ready, detail, reason FROM components")
        return {row[0]: (bool(row[1]), row[2], None if row[3] is None else msgspec.json.decode(row[3], type=Reason)) for row in rows}

    def counts(self, statement: str) -> dict[str, int]:
        """Label -> number, of a statement that selects the two."""
        return {str(row[0]): int(row[1]) for row in self._rows(statement)}

    def texts(self, statement: str) -> list[str]:
        """The first column of every row, as text; bytes as UTF-8."""
        return [row[0].decode("utf-8", "replace") if isinstance(row[0], bytes) else str(row[0]) for row in self._rows(statement)]

    def tables(self) -> set[str]:
        """Names of the tables."""
        return set(self.texts("SELECT name FROM sqlite_master WHERE type = 'table'"))

    def _rows(self, statement: str) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=TIMEOUT_S)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise ArchiveError("ARC-001", zh=f"数据库无法使用:{error}", en=f"the database cannot be used: {error}") from error
