"""The receiver against DCMTK and against a scripted peer that breaks every rule."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import NoReturn

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from appliance.archive.clock import SystemClock
from appliance.archive.database import Database
from appliance.archive.instances import Spool
from appliance.dicom.receiver import run_receiver
from appliance.settings import ReceiverSettings
from tests.appliance.dicom.conftest import Door, StartDoor
from tests.peers import dcmtk
from tests.peers.datasets import ct_slice, encode, save, write_series
from tests.peers.parrot import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    CT_IMAGE,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    Parrot,
    associate_rq,
    p_data,
    pdu,
    store_command,
)
from tests.peers.waiting import free_port, wait_until


def resident_kib() -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))  # type: ignore[union-attr]


def one_image() -> tuple[bytes, str]:
    dataset = ct_slice()
    return encode(dataset), str(dataset.SOPInstanceUID)


def took_less_than(parrot: Parrot, pieces: list[bytes]) -> bool:
    """True if the connection was closed before all pieces had been taken."""
    try:
        for piece in pieces:
            parrot.say(piece)
    except ConnectionError:
        return True
    return False


# -- DCMTK as the scanner


def test_echo(door: Door) -> None:
    assert dcmtk.echoscu(door.port).returncode == 0
    door.wait_idle()
    assert door.associations() == []


def test_wrong_called_ae_title_is_rejected(door: Door) -> None:
    assert dcmtk.echoscu(door.port, called="SOMEONE").returncode != 0


def test_calling_ae_title_must_be_on_the_list_where_there_is_one(start_door: StartDoor) -> None:
    door = start_door(calling_ae_titles=("CT1",))
    assert dcmtk.echoscu(door.port, calling="CT1").returncode == 0
    assert dcmtk.echoscu(door.port, calling="CT2").returncode != 0


def test_a_series_is_kept_byte_for_byte(door: Door, tmp_path: Path) -> None:
    sent = write_series(tmp_path / "series", 12)
    result = dcmtk.storescu(door.port, sent, "-xe")
    assert result.returncode == 0, result.stderr
    rows = {row["sop_instance_uid"]: row for row in door.instances()}
    assert len(rows) == 12
    for path in sent:
        original = pydicom.dcmread(path)
        kept = pydicom.dcmread(door.spool.path(original.SOPInstanceUID))
        assert kept.PixelData == original.PixelData
        assert str(kept.PatientName) == "Test^Ceshi=测试^患者"
        assert kept.file_meta.TransferSyntaxUID == rows[original.SOPInstanceUID]["transfer_syntax_uid"] == ExplicitVRLittleEndian
    door.wait_idle()
    wait_until(lambda: door.associations()[0]["closed_at"] is not None)
    assert [(row["outcome"], row["calling_ae_title"]) for row in door.associations()] == [("released", "DCMTK")]


@pytest.mark.parametrize("option", ["-xi", "-xe", "-xb", "-xd"])
def test_transfer_syntaxes_that_storescu_can_make(door: Door, tmp_path: Path, option: str) -> None:
    """Implicit, explicit, big endian and deflated: stored as sent, read back equal."""
    sent = write_series(tmp_path / "series", 1)[0]
    result = dcmtk.storescu(door.port, [sent], option, "-R")
    assert result.returncode == 0, result.stderr
    original = pydicom.dcmread(sent)
    kept = pydicom.dcmread(door.spool.path(original.SOPInstanceUID))
    assert (kept.pixel_array == original.pixel_array).all()


def test_the_same_image_twice_is_success_and_one_row(door: Door, tmp_path: Path) -> None:
    sent = write_series(tmp_path / "series", 2)
    assert dcmtk.storescu(door.port, sent).returncode == 0
    assert dcmtk.storescu(door.port, sent).returncode == 0
    assert len(door.instances()) == 2


def test_four_senders_at_once(door: Door, tmp_path: Path) -> None:
    series = [write_series(tmp_path / f"series-{number}", 20) for number in range(4)]
    senders = [dcmtk.start_storescu(door.port, files, calling=f"CT{number}") for number, files in enumerate(series)]
    assert [sender.wait(timeout=60) for sender in senders] == [0, 0, 0, 0]
    assert len(door.instances()) == 80


def test_files_that_are_not_dicom_leave_the_door_open(door: Door, tmp_path: Path) -> None:
    junk = tmp_path / "junk.dcm"
    junk.write_bytes(os.urandom(4096))
    assert dcmtk.storescu(door.port, [junk]).returncode != 0
    assert dcmtk.echoscu(door.port).returncode == 0


def test_full_disk_is_said_and_the_door_stays_open(start_door: StartDoor, tmp_path: Path) -> None:
    door = start_door(minimum_free_bytes=1 << 60)
    dataset, uid = one_image()
    with Parrot(door.port) as parrot:
        status, _ = parrot.associate().store(dataset, sop_instance=uid)
    assert status == 0xA700
    assert door.instances() == []
    assert dcmtk.echoscu(door.port).returncode == 0


# -- what is refused, one by one, with its status


def test_store_without_faults_succeeds(door: Door) -> None:
    dataset, uid = one_image()
    with Parrot(door.port) as parrot:
        assert parrot.associate().store(dataset, sop_instance=uid) == (0x0000, "")
    assert [row["sop_instance_uid"] for row in door.instances()] == [uid]


@pytest.mark.parametrize(
    ("changes", "command", "status"),
    [
        pytest.param({}, {"sop_instance": ""}, 0xA900, id="empty UID in the command"),
        pytest.param({}, {"sop_instance": "../../etc/passwd"}, 0xA900, id="a path for a UID"),
        pytest.param({"SOPInstanceUID": ""}, {}, 0xA900, id="empty UID in the data set"),
        pytest.param({}, {"sop_instance": "1.2.3.4"}, 0xA900, id="another UID in the data set"),
        pytest.param({}, {"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, 0xA900, id="class not of the context"),
        pytest.param({}, {"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, 0x0122, id="class not taken (MR)"),
        pytest.param({}, {"sop_class": "1.2.3.4.5"}, 0x0122, id="class unknown to anyone"),
        pytest.param({}, {"sop_class": ""}, 0x0122, id="empty class"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning")
def test_refusals(door: Door, changes: dict[str, str], command: dict[str, str], status: int) -> None:
    dataset = ct_slice(**changes)
    uid = str(ct_slice().SOPInstanceUID)
    with Parrot(door.port) as parrot:
        parrot.associate()
        answer, comment = parrot.store(encode(dataset), **{"sop_instance": uid, **command})
        assert answer == status
        assert comment
        # the association lives on, and the next image, which is right, is stored
        right, right_uid = one_image()
        assert parrot.store(right, sop_instance=right_uid, message_id=2) == (0x0000, "")
    assert [row["sop_instance_uid"] for row in door.instances()] == [right_uid]


@pytest.mark.parametrize("content", [b"\0" * 600, b"this is not DICOM at all" * 20, b"\x08\x00", bytes(range(256)) * 4])
def test_a_data_set_that_is_none_is_refused(door: Door, content: bytes) -> None:
    with Parrot(door.port) as parrot:
        status, _ = parrot.associate().store(content, sop_instance="1.2.3")
    assert status == 0xC000
    assert door.instances() == []


def test_implicit_bytes_under_an_explicit_context_are_refused(door: Door) -> None:
    with Parrot(door.port) as parrot:
        status, _ = parrot.associate().store(encode(ct_slice(), implicit=True), sop_instance=str(ct_slice().SOPInstanceUID))
    assert status == 0xC000


def test_a_store_without_data_set_is_refused(door: Door) -> None:
    with Parrot(door.port) as parrot:
        parrot.associate().say(p_data(store_command(has_data=False), command=True, last=True))
        assert parrot.status()[0] == 0xC000


def test_an_unknown_class_is_not_accepted_at_association(door: Door) -> None:
    with Parrot(door.port) as parrot:
        kind, body = parrot.say(associate_rq(contexts=((1, "1.2.3.4", (EXPLICIT,)), (3, VERIFICATION, (IMPLICIT,))))).hear()
    assert kind == ASSOCIATE_AC
    results = dict(re.findall(rb"\x21\x00..(.)\x00(.)\x00", body, re.DOTALL))
    assert results[b"\x01"] == b"\x03"  # abstract syntax not supported (PS3.8 table 9-18)
    assert results[b"\x03"] == b"\x00"


def test_same_uid_with_other_content_is_refused_and_the_first_stays(door: Door) -> None:
    dataset, uid = one_image()
    with Parrot(door.port) as parrot:
        parrot.associate()
        assert parrot.store(dataset, sop_instance=uid)[0] == 0x0000
        assert parrot.store(encode(ct_slice(KVP="80")), sop_instance=uid, message_id=2)[0] not in (0x0000, 0xA700)
    assert pydicom.dcmread(door.spool.path(uid)).KVP == 120


class BrokenSpool(Spool):
    """Fails as no store should: with an error that nobody thought of."""

    def store(self, **_: object) -> NoReturn:  # type: ignore[override]
        raise ZeroDivisionError


def test_a_store_that_fails_in_an_unforeseen_way_is_out_of_resources_and_the_door_stays_open(start_door: StartDoor) -> None:
    door = start_door(spool_class=BrokenSpool)
    dataset, uid = one_image()
    with Parrot(door.port) as parrot:
        assert parrot.associate().store(dataset, sop_instance=uid)[0] == 0xA700
        assert parrot.store(dataset, sop_instance=uid, message_id=2)[0] == 0xA700
    assert dcmtk.echoscu(door.port).returncode == 0


# -- real series


def unpack(name: str, folder: Path) -> list[Path]:
    with zipfile.ZipFile(Path(__file__).parents[2] / "data" / f"{name}.zip") as archive:
        archive.extractall(folder)
    return sorted(path for path in folder.iterdir() if path.name != "LICENSE")


@pytest.mark.parametrize("name", ["chest-ct-no-contrast", "tilt-and-gaps", "legacy-enhanced"])
def test_real_series_pushed_by_storescu_are_kept_as_they_are(door: Door, tmp_path: Path, name: str) -> None:
    files = unpack(name, tmp_path)
    result = dcmtk.storescu(door.port, files, "-xf", str(dcmtk.storescu_profile(tmp_path, files)), "All")
    assert result.returncode == 0, result.stderr
    assert len(door.instances()) == len(files)
    for path in files:
        original = pydicom.dcmread(path)
        kept = pydicom.dcmread(door.spool.path(original.SOPInstanceUID))
        assert kept == original
        assert kept.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID


def test_images_with_empty_uids_are_refused_one_by_one_and_the_next_one_is_taken(door: Door, tmp_path: Path) -> None:
    files = unpack("empty-uids", tmp_path)
    with Parrot(door.port) as parrot:
        parrot.associate(contexts=((1, CT_IMAGE, (JPEG2000Lossless,)), (3, CT_IMAGE, (EXPLICIT,))))
        for number, path in enumerate(files):
            data = path.read_bytes()
            dataset = data[144 + int.from_bytes(data[140:144], "little") :]
            for uid in ("", str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID)):
                status, comment = parrot.store(dataset, sop_instance=uid, message_id=number + 1)
                assert status == 0xA900
                assert "UID" in comment
        right, right_uid = one_image()
        assert parrot.store(right, sop_instance=right_uid, context=3) == (0x0000, "")
    assert [row["sop_instance_uid"] for row in door.instances()] == [right_uid]


# -- bounds


def test_silent_sockets_free_their_slots(start_door: StartDoor) -> None:
    door = start_door(association_timeout_s=1.0)
    parrots = [Parrot(door.port) for _ in range(4)]
    wait_until(lambda: door.receiver.active_associations == 4)
    assert all(parrot.seconds_until_closed() < 15 for parrot in parrots)
    door.wait_idle()


def test_half_a_pdu_frees_its_slot_after_the_deadline(door: Door) -> None:
    parrots = [Parrot(door.port).say(associate_rq()[:8]) for _ in range(4)]
    wait_until(lambda: door.receiver.active_associations == 4)
    for parrot in parrots:
        parrot.seconds_until_closed()
    door.wait_idle()
    assert dcmtk.echoscu(door.port).returncode == 0


def test_a_cable_pulled_mid_store_frees_its_slot_and_memory(start_door: StartDoor) -> None:
    """The socket stays open and says nothing more, as a pulled cable does; nothing of the image is kept."""
    door = start_door(pdu_timeout_s=1.0, idle_timeout_s=60.0)
    before = door.receiver.free_budget
    dataset, uid = one_image()
    parrot = Parrot(door.port).associate()
    parrot.say(p_data(store_command(sop_instance=uid), command=True, last=True)).say(p_data(dataset[:2000], command=False, last=False))
    parrot.say(p_data(dataset[2000:], command=False, last=True)[:1000])
    wait_until(lambda: door.receiver.free_budget < before)
    parrot.seconds_until_closed()
    door.wait_idle()
    wait_until(lambda: door.receiver.free_budget == before)
    assert door.instances() == []


def test_a_connection_reset_mid_store_keeps_what_was_acknowledged(door: Door) -> None:
    before = door.receiver.free_budget
    dataset, uid = one_image()
    with Parrot(door.port) as parrot:
        parrot.associate()
        assert parrot.store(dataset, sop_instance=uid)[0] == 0x0000
        parrot.say(p_data(store_command(sop_instance="1.2.3.4"), command=True, last=True)).say(
            p_data(dataset[:2000], command=False, last=False)
        )
    door.wait_idle()
    wait_until(lambda: door.receiver.free_budget == before)
    assert [row["sop_instance_uid"] for row in door.instances()] == [uid]
    wait_until(lambda: door.associations()[0]["closed_at"] is not None)
    assert door.associations()[0]["outcome"] == "aborted"


def test_a_request_declaring_600_mib_is_cut_at_once(door: Door) -> None:
    before = resident_kib()
    with Parrot(door.port) as parrot:
        parrot.say(pdu(1, b"", declared=600 << 20))
        assert took_less_than(parrot, [bytes(1 << 20)] * 600)
    door.wait_idle()
    assert resident_kib() - before < 32 * 1024


def test_a_data_pdu_longer_than_advertised_is_cut(door: Door) -> None:
    with Parrot(door.port) as parrot:
        parrot.associate().say(pdu(4, b"", declared=(131072 + 7)))
        assert parrot.hear()[0] == ABORT


def test_an_instance_larger_than_the_limit_is_cut(start_door: StartDoor) -> None:
    door = start_door(maximum_instance_bytes=100_000)
    with Parrot(door.port) as parrot:
        parrot.associate().say(p_data(store_command(), command=True, last=True))
        assert took_less_than(parrot, [p_data(bytes(16000), command=False, last=False)] * 2000)
    door.wait_idle()
    assert door.instances() == []


def test_a_peer_that_sends_ahead_is_answered_one_by_one(door: Door) -> None:
    dataset, uid = one_image()
    message = p_data(store_command(sop_instance=uid), command=True, last=True) + p_data(dataset, command=False, last=True)
    with Parrot(door.port) as parrot:
        parrot.associate().say(message * 50)
        assert [parrot.status() for _ in range(50)] == [(0x0000, "")] * 50
    assert len(door.instances()) == 1


def test_a_peer_that_takes_no_answers_is_cut(start_door: StartDoor) -> None:
    """Its answers fill both sockets' buffers; from then on nothing more is read of it, and its slot is free after the deadline."""
    door = start_door(pdu_timeout_s=1.0)
    request = p_data(store_command(sop_instance="1.2.3"), command=True, last=True) + p_data(b"\x08\x00", command=False, last=True)
    with Parrot(door.port) as parrot:
        parrot.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parrot.associate()
        before = resident_kib()
        assert took_less_than(parrot, [request * 500] * 2000)
        assert resident_kib() - before < 32 * 1024
    door.wait_idle()


