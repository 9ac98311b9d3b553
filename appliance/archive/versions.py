"""The database across an update and the way back from it.

Before a new version changes the shape of the database it takes a snapshot of it as the former version left it (``versions/`` beside the
daily ones, so that those never push it out). When the former version runs again and finds a shape newer than it knows, it puts the newest
whole snapshot of a shape that it does know in its place; what was there is kept. Images received meanwhile are on the disk and are taken in
again (`Spool.recover`); approvals, corrections, deliveries and people of that time are lost, and the operator is told since when.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from appliance.archive.backup import Snapshot, place_database, snapshots, take_snapshot, whole_snapshot
from appliance.archive.migrations import MIGRATIONS

log = logging.getLogger(__name__)

FOLDER = "versions"
KEPT = 3
"""Shapes of the database change seldom; two updates back is further than a box ever goes."""


def shape_of(path: Path) -> int | None:
    """The version of a database's shape; None where there is no database, or none that can be read."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return None


def keep_former(path: Path, folder: Path, *, now: float, newest: int = len(MIGRATIONS)) -> Snapshot | None:
    """Take a snapshot if this software is about to change the shape of the database; None if it is not.

    Args:
        path: the database; nobody else may have it open.
        folder: of the daily snapshots.
        now: seconds since the epoch.
        newest: the shape that this software wants.

    Raises:
        ArchiveError: ARC-058, ARC-059: there is none, so the shape must not be changed; the former version still works with it.
    """
    shape = shape_of(path)
    if shape is None or not 0 < shape < newest:
        return None
    log.info("the database goes from shape %d to %d; a snapshot is kept", shape, newest)
    return take_snapshot(path, folder / FOLDER, now=now, keep=KEPT)


def former_database(folder: Path, *, newest: int = len(MIGRATIONS)) -> Snapshot | None:
    """The snapshot to go back to: the newest whole one of a shape that this software knows."""
    known = [each for place in (folder, folder / FOLDER) for each in snapshots(place) if 0 < each.description.schema <= newest]
    of_this_time = sorted(known, key=lambda each: (each.description.created_at, each.description.number), reverse=True)
    return next((each for each in of_this_time if whole_snapshot(each)), None)


def go_back(path: Path, snapshot: Snapshot | None) -> None:
    """Put a snapshot in the place of a database of a newer shape; without one an empty database will be begun."""
    if snapshot is not None:
        place_database(snapshot.path, path, of_earlier=True)
        return
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
