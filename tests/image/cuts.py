"""Cuts of the power: the disk as it was at one moment, looked at from outside by what the loader and the daemon would find on it.

A cut is a layer of the disk that is frozen while the box runs on over a new one: everything that the box had written by then, nothing that
it wrote later, and nothing of its memory. That is what is left when the emulator is killed at that moment. What a real disk may lose
besides, the contents of its own cache, is tested elsewhere (``tests/faults``: an ext4 on a recorded block device, cut at every write).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from appliance.archive.archive import open_archive
from tests.image.encrypted import Reader
from tests.image.machine import Machine

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "image-build"))
from coronet_image.layout import partitions, start_mib  # noqa: E402

MIB = 1 << 20
FILES = {"boot": "boot.vfat", "root": "root.squashfs", "verity": "root.verity"}
POLL_S, PATIENCE_S = 0.5, 3600.0
Wanted = dict[str, tuple[int, str]]
"""Size and SHA-256 of each image of a slot."""
Places = tuple[tuple[int, int, int, bool, int], ...]
"""Of each piece: start, length, number of its layer, whether it is all zeros, place in the layer's file."""


@dataclass(frozen=True)
class Cut:
    """A frozen layer of a disk (qcow2, with everything below it)."""

    layer: Path
    noted: frozenset[str] = frozenset()
    """What had been acknowledged by then."""

    def places(self, *, start: int, size: int) -> Places:
        """Which layer holds which piece of a stretch, and where: states of one chain that agree in this hold the same bytes there."""
        told = ["qemu-img", "map", "-U", "-f", "qcow2", "--output=json", f"--start-offset={start}", f"--max-length={size}", str(self.layer)]
        pieces = json.loads(subprocess.run(told, check=True, capture_output=True).stdout)
        number = int(self.layer.stem) + 1 if self.layer.stem.isdigit() else 0
        return tuple((each["start"], each["length"], number - each["depth"], each["zero"], each.get("offset", -1)) for each in pieces)

    def part(self, target: Path, *, start: int, size: int) -> Path:
        """A stretch of the disk as a file with holes."""
        inner = {"driver": "qcow2", "file": {"driver": "file", "filename": str(self.layer)}}
        told = json.dumps({"driver": "raw", "offset": start, "size": size, "file": inner})
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", f"json:{told}", str(target)], check=True)
        return target

    def disk(self, target: Path) -> Path:
        """A disk over this state, for a machine that is started with it."""
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(self.layer.resolve()), str(target)]
        subprocess.run(words, check=True)
        return target

    def loader_state(self, folder: Path) -> dict[str, str]:
        """The variables of the loader's block."""
        esp = self.partition(folder, "coronet-esp")
        text = subprocess.run(["mcopy", "-n", "-i", str(esp), "::/coronet/grubenv", "-"], check=True, capture_output=True).stdout
        esp.unlink()
        return dict(re.findall(r"^(\w+)=(.*)$", text.decode("ascii", "replace"), re.MULTILINE))

    def holds(self, slot: str, wanted: Wanted, folder: Path, read: dict[Places, str]) -> bool:
        """Whether every image of a slot (``A``, ``B``) lies there to the last byte; ``read`` keeps the digest of what was read once."""
        for part, name in FILES.items():
            size, expected = wanted[name]
            label = f"coronet-{part}-{slot.lower()}"
            places = self.places(start=start_mib(label) * MIB, size=size)
            if places not in read:
                file = self.partition(folder, label, size=size)
                read[places] = _sha256(file)
                file.unlink()
            if read[places] != expected:
                return False
        return True

    def data(self, folder: Path, reader: Reader | None = None) -> tuple[Path, Reader]:
        """What the box keeps below /var/lib/coronet, after the file system has taken up its journal; and the reader, for the next cut.

        Raises:
            AssertionError: the file system cannot be repaired without a person.
        """
        partition = self.data_partition(folder / "data.luks")
        if reader is None:
            reader = Reader(folder, self.data_key(folder))
        clear = reader.read(partition, folder / "data.ext4")
        done = subprocess.run(["e2fsck", "-p", str(clear)], check=False, capture_output=True, text=True)
        assert done.returncode <= 1, done.stdout + done.stderr
        kept = folder / "coronet"
        shutil.rmtree(kept, ignore_errors=True)
        subprocess.run(["debugfs", "-R", f"rdump /coronet {folder}", str(clear)], check=True, capture_output=True)
        clear.unlink()
        return kept, reader

    def data_partition(self, target: Path) -> Path:
        """The encrypted partition."""
        start, size = self._data_partition(target.parent)
        return self.part(target, start=start, size=size)

    def data_key(self, folder: Path) -> bytes:
        """The key that lies beside the loader."""
        esp = self.partition(folder, "coronet-esp")
        return subprocess.run(["mcopy", "-n", "-i", str(esp), "::/coronet/data.key", "-"], check=True, capture_output=True).stdout

    def partition(self, folder: Path, label: str, *, size: int = 0) -> Path:
        """A partition of the image as a file; ``size``: only so many bytes of it."""
        whole = next(one.mib for one in partitions() if one.label == label) * MIB
        return self.part(folder / label, start=start_mib(label) * MIB, size=size or whole)

    def _data_partition(self, folder: Path) -> tuple[int, int]:
        """Start and size in bytes, by the table of partitions (the box made this one itself)."""
        table = self.part(folder / "table", start=1024, size=16384).read_bytes()
        for at in range(0, len(table), 128):
            entry = table[at : at + 128]
            if entry[56:].decode("utf-16-le", "replace").rstrip("\0") == "coronet-data":
                first, last = (int.from_bytes(entry[place : place + 8], "little") for place in (32, 40))
                return first * 512, (last - first + 1) * 512
        raise AssertionError("there is no data partition")