def test_command_sets_in_fragments_and_messages_in_one_pdu_are_understood(door: Door) -> None:
    """Command set in two PDUs; command and data in one PDU; each fragment of the data set in the same PDU (PS3.8 annex E)."""

    def value(fragment: bytes, control: int) -> bytes:
        return struct.pack(">LBB", len(fragment) + 2, 1, control) + fragment

    images = [ct_slice(SOPInstanceUID=f"1.2.826.0.1.3680043.10.1999.{number}") for number in range(4)]
    datas, commands = [encode(image) for image in images], [store_command(sop_instance=str(image.SOPInstanceUID)) for image in images]
    with Parrot(door.port) as parrot:
        parrot.associate()
        parrot.say(p_data(commands[0][:50], command=True, last=False) + p_data(commands[0][50:], command=True, last=True))
        assert parrot.say(p_data(datas[0], command=False, last=True)).status() == (0x0000, "")
        assert parrot.say(pdu(4, value(commands[1], 3) + value(datas[1], 2))).status() == (0x0000, "")
        fragments = b"".join(value(datas[2][at : at + 500], 0) for at in range(0, len(datas[2]), 500))
        assert parrot.say(pdu(4, value(commands[2], 3) + fragments + value(b"", 2))).status() == (0x0000, "")
        parrot.say(p_data(commands[3], command=True, last=True))
        for at in range(0, len(datas[3]), 501):
            parrot.say(p_data(datas[3][at : at + 501], command=False, last=at + 501 >= len(datas[3])))
        assert parrot.status() == (0x0000, "")
    for image, data in zip(images, datas, strict=True):
        assert door.spool.path(str(image.SOPInstanceUID)).read_bytes().endswith(data)


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x00\x00\xff\x01\x03",  # a value longer than its PDU
        b"\x00\x00\x00\x01\x01",  # shorter than its own header
        struct.pack(">LBB", 2, 1, 0),  # a data set without a command
        struct.pack(">LBB", len(store_command()) + 2, 77, 3) + store_command(),  # a context that nobody accepted
    ],
)
def test_presentation_data_values_that_do_not_fit_end_the_association_only(door: Door, body: bytes) -> None:
    with Parrot(door.port) as parrot:
        parrot.associate().say(pdu(4, body))
        parrot.socket.shutdown(socket.SHUT_WR)
        parrot.seconds_until_closed()
    door.wait_idle()
    assert door.receiver.free_budget == 2 << 30
    assert dcmtk.echoscu(door.port).returncode == 0


