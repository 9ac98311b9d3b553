"""What the CT sends is kept and goes on to the archive, whatever is down or killed on the way."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from appliance.dicom.sender import SendOutcome, echo, send
from appliance.errors import DicomError
from appliance.settings import DestinationSettings
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.running import Running, daemon, open_archive_of
from tests.peers.dcmtk import StoreScp, storescp, storescu
from tests.peers.waiting import free_port, wait_until

IMAGES = 60
DESTINATION = """
[[destination]]
name = "PACS"
host = "127.0.0.1"
port = {port}
ae_title = "STORESCP"
send = ["source"]
timeout_s = 10.0
"""


def scan(folder: Path) -> list[Path]:
    """A series of small CT slices, each of its own noise."""
    noise = np.random.default_rng(5)
    paths = []
    for number in range(1, IMAGES + 1):
        pixels = noise.integers(0, 4096, (64, 64), dtype=np.uint16)
        dataset = make_dataset(number=number, Rows=64, Columns=64, BitsAllocated=16, BitsStored=12, HighBit=11)
        dataset.PixelRepresentation, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 0, 1, "MONOCHROME2"
        dataset.PixelData = pixels.tobytes()
        path = folder / f"{number}.dcm"
        path.write_bytes(encode(dataset))
        paths.append(path)
    return paths


def pixels(paths: Sequence[Path]) -> dict[str, str]:
    """SOP Instance UID -> hash of the pixels."""
    return {str(each.SOPInstanceUID): hashlib.sha256(each.PixelData).hexdigest() for each in map(pydicom.dcmread, paths)}


def kept(running: Running) -> list[Path]:
    return sorted((running.data / "spool").rglob("*.dcm"))


def attempts(running: Running) -> int:
    with open_archive_of(running) as archive:
        study = archive.studies.find("1.2.3")
        rows = archive.outbox.of_study(study.key) if study else []
        return sum(row.attempts for row in rows)


def done(running: Running, peer: StoreScp) -> bool:
    with open_archive_of(running) as archive:
        study = archive.studies.find("1.2.3")
        rows = archive.outbox.of_study(study.key) if study else []
        return bool(rows) and all(row.state == "done" for row in rows) and len(peer.files()) >= IMAGES


def test_a_scan_reaches_the_archive_through_outages_and_kills(tmp_path: Path) -> None:
    """The archive is down; the daemon is killed while it tries; the scan is sent twice; then the archive comes up."""
    files, port = scan(tmp_path), free_port()
    settings = DESTINATION.format(port=port)
    with daemon(tmp_path / "box", more_settings=settings) as running:
        pushed = storescu(running.port, files)
        assert pushed.returncode == 0, pushed.stderr
        wait_until(lambda: attempts(running) >= 1, timeout_s=60, what="a first attempt")
        running.process.send_signal(signal.SIGKILL)
        running.process.wait(30)
        assert pixels(kept(running)) == pixels(files)

    with daemon(tmp_path / "box", more_settings=settings) as running:
        again = storescu(running.port, files)
        assert again.returncode == 0, again.stderr
        wait_until(lambda: attempts(running) >= 2, timeout_s=60, what="an attempt after the restart")
        with storescp(tmp_path / "pacs", port=port) as peer:
            wait_until(lambda: done(running, peer), timeout_s=120, what="the relay")
            assert pixels(peer.files()) == pixels(files)
        with open_archive_of(running) as archive:
            study = archive.studies.find("1.2.3")
            assert study is not None
            assert (study.images, study.generation) == (IMAGES, 1), "the second sending changed nothing"
            assert [len(row.files) for row in archive.outbox.of_study(study.key)] == [IMAGES]
            assert archive.audit.verify() is None


def test_a_kill_while_the_ct_sends_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The receiver is killed in the middle of an association; what got success is there, and the rest goes when sent again."""
    files = scan(tmp_path)
    outcomes: list[SendOutcome] = []
    with daemon(tmp_path / "box") as running:
        peer = DestinationSettings(name="box", host="127.0.0.1", port=running.port, ae_title="CORONET", timeout_s=10.0)
        scanner = threading.Thread(target=lambda: outcomes.extend(send(peer, files)))
        scanner.start()
        wait_until(lambda: len(kept(running)) >= 15)
        pid = running.children()["receiver"]
        os.kill(pid, signal.SIGKILL)
        scanner.join(60)
        acknowledged = {each.sop_instance_uid for each in outcomes if each.accepted}
        assert 0 < len(acknowledged) < IMAGES
        wait_until(lambda: running.children().get("receiver") not in {None, pid}, timeout_s=60)
        with open_archive_of(running) as archive:
            wait_until(lambda: archive.components.get("receiver").ready, timeout_s=60)
            wait_until(lambda: echo_works(peer), timeout_s=60)
            assert acknowledged <= set(pixels(kept(running)))
            assert all(each.accepted for each in send(peer, files))
            wait_until(lambda: (study := archive.studies.find("1.2.3")) is not None and study.images == IMAGES, timeout_s=60)
            assert pixels(kept(running)) == pixels(files)
            assert archive.index.quarantined() == []


def echo_works(peer: DestinationSettings) -> bool:
    try:
        echo(peer)
    except DicomError:
        return False
    return True
