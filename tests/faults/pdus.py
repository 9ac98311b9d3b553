"""Mutated PDUs against the receiver's own process: it neither falls, hangs nor leaks, and each exchange ends with an answer.

A trial is an exchange of a scripted peer in which some PDUs are mutated: the association request, the command of a C-STORE, fragments of
its data set, the release. The peer then shuts its side, so what the receiver still waits for never comes. The receiver must answer (a
response with a status, a rejection, an abort, a release) or close the connection, in time. Every so often an honest peer looks whether the
door is still open; at the end the process must hold no more threads, descriptors and memory than at the start.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.mutations import mutate, nested
from tests.faults.tally import Tally
from tests.peers.datasets import ct_slice, encode
from tests.peers.parrot import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    RELEASE_RP,
    Parrot,
    associate_rq,
    p_data,
    pdu,
    store_command,
)
from tests.peers.waiting import answers, free_port, wait_until

SETTINGS = """
data = "{data}"
[receiver]
port = {port}
minimum_free_bytes = 0
maximum_associations = 32
maximum_associations_per_peer = 32
pdu_timeout_s = 2.0
association_timeout_s = 2.0
idle_timeout_s = 2.0
[retention]
series_reserve_bytes = 0
"""
PEERS = 4
ANSWER_S = 30.0
"""An answer, or the end of the connection, is due after so long; the receiver's own deadlines are 2 s."""
HONEST_EVERY = 200
MEMORY_GROWTH = 64 << 20
PIXELS = ct_slice()
CONTEXTS = ((1, "1.2.840.10008.5.1.4.1.1.2", (EXPLICIT, IMPLICIT)), (3, "1.2.840.10008.1.1", (IMPLICIT,)))
ANSWERS = {ASSOCIATE_AC: "accepted", ASSOCIATE_RJ: "rejections", P_DATA: "statuses", RELEASE_RP: "releases", ABORT: "aborts"}


@dataclass
class Heard:
    """What the receiver did in answer to one exchange."""

    mutated: int = 0
    answers: list[int] = field(default_factory=list)
    hung: bool = False


def mutated_pdus(*, pdus: int, seed: int = 1) -> Tally:
    """Try exchanges until so many PDUs were mutated."""
    tally = Tally()
    with receiver_process() as (process, port, folder), ThreadPoolExecutor(PEERS) as peers:
        honest(port, tally, 0)
        before = State.of(process.pid)
        number = 0
        while tally.tried.get("mutated PDUs", 0) < pdus and process.poll() is None:
            for trial, heard in peers.map(lambda n: (n, exchange(port, n, seed)), range(number, number + HONEST_EVERY)):
                _count(tally, trial, heard)
            number += HONEST_EVERY
            honest(port, tally, number)
        _end(tally, process, before, folder)
    return tally


def _count(tally: Tally, trial: int, heard: Heard) -> None:
    tally.count("mutated PDUs", heard.mutated)
    tally.count("exchanges")
    for kind in heard.answers:
        tally.count(ANSWERS.get(kind, "other answers"))
    if not heard.answers:
        tally.count("closed without a word")
    if heard.hung:
        tally.losses.append(f"exchange {trial}: no end after {ANSWER_S:.0f} s")


def _end(tally: Tally, process: subprocess.Popen[bytes], before: State, folder: Path) -> None:
    """Look at the process once all peers have gone."""
    if process.poll() is not None:
        tally.losses.append(f"the receiver ended with {process.returncode}")
        return
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: _settled(process.pid, before), timeout_s=30)
    after = State.of(process.pid)
    tally.count("receiver's growth KiB", max(0, after.memory - before.memory) >> 10)
    for name, grown, bound in (
        ("threads", after.threads - before.threads, 0),
        ("descriptors", after.descriptors - before.descriptors, 0),
        ("descriptors of the database", after.databases - before.databases, 32),
        ("bytes", after.memory - before.memory, MEMORY_GROWTH),
    ):
        if grown > bound:
            tally.losses.append(f"{grown} {name} more than at the start")
    errors = (folder / "errors").read_text("utf-8", "replace")
    if "Traceback" in errors:
        tally.losses.append(f"{errors.count('Traceback')} tracebacks, the first: {errors[errors.index('Traceback') :][:1500]}")
    if any((folder / "data" / "spool").glob("*/*.part")):
        tally.losses.append("unfinished files are left")


def _settled(pid: int, before: State) -> bool:
    now = State.of(pid)
    return now.threads <= before.threads and now.descriptors <= before.descriptors


@dataclass(frozen=True)
class State:
    """What a process holds. Descriptors of the database are counted apart: SQLite keeps those of ended threads for the next ones."""

    memory: int
    descriptors: int
    databases: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> State:
        """Look at /proc."""
        place = Path(f"/proc/{pid}")
        pages = int((place / "statm").read_text().split()[1])
        names = []
        for each in (place / "fd").iterdir():
            with contextlib.suppress(OSError):
                names.append(str(each.readlink()))
        databases = sum("coronet.db" in name for name in names)
        return cls(
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
            descriptors=len(names) - databases,
            databases=databases,
            threads=sum(1 for _ in (place / "task").iterdir()),
        )


