"""DCMTK's dcmqrscp as the archive: it gives earlier examinations by C-MOVE and C-GET, takes what routes send, and what a C-MOVE names."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import msgspec
import pydicom
import pytest

from appliance.dicom.prior_get import get_prior
from appliance.dicom.prior_scu import fetch_prior
from appliance.dicom.query_scp import QueryServer
from appliance.dicom.receiver import Receiver
from appliance.dicom.retrieve import MoveTarget
from appliance.dicom.sender import SendOutcome
from appliance.errors import DicomError
from appliance.settings import DestinationSettings, PriorsSettings, QuerySettings, ReceiverSettings, RouteSettings, Settings
from appliance.workflow.channels import StoreChannel
from appliance.workflow.delivery import BackOff, DestinationWorker
from appliance.workflow.priors import prior_fetcher
from appliance.workflow.probe import own_door
from appliance.workflow.resending import send_again
from tests.appliance.workflow.world import World
from tests.peers.datasets import ROOT, write_series
from tests.peers.dcmtk import ENVIRONMENT, Archive, dcmqrscp, need, storescu
from tests.peers.waiting import free_port

TODAY = date(2026, 6, 1)
EARLIER, OTHER_PATIENT = f"{ROOT}50", f"{ROOT}51"
IMAGES = 23
"""More than lie aside at a time."""


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory / "data")
    yield world
    world.close()


@pytest.fixture
def receiver(world: World) -> Iterator[ReceiverSettings]:
    settings = ReceiverSettings(port=free_port(), minimum_free_bytes=0)
    receiver = Receiver(settings, store=world.spool)
    receiver.start()
    yield settings
    receiver.stop(grace_s=2)


def priors(port: int, retrieve: str) -> PriorsSettings:
    return PriorsSettings(name="PACS", host="127.0.0.1", port=port, ae_title="QRSCP", timeout_s=20.0, retrieve=retrieve)  # type: ignore[arg-type]


def fill(archive: Archive, folder: Path) -> None:
    """An earlier study of today's patient, and one of somebody else."""
    for uid, patient, count in ((EARLIER, "P-77", IMAGES), (OTHER_PATIENT, "P-78", 1)):
        changes = {"StudyInstanceUID": uid, "StudyDate": "20240105", "PatientID": patient, "PatientBirthDate": "19660101"}
        files = write_series(folder / uid, count, series_uid=f"{uid}.1", **changes)
        assert storescu(archive.port, files, called="QRSCP").returncode == 0


def data_sets(paths: Sequence[Path]) -> dict[str, bytes]:
    """The bytes of each data set, by its UID."""
    found = {}
    for path in paths:
        data = path.read_bytes()
        found[str(pydicom.dcmread(path).SOPInstanceUID)] = data[144 + int.from_bytes(data[140:144], "little") :]
    return found


@pytest.mark.parametrize("retrieve", ["move", "get"])
def test_earlier_examinations_come_bit_by_bit(world: World, receiver: ReceiverSettings, tmp_path: Path, retrieve: str) -> None:
    world.push(1, study="1.9.9", series="1.9.9.1", PatientID="P-77", PatientBirthDate="19660101", StudyDate="20260101")
    world.intake().step()
    study = world.study("1.9.9")
    world.archive.studies.save(msgspec.structs.replace(study, state="draft"))
    hosts = {"CORONET": receiver.port} if retrieve == "move" else {}
    with dcmqrscp(tmp_path / "peer", hosts=hosts) as archive:
        fill(archive, tmp_path)
        source = priors(archive.port, retrieve)
        assert prior_fetcher(source, Settings(receiver=receiver, priors=(source,)), world.archive, today=lambda: TODAY).step()
        theirs = {uid: path for uid, path in archive.files().items() if uid.startswith(f"{EARLIER}.")}
    (prior,) = world.archive.priors.of_study(study.key)
    assert (prior.study_date, prior.source, prior.state) == ("20240105", "PACS", "fetched")
    intake = world.intake()
    intake.step()
    world.clock.pass_s(61)
    intake.step()
    fetched = world.study(EARLIER)
    assert (fetched.state, fetched.images, fetched.reason and fetched.reason.code) == ("declined", IMAGES, "WF-090")
    ours = data_sets([each.path for each in world.archive.index.of_study(fetched.key)])
    assert ours == data_sets(list(theirs.values()))
    assert world.archive.studies.find(OTHER_PATIENT) is None
    assert not list(world.data.glob("priors/*")), "nothing is left aside"


