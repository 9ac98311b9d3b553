"""What each process says of itself, for the health strip: ready or not, a short word (the engine's name), and why not."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import Reason


@dataclass(frozen=True)
class Component:
    """The last word of one process."""

    ready: bool
    detail: str
    reason: Reason | None


class ComponentStore:
    """Rows of the processes."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def report(self, name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        """Record the state of one process; the newest replaces the one before."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO components (name, ready, detail, reason, updated_at) VALUES (?, ?, ?, ?, ?)",
                (name, int(ready), detail, None if reason is None else msgspec.json.encode(reason), self._clock.wall()),
            )

    def forget_peers(self) -> None:
        """At start, before anybody reports: a peer that the settings no longer name must not be shown as down for ever."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM components WHERE name LIKE 'destination %' OR name LIKE 'priors %' OR name IN ('worklist', 'ris')"
            )

    def get(self, name: str) -> Component:
        """The last word of a process; not ready if it never said anything."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM components WHERE name = ?", (name,)).fetchone()
        if row is None:
            return Component(ready=False, detail="", reason=None)
        reason = None if row["reason"] is None else msgspec.json.decode(row["reason"], type=Reason)
        return Component(ready=bool(row["ready"]), detail=row["detail"], reason=reason)

    def troubles(self) -> list[Reason]:
        """Why parts of the appliance are not ready, the analyst first, then by name."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT reason FROM components WHERE ready = 0 AND reason IS NOT NULL ORDER BY name <> 'analyst', name"
            ).fetchall()
        return list(dict.fromkeys(msgspec.json.decode(row["reason"], type=Reason) for row in rows))
