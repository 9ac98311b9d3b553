"""Times that a lost clock has written, put right once the clock is: what came in "1970" would else count as the oldest of all.

Retention removes the oldest first and asks how many days a study has been here; the worklist shows when it came. The true time is not
known any more; the moment at which the clock was put right is the latest that it can have been, so nothing is removed too early. The audit
trail is a chain and stays as it was written.
"""

from __future__ import annotations

from appliance.archive.database import Database

_TIMES = (("studies", "received_at"), ("studies", "updated_at"), ("found_studies", "received_at"), ("instances", "received_at"))


def redate(database: Database, *, before: float, now: float) -> int:
    """Give what was received before a time that cannot be the time ``now``; how many studies that were.

    Args:
        database: of the archive.
        before: no true time of this box lies before it; seconds since the epoch.
        now: the time, from a clock that is right.
    """
    with database.transaction() as connection:
        keys = [row["key"] for row in connection.execute("SELECT key FROM studies WHERE received_at < ?", (before,))]
        for table, column in _TIMES:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {column} < ?", (now, before))  # noqa: S608 - only names of ours
        connection.executemany("INSERT INTO study_events (study) VALUES (?)", [(key,) for key in keys])
    return len(keys)
