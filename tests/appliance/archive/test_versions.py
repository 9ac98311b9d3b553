"""The database across an update and back, with the real migrations: `appliance.archive.versions`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.archive.backup import take_snapshot
from appliance.archive.database import Database
from appliance.archive.migrations import MIGRATIONS
from appliance.archive.repair import open_repaired
from appliance.archive.versions import FOLDER, former_database, keep_former, shape_of
from appliance.errors import ArchiveError
from appliance.settings import Settings
from tests.appliance.archive.fakes import TurnedClock, encode, make_archive, make_dataset

NEXT = (
    "CREATE TABLE of_the_next_version (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;\nALTER TABLE users ADD COLUMN badge_hint TEXT;\n"
)


def store(data: Path, *numbers: int) -> None:
    archive = make_archive(data)
    spool = archive.spool(minimum_free_bytes=0)
    for number in numbers:
        dataset = make_dataset(number=number)
        spool.store(
            sop_class_uid=str(dataset.SOPClassUID), sop_instance_uid=str(dataset.SOPInstanceUID), transfer_syntax_uid="1.2.840.10008.1.2.1",
            part10=encode(dataset), association=None,
        )  # fmt: skip
    spool.close()
    archive.close()


def run_next_version(data: Path) -> None:
    """What the daemon of the next version does at its start: keep the former shape, then change it."""
    keep_former(data / "coronet.db", data / "snapshots", now=1.8e9, newest=len(MIGRATIONS) + 1)
    Database(data / "coronet.db", migrations=(*MIGRATIONS, NEXT)).close()


@pytest.fixture
def data(memory: Path) -> Path:
    folder = memory / "data"
    store(folder, 1, 2, 3)
    archive = make_archive(folder)
    archive.users.add(name="Li", role="physician", pin="2468")
    archive.close()
    return folder


def test_every_shape_that_ever_was_is_kept_before_it_is_changed(memory: Path) -> None:
    for shape in range(1, len(MIGRATIONS)):
        folder = memory / str(shape)
        Database(folder / "coronet.db", migrations=MIGRATIONS[:shape]).close()
        open_repaired(Settings(data=folder), clock=TurnedClock()).close()
        assert shape_of(folder / "coronet.db") == len(MIGRATIONS)
        kept = former_database(folder / "snapshots", newest=shape)
        assert kept is not None
        assert (kept.description.schema, kept.path.parent.name) == (shape, FOLDER)
        Database(kept.path, migrations=MIGRATIONS[:shape]).close()


def test_an_unchanged_shape_needs_no_snapshot_and_a_new_box_neither(data: Path, memory: Path) -> None:
    assert keep_former(data / "coronet.db", data / "snapshots", now=0.0) is None
    assert keep_former(memory / "none.db", data / "snapshots", now=0.0) is None


def test_the_former_version_goes_back_and_takes_images_of_meanwhile_in_again(data: Path) -> None:
    run_next_version(data)
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("INSERT INTO users (id, name, role, pin_hash, created_at, disabled) VALUES ('u9', 'Wu', 'engineer', 'x', 0, 0)")
        connection.commit()
    newer = Database(data / "coronet.db", migrations=(*MIGRATIONS, NEXT))
    newer.close()
    _images_of_the_next_version(data, 4, 5)

    archive = open_repaired(Settings(data=data), clock=TurnedClock())
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-068"
    assert [user.name for user in archive.users.all()] == ["Li"]
    spool = archive.spool(minimum_free_bytes=0)
    spool.recover()
    with archive.database.reading() as connection:
        assert connection.execute("SELECT COUNT(*) FROM instances").fetchone()[0] == 5
    assert shape_of(next((data / "damaged").glob("*/coronet.db"))) == len(MIGRATIONS) + 1
    spool.close()
    archive.close()


def _images_of_the_next_version(data: Path, *numbers: int) -> None:
    """Received by the next version, whose receiver works as ours: the same code over a database of its shape."""
    path = data / "coronet.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        connection.commit()
    store(data, *numbers)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
        connection.commit()


def test_daily_snapshots_of_the_next_version_are_no_way_back(data: Path) -> None:
    run_next_version(data)
    take_snapshot(data / "coronet.db", data / "snapshots", now=1.9e9, keep=3)
    kept = former_database(data / "snapshots")
    assert kept is not None
    assert kept.description.schema == len(MIGRATIONS)


def test_without_a_whole_snapshot_a_new_database_is_begun_and_said_so(data: Path) -> None:
    run_next_version(data)
    for path in (data / "snapshots" / FOLDER).glob("*.db"):
        path.write_bytes(path.read_bytes()[:-100])
    archive = open_repaired(Settings(data=data), clock=TurnedClock())
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-069"
    spool = archive.spool(minimum_free_bytes=0)
    spool.recover()
    with archive.database.reading() as connection:
        assert connection.execute("SELECT COUNT(*) FROM instances").fetchone()[0] == 3
    spool.close()
    archive.close()


def test_without_room_for_the_snapshot_the_shape_is_not_changed(memory: Path) -> None:
    folder = memory / "full"
    Database(folder / "coronet.db", migrations=MIGRATIONS[:-1]).close()
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / FOLDER).touch()  # a folder cannot be made where a file is
    with pytest.raises(ArchiveError, match="ARC-059"):
        open_repaired(Settings(data=folder), clock=TurnedClock())
    assert shape_of(folder / "coronet.db") == len(MIGRATIONS) - 1
