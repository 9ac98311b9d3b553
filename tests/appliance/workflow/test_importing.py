"""Media that others made, good and hostile, through our own door: see ``appliance/workflow/importing.py``."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.fileset import FileSet

from appliance.archive.clock import SystemClock
from appliance.archive.database import Database
from appliance.archive.instances import Spool
from appliance.dicom.receiver import Receiver
from appliance.dicom.sender import send
from appliance.dicom.whole import CutShortError, check_whole
from appliance.errors import WorkflowError
from appliance.settings import ReceiverSettings
from appliance.workflow.importing import ImportSummary, import_folder
from appliance.workflow.media import DEEPEST_FOLDER
from appliance.workflow.probe import own_door
from tests.peers.datasets import ROOT, ct_slice, save, write_series
from tests.peers.waiting import free_port


class Box:
    """A receiver with its spool, and a medium."""

    def __init__(self, folder: Path) -> None:
        self.settings = ReceiverSettings(port=free_port(), minimum_free_bytes=0)
        self.database = Database(folder / "coronet.db")
        self.spool = Spool(database=self.database, root=folder / "spool", clock=SystemClock(), minimum_free_bytes=0, segment_bytes=1 << 20)
        self.receiver = Receiver(self.settings, store=self.spool)
        self.receiver.start()
        self.stick = folder / "stick"
        self.stick.mkdir()
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def take(self, **changes: Any) -> ImportSummary:
        arguments: dict[str, Any] = {"door": own_door(self.settings), "scratch": self.scratch, "largest": 1 << 20, "send": send}
        summary = import_folder(self.stick, **{**arguments, **changes})
        assert not list(self.scratch.iterdir())
        return summary

    def uids(self) -> set[str]:
        self.spool.settle()
        with self.database.reading() as connection:
            return {row["sop_instance_uid"] for row in connection.execute("SELECT * FROM instances")}

    def close(self) -> None:
        self.receiver.stop(grace_s=5)
        self.spool.close()
        self.database.close()


@pytest.fixture
def box(memory: Path) -> Iterator[Box]:
    box = Box(memory)
    yield box
    box.close()


def test_whatever_a_file_is_called_and_wherever_it_lies(box: Box) -> None:
    names = ["IM000001", "a.jpg", "deep/er/ü 患者^名.txt", "-rf", "$(reboot).dcm", "new\nline", "..dcm"]
    uids = set()
    for number, name in enumerate(names):
        path = box.stick / name
        path.parent.mkdir(parents=True, exist_ok=True)
        uids.add(f"{ROOT}2.{number + 1}")
        save(ct_slice(index=number), path)
    (box.stick / "README.TXT").write_text("viewer")
    (box.stick / "empty.dcm").touch()
    summary = box.take()
    assert (summary.accepted, summary.other, summary.refused) == (len(names), 2, [])
    assert box.uids() == uids


def test_a_name_that_is_no_unicode(box: Box) -> None:
    os.makedirs(os.fsencode(box.stick) + b"/\xff\xfe")  # noqa: PTH103 - bytes
    save(ct_slice(), box.stick / os.fsdecode(b"\xff\xfe") / "1")
    (box.stick / os.fsdecode(b"\xff.dcm")).write_bytes(bytes(128) + b"DICM" + b"rubbish")
    summary = box.take()
    assert summary.accepted == 1
    assert [(each.path, each.reason.code) for each in summary.refused] == [("?.dcm", "WF-064")]


def test_a_data_set_without_preamble_is_taken(box: Box) -> None:
    whole = save(ct_slice(), box.stick / "one")
    raw = whole.read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    whole.write_bytes(raw[start:])
    assert box.take().accepted == 1
    assert box.uids() == {f"{ROOT}2.1"}


def test_links_are_not_followed_and_what_is_no_file_is_not_opened(box: Box, tmp_path: Path) -> None:
    outside = save(ct_slice(index=7), tmp_path / "outside.dcm")
    (box.stick / "link.dcm").symlink_to(outside)
    (box.stick / "loop").symlink_to(box.stick)
    (box.stick / "dangling").symlink_to("nowhere")
    os.mkfifo(box.stick / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.stick / "socket.dcm"))
    save(ct_slice(index=0), box.stick / "good.dcm")
    summary = box.take()
    assert summary.accepted == 1
    assert (summary.skipped.links, summary.skipped.special) == (3, 2)
    assert box.uids() == {f"{ROOT}2.1"}


def test_folders_without_end_are_left_at_some_depth(box: Box) -> None:
    deep = box.stick
    for _ in range(DEEPEST_FOLDER + 3):
        deep /= "d"
    deep.mkdir(parents=True)
    save(ct_slice(), deep / "1")
    summary = box.take()
    assert (summary.accepted, summary.skipped.too_deep) == (0, 1)


@pytest.mark.parametrize("cut", [1, 2, 3000, 6144, 6145, 6150, 6500])
def test_a_file_cut_short_is_refused(box: Box, cut: int) -> None:
    path = save(ct_slice(), box.stick / "1")
    check_whole(path)
    path.write_bytes(path.read_bytes()[:-cut])
    summary = box.take()
    assert [each.reason.code for each in summary.refused] == ["WF-064"]
    assert box.uids() == set()


def test_every_place_where_a_file_may_be_cut(tmp_path: Path) -> None:
    """With sequences of both kinds and fragments of pixels; only at the end of an element can a shorter file be whole."""
    dataset: Any = ct_slice()
    item: Any = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator = "1", "DCM"
    dataset.ProcedureCodeSequence = [item]
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(100), bytes(60)])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    path = save(dataset, tmp_path / "1", transfer_syntax="1.2.840.10008.1.2.4.90")
    check_whole(path)
    raw = path.read_bytes()
    pixels = raw.index(b"\xe0\x7f\x10\x00OB")
    ends = set()
    for size in range(144 + int.from_bytes(raw[140:144], "little") + 1, len(raw)):
        path.write_bytes(raw[:size])
        try:
            check_whole(path)
        except CutShortError:
            continue
        ends.add(size)
    assert not {size for size in ends if size > pixels + 7}
    assert len(ends) <= len(dataset) + 8 * len(dataset)


def test_a_huge_file_is_refused_unread_and_a_huge_text_is_nothing(box: Box) -> None:
    for name, head in (("huge.dcm", bytes(128) + b"DICM"), ("huge.txt", b"text")):
        with (box.stick / name).open("wb") as file:
            file.write(head)
            file.truncate(1 << 40)
    summary = box.take()
    assert [(each.path, each.reason.code) for each in summary.refused] == [("huge.dcm", "WF-063")]
    assert summary.other == 1


def test_a_medium_of_the_standard_and_what_its_directory_names_but_does_not_hold(box: Box, tmp_path: Path) -> None:
    files = FileSet()
    for path in write_series(tmp_path / "series", 4):
        files.add(path)
    files.write(box.stick)
    lost = next(path for path in sorted(box.stick.rglob("IM*")) if path.is_file())
    lost.unlink()
    (box.stick / "viewer.exe").write_bytes(bytes(5000))
    summary = box.take()
    assert (summary.accepted, summary.other) == (3, 2)
    assert [(each.path, each.reason.code) for each in summary.refused] == [(lost.relative_to(box.stick).as_posix(), "WF-065")]


def test_what_the_door_refuses_is_in_the_summary(box: Box) -> None:
    save(ct_slice(), box.stick / "first")
    save(ct_slice(PatientID="OTHER"), box.stick / "second")
    summary = box.take()
    assert summary.accepted == 1
    assert [each.path for each in summary.refused] == ["second"]
    assert summary.refused[0].reason.zh


def test_importing_twice_harms_nothing(box: Box) -> None:
    write_series(box.stick / "s", 3)
    assert box.take().accepted == 3
    again = box.take()
    assert (again.accepted, again.refused) == (3, [])
    assert len(box.uids()) == 3


def test_many_files_come_in_batches_with_progress(box: Box) -> None:
    for index in range(130):
        save(ct_slice(index=index), box.stick / f"{index}")
    told: list[int] = []
    box.take(progress=lambda summary: told.append(summary.accepted))
    assert told == [64, 128, 130]


def test_no_folder(box: Box) -> None:
    box.stick.rmdir()
    with pytest.raises(WorkflowError) as raised:
        box.take()
    assert raised.value.code == "WF-060"


def test_a_file_that_grows_while_it_is_read_ends_at_the_limit(box: Box) -> None:
    """A file whose size lies: /proc-like and growing files; played by a writer that never stops."""
    path = box.stick / "grows.dcm"
    path.write_bytes(bytes(128) + b"DICM")
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set() and file.tell() < 64 << 20:
                file.write(bytes(1 << 20))
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        summary = box.take()
    finally:
        stop.set()
        writer.join()
    assert summary.refused[0].reason.code in {"WF-063", "WF-064"}
