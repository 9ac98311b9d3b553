"""Sending to DCMTK, to Orthanc, and to peers that are down, refuse, or leave in the middle."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.dicom.sender import MOST_CONTEXTS, echo, send
from appliance.dicom.store_stream import StoreStream
from appliance.errors import DicomError
from appliance.settings import DestinationSettings
from tests.peers import dcmtk, orthanc
from tests.peers.datasets import ROOT, ct_slice, save, write_series
from tests.peers.parrot import CT_IMAGE
from tests.peers.scp import scp
from tests.peers.waiting import free_port


def destination(port: int, ae_title: str = "STORESCP", **more: Any) -> DestinationSettings:
    return DestinationSettings(**{"name": "pacs", "host": "127.0.0.1", "port": port, "ae_title": ae_title, "timeout_s": 20.0, **more})


def dataset_bytes(path: Path) -> bytes:
    """The file without its file meta information."""
    data = path.read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little") :]


@contextmanager
def archive(answer: Any, *, syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,), sop_class: str = CT_IMAGE) -> Iterator[int]:
    """A storage SCP that answers ``answer(event)``: its port."""
    ae = AE("ARCHIVE")
    with scp(ae, contexts=[build_context(sop_class, list(syntaxes))], handlers=[(evt.EVT_C_STORE, answer)]) as port:
        yield port


def test_echo_and_store_to_dcmtk_bit_by_bit(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", 6)
    with dcmtk.storescp(tmp_path / "kept", "+B") as peer:
        echo(destination(peer.port))
        outcomes = send(destination(peer.port), files)
        kept = {hashlib.sha256(dataset_bytes(path)).digest() for path in peer.files()}
    assert [(outcome.path, outcome.status, outcome.accepted, outcome.reason) for outcome in outcomes] == [
        (path, 0, True, None) for path in files
    ]
    assert kept == {hashlib.sha256(dataset_bytes(path)).digest() for path in files}
    assert len({outcome.sop_instance_uid for outcome in outcomes}) == 6


def test_store_to_orthanc_keeps_the_chinese_name(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", 4)
    with orthanc.orthanc(tmp_path / "pacs") as peer:
        echo(destination(peer.port, "ORTHANC"))
        outcomes = send(destination(peer.port, "ORTHANC"), files)
        assert [outcome.accepted for outcome in outcomes] == [True] * 4
        tags = peer.instances()
        refused = send(destination(peer.port, "NOTORTHANC"), files[:1])[0]
    assert {tag["SOPInstanceUID"] for tag in tags} == {outcome.sop_instance_uid for outcome in outcomes}
    assert {tag["PatientName"] for tag in tags} == {"Test^Ceshi=测试^患者"}
    assert (refused.accepted, refused.reason and refused.reason.code) == (False, "DCM-002")


def test_a_peer_that_is_down(tmp_path: Path) -> None:
    files = write_series(tmp_path, 2)
    outcomes = send(destination(free_port(), timeout_s=3.0), files)
    assert [(outcome.status, outcome.accepted, outcome.reason.code) for outcome in outcomes if outcome.reason] == [
        (None, False, "DCM-001")
    ] * 2
    with pytest.raises(DicomError, match="DCM-001"):
        echo(destination(free_port(), timeout_s=3.0))


def test_a_peer_that_rejects_us_says_why(tmp_path: Path) -> None:
    ae = AE("ARCHIVE")
    ae.require_called_aet = True
    with scp(ae, contexts=[build_context(CT_IMAGE)]) as port:
        outcomes = send(destination(port, "SOMEONE"), write_series(tmp_path, 1))
    assert outcomes[0].reason is not None
    assert outcomes[0].reason.code == "DCM-002"
    assert "被叫 AE 名称有误" in outcomes[0].reason.zh


@pytest.mark.parametrize(
    ("status", "accepted", "words"),
    [(0xA700, False, "out of resources"), (0xA900, False, "does not match"), (0xC001, False, "cannot understand"),
     (0x0124, False, "not authorised"), (0xB000, True, "coerced"), (0xB007, True, "does not quite match")],
)  # fmt: skip
def test_what_the_peer_answers_is_kept(tmp_path: Path, status: int, accepted: bool, words: str) -> None:
    with archive(lambda _: status) as port:
        outcome = send(destination(port, "ARCHIVE"), write_series(tmp_path, 1))[0]
    assert (outcome.status, outcome.accepted) == (status, accepted)
    assert outcome.reason is not None
    assert words in outcome.reason.en


def test_one_refused_instance_does_not_stop_the_others(tmp_path: Path) -> None:
    files = write_series(tmp_path, 3)
    refused = pydicom.dcmread(files[1]).SOPInstanceUID

    def answer(event: Event) -> int:
        return 0xC000 if event.request.AffectedSOPInstanceUID == refused else 0x0000

    with archive(answer) as port:
        outcomes = send(destination(port, "ARCHIVE"), files)
    assert [outcome.accepted for outcome in outcomes] == [True, False, True]


def test_a_peer_that_leaves_in_the_middle(tmp_path: Path) -> None:
    """What was answered counts; the rest was not sent, and says so."""
    count = iter(range(10))

    def answer(event: Event) -> int:
        if next(count) == 2:
            event.assoc.abort()
        return 0x0000

    with archive(answer) as port:
        outcomes = send(destination(port, "ARCHIVE"), write_series(tmp_path, 5))
    assert [outcome.status for outcome in outcomes] == [0, 0, None, None, None]
    assert {outcome.reason.code for outcome in outcomes if outcome.reason} == {"DCM-005"}


@pytest.mark.parametrize("said", [b"", b"\x02\x00\x00\x00"])
def test_a_peer_that_falls_silent_does_not_hold_us(tmp_path: Path, said: bytes) -> None:
    """It takes the connection, says nothing or half a PDU, and keeps the line open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines: list[socket.socket] = []

        def take() -> None:
            line, _ = server.accept()
            lines.append(line)
            line.sendall(said)

        thread = threading.Thread(target=take)
        thread.start()
        outcome = send(destination(server.getsockname()[1], timeout_s=1.0), write_series(tmp_path, 1))[0]
        thread.join()
        lines[0].close()
    assert outcome.reason is not None
    assert outcome.reason.code == "DCM-003"


