"""Snapshots of the database, taken while it is used: the newest whole one replaces a database that cannot be repaired.

A snapshot is a consistent copy (SQLite's backup interface), checked before it takes its name, with a description beside it: number,
time, version of its shape, size and SHA-256. Numbers only grow, so a clock that was set back confuses nothing. A database that fails its
check gives no snapshot, and no good snapshot goes to make room for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.components import ComponentStore
from appliance.archive.files import PART, is_full, make_folder, sync_folder, write_durably
from appliance.archive.outbox import MAYBE_PRINTED
from appliance.errors import ArchiveError, Reason

log = logging.getLogger(__name__)

COMPONENT = "snapshots"
LOOK_EVERY_S = 300.0
_NAME = re.compile(r"coronet-([0-9]{8})\.json\Z")
CHUNK = 1 << 20

DAMAGED = Reason(
    code="ARC-058",
    zh="数据库自检发现损坏,请重启设备以自动修复",
    en="the check found damage in the database, restart the appliance to repair it",
)


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a snapshot. ``created_at`` is in seconds since the epoch."""

    number: int
    created_at: float
    schema: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """One snapshot on the disk."""

    path: Path
    description: Description


def snapshots(folder: Path) -> list[Snapshot]:
    """The snapshots in a folder, the newest first; one without a readable description does not count."""
    found = []
    for path in folder.glob("coronet-*.json") if folder.is_dir() else ():
        match = _NAME.match(path.name)
        if match is None:
            continue
        try:
            description = msgspec.json.decode(path.read_bytes(), type=Description)
        except (OSError, msgspec.DecodeError):
            continue
        found.append(Snapshot(path.with_suffix(".db"), description))
    return sorted(found, key=lambda each: each.description.number, reverse=True)


def take_snapshot(database: Path, folder: Path, *, now: float, keep: int) -> Snapshot:
    """Copy the database as it is now, check the copy, and let the oldest snapshots go.

    Args:
        database: the file; others may write to it meanwhile.
        folder: of the snapshots.
        now: seconds since the epoch.
        keep: how many snapshots stay.

    Raises:
        ArchiveError: ARC-058 the copy is damaged, so the database is; ARC-059 it cannot be written.
    """
    known = snapshots(folder)
    number = known[0].description.number + 1 if known else 1
    path = folder / f"coronet-{number:08d}.db"
    part = path.with_name(path.name + PART)
    try:
        make_folder(folder)
        for left in folder.glob("*" + PART):
            left.unlink()
        schema = _copy(database, part)
        description = Description(number=number, created_at=now, schema=schema, bytes=part.stat().st_size, sha256=file_digest(part))
        part.replace(path)
        sync_folder(folder)
        write_durably(path.with_suffix(".json"), msgspec.json.encode(description))
        for old in snapshots(folder)[keep:]:
            old.path.with_suffix(".json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
    except (OSError, sqlite3.OperationalError) as error:
        en = "the disk is full" if is_full(error) else type(error).__name__
        raise ArchiveError("ARC-059", zh=f"无法写入数据库快照:{en}", en=f"no snapshot of the database could be written: {en}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return Snapshot(path, description)


def whole_snapshot(snapshot: Snapshot) -> bool:
    """Whether a snapshot is what its description says, and a sound database."""
    try:
        if file_digest(snapshot.path) != snapshot.description.sha256:
            return False
        with closing(sqlite3.connect(f"file:{snapshot.path}?mode=ro", uri=True)) as connection:
            return sound(connection)
    except (OSError, sqlite3.DatabaseError):
        return False


def sound(connection: sqlite3.Connection) -> bool:
    """Whether SQLite finds nothing wrong with a database (``PRAGMA integrity_check``)."""
    return [row[0] for row in connection.execute("PRAGMA integrity_check(10)")] == ["ok"]


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place_database(source: Path, target: Path, *, of_earlier: bool = False) -> None:
    """Put a copy of a database file in the place of another, durably; nobody may have either open.

    The log of the old one goes first: SQLite would apply it to the new one.

    Args:
        source: the copy.
        target: the database.
        of_earlier: it speaks of an earlier time, so that what it says is still to do may have been done since.
    """
    part = target.with_name(target.name + PART)
    shutil.copyfile(source, part)
    if of_earlier:
        _take_back(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    sync_folder(target.parent)
    part.replace(target)
    sync_folder(target.parent)


class SnapshotKeeper:
    """Takes a snapshot now and then; one thread of the coordinator calls `run`.

    Args:
        database: the file.
        folder: of the snapshots.
        clock: times of the snapshots.
        components: where the operator is told that it does not work.
        hours: how often.
        keep: how many stay.
    """

    def __init__(self, *, database: Path, folder: Path, clock: Clock, components: ComponentStore, hours: float, keep: int) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock
        self._components = components
        self._hours = hours
        self._keep = keep

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        while not stop.wait(LOOK_EVERY_S):
            self.step()

    def step(self) -> bool:
        """Take a snapshot if one is due; whether one was taken."""
        newest = next(iter(snapshots(self._folder)), None)
        # a clock that was set back must not put the next one off for long
        if newest is not None and abs(self._clock.wall() - newest.description.created_at) < self._hours * 3600:
            return False
        try:
            take_snapshot(self._database, self._folder, now=self._clock.wall(), keep=self._keep)
        except ArchiveError as error:
            log.error("no snapshot: %s", error)  # noqa: TRY400 - the typed error says it all
            self._components.report(COMPONENT, ready=False, reason=error.reason)
            return False
        self._components.report(COMPONENT, ready=True)
        return True


def _copy(database: Path, part: Path) -> int:
    """Copy in one step, which no writer can make begin again; returns the version of the shape."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as source, closing(sqlite3.connect(part)) as target:
        try:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, not three
            good = sound(target)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise _damaged() from error
        if not good:
            raise _damaged()
        schema = int(target.execute("PRAGMA user_version").fetchone()[0])
    with part.open("rb") as file:
        os.fsync(file.fileno())
    return schema


def _take_back(database: Path) -> None:
    """Take back what must not be done a second time: an image on the list of removals may have come again, a film may have been printed."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "removals" in tables:
            connection.execute("DELETE FROM removals WHERE kind = 'image'")
        if "outbox" in tables:
            connection.execute(
                "UPDATE outbox SET state = 'retrying', held = 1, next_attempt_at = NULL, last_error = ?"
                " WHERE kind = 'print' AND state <> 'done'",
                (msgspec.json.encode(MAYBE_PRINTED),),
            )


def _damaged() -> ArchiveError:
    return ArchiveError(DAMAGED.code, zh=DAMAGED.zh, en=DAMAGED.en)
