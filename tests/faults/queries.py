"""Mutated queries against the product's query process: C-FIND, C-MOVE and C-GET, and DICOMweb requests.

The process answers over a real archive of a few images, moves to a real storage SCP, and hands uploads to a real receiver process. A trial
mutates the association request, the command set, the identifier or a PDU; or the path, the headers or the body of an HTTP request. Each
must end with a status, a rejection, an abort or the end of the connection, in time; none may be a fault of ours (5xx, C511, a traceback).
Honest peers look in between whether both doors are open; at the end the process holds no more than at the start.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from tests.appliance.archive.fakes import encode as part10
from tests.appliance.workflow.world import World
from tests.faults.mutations import mutate, nested
from tests.faults.pdus import ANSWERS, PEERS, State, mutated_pdu, receiver_process
from tests.faults.tally import Tally
from tests.peers.datasets import ROOT, ct_slice, encode
from tests.peers.parrot import ASSOCIATE_AC, CT_IMAGE, IMPLICIT, P_DATA, Parrot, associate_rq, element, p_data, pdu
from tests.peers.scp import scp
from tests.peers.waiting import answers, free_port, wait_until

SETTINGS = """
[query]
port = {query}
maximum_associations = 32
maximum_associations_per_peer = 32
maximum_matches = 50
pdu_timeout_s = 2.0
association_timeout_s = 2.0
idle_timeout_s = 2.0
[web]
enabled = true
port = {web}
maximum_upload_bytes = 1048576
body_timeout_s = 1.0
[[peer]]
ae_title = "SINK"
host = "127.0.0.1"
port = {sink}
timeout_s = 5.0
"""
ANSWER_S = 30.0
PATIENCE_S = 0.4
"""So long a client waits for more before it shuts its side of the connection."""
HONEST_EVERY = 100
MEMORY_GROWTH = 64 << 20
KEPT_THREADS = 8
"""Workers that the web server keeps for its next requests, for a while."""
IMAGES = 3
STUDY, SERIES = ROOT + "1", ROOT + "2"
ROOTS = tuple(f"1.2.840.10008.5.1.4.1.2.{root}.{kind}" for root in (1, 2) for kind in (1, 2, 3))
CONTEXTS = tuple((2 * number + 1, uid, (IMPLICIT,)) for number, uid in enumerate(ROOTS))
C_FIND, C_MOVE, C_GET = 0x0020, 0x0021, 0x0010
COMMANDS = {1: C_FIND, 2: C_MOVE, 3: C_GET}
PENDING = frozenset({0xFF00, 0xFF01})
FAULTS = frozenset({0xC311, 0xC511})
PATHS = (
    "/studies?PatientID=TEST-1&limit=5", "/studies?StudyDate=20250101-20270101&includefield=all", f"/studies/{STUDY}/series",
    f"/instances?StudyInstanceUID={STUDY}&fuzzymatching=true", f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}/metadata",
    f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1", f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/frames/1",
    f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/rendered?viewport=32,32",
    f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/bulkdata/7FE00010",
)  # fmt: skip
ACCEPTS = ("*/*", "application/dicom+json", 'multipart/related; type="application/dicom"', "image/png", "application/octet-stream")


@dataclass(frozen=True)
class Doors:
    """The process under test, its ports and a token of its DICOMweb."""

    process: subprocess.Popen[bytes]
    query: int
    web: int
    token: str
    errors: Path


@dataclass
class Heard:
    """What came of one trial."""

    mutated: int = 0
    answers: list[str] = field(default_factory=list)
    loss: str = ""


def mutated_queries(*, trials: int, seed: int = 1) -> Tally:
    """Try so many DICOM exchanges, and as many HTTP requests."""
    tally = Tally()
    with query_process() as doors, ThreadPoolExecutor(PEERS) as peers:
        for _ in range(3):  # libraries load, threads start
            _honest(doors, tally)
        before = State.of(doors.process.pid)
        for first in range(0, trials, HONEST_EVERY):
            numbers = range(first, min(first + HONEST_EVERY, trials))
            for kind in (dicom_exchange, http_request):
                for number, heard in zip(numbers, peers.map(lambda n, kind=kind: kind(doors, n, seed), numbers), strict=True):
                    _count(tally, f"{kind.__name__} {number}", heard)
            _honest(doors, tally)
        _end(tally, doors, before)
    return tally


def _count(tally: Tally, trial: str, heard: Heard) -> None:
    tally.count("mutated", heard.mutated)
    for answer in heard.answers:
        tally.count(answer)
    if not heard.answers:
        tally.count("closed without a word")
    if heard.loss:
        tally.losses.append(f"{trial}: {heard.loss}")


def _end(tally: Tally, doors: Doors, before: State) -> None:
    """Look at the process once all peers have gone. Threads: those that the web server keeps for its work are bounded, not counted out."""
    if doors.process.poll() is not None:
        tally.losses.append(f"the query process ended with {doors.process.returncode}")
        return
    pid = doors.process.pid
    with contextlib.suppress(TimeoutError):
        wait_until(
            lambda: State.of(pid).descriptors <= before.descriptors and State.of(pid).threads <= before.threads + KEPT_THREADS, timeout_s=15
        )
    after = State.of(pid)
    for name, grown, bound in (
        ("threads", after.threads - before.threads, KEPT_THREADS),
        ("descriptors", after.descriptors - before.descriptors, 0),
        ("descriptors of the database", after.databases - before.databases, 64),
        ("bytes", after.memory - before.memory, MEMORY_GROWTH),
    ):
        if grown > bound:
            tally.losses.append(f"{grown} {name} more than at the start")
    errors = doors.errors.read_text("utf-8", "replace")
    if "Traceback" in errors:
        tally.losses.append(f"{errors.count('Traceback')} tracebacks, the first: {errors[errors.index('Traceback') :][:1500]}")


@contextmanager
def query_process() -> Iterator[Doors]:
    """The product's query process over an archive of one study, with a receiver process and a storage SCP beside it."""
    handlers = [(evt.EVT_C_STORE, lambda _event: 0)]
    sink = scp(AE("SINK"), contexts=[build_context(CT_IMAGE)], handlers=handlers)
    with receiver_process(fill=_fill) as (_, _, folder), sink as sink_port:
        ports = {"query": free_port(), "web": free_port(), "sink": sink_port}
        settings = folder / "query.toml"
        settings.write_text((folder / "coronet.toml").read_text() + SETTINGS.format(**ports))
        errors = folder / "query-errors"
        with errors.open("w") as file:
            command = [sys.executable, "-m", "appliance", "query", "--settings", str(settings)]
            process = subprocess.Popen(command, stdout=file, stderr=file)
        try:
            up = (ports["query"], ports["web"])
            wait_until(lambda: process.poll() is not None or all(answers(port) for port in up), timeout_s=60, what="the query doors")
            yield Doors(process, *up, token=(folder / "token").read_text(), errors=errors)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _fill(folder: Path) -> None:
    """One study of three images, and a token that may store."""
    world = World(folder / "data")
    for index in range(IMAGES):
        dataset = ct_slice(index=index, WindowCenter="200", WindowWidth="400")
        world.push_bytes(part10(dataset), str(dataset.SOPInstanceUID))
    world.intake().step()
    for study in world.archive.studies.in_state("receiving"):
        world.archive.studies.save(msgspec.structs.replace(study, state="declined"))
    (folder / "token").write_text(world.archive.tokens.add(name="fuzz", may_store=True)[1])
    world.close()


