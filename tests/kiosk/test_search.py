"""Searching and managing on the kiosk: typed as a person types, against a workflow on a real socket."""

from __future__ import annotations

import msgspec

from appliance.api.messages import DeliveryRow, PriorRow, Reason
from kiosk import actions
from kiosk.actions import TypeText
from kiosk.views import ReviewView, SearchView, View, WorklistView
from kiosk.views.search import StudyPopup
from tests.appliance.api.memory_workflow import RADIOGRAPHER_PIN, MemoryWorkflow
from tests.appliance.api.samples import sample_details
from tests.kiosk.flow import Journey, Step, on_review, on_worklist, pin


def keys(view: View) -> list[str]:
    assert isinstance(view, SearchView)
    return [row.key for row in view.rows]


def on_search(view: View) -> bool:
    return isinstance(view, SearchView) and bool(view.rows)


def popup(view: View) -> StudyPopup:
    assert isinstance(view, SearchView)
    assert view.popup is not None
    return view.popup


def details(view: View) -> bool:
    return isinstance(view, SearchView) and view.popup is not None and not view.popup.loading


def signed_in(journey: Journey) -> None:
    journey.run(Step([], lambda view: view.frame.online), Step(pin(RADIOGRAPHER_PIN), on_worklist))


def many(workflow: MemoryWorkflow, count: int) -> None:
    """Old studies of other people."""
    sample = sample_details(1_700_000_000.0)[0]
    for number in range(count):
        header = msgspec.structs.replace(
            sample.row.header, patient_name=f"Old^Patient{number:03}", patient_id=f"OLD-{number:03}", study_date="20240101"
        )
        row = msgspec.structs.replace(
            sample.row, key=f"old-{number:03}", header=header, state="delivered", urgent=False, received_at=1e9 - number
        )
        workflow.add(msgspec.structs.replace(sample, row=row))


def test_every_key_searches_and_the_last_word_counts(journey: Journey, workflow: MemoryWorkflow) -> None:
    many(workflow, 12)
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step([TypeText(letter) for letter in "OLD-007"], lambda view: on_search(view) and keys(view) == ["old-007"]),
        Step(actions.EraseText(), lambda view: on_search(view) and len(keys(view)) == 10),
        Step([TypeText("Z")], lambda view: isinstance(view, SearchView) and not view.rows and bool(view.empty)),
        Step(actions.ClearText(), lambda view: on_search(view) and len(keys(view)) == 10),
    )
    assert len(workflow.searches) < 12, "what was typed while a question was under way is asked once"


def test_pages_turn_and_end(journey: Journey, workflow: MemoryWorkflow) -> None:
    many(workflow, 25)
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search), Step([TypeText(letter) for letter in "OLD"], lambda view: keys(view)[:1] == ["old-000"])
    )
    view = journey.run(
        Step(actions.TurnPage(1), lambda view: keys(view)[:1] == ["old-010"]),
        Step(actions.TurnPage(1), lambda view: keys(view)[:1] == ["old-020"]),
        Step(actions.TurnPage(1), lambda view: keys(view)[:1] == ["old-020"]),
    )
    assert isinstance(view, SearchView)
    assert (view.position, view.previous, view.next, view.keyboard) == ("第 21–25 项，共 25 项", True, False, False)
    journey.run(Step(actions.FilterDays(7), lambda view: isinstance(view, SearchView) and not view.rows))
    journey.run(Step(actions.FilterDays(None), lambda view: keys(view)[:1] == ["old-000"]))


def test_filters_by_state_and_urgency(journey: Journey) -> None:
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step(actions.FilterTab("trouble"), lambda view: set(keys(view)) == {"s-declined", "s-failed"}),
        Step([actions.FilterTab("all"), actions.FilterUrgent()], lambda view: keys(view) == ["s-urgent"]),
    )


def test_details_show_what_was_sent_accepted_and_committed(journey: Journey, workflow: MemoryWorkflow) -> None:
    detail = workflow.study("s-delivered")
    row = DeliveryRow(
        id=7, destination="PACS", kind="store", description="x", state="done", attempts=1, files=24, sent=24, accepted=23, committed=11
    )
    prior = PriorRow(study_date="20240105", description="CORONARY CTA", modalities="CT", source="PACS", state="fetched")
    workflow.add(msgspec.structs.replace(detail, deliveries=(row,), priors=(prior,)))
    signed_in(journey)
    view = journey.run(Step(actions.OpenSearch(), on_search), Step(actions.ShowDetails("s-delivered"), details))
    shown = popup(view)
    assert [line.detail for line in shown.deliveries] == ["已发 24/24 · 已接收 23 · 已承诺存储 11"]
    assert shown.priors == ("2024-01-05  ·  CT  ·  CORONARY CTA  ·  已从 PACS 调取",)
    assert not shown.resend


