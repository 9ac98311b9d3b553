"""Correcting names, dominance and modifiers: journeys without a window, and by real touches with pictures in ``build/screens``."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.api.messages import ApplianceInfo
from appliance.api.server import make_app, serve
from kiosk import actions
from kiosk.views import ReviewView, View
from kiosk.views.editing import EditPopup, NameKey, NameRow
from tests.appliance.api.memory_workflow import PHYSICIAN_PIN, RADIOGRAPHER_PIN, MemoryWorkflow
from tests.kiosk.flow import Journey, Step, on_review, on_worklist, pin
from tests.kiosk.test_window import Camera
from tests.kiosk.window import KioskWindow


def open_corrections(digits: str) -> list[Step]:
    return [
        Step([], lambda view: view.frame.online),
        Step(pin(digits), on_worklist),
        Step(actions.OpenStudy("s-draft"), on_review("draft")),
        Step(actions.OpenEdit(), lambda view: popup_of(view) is not None),
    ]


def popup_of(view: View) -> EditPopup | None:
    popup = view.popup if isinstance(view, ReviewView) else None
    return popup if isinstance(popup, EditPopup) else None


def edit(journey: Journey) -> EditPopup:
    popup = popup_of(journey.view)
    assert popup is not None
    return popup


def row(popup: EditPopup, branch: int, segment: int | None) -> NameRow:
    return next(each for each in popup.rows if (each.branch, each.segment) == (branch, segment))


def key(popup: EditPopup, name: str) -> NameKey:
    return next(each for each in popup.names if each.name == name)


def at_revision(number: int) -> Step:
    return Step([], lambda view: isinstance(view, ReviewView) and view.revision == number)


def test_a_branch_is_renamed_and_stays_chosen(journey: Journey, workflow: MemoryWorkflow) -> None:
    journey.run(*open_corrections(RADIOGRAPHER_PIN))
    assert row(edit(journey), 4, None).unsure, "OM1 at 58 % asks to be looked at"
    assert not row(edit(journey), 2, None).unsure
    journey.run(Step(actions.ChoosePlace(4, None), lambda view: popup_of(view) is not None and row(edit(journey), 4, None).chosen))
    assert key(edit(journey), "OM1").chosen
    assert key(edit(journey), "D1").used
    journey.run(Step(actions.ChooseName("RI"), at_revision(2).see))
    assert row(edit(journey), 4, None).corrected
    assert journey.view.frame.message == "已改名为 RI"
    assert [kind for kind, _, _ in workflow.commands_done] == ["rename"]
    findings = workflow.study("s-draft").findings
    assert findings is not None
    assert findings.branches[4].name == "RI"


def test_a_trunks_name_for_a_part_of_another_trunk_is_refused_with_the_reason(journey: Journey, workflow: MemoryWorkflow) -> None:
    journey.run(*open_corrections(RADIOGRAPHER_PIN), Step(actions.ChoosePlace(1, 0), lambda _: row(edit(journey), 1, 0).chosen))
    assert not key(edit(journey), "pRCA").allowed
    assert key(edit(journey), "mLAD").allowed
    journey.run(Step(actions.ChooseName("pRCA"), lambda _: bool(edit(journey).warning)))
    assert "右冠状动脉" in edit(journey).warning
    assert "左前降支" in edit(journey).warning
    assert workflow.commands_done == []
    journey.run(Step(actions.ChoosePlace(1, None), lambda _: key(edit(journey), "pRCA").allowed))
    assert edit(journey).warning == ""
    journey.run(Step(actions.ChooseName("pRCA"), at_revision(2).see))
    findings = workflow.study("s-draft").findings
    assert findings is not None
    assert [name for _, _, name in findings.branches[1].segments] == ["pRCA", "mRCA", "dRCA"]


def test_the_name_that_it_has_changes_nothing(journey: Journey, workflow: MemoryWorkflow) -> None:
    steps = [actions.ChoosePlace(2, None), actions.ChooseName("D1")]
    journey.run(*open_corrections(RADIOGRAPHER_PIN), Step(steps, lambda view: popup_of(view) is not None))
    assert workflow.commands_done == []


def test_dominance_is_chosen_and_left_to_the_names_again(journey: Journey, workflow: MemoryWorkflow) -> None:
    journey.run(
        *open_corrections(RADIOGRAPHER_PIN),
        Step(actions.ChooseEditTab("dominance"), lambda _: len(edit(journey).dominances) == 4),
        Step(actions.ChooseDominance("left"), at_revision(2).see),
    )
    assert [each.dominance for each in edit(journey).dominances if each.chosen] == ["left"]
    assert "左优势型" in journey.review.facts
    journey.run(Step(actions.ChooseDominance(None), at_revision(3).see))
    assert "右优势型" in journey.review.facts


def test_ischaemia_is_the_physicians(journey: Journey, workflow: MemoryWorkflow) -> None:
    journey.run(
        *open_corrections(PHYSICIAN_PIN),
        Step(actions.ChooseEditTab("modifiers"), lambda _: len(edit(journey).modifiers) == 3),
        Step(actions.EnterModifiers("I+", None, True), at_revision(2).see),
    )
    assert edit(journey).result.endswith("/I+/E")
    assert [each.id for group in edit(journey).modifiers for each in group.keys if each.chosen] == [
        "ischaemia-I+", "grafts-auto", "exceptions-yes",
    ]  # fmt: skip
    journey.run(Step(actions.EnterModifiers(None, None, None), at_revision(3).see))
    assert "/I+" not in edit(journey).result


def test_a_radiographer_enters_no_modifiers(journey: Journey, workflow: MemoryWorkflow) -> None:
    journey.run(
        *open_corrections(RADIOGRAPHER_PIN),
        Step(actions.ChooseEditTab("modifiers"), lambda _: bool(edit(journey).warning)),
        Step(actions.EnterModifiers("I+", None, None), lambda view: popup_of(view) is not None),
    )
    assert workflow.commands_done == []


def test_only_a_draft_is_corrected(journey: Journey) -> None:
    journey.run(*open_corrections(RADIOGRAPHER_PIN), Step(actions.Dismiss(), lambda view: popup_of(view) is None))
    journey.run(Step(actions.Approve(), on_review("approving")))
    assert journey.review.edit == ""
    journey.run(Step(actions.OpenEdit(), lambda view: popup_of(view) is None))


def choose(window: KioskWindow, place: str, name: str) -> None:
    """Touch a row and wait until the screen asks for its name."""
    window.tap(place)
    window.wait(lambda seen: any(f"“{name}”" in text or f"name for {name};" in text for text in seen["texts"]))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_by_touch_and_pictured(language: str, tmp_path: Path) -> None:
    workflow = MemoryWorkflow(pictures=tmp_path)
    socket = tmp_path / "edit.sock"
    camera = Camera(language, (1280, 800), tmp_path)
    with (
        serve(make_app(workflow, info=ApplianceInfo(institution="示范医院")), socket),
        KioskWindow(socket=socket, folder=tmp_path, language=language) as window,
    ):
        window.sign_in(PHYSICIAN_PIN)
        window.tap("study-s-draft", "edit")
        window.wait(lambda seen: "place-1-0" in seen["widgets"])
        choose(window, "place-1-0", "pLAD")
        window.tap("name-pRCA")
        window.wait(lambda seen: any("pRCA 是" in text or "pRCA belongs to" in text for text in seen["texts"]))
        camera.take(window, "20-names-refused")
        choose(window, "place-2-all", "D1")
        window.tap("name-D2")
        window.wait(lambda seen: seen["revision"] == 2)
        camera.take(window, "21-names")
        window.tap("edit-dominance")
        window.wait(lambda seen: "dominance-codominant" in seen["widgets"])
        window.tap("dominance-codominant")
        window.wait(lambda seen: seen["revision"] == 3)
        camera.take(window, "22-dominance")
        window.tap("edit-modifiers")
        window.wait(lambda seen: "ischaemia-I+" in seen["widgets"])
        window.tap("ischaemia-I+")
        window.wait(lambda seen: seen["revision"] == 4 and seen["cad_rads"].endswith("/I+"))
        camera.take(window, "23-modifiers")
        window.tap("close-edit")
        window.wait(lambda seen: "approve" in seen["widgets"])
        camera.take(window, "24-after-corrections")
    camera.check_letters()
    assert [kind for kind, _, _ in workflow.commands_done] == ["rename", "dominance", "modifiers"]