def test_uncompressed_files_are_converted_where_the_peer_wants_it(tmp_path: Path) -> None:
    received = []

    def answer(event: Event) -> int:
        received.append((event.context.transfer_syntax, event.dataset.PixelData, str(event.dataset.PatientName)))
        return 0x0000

    files = write_series(tmp_path, 1)
    with archive(answer, syntaxes=(ImplicitVRLittleEndian,)) as port:
        assert send(destination(port, "ARCHIVE"), files)[0].accepted
    assert received[0][0] == ImplicitVRLittleEndian
    assert received[0][1] == pydicom.dcmread(files[0]).PixelData
    assert received[0][2] == "Test^Ceshi=测试^患者"


def test_a_compressed_file_goes_as_it_is_and_is_decoded_only_for_a_peer_that_cannot_take_it(tmp_path: Path) -> None:
    dataset = ct_slice()
    compressed = pydicom.dcmread(save(dataset, tmp_path / "a.dcm"))
    compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
    compressed.save_as(tmp_path / "b.dcm")
    received = []

    def answer(event: Any) -> int:
        received.append((event.context.transfer_syntax, str(event.request.AffectedSOPInstanceUID), event.dataset.PixelData))
        return 0x0000

    with archive(answer, syntaxes=(JPEG2000Lossless, ExplicitVRLittleEndian)) as port:
        assert send(destination(port, "ARCHIVE"), [tmp_path / "b.dcm"])[0].accepted
    with archive(answer, syntaxes=(ImplicitVRLittleEndian,)) as port:
        assert send(destination(port, "ARCHIVE"), [tmp_path / "b.dcm"])[0].accepted
    assert received == [
        (JPEG2000Lossless, dataset.SOPInstanceUID, compressed.PixelData),
        (ImplicitVRLittleEndian, dataset.SOPInstanceUID, dataset.PixelData),
    ]


def test_a_file_that_cannot_be_decoded_stays_and_the_others_go(tmp_path: Path) -> None:
    path = save(ct_slice(), tmp_path / "a.dcm")
    broken = pydicom.dcmread(path)
    broken.PixelData = pydicom.encaps.encapsulate([b"no JPEG 2000"])
    broken.file_meta.TransferSyntaxUID = JPEG2000Lossless
    broken["PixelData"].is_undefined_length = True
    broken.save_as(tmp_path / "b.dcm")
    with archive(lambda _: 0x0000) as port:
        outcomes = send(destination(port, "ARCHIVE"), [tmp_path / "b.dcm", path])
    assert [(outcome.status, outcome.accepted) for outcome in outcomes] == [(None, False), (0, True)]
    assert outcomes[0].reason is not None
    assert outcomes[0].reason.code == "DCM-004"


