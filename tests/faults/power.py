"""Power cuts: images are stored on a real ext4 that lies on a disk of writes; then the power is cut at many points of its history.

After a cut the disk holds everything up to the last flush before it, and of what was written since then any part: a whole write, some of
its sectors, or nothing. ext4 brings its own journal in order (after e2fsck, where it asks for it), Coronet starts, and every image
acknowledged before the cut must be there. Needs root, FUSE and loop devices; runs in a mount namespace of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.faults.disk_of_writes import FLUSHED, read_log
from tests.faults.senders import losses
from tests.faults.tally import Tally

DISK_BYTES = 24 << 20
SECTOR = 512
IMAGES, THREADS = 48, 4


def power_cuts(*, cuts: int, seed: int = 1, forgetful: bool = False) -> Tally:
    """Cut the power ``cuts`` times, each time somewhere else.

    Args:
        cuts: how many.
        seed: of the places and of what is lost at each.
        forgetful: leave out the flushes of the store path: the campaign must then find losses.
    """
    tally = Tally()
    probe = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() != 0 or probe.returncode or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        tally.skipped = "root, FUSE and loop devices are needed"
        return tally
    command = ["unshare", "--mount", sys.executable, "-m", "tests.faults.power", str(cuts), str(seed), str(int(forgetful))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode:
        tally.losses.append(f"the campaign ended with {done.returncode}: {done.stderr[-2000:]}")
        return tally
    result = json.loads(done.stdout.splitlines()[-1])
    tally.tried, tally.losses = result["tried"], result["losses"]
    return tally


def run(cuts: int, seed: int, forgetful: int) -> Tally:
    """Inside the namespace: one history, then the cuts."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        begin, log, acknowledged = history(folder, forgetful)
        return cut_all(folder, log, acknowledged, begin=begin, cuts=cuts, seed=seed)


def history(folder: Path, forgetful: int) -> tuple[int, bytes, dict[str, int]]:
    """Store images on the recorded disk; where the images begin in its log, the log, and its length when each was acknowledged."""
    fuse, mounted, log = folder / "fuse", folder / "mounted", folder / "log"
    fuse.mkdir()
    mounted.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.disk_of_writes", str(fuse), str(DISK_BYTES), str(log)], stdout=subprocess.PIPE
    )
    try:
        if server.stdout is None or server.stdout.readline() != b"mounted\n":
            raise RuntimeError("FUSE cannot be mounted here")
        _do("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", str(fuse / "disk"))
        _do("mount", "-o", "loop", str(fuse / "disk"), str(mounted))
        # what is there before the first image is not at stake
        program = "import sys; from tests.faults.senders import main; main(*sys.argv[1:])"
        subprocess.run([sys.executable, "-c", program, str(mounted / "data"), "0", "0", str(log), "0"], check=True)
        os.sync()
        begin = log.stat().st_size
        sent = subprocess.run(
            [sys.executable, "-c", program, str(mounted / "data"), str(IMAGES), str(THREADS), str(log), str(forgetful)],
            capture_output=True,
            check=True,
        )
        _do("umount", str(mounted))
        _do("umount", str(fuse))
        server.wait(timeout=30)
    finally:
        server.kill()
        for path in (mounted, fuse):
            with suppress(RuntimeError):
                _do("umount", str(path))
    answers = [line.split() for line in sent.stdout.decode().splitlines()]
    return begin, log.read_bytes(), {uid: int(length) for uid, length in answers}


def cut_all(folder: Path, log: bytes, acknowledged: dict[str, int], *, begin: int, cuts: int, seed: int) -> Tally:
    """Cut at random points, half of them just behind an answer, where a promise is youngest."""
    tally, random_ = Tally(), random.Random(seed)
    records = list(read_log(log))
    ends = [end for end, *_ in records if end > begin]
    youngest = sorted(acknowledged.values())
    tally.count("flushes recorded", sum(kind == FLUSHED for _, kind, *_ in records))
    for number in range(cuts):
        at = random_.choice(youngest) if number % 2 else random_.choice(ends)
        promised = {uid for uid, length in acknowledged.items() if length <= at}
        disk = _disk_after(records, at, random_)
        path = folder / f"cut-{number}"  # a loop device may hold the last one a moment longer
        path.write_bytes(disk)
        mounted = folder / "mounted"
        try:
            _do("mount", "-o", "loop", str(path), str(mounted))
        except RuntimeError:
            # a superblock torn between two sectors: at start the box checks its file systems before it mounts them
            subprocess.run(["e2fsck", "-fy", str(path)], capture_output=True, timeout=60, check=False)
            _do("mount", "-o", "loop", str(path), str(mounted))
            tally.count("file systems repaired first")
        try:
            wrong = losses(mounted / "data", promised)
        finally:
            _do("umount", str(mounted))
            path.unlink()
        tally.count("cuts")
        tally.count("images promised", len(promised))
        tally.losses += [f"cut {number} at byte {at}: {text}" for text in wrong]
    return tally


def _disk_after(records: list[tuple[int, int, int, bytes]], at: int, random_: random.Random) -> bytearray:
    """What the disk holds when the power goes after ``at`` bytes of the log."""
    before = [record for record in records if record[0] <= at]
    last_flush = max((index for index, record in enumerate(before) if record[1] == FLUSHED), default=0)
    disk = bytearray(DISK_BYTES)
    kept = random_.choice((0.0, 0.5, 1.0))
    for index, (_, kind, offset, data) in enumerate(before):
        if kind == FLUSHED:
            continue
        if index < last_flush:
            disk[offset : offset + len(data)] = data
            continue
        for start in range(0, len(data), SECTOR):
            if random_.random() < kept:
                piece = data[start : start + SECTOR]
                disk[offset + start : offset + start + len(piece)] = piece
    return disk


def _do(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")


if __name__ == "__main__":
    outcome = run(*map(int, sys.argv[1:]))
    sys.stdout.write(json.dumps({"tried": outcome.tried, "losses": outcome.losses}) + "\n")