def test_a_release_or_an_abort_within_a_message_keeps_nothing_of_it(door: Door) -> None:
    dataset, uid = one_image()
    for end in (pdu(5, bytes(4)), pdu(7, bytes(4))):
        with Parrot(door.port) as parrot:
            parrot.associate().say(p_data(store_command(sop_instance=uid), command=True, last=True))
            parrot.say(p_data(dataset[:1000], command=False, last=False) + end)
            parrot.seconds_until_closed()
    door.wait_idle()
    assert door.instances() == []


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\xff" * 100, b"\x01\0\0\0\0\x04abcd"]
)
def test_junk_instead_of_an_association(door: Door, junk: bytes) -> None:
    with Parrot(door.port) as parrot:
        parrot.say(junk).socket.shutdown(socket.SHUT_WR)
        parrot.seconds_until_closed()
    door.wait_idle()
    assert dcmtk.echoscu(door.port).returncode == 0


def test_too_many_associations_of_one_peer_are_rejected_and_another_peer_is_served(start_door: StartDoor) -> None:
    door = start_door(maximum_associations_per_peer=3)
    held = [Parrot(door.port).associate() for _ in range(3)]
    with Parrot(door.port) as parrot:
        kind, body = parrot.say(associate_rq()).hear()
        assert (kind, body[1:]) == (ASSOCIATE_RJ, b"\x02\x03\x02")
    with Parrot(door.port, source="127.0.0.2") as parrot:
        assert parrot.say(associate_rq()).hear()[0] == ASSOCIATE_AC
    for parrot in held:
        parrot.socket.close()
    door.wait_idle()


