"""Which earlier examination a result is compared with, in a real archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.findings import Findings
from appliance.settings import Settings
from appliance.study import Approval
from appliance.workflow.analyst import Analyst
from appliance.workflow.comparing import newest_earlier
from appliance.workflow.states import Facts
from tests.appliance.workflow.world import PaperDrafts, World, findings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


def take(world: World, study: str, date: str, found: Findings, **person: str) -> str:
    """A study of that date, analysed."""
    world.push(study=study, series=f"{study}.1", StudyDate=date, **{"PatientID": "P1", "PatientBirthDate": "19600101", **person})
    intake = world.intake()
    intake.step()
    world.clock.pass_s(5)
    intake.step()
    analyst = Analyst(archive=world.archive, machine=world.machine, drafts=PaperDrafts(found=found), settings=Settings())
    job = analyst.take()
    assert job is not None
    assert analyst.work(job) is None
    return job.study.key


def release(world: World, key: str, role: str = "physician") -> None:
    approval = Approval(user_id="u", user_name="陈医师", role=role, at=datetime(2026, 1, 1, tzinfo=UTC))  # type: ignore[arg-type]
    for event in ("approved", "window_closed", "released"):
        world.machine.apply(key, event, facts=Facts(approval=approval))  # type: ignore[arg-type]


def test_the_newest_released_examination_is_what_a_draft_is_compared_with(world: World) -> None:
    release(world, take(world, "1.2.1", "20230101", findings(grade="severe")))
    release(world, take(world, "1.2.2", "20240101", findings(grade="mild")), role="radiographer")
    take(world, "1.2.3", "20250101", findings())  # never released
    release(world, take(world, "1.2.5", "20270101", findings()))  # later than the one at hand
    key = take(world, "1.2.4", "20260101", findings())
    folder = world.archive.studies.get(key).draft
    assert folder is not None
    earlier = Findings.read(world.archive.drafts / folder / "findings.json").earlier
    assert earlier is not None
    assert (earlier.study_date, earlier.final, earlier.cad_rads) == ("20240101", False, "CAD-RADS 2/P1")


@pytest.mark.parametrize("person", [{"PatientID": "P2"}, {"PatientID": ""}, {"PatientBirthDate": "19610101"}, {"PatientSex": "F"}])
def test_nothing_of_another_person(world: World, person: dict[str, str]) -> None:
    release(world, take(world, "1.2.1", "20230101", findings(), **{"PatientSex": "M", **person}))
    key = take(world, "1.2.2", "20240101", findings(), PatientSex="M")
    assert newest_earlier(world.archive, world.archive.studies.get(key)) is None


def test_findings_that_are_gone_or_spoilt_are_passed_over(world: World) -> None:
    for number in (1, 2, 3):
        release(world, take(world, f"1.2.{number}", f"202{number}0101", findings()))
    for number, spoil in ((3, None), (2, b"{")):
        draft = world.study(f"1.2.{number}").draft
        assert draft is not None
        path = world.archive.drafts / draft / "findings.json"
        path.unlink() if spoil is None else path.write_bytes(spoil)
    key = take(world, "1.2.9", "20250101", findings())
    earlier = newest_earlier(world.archive, world.archive.studies.get(key))
    assert earlier is not None
    assert earlier.study_date == "20210101"