def test_a_study_is_kept_and_let_go(journey: Journey, workflow: MemoryWorkflow) -> None:
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step(actions.ShowDetails("s-declined"), details),
        Step(actions.Protect("s-declined", protected=True), lambda view: details(view) and popup(view).protected),
        Step(actions.Protect("s-declined", protected=False), lambda view: details(view) and not popup(view).protected),
        Step(actions.Dismiss(), lambda view: isinstance(view, SearchView) and view.popup is None),
    )
    assert [kind for kind, _, _ in workflow.commands_done] == ["protect", "protect"]


def test_what_waits_is_sent_again(journey: Journey, workflow: MemoryWorkflow) -> None:
    row = DeliveryRow(id=7, destination="PACS", kind="store", description="x", state="retrying", attempts=3)
    workflow.add(msgspec.structs.replace(workflow.study("s-delivered"), deliveries=(row,)))
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step(actions.ShowDetails("s-delivered"), lambda view: details(view) and bool(popup(view).resend)),
        Step(actions.RetryStudy("s-delivered"), lambda view: details(view) and popup(view).deliveries[0].state == "pending"),
    )


def test_what_a_destination_has_is_sent_there_once_more(journey: Journey, workflow: MemoryWorkflow) -> None:
    rows = tuple(
        DeliveryRow(id=number, destination=name, kind=kind, description="x", state="done", attempts=1)
        for number, (name, kind) in enumerate((("PACS", "store"), ("LAB", "store"), ("FILM", "print")))
    )
    workflow.add(msgspec.structs.replace(workflow.study("s-delivered"), deliveries=rows))
    signed_in(journey)
    view = journey.run(Step(actions.OpenSearch(), on_search), Step(actions.ShowDetails("s-delivered"), details))
    assert [each.text for each in popup(view).again] == ["再次发送到 LAB", "再次发送到 PACS", "再次发送到全部"]
    view = journey.run(
        Step(
            actions.SendAgain("s-delivered", "LAB"),
            lambda view: details(view) and popup(view).deliveries[1].state == "pending" and bool(popup(view).again),
        )
    )
    assert [line.state for line in popup(view).deliveries] == ["done", "pending", "done"]
    assert [each.to for each in popup(view).again] == ["PACS"]
    assert [(kind, key) for kind, key, _ in workflow.commands_done] == [("send-again", "s-delivered")]


def test_a_found_study_opens_and_back_leads_to_the_search(journey: Journey) -> None:
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step(actions.ShowDetails("s-draft"), details),
        Step(actions.OpenStudy("s-draft"), on_review("draft")),
        Step(actions.GoBack(), lambda view: on_search(view) and isinstance(view, SearchView) and view.popup is None),
        Step(actions.GoBack(), lambda view: isinstance(view, WorklistView)),
    )


def test_nothing_of_a_search_stays_after_signing_out(journey: Journey) -> None:
    signed_in(journey)
    journey.run(
        Step(actions.OpenSearch(), on_search),
        Step([TypeText("W")], on_search),
        Step(actions.SignOut(), lambda view: not isinstance(view, SearchView)),
    )
    assert journey.controller.state.finder is None


def test_all_troubles_of_the_box_can_be_read(journey: Journey, workflow: MemoryWorkflow) -> None:
    troubles = (
        Reason(code="ARC-050", zh="磁盘将满", en="the disk is nearly full"),
        Reason(code="DCM-001", zh="PACS 无法连接", en="PACS cannot be reached"),
    )
    workflow.health = msgspec.structs.replace(workflow.health, warnings=troubles)
    signed_in(journey)
    view = journey.view
    assert isinstance(view, WorklistView)
    assert view.warnings == "磁盘将满（ARC-050） … 另有 1 项，点此查看"
    view = journey.run(Step(actions.ShowTroubles(), lambda view: isinstance(view, WorklistView) and view.troubles is not None))
    assert isinstance(view, WorklistView)
    assert view.troubles is not None
    assert view.troubles.troubles == ("磁盘将满（ARC-050）", "PACS 无法连接（DCM-001）")
    journey.run(Step(actions.Dismiss(), lambda view: isinstance(view, WorklistView) and view.troubles is None))


def test_a_study_opened_from_the_worklist_goes_back_there(journey: Journey) -> None:
    signed_in(journey)
    journey.run(Step(actions.OpenStudy("s-draft"), on_review("draft")), Step(actions.GoBack(), lambda view: isinstance(view, WorklistView)))
    assert not isinstance(journey.view, ReviewView)
