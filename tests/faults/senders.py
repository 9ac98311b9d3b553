"""The workload of the campaigns: threads that store images and note what was acknowledged; and what must be true afterwards."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.archive.disk import Disk
from appliance.archive.instance_files import instance_name
from appliance.archive.instances import Spool
from appliance.errors import ArchiveError
from tests.appliance.archive.fakes import encode, make_dataset

SOP_CLASS, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
SEGMENT_BYTES = 128 << 10
"""So small that the journal is let go and used again within a run; the largest images go past it."""
SIZES = (600, 9_000, 30_000, 90_000)


def image(number: int) -> tuple[str, bytes]:
    """The UID and part 10 bytes of the n-th image: always the same."""
    pixels = random.Random(number).randbytes(SIZES[number % len(SIZES)])
    return f"1.2.3.1.{number}", encode(make_dataset(number=number, BitsAllocated=16, PixelData=pixels))


def send(data: Path, *, images: int, threads: int, acknowledged: Callable[[str], None], disk: Disk | None = None) -> None:
    """Store images into a spool of a data folder, ``threads`` at a time; tell of each that was acknowledged."""
    archive = open_archive(data)
    spool = Spool(
        database=archive.database, root=data / "spool", clock=archive.clock, minimum_free_bytes=0, disk=disk, segment_bytes=SEGMENT_BYTES
    )
    spool.recover()
    numbers = iter(range(1, images + 1))
    lock = threading.Lock()

    def sender() -> None:
        association = spool.association_opened(peer="127.0.0.1", calling_ae="CT", called_ae="CORONET")
        count = 0
        while True:
            with lock:
                number = next(numbers, 0)
            if not number:
                break
            uid, part10 = image(number)
            spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=part10, association=association)
            acknowledged(uid)
            count += 1
        spool.association_closed(association, outcome="released", instances=count)

    senders = [threading.Thread(target=sender) for _ in range(threads)]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join()
    spool.close()
    archive.close()


def losses(data: Path, acknowledged: set[str]) -> list[str]:
    """Start again on a data folder after a fault and say everything that is not as promised."""
    try:
        archive = open_archive(data)
        spool = Spool(
            database=archive.database, root=data / "spool", clock=archive.clock, minimum_free_bytes=0, segment_bytes=SEGMENT_BYTES
        )
        found = spool.recover()
    except ArchiveError as error:
        return [f"the archive does not open: {error}"]
    with archive.database.reading() as connection:
        rows = {row["sop_instance_uid"]: row["sha256"] for row in connection.execute("SELECT * FROM instances")}
        broken = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    names = {f"{path.parent.name}/{path.name}" for path in (data / "spool").glob("[0-9a-f][0-9a-f]/*")}
    wrong = [f"database: {text}" for text in broken]
    wrong += [f"acknowledged and gone: {uid}" for uid in sorted(acknowledged - set(rows))]
    wrong += [f"file without row or half written: {name}" for name in sorted(names - {instance_name(uid) for uid in rows})]
    wrong += [f"row without file: {uid}" for uid in found.missing]
    for uid, sha256 in rows.items():
        expected = image(int(uid.rsplit(".", 1)[1]))[1]
        path = spool.path(uid)
        if not path.exists() or path.read_bytes() != expected or sha256 != hashlib.sha256(expected).hexdigest():
            wrong.append(f"not as sent: {uid}")
    for uid in sorted(acknowledged)[:2]:  # the scanner sends again
        part10 = image(int(uid.rsplit(".", 1)[1]))[1]
        try:
            again: str = spool.store(
                sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=part10, association=None
            )
        except ArchiveError as error:
            again = error.code
        if again != "duplicate":
            wrong.append(f"{again} when sent again: {uid}")
    spool.close()
    archive.close()
    return wrong


class ForgetfulDisk(Disk):
    """Says that it has flushed, and has not."""

    def flush(self, descriptor: int) -> None:
        """Nothing."""

    def flush_all(self, folder: Path) -> None:
        """Nothing."""


def main(data: str, images: str, threads: str, log: str, forgetful: str) -> None:
    """Send, and write each acknowledged UID to the standard output with the length that a log had then."""

    def acknowledged(uid: str) -> None:
        os.write(1, f"{uid} {os.stat(log).st_size}\n".encode())  # noqa: PTH116

    disk = ForgetfulDisk() if int(forgetful) else None
    send(Path(data), images=int(images), threads=int(threads), acknowledged=acknowledged, disk=disk)
