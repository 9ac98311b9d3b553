"""The check of the database at start, and what is done when it fails; nothing is given up silently.

A database of a newer version of this software goes back to the former shape's last snapshot (`versions`). Otherwise, in this order: indexes
that do not fit their tables are built anew, from tables that can be read whole; else the newest whole snapshot takes the database's place;
else an empty one does. What was there stays in ``damaged/``. Images that the database then does not know are taken in again from the spool
(`Spool.recover`), and the operator is told what happened and from when on records may be missing, until a person says that it was read.

`open_repaired` is how the coordinator opens the archive.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

import msgspec

from appliance.archive.archive import Archive, open_archive
from appliance.archive.backup import Snapshot, place_database, snapshots, sound, whole_snapshot
from appliance.archive.clock import Clock
from appliance.archive.database import migrate
from appliance.archive.files import make_folder, sync_folder
from appliance.archive.instance_files import hold_lock
from appliance.archive.migrations import MIGRATIONS
from appliance.archive.versions import former_database, go_back, keep_former, shape_of
from appliance.errors import ArchiveError, Reason
from appliance.settings import Settings

log = logging.getLogger(__name__)

COMPONENT = "database"
DAMAGED_KEPT = 3
ALONE_S = 10.0
"""How long a receiver that is still there may take to end."""
DERIVED = "found_"
"""Tables that are made again from others."""
PROGRESS_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock."""
MISSING = Reason(code="ARC-057", zh="影像文件丢失,请重新发送", en="the file of the image is missing, send it again")

Outcome = Literal["whole", "damaged", "unfinished", "absent"]
How = Literal["reindexed", "restored", "anew", "former"]


