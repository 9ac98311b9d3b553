"""How fast images come in: Coronet with and without its flush, and the peers, all on the same disk, one after the other in turns.

    flush_ms                      one image overwritten in a file set aside before, and flushed: the least that durability costs here
    receive_durable_<n>_img_s     Coronet as delivered, n senders at once
    receive_no_flush_<n>_img_s    Coronet with every flush left out
    receive_<peer>_<n>_img_s      pynetdicom that writes what it gets and flushes nothing; Orthanc with synchronous storage; storescp
    receive_of_ideal              receive_durable_1 as a share of 1 / (time of an image without flush + one flush)
    receive_rss_mib               resident size of the receiver process after all of that
    receive_rss_growth_kib        what it grew by over the last 2000 of 3000 small images; a leak would show here

Senders are DCMTK's storescu with PDUs of 128 KiB. Every peer has TCP_NODELAY. Medians over the rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.datasets import ct_slice, save, write_series
from tests.peers.dcmtk import ENVIRONMENT, need, storescp
from tests.peers.orthanc import orthanc
from tests.peers.waiting import answers, free_port, wait_until

IMAGES, ROUNDS = 200, 3
SENDERS = (1, 4)

CORONET = """
import json, sys
from pathlib import Path
from appliance.archive.archive import open_archive
from appliance.archive.disk import Disk
from appliance.archive.instances import Spool
from appliance.dicom.receiver import run_receiver
from appliance.settings import ReceiverSettings

class NoFlush(Disk):
    def flush(self, descriptor): pass
    def flush_all(self, folder): pass

archive = open_archive(Path(sys.argv[1]))
spool = Spool(database=archive.database, root=archive.data / "spool", clock=archive.clock, minimum_free_bytes=0,
              disk=NoFlush() if sys.argv[3] == "no_flush" else None)
spool.recover()
settings = ReceiverSettings(port=int(sys.argv[2]), **json.loads(sys.argv[4]))
status = run_receiver(settings, spool)
spool.close()
sys.exit(status)
"""

PYNETDICOM = """
import socket, sys
from pathlib import Path
from pynetdicom import AE, StoragePresentationContexts, ALL_TRANSFER_SYNTAXES, evt

def opened(event):
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def stored(event):
    with open(Path(sys.argv[1]) / str(event.request.AffectedSOPInstanceUID), "wb") as file:
        file.write(event.encoded_dataset())
    return 0

