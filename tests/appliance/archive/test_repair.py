"""Databases that are truly corrupted, page by page, and what the start makes of them: see ``appliance/archive/repair.py``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.archive.archive import Archive
from appliance.archive.backup import SnapshotKeeper, place_database, snapshots, take_snapshot, whole_snapshot
from appliance.archive.instance_files import hold_lock
from appliance.archive.outbox import MAYBE_PRINTED
from appliance.archive.removals import Removal, Removals, Sweeper
from appliance.archive.repair import acknowledge, check_database, mark_missing, open_repaired, put_aside
from appliance.errors import ArchiveError
from appliance.settings import Settings
from appliance.study import StudyHeader
from tests.appliance.archive.fakes import TurnedClock, encode, make_archive, make_dataset

IMAGES = 30


@pytest.fixture
def data(memory: Path) -> Path:
    """A data folder with images, an audit trail and a user."""
    folder = memory / "data"
    archive = make_archive(folder)
    spool = archive.spool(minimum_free_bytes=0)
    store(spool, *range(1, IMAGES + 1))
    archive.users.add(name="Li", role="physician", pin="2468")
    for number in range(200):
        archive.audit.record(actor="coronet", action="test", details={"number": number})
    spool.close()
    archive.close()
    with closing(sqlite3.connect(folder / "coronet.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


def store(spool: object, *numbers: int) -> None:
    for number in numbers:
        dataset = make_dataset(number=number)
        spool.store(  # type: ignore[attr-defined]
            sop_class_uid=str(dataset.SOPClassUID), sop_instance_uid=str(dataset.SOPInstanceUID), transfer_syntax_uid="1.2.840.10008.1.2.1",
            part10=encode(dataset), association=None,
        )  # fmt: skip


def settings_of(data: Path) -> Settings:
    return Settings(data=data)


def pages_of(data: Path, name: str) -> list[int]:
    """Pages of a table or index (from SQLite's own account where it keeps one, else its root page)."""
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        try:
            return [row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE name = ? ORDER BY pageno", (name,))]
        except sqlite3.OperationalError:
            return [connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]]


def corrupt(data: Path, name: str) -> None:
    """Write rubbish over every page of a table or index."""
    pages = pages_of(data, name)
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with (data / "coronet.db").open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(bytes((page * 31 + index * 7) % 251 for index in range(size)))


def images_of(archive: Archive) -> set[str]:
    with archive.database.reading() as connection:
        return {row["sop_instance_uid"] for row in connection.execute("SELECT * FROM instances")}


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def opened(data: Path, clock: TurnedClock) -> Iterator[list[Archive]]:
    archives: list[Archive] = []
    yield archives
    for archive in archives:
        archive.close()


def reopen(data: Path, clock: TurnedClock, opened: list[Archive]) -> Archive:
    """As the coordinator, then the receiver, would."""
    archive = open_repaired(settings_of(data), clock=clock)
    opened.append(archive)
    spool = archive.spool(minimum_free_bytes=0)
    Sweeper(database=archive.database, spool=spool).finish()
    found = spool.recover()
    mark_missing(archive, found.missing)
    put_aside(found.foreign, data / "foreign")
    spool.close()
    return archive


def test_a_sound_database_is_left_alone(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    assert check_database(data / "coronet.db", limit_s=60) == ("whole", ())
    archive = reopen(data, clock, opened)
    assert archive.components.get("database").reason is None
    assert not (data / "damaged").exists()


@pytest.mark.parametrize("index", ["instances_unsorted", "sqlite_autoindex_instances_1"])
def test_a_corrupted_index_is_built_anew_and_nothing_is_lost(data: Path, clock: TurnedClock, opened: list[Archive], index: str) -> None:
    corrupt(data, index)
    assert check_database(data / "coronet.db", limit_s=60)[0] == "damaged"
    archive = reopen(data, clock, opened)
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-053"
    assert check_database(data / "coronet.db", limit_s=60)[0] == "whole"
    assert len(images_of(archive)) == IMAGES
    assert archive.users.check("2468") is not None
    assert archive.audit.verify() is None
    assert archive.audit.entries()[-1].action == "database-repaired"


def test_an_index_that_lacks_an_entry_is_found_and_built_anew(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    """Every page is well formed, only the index does not say what the table says."""
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'instances_unsorted'").fetchone()[0]
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'instances_unsorted'", (sql + " AND id > 5",))
        connection.commit()
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("REINDEX instances_unsorted")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'instances_unsorted'", (sql,))
        connection.commit()
    assert check_database(data / "coronet.db", limit_s=60)[0] == "damaged"
    archive = reopen(data, clock, opened)
    assert len(archive.index.unsorted(limit=100)) == IMAGES


def test_a_corrupted_table_is_restored_from_the_newest_snapshot_and_later_images_are_taken_in(
    data: Path, clock: TurnedClock, opened: list[Archive]
) -> None:
    take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=3)
    archive = make_archive(data, clock)
    spool = archive.spool(minimum_free_bytes=0)
    store(spool, *range(101, 106))
    spool.close()
    archive.close()
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    corrupt(data, "instances")
    archive = reopen(data, clock, opened)
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-054"
    assert "2027-01-15" in reason.zh  # the turned clock's time
    assert len(images_of(archive)) == IMAGES + 5
    assert archive.users.check("2468") is not None
    assert archive.audit.verify() is None
    kept = next((data / "damaged").iterdir())
    assert (kept / "coronet.db").stat().st_size > 0


def test_what_a_snapshot_says_is_still_to_do_is_not_done_a_second_time(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    """An image was on its way out and came again, a film was waiting and was printed: both after the snapshot was taken."""
    archive = make_archive(data, clock)
    study = archive.studies.create(StudyHeader(study_uid="1.2.3", series_uid="1.2.3.1"))
    film = archive.outbox.add(
        study=study.key, generation=1, destination="FILM", kind="print", purpose="results", description="", files=["a"]
    )
    store_row = archive.outbox.add(
        study=study.key, generation=1, destination="PACS", kind="store", purpose="results", description="", files=["a"]
    )
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM instances WHERE sop_instance_uid = '1.2.3.1.7'")
        Removals(database=archive.database).enlist([Removal("image", "1.2.3.1.7", 1)])
    take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=3)
    spool = archive.spool(minimum_free_bytes=0)
    Sweeper(database=archive.database, spool=spool).finish()
    store(spool, 7)
    spool.close()
    archive.outbox.done(film)
    archive.close()
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    corrupt(data, "instances")
    archive = reopen(data, clock, opened)
    assert "1.2.3.1.7" in images_of(archive)
    assert len(images_of(archive)) == IMAGES
    again = archive.outbox.get(film)
    assert (again.state, again.held, again.last_error) == ("retrying", True, MAYBE_PRINTED)
    assert archive.outbox.get(store_row).held is False


def test_a_snapshot_that_is_damaged_itself_is_passed_over(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    first = take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=3)
    second = take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=3)
    raw = bytearray(second.path.read_bytes())
    raw[5000] ^= 1
    second.path.write_bytes(raw)
    assert whole_snapshot(first)
    assert not whole_snapshot(second)
    corrupt(data, "instances")
    archive = reopen(data, clock, opened)
    assert len(images_of(archive)) == IMAGES


@pytest.mark.parametrize("fault", ["no header", "cut", "gone", "empty", "another database"])
def test_without_a_snapshot_a_new_database_is_begun_and_every_image_taken_in(
    data: Path, clock: TurnedClock, opened: list[Archive], fault: str
) -> None:
    path = data / "coronet.db"
    if fault == "no header":
        path.write_bytes(b"rubbish, not a database" + path.read_bytes()[23:])
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "another database":
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE something (id INTEGER)")
    else:
        path.unlink()
    archive = reopen(data, clock, opened)
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-055"
    assert len(images_of(archive)) == IMAGES
    assert check_database(path, limit_s=60)[0] == "whole"


@pytest.mark.parametrize("version", [0, 1, 3])
def test_a_wrong_version_in_the_header_is_found_and_put_right(data: Path, clock: TurnedClock, opened: list[Archive], version: int) -> None:
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    archive = reopen(data, clock, opened)
    reason = archive.components.get("database").reason
    assert reason is not None
    assert reason.code == "ARC-053"
    assert len(images_of(archive)) == IMAGES
    assert archive.users.check("2468") is not None


def test_a_new_box_is_not_damaged(memory: Path, clock: TurnedClock) -> None:
    archive = open_repaired(settings_of(memory / "new"), clock=clock)
    assert archive.components.get("database").reason is None
    archive.close()


def test_the_message_stays_until_a_person_has_read_it(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    corrupt(data, "instances_unsorted")
    reopen(data, clock, opened).close()
    archive = reopen(data, clock, opened)
    assert archive.components.get("database").reason is not None
    assert acknowledge(archive, actor="u1")
    assert archive.components.get("database").ready
    assert not acknowledge(archive, actor="u1")


def test_a_check_that_takes_too_long_ends_without_a_verdict(data: Path) -> None:
    ticks = iter(range(1000))
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.executemany("INSERT INTO failed_sign_ins (at) VALUES (?)", [(float(number),) for number in range(60_000)])
        connection.commit()
    assert check_database(data / "coronet.db", limit_s=0.5, monotonic=lambda: float(next(ticks))) == ("unfinished", ())


def test_nobody_repairs_under_a_running_coordinator(data: Path, clock: TurnedClock) -> None:
    with closing(hold_lock(data / "daemon.lock", what="daemon")), pytest.raises(ArchiveError) as raised:
        open_repaired(settings_of(data), clock=clock)
    assert raised.value.code == "ARC-003"


def test_foreign_files_are_put_aside_not_deleted(data: Path, clock: TurnedClock, opened: list[Archive]) -> None:
    for folder, content in (("00", b"one"), ("01", b"two")):
        (data / "spool" / folder / "Wang^XiaoDong.dcm").write_bytes(content)
    reopen(data, clock, opened)
    aside = sorted((data / "foreign").iterdir())
    assert sorted(path.read_bytes() for path in aside) == [b"one", b"two"]
    assert not any("Wang" in path.name for path in aside)
    assert not list((data / "spool").glob("*/Wang*"))


def test_an_image_whose_file_is_missing_is_marked_and_taken_when_it_comes_again(
    data: Path, clock: TurnedClock, opened: list[Archive]
) -> None:
    archive = reopen(data, clock, opened)
    lost = archive.index.unsorted(limit=1)[0]
    lost.path.unlink()
    archive.close()
    archive = reopen(data, clock, opened)
    problem = archive.index.quarantined()[0].problem
    assert problem is not None
    assert problem.code == "ARC-057"
    assert archive.audit.entries()[-1].details == {"images": 1}
    spool = archive.spool(minimum_free_bytes=0)
    store(spool, 1)
    spool.close()
    assert not archive.index.quarantined()


# -- snapshots


def test_snapshots_are_taken_when_due_bounded_in_number_and_do_not_mind_the_clock(data: Path, clock: TurnedClock) -> None:
    archive = make_archive(data, clock)
    keeper = SnapshotKeeper(
        database=data / "coronet.db", folder=data / "snapshots", clock=clock, components=archive.components, hours=24, keep=2
    )
    assert keeper.step()
    assert not keeper.step()
    clock.pass_s(25 * 3600)
    assert keeper.step()
    clock.wall_time -= 10 * 365 * 86400
    assert keeper.step()
    found = snapshots(data / "snapshots")
    assert [each.description.number for each in found] == [3, 2]
    assert all(whole_snapshot(each) for each in found)
    assert sorted(path.name for path in (data / "snapshots").iterdir()) == [
        "coronet-00000002.db", "coronet-00000002.json", "coronet-00000003.db", "coronet-00000003.json",
    ]  # fmt: skip
    archive.close()


def test_a_damaged_database_gives_no_snapshot_and_the_operator_is_told(data: Path, clock: TurnedClock) -> None:
    good = take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=1)
    corrupt(data, "instances_unsorted")
    archive = make_archive(data, clock)
    clock.pass_s(48 * 3600)
    keeper = SnapshotKeeper(
        database=data / "coronet.db", folder=data / "snapshots", clock=clock, components=archive.components, hours=24, keep=1
    )
    assert not keeper.step()
    reason = archive.components.get("snapshots").reason
    assert reason is not None
    assert reason.code == "ARC-058"
    assert [each.path for each in snapshots(data / "snapshots")] == [good.path]
    assert not list((data / "snapshots").glob("*.part"))
    archive.close()


def test_a_snapshot_taken_while_others_write_is_consistent(data: Path, clock: TurnedClock) -> None:
    archive = make_archive(data, clock)
    with archive.database.transaction() as connection:
        connection.execute("INSERT INTO failed_sign_ins (at) VALUES (1)")
        snapshot = take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=1)
    with closing(sqlite3.connect(snapshot.path)) as copy:
        assert copy.execute("SELECT count(*) FROM failed_sign_ins").fetchone()[0] == 0
        assert copy.execute("SELECT count(*) FROM instances").fetchone()[0] == IMAGES
    archive.close()


def test_nothing_is_repaired_while_a_receiver_still_lives(data: Path, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.archive.repair.ALONE_S", 0.1)
    corrupt(data, "instances_unsorted")
    before = (data / "coronet.db").read_bytes()
    with closing(hold_lock(data / "spool" / "receiver.lock", what="spool")), pytest.raises(ArchiveError) as raised:
        open_repaired(settings_of(data), clock=clock)
    assert raised.value.code == "ARC-003"
    assert (data / "coronet.db").read_bytes() == before


def test_a_process_that_still_has_the_old_database_open_is_told(data: Path, clock: TurnedClock) -> None:
    """The analyst is a unit of its own and may live through a repair by the coordinator."""
    archive = make_archive(data, clock)
    watcher = archive.database.watcher()
    assert not watcher.changed()
    snapshot = take_snapshot(data / "coronet.db", data / "snapshots", now=clock.wall(), keep=1)
    place_database(snapshot.path, data / "coronet.db")
    with pytest.raises(ArchiveError) as raised:
        watcher.changed()
    assert raised.value.code == "ARC-004"
    watcher.close()
    archive.close()
