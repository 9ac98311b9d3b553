"""Earlier examinations: asked of Orthanc and of our own query door, fetched through our receiver, never analysed, never sent on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from appliance.archive.priors import FoundPrior
from appliance.dicom.prior_scu import FIND, find_priors
from appliance.dicom.receiver import Receiver
from appliance.errors import DicomError
from appliance.settings import DestinationSettings, PriorsSettings, ReceiverSettings, Settings
from appliance.study import StudyHeader
from appliance.workflow.priors import PriorFetcher
from appliance.workflow.release import make_router
from tests.appliance.workflow.world import World
from tests.peers.datasets import ROOT, write_series
from tests.peers.dcmtk import storescu
from tests.peers.orthanc import orthanc
from tests.peers.scp import scp
from tests.peers.waiting import free_port

TODAY = date(2026, 6, 1)
HEADER = StudyHeader(study_uid="1.9.9", series_uid="1", patient_id="P-77", patient_birth_date="19660101", study_date="20260101")


def archive_settings(port: int, **changes: Any) -> PriorsSettings:
    return PriorsSettings(**{"name": "PACS", "host": "127.0.0.1", "port": port, "ae_title": "ORTHANC", "timeout_s": 10.0, **changes})


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    world = World(memory / "data")
    yield world
    world.close()


def arrive(world: World, uid: str = "1.9.9", patient: str = "P-77") -> str:
    """A study of today's patient that is complete; its key."""
    world.push(1, study=uid, series=f"{uid}.1", PatientID=patient, PatientBirthDate="19660101", StudyDate="20260101")
    world.intake().step()
    study = world.study(uid)
    world.archive.studies.save(msgspec.structs.replace(study, state="draft"))
    return study.key


def test_orthanc_is_asked_and_sends_through_our_receiver(world: World, tmp_path: Path) -> None:
    key = arrive(world)
    settings = ReceiverSettings(port=free_port(), minimum_free_bytes=0)
    receiver = Receiver(settings, store=world.spool)
    receiver.start()
    try:
        with orthanc(tmp_path / "pacs") as pacs:
            url = f"http://127.0.0.1:{pacs.http_port}/modalities/box"
            httpx.put(url, json={"AET": "CORONET", "Host": "127.0.0.1", "Port": settings.port}, trust_env=False).raise_for_status()
            for number, (day, patient) in enumerate((("20240105", "P-77"), ("20100101", "P-77"), ("20240106", "P-78"))):
                study = f"{ROOT}{number + 50}"
                files = write_series(
                    tmp_path / f"{number}", 2, StudyInstanceUID=study, StudyDate=day, PatientID=patient, PatientBirthDate="19660101"
                )
                assert storescu(pacs.port, files, called="ORTHANC").returncode == 0
            fetcher = PriorFetcher(settings=archive_settings(pacs.port), archive=world.archive, receiver="CORONET", today=lambda: TODAY)
            assert fetcher.step()
            assert fetcher.step(), "nothing is asked twice"
    finally:
        receiver.stop(grace_s=2)
    (prior,) = world.archive.priors.of_study(key)
    assert (prior.study_date, prior.source, prior.state, prior.modalities) == ("20240105", "PACS", "fetched", "CT")
    relay = DestinationSettings(name="P", host="127.0.0.1", port=1, ae_title="P", send=("source",))
    intake = world.intake(router=make_router(Settings(destination=(relay,))))
    intake.step()
    world.clock.pass_s(61)
    intake.step()
    fetched = world.study(f"{ROOT}50")
    assert (fetched.state, fetched.images, fetched.reason and fetched.reason.code) == ("declined", 2, "WF-090")
    assert world.archive.outbox.of_study(fetched.key) == [], "what was fetched is not sent on"
    assert world.archive.priors.of_study(key)[0].here == fetched.key
    assert world.archive.studies.find(f"{ROOT}51") is world.archive.studies.find(f"{ROOT}52") is None