@pytest.mark.parametrize("stored", [0, IMAGES - 1])
def test_what_our_own_receiver_does_not_take_is_not_called_fetched(tmp_path: Path, stored: int) -> None:
    taken = 0

    def send_files(_door: DestinationSettings, paths: Sequence[Path]) -> list[SendOutcome]:
        nonlocal taken
        outcomes = [SendOutcome(path, "1", 0, accepted=taken + at < stored, reason=None) for at, path in enumerate(paths)]
        taken += len(paths)
        return outcomes

    door = own_door(ReceiverSettings())
    with dcmqrscp(tmp_path / "peer", hosts={}) as archive:
        fill(archive, tmp_path)
        with pytest.raises(DicomError, match="DCM-022"):
            get_prior(priors(archive.port, "get"), EARLIER, door=door, scratch=tmp_path, send_files=send_files)
    assert not list(tmp_path.glob("tmp*"))


def test_an_archive_that_does_not_know_us_says_so(tmp_path: Path) -> None:
    with dcmqrscp(tmp_path / "peer", hosts={}) as archive:
        fill(archive, tmp_path)
        with pytest.raises(DicomError, match="DCM-022"):
            fetch_prior(priors(archive.port, "move"), EARLIER, receiver="CORONET")


def test_a_route_sends_there_and_what_it_has_can_be_sent_again(world: World, tmp_path: Path) -> None:
    with dcmqrscp(tmp_path / "peer", hosts={}) as archive:
        there = DestinationSettings(name="QR", host="127.0.0.1", port=archive.port, ae_title="QRSCP", timeout_s=20.0)
        router = world.router(there, routes=(RouteSettings(name="all", to=("QR",), send=("source",)),))
        world.push(1, 2, 3, 4)
        intake = world.intake(router=router)
        intake.step()
        world.clock.pass_s(5)
        intake.step()
        key = world.study().key
        sender = DestinationWorker(
            channel=StoreChannel(there), archive=world.archive, machine=world.machine, back_off=BackOff(random=lambda: 1.0)
        )
        sender.step()
        (row,) = world.archive.outbox.of_study(key)
        assert (row.state, [file.status for file in row.files]) == ("done", [0] * 4)
        assert data_sets(list(archive.files().values())) == data_sets([each.path for each in world.archive.index.of_study(key)])
        for path in archive.files().values():
            path.unlink()
        assert send_again(world.archive, world.study(), to="QR", actor="u1") == 1
        sender.step()
        assert world.archive.outbox.get(row.id).attempts == 2
        assert len(archive.files()) == 4, "what the archive had lost is there again"


def test_our_c_move_sends_there(world: World, tmp_path: Path) -> None:
    world.push(1, 2, 3, 4)
    world.intake().step()
    study = world.study()
    world.archive.studies.save(msgspec.structs.replace(study, state="declined"))
    with dcmqrscp(tmp_path / "peer", hosts={}) as archive:
        targets = {"QRSCP": MoveTarget("QRSCP", "127.0.0.1", archive.port)}
        server = QueryServer(QuerySettings(port=free_port()), search=world.archive.search, targets=targets, audit=world.archive.audit)
        server.start()
        try:
            keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3"]
            command = [need("movescu"), "-S", *keys, "-aec", "CORONET", "-aem", "QRSCP", "127.0.0.1", str(server.port)]
            run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
        finally:
            server.stop()
        assert run.returncode == 0, run.stderr
        assert data_sets(list(archive.files().values())) == data_sets([each.path for each in world.archive.index.of_study(study.key)])