ae = AE("CORONET")
ae.maximum_pdu_size = 131072
ae.supported_contexts = StoragePresentationContexts[:120]
ae.start_server(("127.0.0.1", int(sys.argv[2])), block=True, evt_handlers=[(evt.EVT_CONN_OPEN, opened), (evt.EVT_C_STORE, stored)])
"""


def receiving_figures(folder: Path, *, images: int = IMAGES, rounds: int = ROUNDS) -> dict[str, float]:
    """All figures of the receiver and its peers."""
    folder.mkdir(parents=True, exist_ok=True)
    files = _series(folder / "images", images)
    runs: dict[str, list[float]] = {}
    flushes: list[float] = []
    with _peers(folder) as peers:
        for number in range(rounds + 1):  # the first round warms everything up and does not count
            flushes += flush_times(folder, files[0].stat().st_size)
            for name, (port, title) in peers.items():
                for senders in SENDERS:
                    batch = _renamed(files, folder / "batch", f"{number}.{senders}")
                    rate = push(port, batch, senders=senders, called=title)
                    if number:
                        runs.setdefault(f"receive_{name}_{senders}_img_s", []).append(rate)
    figures = {name: statistics.median(rates) for name, rates in runs.items()}
    figures |= memory_figures(folder / "memory")
    flush_s = statistics.median(flushes)
    ideal = 1 / (1 / figures["receive_no_flush_1_img_s"] + flush_s)
    return {**figures, "flush_ms": 1000 * flush_s, "receive_of_ideal": figures["receive_durable_1_img_s"] / ideal}


def push(port: int, files: list[Path], *, senders: int, called: str) -> float:
    """Images a second that ``senders`` storescu at once get acknowledged.

    Raises:
        RuntimeError: one of them did not.
    """
    began = time.monotonic()
    processes = []
    for number in range(senders):
        command = [need("storescu"), "--max-pdu", "131072", "--max-send-pdu", "131072", "-aec", called, "127.0.0.1", str(port)]
        share = map(str, files[number::senders])
        processes.append(subprocess.Popen([*command, *share], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    codes = [process.wait(timeout=300) for process in processes]
    if any(codes):
        raise RuntimeError(f"storescu to {called}: {codes}")
    return len(files) / (time.monotonic() - began)


def memory_figures(folder: Path) -> dict[str, float]:
    """Resident size of the receiver after 1000 and after 3000 images, and of the one that took the large images."""
    folder.mkdir()
    series = [write_series(folder / f"series-{number}", 500) for number in range(6)]
    sizes = []
    with _program(CORONET, folder / "data", "durable", "{}") as (port, pid):
        for number, files in enumerate(series):
            push(port, files, senders=2, called="CORONET")
            if number in (1, 5):
                sizes.append(_resident_kib(pid))
    return {"receive_rss_mib": sizes[1] / 1024, "receive_rss_growth_kib": sizes[1] - sizes[0]}


def _resident_kib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def flush_times(folder: Path, size: int, *, times: int = 30) -> list[float]:
    """Seconds of one image's bytes written over a file that was set aside, and one flush."""
    data, path, found = os.urandom(size), folder / "flush", []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, bytes(2 * size), 0)
        os.fsync(descriptor)
        for _ in range(times):
            began = time.monotonic()
            os.pwrite(descriptor, data, 0)
            os.fdatasync(descriptor)
            found.append(time.monotonic() - began)
    finally:
        os.close(descriptor)
    return found


@contextmanager
def coronet(folder: Path, kind: str, **settings: int) -> Iterator[int]:
    """The receiver process alone, as delivered (``durable``) or without any flush (``no_flush``); its port."""
    with _program(CORONET, folder, kind, json.dumps(settings)) as (port, _):
        yield port


@contextmanager
def _peers(folder: Path) -> Iterator[dict[str, tuple[int, str]]]:
    """Name -> (port, AE title) of everyone who receives."""
    (folder / "raw").mkdir()
    with (
        coronet(folder / "durable", "durable") as durable,
        coronet(folder / "no_flush", "no_flush") as no_flush,
        _program(PYNETDICOM, folder / "raw") as (raw, _),
        storescp(folder / "storescp", "+B", "--fork", "--max-pdu", "131072") as scp,
        orthanc(folder / "orthanc") as pacs,
    ):
        yield {
            "durable": (durable, "CORONET"),
            "no_flush": (no_flush, "CORONET"),
            "pynetdicom_raw": (raw, "CORONET"),
            "storescp": (scp.port, "STORESCP"),
            "orthanc": (pacs.port, "ORTHANC"),
        }


@contextmanager
def _program(text: str, folder: Path, *arguments: str) -> Iterator[tuple[int, int]]:
    """Port and process number of a receiver written as a program text."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", text, str(folder), str(port), *arguments], env={**ENVIRONMENT, "PYTHONPATH": str(Path.cwd())}
    )
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, timeout_s=60, what="the receiver answering")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def _series(folder: Path, images: int) -> list[Path]:
    """Images of 512 x 512 pixels; noise, so that no disk makes them smaller."""
    folder.mkdir()
    files = []
    for number in range(images):
        dataset = ct_slice(SOPInstanceUID=f"1.2.826.0.1.3680043.10.1999.7.0.0.{100_000 + number}", InstanceNumber=number + 1)
        dataset.Rows = dataset.Columns = 512
        dataset.PixelData = os.urandom(512 * 512 * 2)
        files.append(save(dataset, folder / f"{number:06d}.dcm"))
    return files


def _renamed(files: list[Path], folder: Path, part: str) -> list[Path]:
    """The same images under other UIDs of the same length, so that they are new to everyone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    renamed = []
    for path in files:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes().replace(b"1999.7.0.0.", f"1999.7.{part}.".encode()))
        renamed.append(copy)
    return renamed
