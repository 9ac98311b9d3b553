"""Every cell of the update's state table, and every place where a start can find it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from appliance.errors import WorkflowError
from appliance.workflow.update_desk import read_record, write_record
from appliance.workflow.update_states import (
    EVENTS,
    MAXIMUM_ATTEMPTS,
    STATES,
    TRANSITIONS,
    Machine,
    UpdateRecord,
    advance,
    fell_back,
    resume,
)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_every_cell(state: str, event: str) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) == TRANSITIONS[state, event]  # type: ignore[arg-type, index]
    else:
        with pytest.raises(WorkflowError, match="WF-103"):
            advance(state, event)  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "booted", "primary", "same"), list(itertools.product(STATES, "AB", "AB", [True, False])))
def test_what_a_start_finds_is_an_event_that_fits(state: str, booted: str, primary: str, same: bool) -> None:
    """Update from A to B: from every state, whatever the machine shows, there is a way on that the table knows."""
    record = UpdateRecord(state=state, target="B", boot="1", attempts=1)  # type: ignore[arg-type]
    machine = Machine(booted=booted, primary=primary, boot="1" if same else "2")  # type: ignore[arg-type]
    found = resume(record, machine)
    if found is None:
        return
    after = advance(record.state, found[0])
    if booted == "A":
        assert after not in {"trying", "good"}, "nothing is on trial while the old version runs"
    if after in {"back", "failed"}:
        assert found[1] is not None, "a person is told why"


def test_an_installation_that_is_always_cut_off_is_given_up() -> None:
    machine = Machine(booted="A", primary="A", boot="2")
    for attempts, event in ((1, "again"), (MAXIMUM_ATTEMPTS - 1, "again"), (MAXIMUM_ATTEMPTS, "failed")):
        found = resume(UpdateRecord(state="installing", target="B", attempts=attempts), machine)
        assert found is not None
        assert found[0] == event


def test_the_loader_leaving_a_proven_slot_is_seen_only_with_no_update_under_way() -> None:
    machine = Machine(booted="A", primary="A", boot="2")
    assert fell_back(UpdateRecord(state="idle", proven="B"), machine)
    assert not fell_back(UpdateRecord(state="trying", proven="B"), machine)
    assert not fell_back(UpdateRecord(state="idle", proven=None), machine)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"state": "flying"}', b"\\xff" * 100])
def test_a_record_that_cannot_be_read_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    write_record(tmp_path / "update", UpdateRecord(state="good", version="1.2"))
    assert read_record(tmp_path / "update").version == "1.2"
    (tmp_path / "update" / "record.json").write_bytes(content)
    assert read_record(tmp_path / "update") == UpdateRecord()