@dataclass(frozen=True)
class Repair:
    """What was done to a damaged database.

    Attributes:
        problems: what SQLite found, the first few.
        snapshot: the one that took its place.
        kept: where the damaged files lie; None if there were none.
    """

    how: How
    problems: tuple[str, ...]
    snapshot: Snapshot | None
    kept: Path | None

    @property
    def reason(self) -> Reason:
        """What the operator reads."""
        if self.how == "reindexed":
            return Reason(
                code="ARC-053",
                zh="数据库索引曾损坏,已重建,数据完整",
                en="indexes of the database were damaged and built anew, no data lost",
            )
        if self.how == "former":
            return self._former_reason
        if self.snapshot is not None:
            at = datetime.fromtimestamp(self.snapshot.description.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
            return Reason(
                code="ARC-054",
                zh=f"数据库曾损坏,已恢复至 {at} 的快照;影像已重新登记,此后的审核与发送记录可能缺失,请核对",
                en=f"the database was damaged and restored as of {at}; images were taken in again, later approvals and deliveries"
                " may be missing: please check",
            )
        return Reason(
            code="ARC-055",
            zh="数据库曾损坏且无可用快照,已新建;影像已重新登记,用户与历史记录丢失,请重新设置用户",
            en="the database was damaged and there was no snapshot: a new one was begun; images were taken in again, users and history"
            " are lost: add the users again",
        )

    @property
    def _former_reason(self) -> Reason:
        """After a way back to a former version of the software."""
        if self.snapshot is None:
            return Reason(
                code="ARC-069",
                zh="软件已退回旧版本,新数据库无法读取且无旧版快照,已新建数据库;影像已重新登记,用户与历史记录丢失,请重新设置用户",
                en="the software went back to an older version that cannot read the newer database, and there was no snapshot of the older"
                " shape: a new one was begun; images were taken in again, users and history are lost: add the users again",
            )
        at = datetime.fromtimestamp(self.snapshot.description.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return Reason(
            code="ARC-068",
            zh=f"软件已退回旧版本,数据库恢复至 {at}(更新之前);影像已重新登记,此后的审核、修改、发送记录及新增用户丢失,请核对",
            en=f"the software went back to an older version, the database to {at}, before the update; images were taken in again, but"
            " approvals, corrections, deliveries and people since then are lost: please check",
        )


def open_repaired(settings: Settings, *, clock: Clock) -> Archive:
    """Check the database, repair it if need be, and open the archive. Nobody else may have it open.

    Raises:
        ArchiveError: another process uses it, or it still cannot be used.
    """
    data = settings.data
    folder = settings.backup.folder or data / "snapshots"
    try:
        make_folder(data)
        with closing(hold_lock(data / "daemon.lock", what="daemon")):
            repair = repair_database(data, snapshot_folder=folder, limit_s=settings.backup.check_limit_s, now=clock.wall())
            keep_former(data / "coronet.db", folder, now=clock.wall())
    except OSError as error:
        raise ArchiveError(
            "ARC-056", zh=f"数据目录无法写入:{error.strerror}", en=f"the data folder cannot be written: {error.strerror}"
        ) from error
    archive = open_archive(data, clock=clock)
    if repair is not None:
        log.error("the database was damaged: %s (%s)", repair.how, "; ".join(repair.problems))
        archive.audit.record(
            actor="coronet",
            action="database-repaired",
            details={"how": repair.how, "code": repair.reason.code, "kept": repair.kept is not None},
        )
        archive.components.report(COMPONENT, ready=False, reason=repair.reason)
    return archive


def check_database(path: Path, *, limit_s: float, monotonic: Callable[[], float] = time.monotonic) -> tuple[Outcome, tuple[str, ...]]:
    """Whether a database is sound: first its pages, then its indexes against its tables, in the time given.

    Returns:
        the outcome and the first problems; ``unfinished``: nothing was found in that time.
    """
    if not path.exists() or not path.stat().st_size:
        return "absent", ()
    deadline = monotonic() + limit_s
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            connection.set_progress_handler(lambda: int(monotonic() > deadline), PROGRESS_STEPS)
            for pragma in ("quick_check", "integrity_check"):
                problems = [str(row[0]) for row in connection.execute(f"PRAGMA {pragma}(10)")]
                if problems != ["ok"]:
                    return "damaged", tuple(problems)
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version <= len(MIGRATIONS) and _tables(connection) != _tables_of(version):
                return "damaged", (f"the tables are not those of version {version}",)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return "unfinished", ()
        return "damaged", (str(error),)
    except sqlite3.DatabaseError as error:
        return "damaged", (str(error),)
    return "whole", ()


def repair_database(data: Path, *, snapshot_folder: Path, limit_s: float, now: float) -> Repair | None:
    """Check the database of a data folder and repair it; None if it is sound (or new).

    Args:
        data: the data folder.
        snapshot_folder: where snapshots lie.
        limit_s: for each check.
        now: seconds since the epoch, for names.
    """
    path = data / "coronet.db"
    if (shape_of(path) or 0) > len(MIGRATIONS):
        with closing(_alone(data)):
            kept = _set_aside(path, path.parent / "damaged", now=now)
            snapshot = former_database(snapshot_folder)
            go_back(path, snapshot)
            return Repair("former", ("the database is of a newer version",), snapshot, kept)
    outcome, problems = check_database(path, limit_s=limit_s)
    if outcome == "unfinished":
        log.warning("the check of the database was not finished in %.0f s; nothing was found until then", limit_s)
    if outcome in {"whole", "unfinished"}:
        return None
    if outcome == "absent" and not snapshots(snapshot_folder) and not any((data / "spool").glob("[0-9a-f][0-9a-f]/*.dcm")):
        return None  # a new box has neither snapshots nor images
    with closing(_alone(data)):
        return _repair(path, problems, snapshot_folder=snapshot_folder, limit_s=limit_s, now=now)


def _alone(data: Path) -> IO[str]:
    """The lock of the spool: a receiver whose coordinator was killed may live for a moment longer.

    Raises:
        ArchiveError: ARC-003 it does not end.
    """
    make_folder(data / "spool")
    deadline = time.monotonic() + ALONE_S
    while True:
        try:
            return hold_lock(data / "spool" / "receiver.lock", what="spool")
        except ArchiveError:
            if time.monotonic() > deadline:
                raise
        time.sleep(ALONE_S / 50)


def _repair(path: Path, problems: tuple[str, ...], *, snapshot_folder: Path, limit_s: float, now: float) -> Repair:
    """The steps, in their order."""
    kept = None
    if path.exists() and path.stat().st_size:
        kept = _set_aside(path, path.parent / "damaged", now=now)
        if any(mend(path) and check_database(path, limit_s=limit_s)[0] in {"whole", "unfinished"} for mend in (_reindex, _rebuild)):
            return Repair("reindexed", problems, None, kept)
    for snapshot in snapshots(snapshot_folder):
        if whole_snapshot(snapshot):
            place_database(snapshot.path, path, of_earlier=True)
            return Repair("restored", problems, snapshot, kept)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    return Repair("anew", problems, None, kept)


def acknowledge(archive: Archive, *, actor: str) -> bool:
    """A person has read what was repaired: the message goes. False if there was none."""
    reason = archive.components.get(COMPONENT).reason
    if reason is None:
        return False
    archive.audit.record(actor=actor, action="repair-read", details={"code": reason.code})
    archive.components.report(COMPONENT, ready=True)
    return True


def put_aside(foreign: Sequence[Path], folder: Path) -> int:
    """Move files that are not ours out of the spool, under names that say nothing; returns how many."""
    if not foreign:
        return 0
    make_folder(folder)
    for path in foreign:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        number = sum(1 for _ in folder.glob(f"{digest}-*"))
        path.rename(folder / f"{digest}-{number}")
    sync_folder(folder)
    return len(foreign)


def mark_missing(archive: Archive, uids: Sequence[str]) -> int:
    """Say of images whose file has gone that they cannot be used, until they come again; returns how many are new."""
    if not uids:
        return 0
    with archive.database.transaction() as connection:
        marked = 0
        for uid in uids:
            marked += connection.execute(
                "UPDATE instances SET problem = ? WHERE sop_instance_uid = ? AND problem IS NULL", (msgspec.json.encode(MISSING), uid)
            ).rowcount
        if marked:
            archive.audit.record(actor="coronet", action="images-missing", details={"images": marked})
    return marked


def _reindex(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("REINDEX")
    except sqlite3.DatabaseError:
        return False
    return True


def _rebuild(path: Path) -> bool:
    """Copy every row of every table into a new database, without the help of any index; False if a table cannot be read whole.

    ``REINDEX`` gives up where the pages of an index are beyond recognition. What the search for studies is made of is left out: it is made
    again from the studies.
    """
    part = path.with_name(path.name + ".rebuilt")
    part.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as old,
            closing(sqlite3.connect(part, isolation_level=None)) as new,
        ):
            version = next((each for each in range(len(MIGRATIONS), 0, -1) if _tables(old) == _tables_of(each)), None)
            if version is None:
                return False
            migrate(new, MIGRATIONS[:version])
            new.execute("PRAGMA foreign_keys=OFF")
            new.execute("BEGIN")
            tables = new.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'").fetchall()
            for (table,) in tables:
                if not table.startswith(DERIVED):
                    _copy_rows(old, new, table)
            new.execute("COMMIT")
            good = sound(new)
        if good:
            place_database(part, path)
    except (sqlite3.DatabaseError, IndexError):
        return False
    finally:
        for name in (part.name, part.name + "-journal"):
            part.with_name(name).unlink(missing_ok=True)
    return good


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")}


def _tables_of(version: int) -> set[str]:
    """The tables that a database of that version has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        if version:
            migrate(connection, MIGRATIONS[:version])
        return _tables(connection)


def _copy_rows(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    new.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own schema; sqlite_sequence is filled on the way
    new.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
        old.execute(f"SELECT {names} FROM {table} NOT INDEXED"),  # noqa: S608
    )


def _set_aside(path: Path, folder: Path, *, now: float) -> Path:
    """Copies of the damaged files, before anything is changed; the oldest of earlier ones go."""
    numbers = (
        sorted(int(each.name.split("-")[0]) for each in folder.glob("*-*") if each.name.split("-")[0].isdigit()) if folder.is_dir() else []
    )
    kept = folder / f"{(numbers[-1] + 1 if numbers else 1):04d}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    make_folder(kept)
    for name in (path.name, path.name + "-wal", path.name + "-shm"):
        if path.with_name(name).exists():
            shutil.copyfile(path.with_name(name), kept / name)
    sync_folder(kept)
    for old in sorted(folder.iterdir())[:-DAMAGED_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return kept