def test_too_many_associations_in_all_are_rejected(start_door: StartDoor) -> None:
    door = start_door(maximum_associations=2)
    held = [Parrot(door.port, source=f"127.0.0.{number}").associate() for number in (1, 2)]
    with Parrot(door.port, source="127.0.0.3") as parrot:
        kind, body = parrot.say(associate_rq()).hear()
        assert (kind, body[1:]) == (ASSOCIATE_RJ, b"\x02\x03\x02")
    for parrot in held:
        parrot.socket.close()
    door.wait_idle()


def test_an_association_that_says_nothing_more_is_ended(start_door: StartDoor) -> None:
    door = start_door(idle_timeout_s=1.0)
    with Parrot(door.port) as parrot:
        parrot.associate().seconds_until_closed()
    door.wait_idle()


def test_a_pdu_that_drips_is_cut_at_the_deadline(door: Door) -> None:
    """Each byte comes in time; the PDU does not."""
    request = associate_rq()
    drops = threading.Event()
    with Parrot(door.port) as parrot:

        def drip() -> None:
            for at in range(len(request) - 1):
                if drops.wait(0.05) or took_less_than(parrot, [request[at : at + 1]]):
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        parrot.seconds_until_closed()
        drops.set()
        thread.join()
    door.wait_idle()


