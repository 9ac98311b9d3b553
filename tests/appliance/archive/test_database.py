"""Transactions, migrations and the watcher."""

from __future__ import annotations

import gc
import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.archive.database import Database
from appliance.errors import ArchiveError

TABLE = ("CREATE TABLE item (name TEXT PRIMARY KEY) STRICT;",)


def names(database: Database) -> list[str]:
    with database.reading() as connection:
        return [row["name"] for row in connection.execute("SELECT name FROM item ORDER BY name")]


def insert(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("INSERT INTO item VALUES (?)", (name,))


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "test.db", migrations=TABLE)


def test_commits_are_durable_by_the_pragmas(database: Database) -> None:
    with database.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def insert_and_fail(database: Database, name: str) -> None:
    with database.transaction() as connection:
        insert(connection, name)
        raise RuntimeError


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    with pytest.raises(RuntimeError):
        insert_and_fail(database, "a")
    assert names(database) == []


def test_an_inner_block_can_fail_alone(database: Database) -> None:
    with database.transaction() as connection:
        insert(connection, "outer")
        with pytest.raises(RuntimeError):
            insert_and_fail(database, "inner")
    assert names(database) == ["outer"]


def test_the_outer_block_takes_inner_ones_with_it(database: Database) -> None:
    def inner_then_fail() -> None:
        with database.transaction():
            with database.transaction() as inner:
                insert(inner, "inner")
            insert_and_fail(database, "outer")

    with pytest.raises(RuntimeError):
        inner_then_fail()
    assert names(database) == []


def test_a_violated_constraint_stays_what_it_is(database: Database) -> None:
    with database.transaction() as connection:
        insert(connection, "a")
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        insert(connection, "a")
    assert names(database) == ["a"]


def test_migrations_are_applied_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    Database(path, migrations=TABLE).close()
    steps = (*TABLE, "INSERT INTO item VALUES ('second');\nINSERT INTO item VALUES ('step');")
    for _ in range(2):
        database = Database(path, migrations=steps)
        assert names(database) == ["second", "step"]
        database.close()


def test_a_step_that_fails_is_undone_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with pytest.raises(ArchiveError):
        Database(path, migrations=(*TABLE, "INSERT INTO item VALUES ('half');\nINSERT INTO nothing VALUES (1);"))
    database = Database(path, migrations=TABLE)
    assert names(database) == []


def test_several_processes_may_migrate_at_once(tmp_path: Path) -> None:
    databases: list[Database] = []
    threads = [threading.Thread(target=lambda: databases.append(Database(tmp_path / "test.db", migrations=TABLE))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(databases) == 6


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "test.db", migrations=(*TABLE, "SELECT 1;")).close()
    with pytest.raises(ArchiveError, match="ARC-002"):
        Database(tmp_path / "test.db", migrations=TABLE)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(b"this is not SQLite, by no means" * 100)
    with pytest.raises(ArchiveError, match="ARC-001"):
        Database(tmp_path / "test.db", migrations=TABLE)


def test_a_watcher_sees_changes_of_other_connections(tmp_path: Path) -> None:
    ours, others = (Database(tmp_path / "test.db", migrations=TABLE) for _ in range(2))
    watcher = ours.watcher()
    assert not watcher.changed()
    with others.transaction() as connection:
        insert(connection, "a")
    assert watcher.changed()
    assert not watcher.changed()
    with ours.transaction() as connection:
        insert(connection, "b")
    assert watcher.changed()


def test_waiting_ends_with_a_change_or_an_order_to_stop(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db", migrations=TABLE)
    watcher = database.watcher()

    def change(_wait: float) -> bool:
        with database.transaction() as connection:
            insert(connection, "a")
        return False

    assert watcher.wait(60.0, stopped=change)
    assert not watcher.wait(60.0, stopped=lambda _wait: True)
    assert not watcher.wait(0.0)


def test_connections_go_with_their_threads_and_watchers(database: Database) -> None:
    """Worker threads of the API come and go, and each long poll has a watcher: descriptors must not grow with the days."""

    def look() -> None:
        names(database)
        database.watcher().close()

    def descriptors_after(threads: int) -> int:
        for _ in range(threads):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    # SQLite keeps the descriptors of closed connections for the next ones as long as any connection is open
    assert descriptors_after(12) <= descriptors_after(6) + 1
    assert len(database._open) <= 1


def test_after_closing_nothing_can_be_written(database: Database) -> None:
    database.close()
    with pytest.raises(ArchiveError, match="ARC-001"):
        insert_and_fail(database, "late")