def answering(rows: Sequence[dict[str, Any]], status: int = 0x0000) -> Any:
    """An archive that pays no regard to what it is asked."""

    def find(_event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for row in rows:
            answer = Dataset()
            for keyword, value in row.items():
                setattr(answer, keyword, value)
            yield 0xFF00, answer
        yield status, None

    return scp(AE("ORTHANC"), contexts=[build_context(FIND)], handlers=[(evt.EVT_C_FIND, find)])


def row(number: int, **changes: Any) -> dict[str, Any]:
    given = {
        "StudyInstanceUID": f"1.5.{number}", "PatientID": "P-77", "StudyDate": f"2025010{number}", "PatientBirthDate": "19660101",
        "ModalitiesInStudy": ["CT", "SR"], "StudyDescription": "CORONARY CTA",
    }  # fmt: skip
    return {**given, **changes}


def test_an_archive_that_ignores_keys_does_not_bring_other_patients() -> None:
    rows = [
        row(1),
        row(2, PatientID="P-78"),
        row(3, PatientBirthDate="19770707"),
        row(4, ModalitiesInStudy="MR"),
        row(5, StudyDate="20200101"),
        row(6, StudyDate="20260102"),
        row(7, StudyInstanceUID="1.9.9"),
        row(8, StudyDescription="KNEE"),
        row(9, PatientBirthDate="", ModalitiesInStudy=""),
    ]
    with answering(rows) as port:
        found = find_priors(archive_settings(port, description="*cor*"), HEADER, today=TODAY)
    assert [each.study_uid for each in found] == ["1.5.9", "1.5.1"]


def test_only_the_newest_few_are_wanted() -> None:
    with answering([row(number) for number in range(1, 9)]) as port:
        found = find_priors(archive_settings(port, maximum_studies=2), HEADER, today=TODAY)
    assert [each.study_uid for each in found] == ["1.5.8", "1.5.7"]


def test_a_failure_status_is_an_error() -> None:
    with answering([], status=0xA700) as port, pytest.raises(DicomError, match="DCM-021"):
        find_priors(archive_settings(port), HEADER, today=TODAY)


@pytest.mark.parametrize("day", ["00000000", "20261399", "2026", ""])
def test_of_a_study_whose_date_is_none_the_earlier_ones_are_those_before_today(day: str) -> None:
    with answering([row(1)]) as port:
        found = find_priors(archive_settings(port), msgspec.structs.replace(HEADER, study_date=day), today=TODAY)
    assert [each.study_uid for each in found] == ["1.5.1"]


@pytest.mark.parametrize("patient", ["", "P*", "P?7"])
def test_without_a_patient_id_nobody_is_asked(patient: str) -> None:
    header = msgspec.structs.replace(HEADER, patient_id=patient)
    assert find_priors(archive_settings(1), header, today=TODAY) == []


def test_an_archive_that_is_down_is_said_and_asked_again(world: World) -> None:
    arrive(world)
    fetcher = PriorFetcher(settings=archive_settings(free_port()), archive=world.archive, receiver="CORONET", today=lambda: TODAY)
    assert not fetcher.step()
    assert [reason.code for reason in world.archive.components.troubles()] == ["DCM-001"]
    with answering([row(1)]) as port:
        again = PriorFetcher(
            settings=archive_settings(port, retrieve="list"), archive=world.archive, receiver="CORONET", today=lambda: TODAY
        )
        assert again.step()
    assert world.archive.components.troubles() == []
    assert [(each.study_date, each.state) for each in world.archive.priors.of_study(world.study("1.9.9").key)] == [("20250101", "found")]


def test_what_cannot_be_fetched_is_shown_as_such(world: World) -> None:
    key = arrive(world)

    def refuse(*_words: object, **_more: object) -> None:
        raise DicomError("DCM-022", zh="调取未完成", en="not everything")

    found = [FoundPrior("1.5.1", "20250101", "CTA", "CT")]
    fetcher = PriorFetcher(
        settings=archive_settings(1),
        archive=world.archive,
        receiver="CORONET",
        today=lambda: TODAY,
        find=lambda *_a, **_k: found,
        fetch=refuse,
    )
    assert fetcher.step()
    assert [each.state for each in world.archive.priors.of_study(key)] == ["failed"]


def test_the_box_s_own_earlier_studies_are_shown_without_asking(world: World) -> None:
    world.push(1, study="1.8", series="1.8.1", PatientID="P-77", StudyDate="20250505", StudyDescription="CTA")
    world.intake().step()
    key = arrive(world)
    (prior,) = world.archive.priors.of_study(key)
    assert (prior.study_date, prior.source, prior.here) == ("20250505", "", world.study("1.8").key)