def test_a_file_that_is_not_dicom_is_named_and_the_others_go(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", 2)
    junk = tmp_path / "junk"
    junk.write_bytes(b"no")
    with archive(lambda _: 0x0000) as port:
        outcomes = send(destination(port, "ARCHIVE"), [files[0], junk, tmp_path / "missing", files[1]])
    assert [outcome.accepted for outcome in outcomes] == [True, False, False, True]
    assert {outcome.reason.code for outcome in outcomes if outcome.reason} == {"DCM-007"}


def test_more_kinds_than_one_association_can_hold(tmp_path: Path) -> None:
    """As many SOP classes as contexts: each uncompressed kind asks for two, so they go in several associations."""
    from pynetdicom.sop_class import _STORAGE_CLASSES

    classes = sorted(set(_STORAGE_CLASSES.values()))[: MOST_CONTEXTS // 2 + 6]
    files = [
        save(ct_slice(SOPClassUID=uid, SOPInstanceUID=f"{ROOT}8.{number}"), tmp_path / f"{number}.dcm")
        for number, uid in enumerate(classes)
    ]
    ae = AE("ARCHIVE")
    peers = set()

    def answer(event: Event) -> int:
        peers.add(id(event.assoc))
        return 0x0000

    contexts = [build_context(uid, [ExplicitVRLittleEndian]) for uid in classes]
    with scp(ae, contexts=contexts, handlers=[(evt.EVT_C_STORE, answer)]) as port:
        outcomes = send(destination(port, "ARCHIVE"), files)
    assert len(files) > MOST_CONTEXTS // 2
    assert all(outcome.accepted for outcome in outcomes)
    assert len(peers) == 2


def test_a_large_file_goes_whole_and_a_peer_that_leaves_in_its_middle_is_named(tmp_path: Path) -> None:
    """Larger than what is read at once."""
    pixels = np.arange(3000 * 3000, dtype=np.uint32).astype(np.int16).reshape(3000, 3000)
    large = save(ct_slice(pixels=pixels), tmp_path / "large.dcm")
    received = []

    def answer(event: Event) -> int:
        received.append(hashlib.sha256(event.request.DataSet.getvalue()).digest())  # type: ignore[union-attr]
        return 0x0000

    with archive(answer) as port:
        assert send(destination(port, "ARCHIVE"), [large])[0].accepted
    assert received == [hashlib.sha256(dataset_bytes(large)).digest()]

    line = threading.Event()

    def cut(event: Event) -> None:
        line.set()
        event.assoc.abort()

    with scp(AE("ARCHIVE"), contexts=[build_context(CT_IMAGE)], handlers=[(evt.EVT_ACCEPTED, cut)]) as port:
        outcome = send(destination(port, "ARCHIVE"), [large])[0]
    assert line.is_set()
    assert (outcome.status, outcome.accepted, outcome.reason and outcome.reason.code) == (None, False, "DCM-005")


def test_the_bandwidth_limit_is_kept() -> None:
    """One megabyte at 8 Mbit/s, with the seconds that would be slept added up."""
    ours, theirs = socket.socketpair()
    slept: list[float] = []
    kind = (CT_IMAGE, str(ExplicitVRLittleEndian))
    elements = ((0x0100, b"\x01\x80"), (0x0120, b"\x01\x00"), (0x0900, b"\x00\x00"))
    command = b"".join(struct.pack("<HHL", 0, element, 2) + value for element, value in elements)
    theirs.sendall(struct.pack(">BBLLBB", 4, 0, len(command) + 6, len(command) + 2, 1, 3) + command)
    got = bytearray()

    def drain() -> None:
        while part := theirs.recv(1 << 16):
            got.extend(part)

    reader = threading.Thread(target=drain)
    reader.start()
    with ours:
        stream = StoreStream(
            ours, accepted={kind: 1}, maximum_pdu_bytes=16384, timeout_s=10.0, megabits_s=8.0, sleep=slept.append, clock=lambda: 0.0
        )
        assert stream.store(kind, "1.2.3", memoryview(bytes(1_000_000))) == 0x0000
    reader.join()
    theirs.close()
    assert len(got) > 1_000_000
    assert max(slept) == pytest.approx(1.0, rel=0.03), "the clock stands still: each wait is as long as all that went before takes"


@pytest.mark.parametrize(
    "said",
    [
        b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00",  # A-ABORT
        b"\x04\x00\xff\xff\xff\xff",  # a PDU of 4 GiB
        b"\x04\x00\x00\x00\x00\x06\x00\x00\xff\xff\x01\x03",  # a fragment longer than its PDU
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",  # an answer without a status
        b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",  # A-RELEASE-RQ instead of an answer
        b"",
    ],
)
def test_answers_that_are_none(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    kind = (CT_IMAGE, str(ExplicitVRLittleEndian))
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        stream = StoreStream(ours, accepted={kind: 1}, maximum_pdu_bytes=0, timeout_s=2.0, megabits_s=None)
        with pytest.raises(DicomError, match="DCM-005"):
            stream.store(kind, "1.2.3", memoryview(b"data"))