def cut(machine: Machine, layers: Path, noted: frozenset[str] = frozenset()) -> Cut:
    """Freeze what is on the disk; the box runs on over a new layer in the folder ``layers``. ``noted`` goes with it."""
    layers.mkdir(parents=True, exist_ok=True)
    number = len(list(layers.iterdir()))
    frozen = machine.disk if number == 0 else layers / f"{number - 1:03d}.qcow2"
    words = {"device": "disk", "snapshot-file": str(layers / f"{number:03d}.qcow2"), "format": "qcow2"}
    answer = machine.monitor("blockdev-snapshot-sync", **words)
    assert "error" not in answer, answer
    return Cut(frozen, noted)


def started(state: dict[str, str]) -> str:
    """The slot that the loader would start, by its rule."""
    able = [slot for slot in state["ORDER"].split() if state[f"{slot}_OK"] == "1"]
    return next((slot for slot in able if int(state[f"{slot}_TRY"]) < 3), able[0])


def written_bytes(machine: Machine) -> int:
    """How much the box has written to its disk since it was started."""
    told = machine.monitor("query-blockstats")["return"]
    return next(int(each["stats"]["wr_bytes"]) for each in told if each.get("device") == "disk")


class Cuts(threading.Thread):
    """Cuts the power again and again while the disk is written to, in a thread of its own.

    Args:
        machine: runs on.
        layers: folder of the layers.
        every_s: time between two cuts; with nothing written since the last one it goes by without one.
        every_mib: so much written, and a cut is made at once.
        note: asked before each cut for what has been acknowledged.
    """

    def __init__(
        self,
        machine: Machine,
        layers: Path,
        *,
        every_s: float,
        every_mib: int = 1 << 20,
        note: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        super().__init__(daemon=True)
        self._machine, self._layers, self._note = machine, layers, note
        self._every_s, self._every_bytes = every_s, every_mib * MIB
        self._over = threading.Event()
        self._news = threading.Condition()
        self.made: list[Cut] = []

    def run(self) -> None:
        """Until told that it is over."""
        last, written = time.monotonic(), written_bytes(self._machine)
        while not self._over.wait(min(self._every_s, POLL_S)):
            since = written_bytes(self._machine) - written
            if since >= self._every_bytes or (since and time.monotonic() - last >= self._every_s):
                last, written = time.monotonic(), written + since
                made = cut(self._machine, self._layers, self._note())
                with self._news:
                    self.made.append(made)
                    self._news.notify_all()

    def wait_for_more(self, number: int) -> None:
        """Until so many more have been made."""
        with self._news:
            wanted = len(self.made) + number
            assert self._news.wait_for(lambda: len(self.made) >= wanted, PATIENCE_S), "no more cuts are made"

    def end(self) -> None:
        """No more cuts but a last one, now."""
        self._over.set()
        self.join()
        self.made.append(cut(self._machine, self._layers, self._note()))

    def verdicts(self, wanted: dict[str, Wanted], folder: Path) -> list[tuple[str, bool]]:
        """For each cut the slot that the loader would start, and whether it is whole (``wanted``: what belongs into slot ``A``, ``B``)."""
        read: dict[Places, str] = {}
        slots = [started(each.loader_state(folder)) for each in self.made]
        return [(slot, each.holds(slot, wanted[slot], folder, read)) for slot, each in zip(slots, self.made, strict=True)]


def kept_images(coronet: Path) -> set[str]:
    """SOP Instance UIDs of the images whose file lies in the spool as the database says, to the last byte.

    First the receiver's own recovery is run, as at each start of the box: what was acknowledged may lie in its journal still.
    """
    with closing(open_archive(coronet)) as archive:
        archive.spool(minimum_free_bytes=0).recover()
    files = {hashlib.sha256(one.read_bytes()).hexdigest() for one in (coronet / "spool").glob("[0-9a-f][0-9a-f]/*")}
    with closing(sqlite3.connect(coronet / "coronet.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {str(uid) for uid, digest in database.execute("SELECT sop_instance_uid, sha256 FROM instances") if digest in files}


def of_slot(slot: Path, *, boot: Path | None = None) -> Wanted:
    """What a slot made by the image build holds; ``boot`` is another boot partition (tests: with one more word)."""
    told = json.loads((slot / "slot.json").read_text("ascii"))["files"]
    wanted = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in told.items()}
    if boot is not None:
        wanted["boot.vfat"] = (boot.stat().st_size, _sha256(boot))
    return wanted


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
