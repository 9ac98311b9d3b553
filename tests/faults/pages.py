"""Damaged pages of the database, and a disk that becomes read-only: the start repairs or says why not, and no image is lost.

A trial overwrites pages of a database (rubbish, zeros, another page, a flipped bit, a cut), starts the archive as the coordinator and the
receiver do, and asks for every image by its UID, byte for byte.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.archive.backup import take_snapshot
from appliance.archive.clock import SystemClock
from appliance.archive.disk import Disk
from appliance.archive.instances import Spool
from appliance.archive.repair import check_database, mark_missing, open_repaired
from appliance.errors import ArchiveError
from appliance.settings import Settings
from tests.appliance.archive.fakes import encode, make_archive, make_dataset
from tests.faults.tally import Tally

IMAGES = 40
SEGMENT_BYTES = 128 << 10
SOP_CLASS, SYNTAX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


def damaged_pages(*, trials: int, seed: int = 1) -> Tally:
    """Damage the database so often, each time somewhere else; every second time there is a snapshot."""
    tally = Tally()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        whole = Path(place) / "whole"
        images = fill(whole)
        for number in range(trials):
            rng = random.Random(f"page {seed} {number}")
            data = Path(place) / "data"
            shutil.copytree(whole, data)
            if number % 2:
                shutil.rmtree(data / "snapshots")
            damage(data / "coronet.db", rng)
            tally.losses += [f"trial {number}: {text}" for text in _start(data, images, tally)]
            tally.count("damaged databases")
            shutil.rmtree(data)
    return tally


def fill(data: Path) -> dict[str, bytes]:
    """A data folder with images and a snapshot that knows half of them; UID -> bytes."""
    images = {}
    for half in (range(IMAGES // 2), range(IMAGES // 2, IMAGES)):
        archive = make_archive(data)
        spool = spool_of(archive)
        for number in half:
            part10 = encode(make_dataset(number=number + 1))
            uid = f"1.2.3.1.{number + 1}"
            spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=uid, transfer_syntax_uid=SYNTAX, part10=part10, association=None)
            images[uid] = part10
        spool.close()
        archive.close()
        if not (data / "snapshots").exists():
            take_snapshot(data / "coronet.db", data / "snapshots", now=1.0, keep=1)
    for segment in (data / "spool").glob("journal-*"):
        segment.unlink()  # what it held is in files and rows; it would only make the trials slow
    with closing(sqlite3.connect(data / "coronet.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return images


def spool_of(archive: Archive) -> Spool:
    """The spool with a small journal."""
    return Spool(
        database=archive.database, root=archive.data / "spool", clock=archive.clock, minimum_free_bytes=0, segment_bytes=SEGMENT_BYTES
    )


def damage(path: Path, rng: random.Random) -> None:
    """One to five faults in a database file."""
    raw = bytearray(path.read_bytes())
    size = 4096
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw) // size) * size
        kind = rng.randrange(5)
        if kind == 0:
            raw[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            raw[at : at + size] = bytes(size)
        elif kind == 2:
            other = rng.randrange(len(raw) // size) * size
            raw[at : at + size] = raw[other : other + size]
        elif kind == 3:
            raw[at + rng.randrange(size)] ^= 1 << rng.randrange(8)
        else:
            del raw[at + size :]
            raw += bytes(-len(raw) % size)
    path.write_bytes(raw)


def _start(data: Path, images: dict[str, bytes], tally: Tally) -> list[str]:
    """Start on a damaged folder; what is not as promised."""
    try:
        archive = open_repaired(Settings(data=data), clock=SystemClock())
    except ArchiveError as error:
        return [f"not opened: {error}"]
    try:
        reason = archive.components.get("database").reason
        tally.count(f"ended as {'sound' if reason is None else reason.code}")
        spool = spool_of(archive)
        found = spool.recover()
        mark_missing(archive, found.missing)
        with archive.database.reading() as connection:
            usable = {row["sop_instance_uid"] for row in connection.execute("SELECT * FROM instances WHERE problem IS NULL")}
        wrong = [f"image {uid} is lost ({reason and reason.code})" for uid in images if uid not in usable]
        wrong += [f"image {uid} has changed" for uid, part10 in images.items() if spool.path(uid).read_bytes() != part10]
        spool.close()
    except ArchiveError as error:
        return [f"a typed failure after the start: {error}"]
    except (sqlite3.Error, OSError, ValueError) as error:
        return [f"an untyped failure after the start: {error!r}"]
    finally:
        archive.close()
    if check_database(data / "coronet.db", limit_s=60)[0] != "whole":
        wrong.append("the database is still damaged")
    return wrong


class ReadOnlyDisk(Disk):
    """What ext4 makes of itself after an error: everything that is there can be read, nothing written."""

    def create(self, path: Path) -> int:
        """Refused."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def write(self, descriptor: int, parts: object, at: int) -> None:
        """Refused."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def rename(self, old: Path, new: Path) -> None:
        """Refused."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


READ_ONLY = """
import json, subprocess, sys
from pathlib import Path
from appliance.archive.clock import SystemClock
from appliance.archive.repair import open_repaired
from appliance.errors import ArchiveError
from appliance.settings import Settings
from tests.faults.pages import fill, spool_of, ReadOnlyDisk, SOP_CLASS, SYNTAX
from tests.appliance.archive.fakes import encode, make_archive, make_dataset

place = Path(sys.argv[1])
images = fill(place / "data")
archive = make_archive(place / "data")
spool = spool_of(archive)
spool.recover()
spool._disk = ReadOnlyDisk()
answers = {"statuses": [], "reopened": "", "images": 0}
for number in range(1000, 1010):
    try:
        spool.store(sop_class_uid=SOP_CLASS, sop_instance_uid=f"1.2.3.1.{number}", transfer_syntax_uid=SYNTAX,
                    part10=encode(make_dataset(number=number)), association=None)
        answers["statuses"].append(0)
    except ArchiveError as error:
        answers["statuses"].append(error.details["status"])
spool.close()
archive.close()
subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
answers["images"] = sum(spool.path(uid).read_bytes() == part10 for uid, part10 in images.items())
try:
    open_repaired(Settings(data=place / "data"), clock=SystemClock())
except ArchiveError as error:
    answers["reopened"] = error.code
print(json.dumps(answers))
"""


def read_only() -> Tally:
    """The disk becomes read-only while images come: each is refused, what is there can be read, and a start says why it fails."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as place:
        mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=64m none "$0" && exec "$@"', place]
        if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
            tally.skipped = "no mount namespaces"
            return tally
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
        command = [*mount, sys.executable, "-c", READ_ONLY, place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    if done.returncode:
        tally.losses.append(f"untyped failure: {done.stderr[-1500:]}")
        return tally
    answers = json.loads(done.stdout)
    tally.count("images refused", sum(status == 0xA700 for status in answers["statuses"]))
    if set(answers["statuses"]) != {0xA700}:
        tally.losses.append(f"answered with {answers['statuses']}")
    if answers["images"] != IMAGES:
        tally.losses.append(f"only {answers['images']} images can be read")
    if answers["reopened"] not in {"ARC-001", "ARC-056", "ARC-003"}:
        tally.losses.append(f"a start ended with {answers['reopened']!r}")
    return tally