def _honest(doors: Doors, tally: Tally) -> None:
    """Peers that do everything right must be served at both doors."""
    heard = Heard()
    try:
        with Parrot(doors.query, source="127.0.0.99") as peer:
            peer.associate(contexts=CONTEXTS)
            final = _ask(peer, 9, _command(ROOTS[4], C_MOVE), encode(_identifier(), implicit=True), heard)
    except (OSError, AssertionError) as error:
        tally.losses.append(f"an honest C-MOVE is not served: {error!r}")
        return
    request = _http("GET", f"/studies/{STUDY}/series", {"Accept": "application/dicom+json"}, b"", doors)
    answer = _exchange_http(doors, b"".join(request), heard, source="127.0.0.99")
    if final != 0 or not answer.startswith(b"HTTP/1.1 200") or SERIES.encode() not in answer:
        tally.losses.append(f"honest peers are answered {final} and {answer[:40]!r}")
    tally.count("honest questions", 2)


# -- DICOM


def dicom_exchange(doors: Doors, number: int, seed: int) -> Heard:
    """The n-th exchange with the query/retrieve door."""
    rng = random.Random(f"query {seed} {number}")
    heard = Heard()
    try:
        with Parrot(doors.query, source=f"127.0.1.{1 + number % 200}") as peer:
            peer.socket.settimeout(ANSWER_S)
            _talk(peer, rng, heard)
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + ANSWER_S
            while (kind := peer.hear()[0]) != 0:
                heard.answers.append(ANSWERS.get(kind, "other answers"))
                if time.monotonic() > deadline:
                    heard.loss = "answers without end"
                    break
    except TimeoutError:
        heard.loss = f"no end after {ANSWER_S:.0f} s"
    except OSError:
        pass
    return heard


