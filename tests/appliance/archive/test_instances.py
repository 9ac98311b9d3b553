"""The promise behind a C-STORE success: see ``appliance/archive/instances.py``."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from appliance.archive.archive import Archive
from appliance.archive.database import Database
from appliance.archive.disk import Disk
from appliance.archive.instance_files import instance_name
from appliance.archive.instances import Spool
from appliance.errors import ArchiveError
from tests.appliance.archive.fakes import TurnedClock, encode, make_archive, make_dataset
from tests.peers.waiting import wait_until

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SYNTAX = "1.2.840.10008.1.2.1"
INSTANCES = {f"1.2.3.1.{number}": encode(make_dataset(number=number)) for number in (1, 2)}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = make_archive(tmp_path / "data")
    yield archive
    archive.close()


@pytest.fixture
def spool(archive: Archive) -> Iterator[Spool]:
    spool = archive.spool(minimum_free_bytes=0)
    yield spool
    spool.close()


def put(spool: Spool, part10: bytes, uid: str, association: int | None = None) -> str:
    """Store, and wait for the row."""
    stored = spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=part10, association=association)
    spool.settle()
    return stored


def make_spool(archive: Archive, *, disk: Disk | None = None, segment_bytes: int = 1 << 20) -> CrashingSpool:
    return CrashingSpool(
        database=archive.database,
        root=archive.data / "spool",
        clock=TurnedClock(),
        minimum_free_bytes=0,
        disk=disk,
        segment_bytes=segment_bytes,
    )


class CrashingSpool(Spool):
    """A spool whose process can die: nothing is flushed or let go, only the lock."""

    def abandon(self) -> None:
        self._registrar._journal = None
        self.close()

    def let_go(self) -> None:
        """What the registrar does when a segment is full."""
        self._registrar._release()


def rows(archive: Archive) -> dict[str, str]:
    with archive.database.reading() as connection:
        return {row["sop_instance_uid"]: row["sha256"] for row in connection.execute("SELECT * FROM instances")}


def files(archive: Archive) -> list[Path]:
    return sorted((archive.data / "spool").glob("*/*"))


def test_an_instance_is_kept_byte_for_byte_under_a_name_that_says_nothing(archive: Archive, spool: Spool) -> None:
    data = encode(make_dataset())
    association = spool.association_opened(peer="127.0.0.1", calling_ae="CT1", called_ae="CORONET")
    assert put(spool, data, "1.2.3.1.1", association) == "stored"
    name = hashlib.sha256(b"1.2.3.1.1").hexdigest()
    assert files(archive) == [archive.data / "spool" / name[:2] / f"{name}.dcm"]
    assert spool.path("1.2.3.1.1").read_bytes() == data
    assert rows(archive) == {"1.2.3.1.1": hashlib.sha256(data).hexdigest()}


def test_the_same_data_set_again_is_a_harmless_duplicate_even_from_another_peer(archive: Archive, spool: Spool) -> None:
    first = encode(make_dataset(), source="CT1")
    put(spool, first, "1.2.3.1.1")
    assert put(spool, encode(make_dataset(), source="CT2"), "1.2.3.1.1") == "duplicate"
    assert spool.path("1.2.3.1.1").read_bytes() == first
    assert len(rows(archive)) == 1


def test_another_data_set_under_the_same_uid_is_refused_and_the_first_one_stays(archive: Archive, spool: Spool) -> None:
    first = encode(make_dataset())
    put(spool, first, "1.2.3.1.1")
    with pytest.raises(ArchiveError) as raised:
        put(spool, encode(make_dataset(PatientID="other")), "1.2.3.1.1")
    assert raised.value.details["status"] == 0xC111
    assert spool.path("1.2.3.1.1").read_bytes() == first
    assert rows(archive)["1.2.3.1.1"] == hashlib.sha256(first).hexdigest()


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "1.2.3\n", "1..2", "1." * 40 + "1", "1.2.a"])
def test_what_is_no_uid_is_refused_with_0117(archive: Archive, spool: Spool, uid: str) -> None:
    with pytest.raises(ArchiveError) as raised:
        put(spool, b"x", uid)
    assert raised.value.details["status"] == 0x0117
    assert files(archive) == []
    assert rows(archive) == {}


def test_below_the_watermark_images_are_refused_with_a700(archive: Archive) -> None:
    spool = archive.spool(minimum_free_bytes=1 << 60)
    with pytest.raises(ArchiveError) as raised:
        put(spool, encode(make_dataset()), "1.2.3.1.1")
    assert raised.value.details["status"] == 0xA700
    assert (files(archive), rows(archive)) == ([], {})
    spool.close()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_disk_that_gets_full_while_writing_leaves_nothing_behind(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Without a journal: the file's own fsync (1) reports the full disk, as delayed allocation does; so may that of the folder (2)."""
    spool = make_spool(archive, segment_bytes=0)
    calls = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError) as raised:
        put(spool, encode(make_dataset()), "1.2.3.1.1")
    monkeypatch.undo()
    assert raised.value.details["status"] == 0xA700
    assert (files(archive), rows(archive)) == ([], {})
    assert put(spool, encode(make_dataset()), "1.2.3.1.1") == "stored"
    spool.close()


