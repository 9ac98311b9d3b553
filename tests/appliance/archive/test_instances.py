"""The promise behind a C-STORE success: see ``appliance/archive/instances.py``."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from appliance.archive.archive import Archive
from appliance.archive.instances import Spool, instance_name
from appliance.errors import ArchiveError
from tests.appliance.archive.fakes import encode, make_archive, make_dataset

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SYNTAX = "1.2.840.10008.1.2.1"


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
    return spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=part10, association=association)


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
    archive: Archive, spool: Spool, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """The file's own fsync (1) reports the full disk, as delayed allocation does; so may that of the folder (2)."""
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


def test_a_database_that_gets_full_leaves_no_orphan(archive: Archive, spool: Spool) -> None:
    """SQLite itself says SQLITE_FULL when it may not grow."""
    with archive.database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with archive.database.transaction() as connection:
        connection.execute("CREATE TABLE filler (x)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(100000))")
    archive.database._connection().execute(f"PRAGMA max_page_count = {pages}")
    stored = 0

    def fill() -> None:
        nonlocal stored
        for number in range(1, 2000):
            put(spool, encode(make_dataset(number=number)), f"1.2.3.1.{number}")
            stored = number

    with pytest.raises(ArchiveError) as raised:
        fill()
    assert raised.value.details["status"] == 0xA700
    assert len(files(archive)) == len(rows(archive)) == stored
    assert not spool.path(f"1.2.3.1.{stored + 1}").exists()


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


# -- kill -9

INSTANCES = {f"1.2.3.1.{number}": encode(make_dataset(number=number)) for number in (1, 2)}
STEPS = ("create", "write", "fsync", "rename", "fsync", "BEGIN IMMEDIATE", "INSERT", "COMMIT", "committed")


class Steps:
    """Calls ``reached(name)`` at every point of the store path where the process could die."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reached: Callable[[str], None]) -> None:
        self._reached = reached
        real_open, real_replace, real_fsync = Path.open, Path.replace, os.fsync
        outer = self

        def open_path(path: Path, *arguments: Any, **keywords: Any) -> Any:
            file = real_open(path, *arguments, **keywords)
            if path.name.endswith(".part"):
                outer._reached("create")
                return _HalvedFile(file, outer._reached)
            return file

        def replace(path: Path, target: Path) -> Path:
            outer._reached("rename")
            return real_replace(path, target)

        def fsync(descriptor: int) -> None:
            outer._reached("fsync")
            real_fsync(descriptor)

        monkeypatch.setattr(Path, "open", open_path)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "fsync", fsync)

    def watch(self, connection: sqlite3.Connection) -> None:
        writing = False

        def trace(statement: str) -> None:
            nonlocal writing
            writing = statement == "BEGIN IMMEDIATE" or (writing and statement != "BEGIN")
            if writing:
                self._reached(statement.split(" INTO")[0])
            writing = writing and statement != "COMMIT"

        connection.set_trace_callback(trace)


class _HalvedFile:
    """A file whose single write reaches the disk in two halves, with a step between."""

    def __init__(self, file: Any, reached: Callable[[str], None]) -> None:
        self._file, self._reached = file, reached

    def write(self, data: memoryview) -> None:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._reached("write")
        self._file.write(data[len(data) // 2 :])

    def __enter__(self) -> _HalvedFile:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_the_order_of_steps_is_the_promised_one(archive: Archive, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fsync of the file before the rename, of the folder before the commit, the commit before the reply (survives a power cut)."""
    order: list[str] = []
    steps = Steps(monkeypatch, order.append)
    steps.watch(archive.database._connection())
    put(spool, INSTANCES["1.2.3.1.1"], "1.2.3.1.1")
    assert tuple(order) == STEPS[:-1]


def send_and_die(data: Path, step: int, acknowledged: int) -> None:
    """In a child process: store the instances, write each acknowledged UID to a pipe, and kill -9 oneself at the n-th step."""
    reached = 0

    def count(_name: str) -> None:
        nonlocal reached
        reached += 1
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    archive = make_archive(data)
    spool = archive.spool(minimum_free_bytes=0)
    steps = Steps(pytest.MonkeyPatch(), count)
    steps.watch(archive.database._connection())
    for uid, part10 in INSTANCES.items():
        put(spool, part10, uid)
        count("committed")
        os.write(acknowledged, f"{uid}\n".encode())
    os.write(acknowledged, b"survived\n")


@pytest.mark.parametrize("step", range(1, 2 * len(STEPS) + 1))
def test_kill_9_at_every_step_loses_nothing_that_was_acknowledged(tmp_path: Path, step: int) -> None:
    data = tmp_path / "data"
    make_archive(data).close()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            send_and_die(data, step, write)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        acknowledged = pipe.read().split()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert acknowledged == list(INSTANCES)[: (step - 1) // len(STEPS)]

    archive = make_archive(data)
    spool = archive.spool(minimum_free_bytes=0)
    found = spool.recover()
    kept = rows(archive)
    assert set(acknowledged) <= set(kept)
    assert (found.missing, found.foreign) == ((), ())
    assert {path.name for path in files(archive)} == {Path(instance_name(uid)).name for uid in kept}
    for uid, sha256 in kept.items():
        assert spool.path(uid).read_bytes() == INSTANCES[uid]
        assert sha256 == hashlib.sha256(INSTANCES[uid]).hexdigest()
    for uid, part10 in INSTANCES.items():  # the scanner sends all of it again
        assert put(spool, part10, uid) == ("duplicate" if uid in kept else "stored")
    assert set(rows(archive)) == set(INSTANCES)
    spool.close()
    archive.close()


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