def _talk(peer: Parrot, rng: random.Random, heard: Heard) -> None:
    request = associate_rq(contexts=CONTEXTS)
    if rng.random() < 0.15:
        heard.mutated += 1
        peer.say(mutated_pdu(request, rng))
        return
    kind, _ = peer.say(request).hear()
    heard.answers.append(ANSWERS.get(kind, "other answers"))
    if kind != ASSOCIATE_AC:
        return
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(ROOTS))
        command = _command(ROOTS[at], COMMANDS[at % 3 + 1])
        identifier = encode(_identifier(rng), implicit=True)
        what = rng.random()
        heard.mutated += 1
        if what < 0.3:
            command = mutate(command, rng, others=(identifier,))
        elif what < 0.85:
            identifier = nested(rng, explicit=False) if rng.random() < 0.04 else mutate(identifier, rng, others=(command,))
        if _ask(peer, 2 * at + 1, command, identifier, heard, rng=rng if what >= 0.85 else None) is None:
            return


def _identifier(rng: random.Random | None = None) -> Dataset:
    """What is asked: of an image, a series or the study."""
    dataset = Dataset()
    level = rng.choice(("PATIENT", "STUDY", "SERIES", "IMAGE")) if rng else "STUDY"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.QueryRetrieveLevel = level
    dataset.StudyInstanceUID = STUDY
    if rng:
        dataset.PatientID = "TEST-1"
        dataset.PatientName = "Test*"
        dataset.StudyDate = "20250101-20270101"
        dataset.ModalitiesInStudy = "CT"
    if level in {"SERIES", "IMAGE"}:
        dataset.SeriesInstanceUID = SERIES
    if level == "IMAGE":
        dataset.SOPInstanceUID = [f"{SERIES}.1", f"{SERIES}.2"]
    return dataset


def _command(sop_class: str, command: int) -> bytes:
    """The command set of a C-FIND, C-MOVE or C-GET (PS3.7 9.3)."""
    body = element(0, 0x0002, sop_class.encode()) + element(0, 0x0100, struct.pack("<H", command))
    body += element(0, 0x0110, struct.pack("<H", 7))
    body += element(0, 0x0600, b"SINK") if command == C_MOVE else b""
    body += element(0, 0x0700, struct.pack("<H", 0)) + element(0, 0x0800, struct.pack("<H", 1))
    return element(0, 0x0000, struct.pack("<L", len(body))) + body


def _ask(peer: Parrot, context: int, command: bytes, identifier: bytes, heard: Heard, *, rng: random.Random | None = None) -> int | None:
    """Say a request, with ``rng`` one PDU of it mutated; its final status, None if the association ended."""
    pieces = [identifier[at : at + 4000] for at in range(0, len(identifier), 4000)] or [b""]
    pdus = [p_data(command, command=True, last=True, context=context)]
    pdus += [p_data(piece, command=False, last=piece is pieces[-1], context=context) for piece in pieces]
    if rng is not None:
        at = rng.randrange(len(pdus))
        pdus[at] = mutated_pdu(pdus[at], rng)
        pdus.append(pdu(7, bytes(4)))
    for each in pdus:
        peer.say(each)
    peer.socket.settimeout(PATIENCE_S * 4)
    try:
        while True:
            kind, body = peer.hear()
            if kind != P_DATA:
                heard.answers += [ANSWERS.get(kind, "other answers")] if kind else []
                return None
            status = _status(body)
            if status in PENDING:
                heard.answers.append("pending statuses")
            elif status is not None:
                heard.answers.append("final statuses")
                if status in FAULTS:
                    heard.loss = f"a fault of ours: {status:04X}"
                return status
    except TimeoutError:  # it waits for more of the request: our end of the connection is the answer to that
        return None
    finally:
        peer.socket.settimeout(ANSWER_S)