@contextmanager
def receiver_process(*, fill: Callable[[Path], None] | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The product's receiver on a data folder in memory, listening; ``fill`` puts something below the folder before it starts."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    if fill is not None:
        fill(folder)
    port = free_port()
    (folder / "coronet.toml").write_text(SETTINGS.format(data=folder / "data", port=port))
    command = [sys.executable, "-m", "appliance", "receiver", "--settings", str(folder / "coronet.toml")]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, timeout_s=60, what="the receiver listening")
        yield process, port, folder
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def honest(port: int, tally: Tally, number: int) -> None:
    """A peer that does everything right must be served."""
    dataset = ct_slice(index=number, series_uid=f"1.2.3.{number + 1}")
    try:
        with Parrot(port, source="127.0.0.99") as peer:
            peer.associate(contexts=((1, CONTEXTS[0][1], (EXPLICIT,)),))
            status, comment = peer.store(encode(dataset), sop_instance=str(dataset.SOPInstanceUID))
    except (OSError, AssertionError) as error:
        tally.losses.append(f"after {number} exchanges an honest peer is not served: {error!r}")
        return
    tally.count("honest images")
    if status != 0:
        tally.losses.append(f"after {number} exchanges an honest image is refused with {status:04X} {comment}")


def exchange(port: int, number: int, seed: int) -> Heard:
    """The n-th exchange."""
    rng = random.Random(f"pdu {seed} {number}")
    heard = Heard()
    deadline = time.monotonic() + ANSWER_S
    with contextlib.suppress(OSError), Parrot(port, source=f"127.0.1.{1 + number % 200}") as peer:
        peer.socket.settimeout(ANSWER_S)
        try:
            if _open(peer, rng, heard):
                _talk(peer, rng, heard, number)
            peer.socket.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline:
                kind, _ = peer.hear()
                if kind == 0:
                    return heard
                heard.answers.append(kind)
            heard.hung = True
        except TimeoutError:
            heard.hung = True
    return heard


def _open(peer: Parrot, rng: random.Random, heard: Heard) -> bool:
    """Ask for an association, in every third exchange with a mutated request; whether it was given."""
    request = associate_rq(contexts=CONTEXTS)
    if rng.random() < 0.33:
        heard.mutated += 1
        request = mutated_pdu(request, rng)
        peer.say(request)
        return False
    kind, _ = peer.say(request).hear()
    heard.answers.append(kind)
    return kind == ASSOCIATE_AC


def _talk(peer: Parrot, rng: random.Random, heard: Heard, number: int) -> None:
    """Some messages, of which the mutated ones may end the association; answers are read as they come, so that nobody waits for us."""
    for message in range(rng.randrange(1, 12)):
        for each in _message(rng, heard, number * 100 + message):
            peer.say(each)
        kind, _ = peer.hear()
        if kind == 0:
            return
        heard.answers.append(kind)
        if kind != P_DATA:
            return
    if rng.random() < 0.5:
        peer.say(pdu(rng.choice((5, 5, 6, 7)), bytes(4)))


def _message(rng: random.Random, heard: Heard, number: int) -> list[bytes]:
    """The PDUs of one C-STORE, one or more of them mutated, in ways that leave an answer due."""
    uid = f"1.2.7.{number}"
    command = store_command(sop_instance=uid, message_id=number % 65535)
    dataset = encode(ct_slice(SOPInstanceUID=uid))
    what = rng.random()
    heard.mutated += 1
    if what < 0.35:  # what a DIMSE parser sees
        command = mutate(command, rng, others=(dataset,))
    elif what < 0.75:  # what the look at the start of the data set sees
        dataset = nested(rng) if rng.random() < 0.03 else mutate(dataset, rng, others=(command,))
    pieces = [dataset[at : at + 4000] for at in range(0, len(dataset), 4000)] or [b""]
    pdus = [p_data(command, command=True, last=True)]
    pdus += [p_data(piece, command=False, last=piece is pieces[-1]) for piece in pieces]
    if what >= 0.75:  # what the PDU layer sees
        at = rng.randrange(len(pdus))
        pdus[at] = mutated_pdu(pdus[at], rng)
        pdus.append(pdu(7, bytes(4)))  # it may wait for more: an abort ends that
    return pdus


def mutated_pdu(whole: bytes, rng: random.Random) -> bytes:
    """A PDU with a wrong type, length or content."""
    kind = rng.random()
    if kind < 0.2:
        return bytes([rng.randrange(256)]) + whole[1:]
    if kind < 0.5:
        wrong = rng.choice((0, 1, 3, 4, 5, len(whole) - 7, len(whole) - 5, len(whole), 1 << 16, 1 << 20, 1 << 31, (1 << 32) - 1))
        return whole[:2] + struct.pack(">L", wrong) + whole[6:]
    return whole[:6] + mutate(whole[6:], rng) if kind < 0.75 else mutate(whole, rng)
