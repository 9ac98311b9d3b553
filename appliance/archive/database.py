"""The one database: connections, transactions, migrations, and how another process learns of a change.

SQLite in WAL mode with ``synchronous=FULL``: a transaction that has been committed survives the power cut that follows it
(https://www.sqlite.org/pragma.html#pragma_synchronous); in NORMAL the last ones may be lost, which would break the promise behind a
C-STORE success.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.archive.files import disk_full_error, is_full, make_folder, sync_folder
from appliance.archive.migrations import MIGRATIONS
from appliance.errors import ArchiveError

BUSY_TIMEOUT_S = 30.0
POLL_S = 0.25
"""How often a waiting process asks whether the database has changed."""


class Database:
    """Connections to one database file, one per thread, opened when first needed.

    Args:
        path: the file; made, with its folder, if it is not there.
        migrations: the steps to apply; the product's own unless a test says otherwise.

    Raises:
        ArchiveError: the file is no database, is newer than this software, or cannot be opened.
    """

    def __init__(self, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        # weak, so that the connection of a thread goes with the thread
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        make_folder(path.parent)
        new = not path.exists()
        try:
            migrate(self._connection(), migrations)
        except sqlite3.DatabaseError as error:
            self.close()
            raise _unusable(error) from error
        except ArchiveError:
            self.close()
            raise
        if new:
            sync_folder(path.parent)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A writing transaction: all of the block is committed, or none of it.

        Inside another transaction of the same thread the block becomes a part of it (a savepoint), so that stores can be combined.

        Raises:
            ArchiveError: the disk is full (status 0xA700), the database stayed locked, or it is damaged.
        """
        connection = self._connection()
        try:
            begin, commit, rollback = _NESTED if connection.in_transaction else _OUTER
            connection.execute(begin)
            try:
                yield connection
                connection.execute(commit)
            except BaseException:
                # SQLite itself may already have rolled back (a full disk does that)
                if connection.in_transaction:
                    for statement in rollback:
                        connection.execute(statement)
                raise
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise (disk_full_error() if is_full(error) else _unusable(error)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view of the database for several queries."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    def relax(self) -> None:
        """From now on this thread's transactions are visible at once, but durable only with the next `durable` one (of any thread)."""
        self._connection().execute("PRAGMA synchronous=NORMAL")

    @contextmanager
    def durable(self) -> Iterator[sqlite3.Connection]:
        """A writing transaction whose commit puts it and all before it on the disk, even in a thread that has called `relax`.

        The log is only ever appended to between checkpoints, and a checkpoint flushes it first, so one flush serves them all.
        """
        connection = self._connection()
        before = int(connection.execute("PRAGMA synchronous").fetchone()[0])
        connection.execute("PRAGMA synchronous=FULL")
        try:
            with self.transaction() as transaction:
                yield transaction
        finally:
            connection.execute(f"PRAGMA synchronous={before}")

    def watcher(self) -> Watcher:
        """A new listener for changes made by any other connection, in this process or another."""
        return Watcher(self._new_connection(), path=self.path)

    def close(self) -> None:
        """Close every connection; no thread may use the database any more."""
        with self._lock:
            for connection in list(self._open):
                connection.close()
            self._open.clear()

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._new_connection()
        return connection

    def _new_connection(self) -> _Connection:
        try:
            # check_same_thread is off only so that close() may close them all; each is used by its own thread
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=_Connection
            )
            connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=1000"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.DatabaseError as error:
            raise _unusable(error) from error
        with self._lock:
            self._open.add(connection)
        return connection


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly."""


class Watcher:
    """Waits for changes of the database by ``PRAGMA data_version``, which costs one read of a shared page and no query."""

    def __init__(self, connection: sqlite3.Connection, *, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._file = self._identity()
        self._version = self._read()

    def changed(self) -> bool:
        """Whether anything has been committed since the last call that returned True (or since the watcher was made).

        Raises:
            ArchiveError: ARC-004 another file has taken the database's place (`repair`): this process must begin anew.
        """
        if self._identity() != self._file:
            raise ArchiveError("ARC-004", zh="数据库已被替换,进程须重新启动", en="the database was replaced, the process must begin anew")
        version = self._read()
        changed, self._version = version != self._version, version
        return changed

    def wait(self, timeout_s: float, *, stopped: Callable[[float], bool] | None = None) -> bool:
        """Wait until something has been committed; False when the time is over or ``stopped(seconds to wait)`` says so."""
        deadline = time.monotonic() + timeout_s
        while not self.changed():
            left = min(POLL_S, deadline - time.monotonic())
            if left <= 0:
                return False
            if stopped is None:
                time.sleep(left)
            elif stopped(left):
                return False
        return True

    def close(self) -> None:
        """Close the watcher's own connection."""
        self._connection.close()

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _read(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring the database to the newest shape, one transaction for each step; several processes may call this at the same time.

    Raises:
        ArchiveError: the database was written by newer software.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection, newest=len(migrations))
            if version < len(migrations):
                for statement in _statements(migrations[version]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if version >= len(migrations) - 1:
            return


_OUTER = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_NESTED = ("SAVEPOINT nested", "RELEASE nested", ("ROLLBACK TO nested", "RELEASE nested"))


def _statements(script: str) -> list[str]:
    """The statements of a script; ``executescript`` would commit behind our back."""
    statements, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements


def _unusable(error: sqlite3.DatabaseError) -> ArchiveError:
    return ArchiveError("ARC-001", zh=f"数据库无法使用:{error}", en=f"the database cannot be used: {error}", status=0xA700)


def _version(connection: sqlite3.Connection, *, newest: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        raise ArchiveError(
            "ARC-002", zh=f"数据库版本 {version} 比本软件新", en=f"the database has version {version}, newer than this software ({newest})"
        )
    return version