def _status(body: bytes) -> int | None:
    """Status (0000,0900) of a response; None in a data set."""
    if len(body) < 6 or not body[5] & 1:
        return None
    at = 6
    while at + 8 <= len(body):
        _, number, length = struct.unpack_from("<HHL", body, at)
        if number == 0x0900:
            return int(struct.unpack_from("<H", body, at + 8)[0])
        at += 8 + length
    return None


# -- DICOMweb


def http_request(doors: Doors, number: int, seed: int) -> Heard:
    """The n-th request to the DICOMweb door."""
    rng = random.Random(f"web {seed} {number}")
    heard = Heard(mutated=1)
    body, headers, method = b"", {"Accept": rng.choice(ACCEPTS)}, "GET"
    path = rng.choice(PATHS)
    if rng.random() < 0.35:
        method, path = "POST", rng.choice(("/studies", f"/studies/{STUDY}"))
        headers |= {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b0', "Accept": "application/dicom+json"}
        image = part10(ct_slice(index=1))
        body = b"--b0\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n--b0--\r\n"
        if rng.random() < 0.7:
            body = mutate(body, rng)
    line, head, body = _http(method, path, headers, body, doors)
    what = rng.random()
    if what < 0.4:
        line = _mutated_path(line, rng)
    elif what < 0.7:
        head = mutate(head, rng, others=(line,))
    elif what < 0.8:
        line, head, body = mutate(line + head + body, rng), b"", b""
    try:
        answer = _exchange_http(doors, line + head + body, heard, source=f"127.0.2.{1 + number % 200}")
    except TimeoutError:
        heard.loss = f"no end after {ANSWER_S:.0f} s"
        return heard
    if answer.startswith(b"HTTP/1.1 "):
        heard.answers.append(f"HTTP {answer[9:12].decode('latin-1')}")
        if answer[9:10] == b"5" and answer[9:12] != b"503":
            heard.loss = f"answered {answer[9:40]!r} to {line[:200]!r}"
    return heard


def _http(method: str, path: str, headers: dict[str, str], body: bytes, doors: Doors) -> tuple[bytes, bytes, bytes]:
    """Request line, headers and body."""
    given = {"Host": "box", "Authorization": f"Bearer {doors.token}", "Connection": "close", **headers}
    if body:
        given["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items()) + "\r\n"
    return f"{method} /dicom-web{path} HTTP/1.1\r\n".encode(), head.encode(), body


ODD = (
    b"%00", b"%ff%fe", b"..%2f..%2fetc", b"/", b"%", b"?limit=-1", b"&limit=99999999999999999999", b"&offset=x", b"*" * 500,
    b"&StudyDate=99999999-", b"&00080020=%E4%B8%AD", b"&includefield=" + b"9" * 64, b"/frames/0,99999999,-1", b"?quality=900",
)  # fmt: skip


def _mutated_path(line: bytes, rng: random.Random) -> bytes:
    """A request line whose path or query is wrong, but which mostly still is a request line."""
    method, path, version = line.split(b" ", 2)
    at = rng.randrange(len(path))
    changed = path[:at] + rng.choice(ODD) + path[at:] if rng.random() < 0.5 else mutate(path, rng)
    if rng.random() < 0.5:
        changed += rng.choice(ODD)
    if rng.random() < 0.7:  # what a library that quotes would send
        changed = b"".join(bytes([byte]) if 0x21 <= byte < 0x7F else b"%%%02X" % byte for byte in changed)
    return b" ".join((method, changed, version))


def _exchange_http(doors: Doors, request: bytes, heard: Heard, *, source: str) -> bytes:
    """The whole answer; after some silence our side is shut."""
    answer = b""
    deadline = time.monotonic() + ANSWER_S
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", doors.web), source_address=(source, 0)) as door:
        door.settimeout(PATIENCE_S)
        shut = False
        with contextlib.suppress(ConnectionError):
            door.sendall(request)
        while True:
            try:
                got = door.recv(1 << 16)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
                if not shut:
                    shut = True
                    door.shutdown(socket.SHUT_WR)
                continue
            if not got:
                break
            answer += got
    return answer