def test_a_flood_of_connections_is_closed(start_door: StartDoor) -> None:
    door = start_door(maximum_associations_per_peer=3)
    flood = [Parrot(door.port) for _ in range(30)]
    wait_until(lambda: door.receiver.active_associations >= 7)
    assert flood[-1].seconds_until_closed() < 15
    assert door.receiver.active_associations == 7
    with Parrot(door.port, source="127.0.0.2") as parrot:
        assert parrot.say(associate_rq()).hear()[0] == ASSOCIATE_AC
    for parrot in flood:
        parrot.socket.close()


# -- the process

PROGRAM = """
import logging, sys
from pathlib import Path
from appliance.archive.clock import SystemClock
from appliance.archive.database import Database
from appliance.archive.instances import Spool
from appliance.dicom.receiver import run_receiver
from appliance.settings import ReceiverSettings

logging.basicConfig(level=logging.INFO)
folder, port = Path(sys.argv[1]), int(sys.argv[2])
spool = Spool(database=Database(folder / "c.db"), root=folder / "spool", clock=SystemClock(), minimum_free_bytes=0)
heavy = sorted(name for name in ("scipy", "numba", "SimpleITK", "torch", "onnxruntime", "openvino", "kivy") if name in sys.modules)
ready = lambda port: print("ready", ",".join(heavy), flush=True)
sys.exit(run_receiver(ReceiverSettings(port=port), spool, ready=ready))
"""


