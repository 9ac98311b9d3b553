"""Every cell of the state table, against the table as it was meant, written down a second time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.archive.archive import Archive
from appliance.archive.studies import StudyRecord
from appliance.errors import Reason, WorkflowError
from appliance.study import StudyHeader
from appliance.workflow.states import EVENTS, STATE_TABLE, STATE_ZH, Facts, StudyEvent, StudyMachine, drawing, next_record
from appliance.worklist import STUDY_STATES, StudyState
from tests.appliance.archive.fakes import make_archive

REASON = Reason(code="X-1", zh="因", en="why")
FACTS = Facts(images=3, main_series="1.2.9", reason=REASON, draft="new", cad_rads="CAD-RADS 2/P1")

ALLOWED: dict[StudyState, dict[str, StudyState]] = {
    "receiving": {"images_arrived": "receiving", "completed": "queued", "declined": "declined"},
    "queued": {"images_arrived": "queued", "late_images": "receiving", "claimed": "analysing"},
    "analysing": {
        "images_arrived": "analysing",
        "late_images": "receiving",
        "interrupted": "queued",
        "stopped": "queued",
        "analysed": "draft",
        "declined": "declined",
        "analysis_failed": "failed",
    },
    "draft": {
        "images_arrived": "draft",
        "late_images": "receiving",
        "series_came": "draft",
        "reanalysed": "queued",
        "corrected": "draft",
        "approved": "approving",
    },
    "approving": {
        "images_arrived": "approving",
        "late_images": "receiving",
        "series_came": "approving",
        "undone": "draft",
        "window_closed": "approved",
    },
    "approved": {
        "images_arrived": "approved",
        "late_images": "receiving",
        "series_came": "approved",
        "release_begun": "approved",
        "released": "delivering",
        "release_failed": "draft",
    },
    "delivering": {"images_arrived": "delivering", "late_images": "receiving", "series_came": "delivering", "delivery_done": "delivered"},
    "delivered": {"images_arrived": "delivered", "late_images": "receiving", "series_came": "delivered", "reanalysed": "queued"},
    "declined": {"images_arrived": "receiving", "late_images": "receiving"},
    "failed": {"images_arrived": "failed", "late_images": "receiving", "retried": "queued"},
}


def study_in(state: StudyState) -> StudyRecord:
    return StudyRecord(
        key="k",
        study_uid="1.2",
        state=state,
        header=StudyHeader(study_uid="1.2", series_uid="1.2.1"),
        received_at=0.0,
        updated_at=0.0,
        revision=4,
        generation=2,
        images=280,
        attempts=1,
        draft="old",
        cad_rads="CAD-RADS 1/P1",
        stage="segment",
        progress=0.5,
    )


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STUDY_STATES, EVENTS)))
def test_cell(state: StudyState, event: StudyEvent) -> None:
    target = ALLOWED[state].get(event)
    if target is None:
        with pytest.raises(WorkflowError, match="WF-001"):
            next_record(study_in(state), event, FACTS)
        return
    before, after = study_in(state), next_record(study_in(state), event, FACTS)
    assert after.state == target
    expected_images = before.images + 3 if event in {"images_arrived", "late_images", "series_came"} else before.images
    assert after.images == expected_images
    reopened = (target == "receiving" and state != "receiving") or event == "reanalysed"
    assert after.generation == before.generation + (1 if reopened else 0)
    if reopened:
        assert (after.draft, after.approval, after.cad_rads, after.reason, after.progress) == (None, None, None, None, None)
    changes_draft = event in {"analysed", "corrected", "approved", "undone", "release_failed"} or reopened
    if changes_draft or (state, event) == ("analysing", "declined"):
        assert after.revision == before.revision + 1
    else:
        assert after.revision == before.revision
    if target in {"declined", "failed"} and state != target:
        assert after.reason == REASON


def test_the_table_names_no_cell_that_was_not_meant() -> None:
    assert {(state, event) for state, event in STATE_TABLE} == {(state, event) for state, events in ALLOWED.items() for event in events}


def test_every_state_can_be_reached_and_no_state_is_a_trap() -> None:
    """From each state a study can still get to the end (with images, a person or time to help it)."""
    reach = {state: {target for (source, _), (target, _) in STATE_TABLE.items() if source == state} for state in STUDY_STATES}
    for _ in STUDY_STATES:
        reach = {state: targets | {far for near in targets for far in reach[near]} for state, targets in reach.items()}
    assert reach["receiving"] | {"receiving"} == set(STUDY_STATES)
    assert all("delivered" in reach[state] for state in STUDY_STATES if state != "delivered")


def test_every_state_has_a_chinese_name() -> None:
    assert set(STATE_ZH) == set(STUDY_STATES)


def test_the_drawing_shows_each_arrow_of_the_table() -> None:
    lines = drawing().splitlines()
    drawn = set()
    for line in lines:
        if "-->" in line and ":" in line:
            arrow, events = line.split(":")
            source, target = (word.strip() for word in arrow.split("-->"))
            drawn |= {(source, event.strip(), target) for event in events.split(",")}
    assert drawn == {(source, event, target) for (source, event), (target, _) in STATE_TABLE.items()}


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = make_archive(tmp_path / "data")
    yield archive
    archive.close()


@pytest.fixture
def machine(archive: Archive) -> StudyMachine:
    return StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)


def test_a_transition_is_one_transaction(archive: Archive, machine: StudyMachine) -> None:
    study = archive.studies.create(StudyHeader(study_uid="1.2", series_uid="1.2.1"))
    before = (archive.studies.last_event(), len(archive.audit.entries()))

    def fail() -> None:
        with machine.transaction():
            machine.apply(study.key, "completed", facts=FACTS)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert archive.studies.get(study.key).state == "receiving"
    assert (archive.studies.last_event(), len(archive.audit.entries())) == before
    machine.apply(study.key, "completed", facts=FACTS, actor="u1")
    assert archive.studies.get(study.key).main_series == "1.2.9"
    assert (archive.studies.last_event(), len(archive.audit.entries())) == (before[0] + 1, before[1] + 1)
    entry = archive.audit.entries()[-1]
    assert (entry.actor, entry.details["from"], entry.details["to"]) == ("u1", "receiving", "queued")


def test_a_result_of_an_older_generation_or_revision_is_refused(archive: Archive, machine: StudyMachine) -> None:
    study = archive.studies.create(StudyHeader(study_uid="1.2", series_uid="1.2.1"))
    with pytest.raises(WorkflowError, match="WF-002"):
        machine.apply(study.key, "completed", generation=2)
    with pytest.raises(WorkflowError, match="WF-003"):
        machine.apply(study.key, "completed", revision=7)
    assert archive.studies.get(study.key).state == "receiving"


def test_refusals_name_the_state_in_both_languages() -> None:
    with pytest.raises(WorkflowError) as raised:
        next_record(study_in("failed"), "approved", Facts())
    assert "分析失败" in raised.value.zh
    assert "failed" in raised.value.en
    assert msgspec.json.encode(raised.value.reason)
