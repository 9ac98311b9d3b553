"""Searching, keeping and the troubles of the box as the API gives them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.errors import ArchiveError, Reason, WorkflowError
from appliance.settings import RetentionSettings
from tests.appliance.workflow.test_service import RADIOGRAPHER_PIN, Office
from tests.appliance.workflow.world import World


@pytest.fixture
def office(memory: Path) -> Iterator[Office]:
    world = World(memory / "data")
    for number, name in enumerate(("Wang^XiaoDong=王^小东", "Müller^Jürgen"), start=1):
        world.clock.pass_s(60)
        world.push(
            1, study=f"1.9.{number}", series=f"1.9.{number}.1", PatientName=name, PatientID=f"P{number}", StudyDate=f"2026010{number}"
        )
        world.intake().step()
        world.archive.studies.save(msgspec.structs.replace(world.study(f"1.9.{number}"), state="declined"))
    yield Office(world)
    world.close()


def search(office: Office, **changes: object) -> list[str]:
    asked = {"text": "", "states": (), "from_date": "", "to_date": "", "urgent": False, "offset": 0, "limit": 10, **changes}
    page = office.service.search(**asked)  # type: ignore[arg-type]
    return [row.header.study_uid for row in page.rows]


def test_studies_are_found_by_part_of_a_name_state_and_date(office: Office) -> None:
    assert search(office) == ["1.9.2", "1.9.1"]
    assert search(office, text="小东") == ["1.9.1"]
    assert search(office, from_date="20260102") == ["1.9.2"]
    assert search(office, states=("draft",)) == search(office, urgent=True) == []
    page = office.service.search(text="", states=(), from_date="", to_date="", urgent=False, offset=1, limit=1)
    assert (page.total, page.offset, [row.header.patient_id for row in page.rows]) == (2, 1, ["P1"])


def test_keeping_a_study_is_done_once_audited_and_holds(office: Office) -> None:
    session = office.sign_in(RADIOGRAPHER_PIN)
    key = office.world.study("1.9.1").key
    for _ in range(2):
        assert office.service.protect(session=session, study=key, protected=True, command="keep-it-1").protected
    audit = [(entry.actor, entry.action) for entry in office.world.archive.audit.entries(study=key) if "protect" in entry.action]
    assert audit == [(session.user_id, "protect")]
    with pytest.raises(ArchiveError, match="ARC-052"):
        office.world.archive.retention(RetentionSettings(images_must_be_archived=False)).remove(key, actor=session.user_id)
    assert not office.service.protect(session=session, study=key, protected=False, command="let-go-1").protected
    with pytest.raises(WorkflowError, match="WF-052"):
        office.service.protect(session=session, study="0" * 16, protected=True, command="keep-it-2")


def test_every_part_that_is_not_ready_says_why(office: Office) -> None:
    archive = office.world.archive
    reasons = [Reason(f"ARC-05{number}", zh="原因", en=f"cause {number}") for number in range(3)]
    archive.components.report("disk", ready=False, reason=reasons[0])
    archive.components.report("analyst", ready=False, reason=reasons[1])
    archive.components.report("PACS", ready=True, reason=reasons[2])
    archive.components.report("starting", ready=False)
    assert list(office.service.snapshot().health.warnings) == [reasons[1], reasons[0]]