def test_the_process_stops_cleanly_and_its_log_names_no_patient(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready \n"
        files = [*write_series(tmp_path / "series", 3), save(ct_slice(SOPInstanceUID="1.2.826.0.1.3680043.10.1999.77"), tmp_path / "x.dcm")]
        assert dcmtk.storescu(port, files).returncode == 0
        held = Parrot(port).associate()
        assert held.store(encode(ct_slice()), sop_instance="1." * 40 + "1")[0] == 0xA900
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert held.hear()[0] in (0, ABORT)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "4 stored" in errors
    assert not re.search("Ceshi|测试|TEST-1", errors)
    assert "Traceback" not in errors


def test_whatever_was_acknowledged_before_kill_9_is_there_after_it(tmp_path: Path) -> None:
    """The sender counts its success answers; after the kill every one of those images is whole in the spool."""
    files = write_series(tmp_path / "series", 300)
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    acknowledged = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        with Parrot(port) as parrot:
            parrot.associate()
            for number, path in enumerate(files):
                dataset = pydicom.dcmread(path)
                if number == 40:
                    threading.Timer(0.02, process.kill).start()
                try:
                    status, _ = parrot.store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID), message_id=number + 1)
                except (AssertionError, ConnectionError):
                    break
                assert status == 0x0000
                acknowledged.append(dataset)
    finally:
        process.kill()
        process.wait()
    assert 40 <= len(acknowledged) < 300
    database = Database(tmp_path / "c.db")
    spool = Spool(database=database, root=tmp_path / "spool", clock=SystemClock(), minimum_free_bytes=0)
    spool.recover()
    for dataset in acknowledged:
        assert pydicom.dcmread(spool.path(str(dataset.SOPInstanceUID))) == dataset
    with database.reading() as connection:
        rows = connection.execute("SELECT count(*) FROM instances").fetchone()[0]
    assert rows >= len(acknowledged)
    spool.close()
    database.close()


def test_a_port_in_use_is_reported_by_the_exit_status(door: Door) -> None:
    assert run_receiver(ReceiverSettings(port=door.port), door.spool) == 1