class FailingDisk(Disk):
    """Fails in the operation named, as often as it is told to."""

    def __init__(self, operation: str, number: int, times: int = 1) -> None:
        self.times = times
        self._operation, self._number = operation, number

    def _maybe(self, operation: str) -> None:
        if operation == self._operation and self.times:
            self.times -= 1
            raise OSError(self._number, os.strerror(self._number))

    def create(self, path: Path) -> int:
        self._maybe("create")
        return super().create(path)

    def write(self, descriptor: int, parts: Sequence[Any], at: int) -> None:
        self._maybe("write" if len(parts) == 1 else "append")
        super().write(descriptor, parts, at)

    def flush(self, descriptor: int) -> None:
        self._maybe("flush")
        super().flush(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        self._maybe("rename")
        super().rename(old, new)


@pytest.mark.parametrize("operation", ["create", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_file_that_cannot_be_written_is_refused_with_a700_and_the_next_one_is_taken(
    archive: Archive, operation: str, number: int
) -> None:
    spool = make_spool(archive, disk=FailingDisk(operation, number))
    with pytest.raises(ArchiveError) as raised:
        put(spool, encode(make_dataset()), "1.2.3.1.1")
    assert raised.value.details["status"] == 0xA700
    assert (files(archive), rows(archive)) == ([], {})
    assert put(spool, encode(make_dataset()), "1.2.3.1.1") == "stored"
    spool.close()


@pytest.mark.parametrize("operation", ["append", "flush"])
def test_after_a_journal_that_failed_nothing_is_acknowledged_until_the_next_start(archive: Archive, operation: str) -> None:
    """What a disk holds after a failed flush nobody knows, so no later flush may be believed."""
    disk = FailingDisk(operation, errno.EIO, times=0)
    spool = make_spool(archive, disk=disk)
    put(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1")
    disk.times = 1
    for uid in ("1.2.3.1.2", "1.2.3.1.3"):
        with pytest.raises(ArchiveError, match="ARC-024") as raised:
            put(spool, encode(make_dataset(number=int(uid[-1]))), uid)
        assert raised.value.details["status"] == 0xA700
    assert set(rows(archive)) == {"1.2.3.1.1"}
    spool.close()
    spool = make_spool(archive)
    spool.recover()
    assert put(spool, INSTANCES["1.2.3.1.2"], "1.2.3.1.2") in ("stored", "duplicate")
    spool.close()


def test_more_than_the_journal_holds_passes_through_it(archive: Archive) -> None:
    """Segments are let go and used again; what is larger than a record may be goes past the journal."""
    spool = make_spool(archive, segment_bytes=64 << 10)
    datas = {f"1.2.3.1.{number}": encode(make_dataset(number=number, ImageComments="x" * 9000)) for number in range(1, 121)}
    datas["1.2.3.1.999"] = encode(make_dataset(number=999, PixelData=bytes(200_000), BitsAllocated=16))
    for uid, data in datas.items():
        put(spool, data, uid)
    assert rows(archive) == {uid: hashlib.sha256(data).hexdigest() for uid, data in datas.items()}
    assert all(spool.path(uid).read_bytes() == data for uid, data in datas.items())
    spool.close()


def test_what_the_power_takes_the_journal_gives_back(archive: Archive) -> None:
    """Without the file, with half of it, without the row: the journal brings all of it back, once."""
    spool = make_spool(archive)
    datas = {f"1.2.3.1.{number}": encode(make_dataset(number=number)) for number in range(1, 5)}
    for uid, data in datas.items():
        put(spool, data, uid)
    spool.abandon()
    spool.path("1.2.3.1.1").unlink()
    spool.path("1.2.3.1.2").write_bytes(datas["1.2.3.1.2"][:300])
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM instances WHERE sop_instance_uid = '1.2.3.1.3'")
        connection.execute("DELETE FROM journal")
    for adopted in (3, 0):
        spool = make_spool(archive)
        found = spool.recover()
        assert (found.adopted, found.swept, found.foreign, found.missing) == (adopted, 0, (), ())
        assert rows(archive) == {uid: hashlib.sha256(data).hexdigest() for uid, data in datas.items()}
        assert all(spool.path(uid).read_bytes() == data for uid, data in datas.items())
        spool.abandon()


def test_an_image_overtaken_on_its_way_to_its_row_stays_in_the_journal(archive: Archive) -> None:
    """The later image's row is written and the journal let go while the earlier one still waits for its name."""
    disk = HeldDisk(hold="1.2.3.1.1")
    spool = make_spool(archive, disk=disk)
    first = threading.Thread(target=put, args=(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1"))
    first.start()
    disk.held.wait()
    put(spool, INSTANCES["1.2.3.1.2"], "1.2.3.1.2")
    spool.let_go()
    disk.go_on.set()
    first.join()
    spool.abandon()
    # what no flush has covered the power takes
    spool.path("1.2.3.1.1").unlink()
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM instances WHERE sop_instance_uid = '1.2.3.1.1'")
    spool = make_spool(archive)
    spool.recover()
    assert rows(archive) == {uid: hashlib.sha256(data).hexdigest() for uid, data in INSTANCES.items()}
    assert spool.path("1.2.3.1.1").read_bytes() == INSTANCES["1.2.3.1.1"]
    spool.close()


class HeldDisk(Disk):
    """One instance's file gets its name only when told so."""

    def __init__(self, *, hold: str) -> None:
        self._name = instance_name(hold)
        self.held, self.go_on = threading.Event(), threading.Event()

    def rename(self, old: Path, new: Path) -> None:
        if str(new).endswith(self._name):
            self.held.set()
            self.go_on.wait()
        super().rename(old, new)


def test_a_database_that_is_locked_when_the_first_row_is_due_only_delays_it(archive: Archive) -> None:
    database = LockedAtFirst(archive.data / "coronet.db")
    spool = Spool(database=database, root=archive.data / "spool", clock=TurnedClock(), minimum_free_bytes=0, segment_bytes=1 << 20)
    spool.store(
        sop_class_uid=SOP_CLASS, sop_instance_uid="1.2.3.1.1", transfer_syntax_uid=SYNTAX, part10=INSTANCES["1.2.3.1.1"], association=None
    )
    wait_until(lambda: set(rows(archive)) == {"1.2.3.1.1"})
    spool.close()
    database.close()


class LockedAtFirst(Database):
    """The first thread that wants to write without flushes finds it locked."""

    locked = True

    def relax(self) -> None:
        if self.locked:
            self.locked = False
            raise ArchiveError("ARC-001", zh="锁定", en="locked", status=0xA700)
        super().relax()


def test_what_was_removed_since_the_journal_does_not_bring_back(archive: Archive) -> None:
    spool = make_spool(archive)
    put(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1")
    spool.close()
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM instances")
    spool = make_spool(archive)
    assert spool.remove("1.2.3.1.1")
    found = spool.recover()
    assert (found.adopted, rows(archive), files(archive)) == (0, {}, [])
    spool.close()


@pytest.mark.parametrize("cut", [1, 60, 200])
def test_a_record_cut_short_was_acknowledged_to_nobody_and_is_not_there(archive: Archive, cut: int) -> None:
    """From any byte on, the last record's rest never reached the disk."""
    spool = make_spool(archive)
    put(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1")
    spool.abandon()
    segment = archive.data / "spool" / "journal-0"
    whole = segment.read_bytes()
    size = len(whole.rstrip(b"\0"))
    segment.write_bytes(whole[: size - cut] + bytes(len(whole) - size + cut))
    spool.path("1.2.3.1.1").unlink()
    with archive.database.transaction() as connection:
        connection.execute("DELETE FROM instances")
        connection.execute("DELETE FROM journal")
    spool = make_spool(archive)
    assert spool.recover().adopted == 0
    assert (rows(archive), files(archive)) == ({}, [])
    assert put(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1") == "stored"
    spool.close()


def test_a_database_that_gets_full_loses_nothing_refuses_more_and_goes_on_when_there_is_room(archive: Archive) -> None:
    """SQLite itself says SQLITE_FULL when it may not grow; what was acknowledged before that is written once it may."""
    database = SmallDatabase(archive.data / "coronet.db")
    spool = Spool(database=database, root=archive.data / "spool", clock=TurnedClock(), minimum_free_bytes=0, segment_bytes=1 << 20)
    datas: dict[str, bytes] = {}

    def fill() -> None:
        for number in range(1, 2000):
            uid, data = f"1.2.3.1.{number}", encode(make_dataset(number=number))
            spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=data, association=None)
            datas[uid] = data

    with pytest.raises(ArchiveError) as raised:
        fill()
    assert raised.value.details["status"] == 0xA700
    assert len(rows(archive)) < len(datas)
    database.grow()
    wait_until(lambda: len(rows(archive)) == len(datas))
    spool.settle()
    assert rows(archive) == {uid: hashlib.sha256(data).hexdigest() for uid, data in datas.items()}
    fill_more = encode(make_dataset(number=5000))
    assert put(spool, fill_more, "1.2.3.1.5000") == "stored"
    spool.close()
    database.close()


class SmallDatabase(Database):
    """May not grow by more than a few pages until it is told so."""

    spare = 8

    def _new_connection(self) -> Any:
        connection = super()._new_connection()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + self.spare}")
        self.small = [*getattr(self, "small", []), connection]
        return connection

    def grow(self) -> None:
        self.spare = 100_000
        for connection in self.small:
            connection.execute("PRAGMA max_page_count = 100000")


def test_many_associations_may_bring_the_same_instances_at_once(archive: Archive, spool: Spool) -> None:
    datas = {f"1.2.3.1.{number}": encode(make_dataset(number=number)) for number in range(1, 16)}
    answers: list[str] = []

    def send() -> None:
        answers.extend(put(spool, data, uid) for uid, data in datas.items())

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("stored") == 15
    assert answers.count("duplicate") == 45
    assert rows(archive) == {uid: hashlib.sha256(data).hexdigest() for uid, data in datas.items()}
    assert len(files(archive)) == 15


def test_a_second_receiver_is_refused(archive: Archive, spool: Spool) -> None:
    with pytest.raises(ArchiveError, match="ARC-003"):
        archive.spool(minimum_free_bytes=0)


def test_a_lost_file_is_reported_and_a_resend_heals_it(archive: Archive, spool: Spool) -> None:
    data = encode(make_dataset())
    put(spool, data, "1.2.3.1.1")
    spool.path("1.2.3.1.1").unlink()
    assert spool.recover().missing == ("1.2.3.1.1",)
    assert put(spool, data, "1.2.3.1.1") == "stored"
    assert spool.recover().missing == ()


def test_recovery_touches_nothing_it_does_not_know(archive: Archive, spool: Spool) -> None:
    put(spool, encode(make_dataset()), "1.2.3.1.1")
    folder = archive.data / "spool" / "00"
    strangers = [folder / "note.txt", folder / f"{'0' * 64}.dcm", folder / ("00" + "1" * 62 + ".dcm")]
    strangers[0].write_text("hello")
    strangers[1].write_bytes(b"no DICOM")
    strangers[2].write_bytes(encode(make_dataset(number=9)))  # an instance, but under another's name
    found = spool.recover()
    assert set(found.foreign) == set(strangers)
    assert (found.adopted, found.swept) == (0, 0)
    assert all(path.exists() for path in strangers)


def test_associations_left_open_by_a_crash_are_closed_as_lost(archive: Archive, spool: Spool) -> None:
    spool.association_opened(peer="127.0.0.1", calling_ae="CT1", called_ae="CORONET")
    done = spool.association_opened(peer="127.0.0.1", calling_ae="CT1", called_ae="CORONET")
    spool.association_closed(done, outcome="released", instances=0)
    spool.recover()
    with archive.database.reading() as connection:
        assert [row["outcome"] for row in connection.execute("SELECT outcome FROM associations ORDER BY id")] == ["lost", "released"]


# -- the same instance in another encoding


def encoded(syntax: str, *, undefined_lengths: bool = False, **changes: object) -> bytes:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "C1", "99X", "心脏"
    item.is_undefined_length_sequence_item = undefined_lengths
    dataset = make_dataset(**{"Rows": 2, "Columns": 2, "SliceThickness": "0.5", "PixelData": bytes(range(8)), **changes})  # type: ignore[arg-type]
    dataset.BitsAllocated = 16
    dataset.AnatomicRegionSequence = [item]
    dataset["AnatomicRegionSequence"].is_undefined_length = undefined_lengths
    dataset.private_block(0x0009, "COMPANY", create=True).add_new(1, "FD", 1.5)
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "again",
    [
        encoded(ImplicitVRLittleEndian),
        encoded(ExplicitVRLittleEndian, undefined_lengths=True),
        encoded(DeflatedExplicitVRLittleEndian),
    ],
    ids=["implicit", "undefined-lengths", "deflated"],
)
def test_the_same_values_in_another_encoding_are_a_duplicate(archive: Archive, spool: Spool, again: bytes) -> None:
    first = encoded(ExplicitVRLittleEndian)
    assert again != first
    put(spool, first, "1.2.3.1.1")
    assert put(spool, again, "1.2.3.1.1") == "duplicate"
    assert spool.path("1.2.3.1.1").read_bytes() == first


@pytest.mark.parametrize(
    "other",
    [
        encoded(ExplicitVRLittleEndian, PixelData=bytes(8)),
        encoded(ExplicitVRLittleEndian, PatientID="P-78"),
        encoded(ImplicitVRLittleEndian, SliceThickness="0.6"),
        encoded(ExplicitVRLittleEndian)[:-3],
        encoded(ExplicitVRLittleEndian)[:400] + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 50_000,
        b"",
    ],
    ids=["pixels", "patient", "thickness", "truncated", "bomb", "empty"],
)
def test_other_values_truncated_or_hostile_data_are_refused(archive: Archive, spool: Spool, other: bytes) -> None:
    first = encoded(ExplicitVRLittleEndian)
    put(spool, first, "1.2.3.1.1")
    with pytest.raises(ArchiveError, match="ARC-022"):
        put(spool, other, "1.2.3.1.1")
    assert spool.path("1.2.3.1.1").read_bytes() == first
