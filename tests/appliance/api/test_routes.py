"""The HTTP interface over a real socket: what each path answers, what it refuses, and that commands are done once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from appliance.api.messages import (
    API_VERSION,
    ApplianceInfo,
    DeliveryRow,
    ErrorReply,
    EventsReply,
    Session,
    Snapshot,
    StudyDetail,
    StudyPage,
)
from appliance.api.server import make_app, serve
from tests.appliance.api.memory_workflow import PHYSICIAN_PIN, RADIOGRAPHER_PIN, STUDENT_PIN, MemoryWorkflow

KEY = "s-draft"


def detail(response: httpx.Response) -> StudyDetail:
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=StudyDetail)


def refusal(response: httpx.Response) -> ErrorReply:
    assert response.status_code >= 400
    return msgspec.json.decode(response.content, type=ErrorReply, strict=True)


def test_info_needs_no_session(client: httpx.Client) -> None:
    info = msgspec.json.decode(client.get("/v1/info").content, type=ApplianceInfo)
    assert info.api_version == API_VERSION
    assert info.institution == "示范医院"


def test_sign_in_gives_a_session_that_ends_with_sign_out(client: httpx.Client) -> None:
    session = msgspec.json.decode(client.post("/v1/sign-in", json={"pin": PHYSICIAN_PIN}).content, type=Session)
    headers = {"Authorization": f"Bearer {session.token}"}
    assert msgspec.json.decode(client.get("/v1/session", headers=headers).content, type=Session) == session
    assert client.post("/v1/sign-out", headers=headers).status_code == 204
    assert client.get("/v1/session", headers=headers).status_code == 401


def test_wrong_pin_is_401_with_the_sentence_of_the_workflow(client: httpx.Client) -> None:
    response = client.post("/v1/sign-in", json={"pin": "9999"})
    assert response.status_code == 401
    assert refusal(response) == ErrorReply(code="WF-001", zh="PIN 不正确", en="wrong PIN")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/snapshot"),
        ("GET", "/v1/events?after=0"),
        ("GET", f"/v1/studies/{KEY}"),
        ("GET", f"/v1/studies/{KEY}/pictures/cpr-lad-000"),
        ("POST", f"/v1/studies/{KEY}/corrections"),
        ("POST", f"/v1/studies/{KEY}/names"),
        ("POST", f"/v1/studies/{KEY}/dominance"),
        ("POST", f"/v1/studies/{KEY}/modifiers"),
        ("POST", f"/v1/studies/{KEY}/approve"),
        ("POST", f"/v1/studies/{KEY}/undo"),
        ("POST", f"/v1/studies/{KEY}/retry"),
        ("POST", f"/v1/studies/{KEY}/send-again"),
        ("POST", "/v1/sign-out"),
    ],
)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nobody"}, {"Authorization": "Basic x"}])
def test_every_path_with_patient_data_needs_a_session(client: httpx.Client, method: str, path: str, header: dict[str, str]) -> None:
    response = client.request(method, path, headers=header)
    assert response.status_code == 401
    assert refusal(response).code == "API-001"


def test_snapshot_holds_every_study(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    snapshot = msgspec.json.decode(signed_in.get("/v1/snapshot").content, type=Snapshot)
    assert snapshot == workflow.snapshot()
    assert len(snapshot.rows) == 8


def test_study_comes_back_as_it_is(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    assert detail(signed_in.get(f"/v1/studies/{KEY}")) == workflow.study(KEY)


def test_unknown_study_picture_and_path_are_404(signed_in: httpx.Client) -> None:
    for path, code in (("studies/no", "WF-002"), (f"studies/{KEY}/pictures/no", "WF-003"), ("nothing", "API-006")):
        response = signed_in.get(f"/v1/{path}")
        assert (response.status_code, refusal(response).code) == (404, code)


def test_wrong_method_is_405(signed_in: httpx.Client) -> None:
    response = signed_in.delete(f"/v1/studies/{KEY}")
    assert response.status_code == 405
    assert refusal(response).code == "API-006"


def test_picture_is_the_file_and_is_sent_once(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    first = signed_in.get(f"/v1/studies/{KEY}/pictures/cpr-lad-000")
    assert first.status_code == 200
    assert first.headers["content-type"] == "image/png"
    assert first.content == workflow.picture(KEY, "cpr-lad-000").read_bytes()
    again = signed_in.get(f"/v1/studies/{KEY}/pictures/cpr-lad-000", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_picture_that_changed_is_sent_again(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    first = signed_in.get(f"/v1/studies/{KEY}/pictures/cpr-lad-000")
    path = workflow.picture(KEY, "cpr-lad-000")
    path.write_bytes(first.content + b"more")
    again = signed_in.get(f"/v1/studies/{KEY}/pictures/cpr-lad-000", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 200
    assert again.content.endswith(b"more")


def test_picture_whose_file_is_gone_is_404(signed_in: httpx.Client, workflow: MemoryWorkflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "picture", lambda _key, _picture: Path("/nowhere/picture.png"))
    response = signed_in.get(f"/v1/studies/{KEY}/pictures/cpr-lad-000")
    assert (response.status_code, refusal(response).code) == (404, "API-011")


def test_correction_changes_grade_and_cad_rads(signed_in: httpx.Client) -> None:
    body = {"command": "command-1", "revision": 1, "lesion": 0, "grade": "severe"}
    changed = detail(signed_in.post(f"/v1/studies/{KEY}/corrections", json=body))
    assert changed.row.revision == 2
    assert changed.findings is not None
    assert (changed.findings.lesions[0].grade, changed.findings.lesions[0].grade_source) == ("severe", "corrected")
    assert changed.row.cad_rads == "CAD-RADS 4A/P2/HRP"


def test_a_whole_branch_is_renamed_and_dominance_set(signed_in: httpx.Client) -> None:
    body = {"command": "command-1", "revision": 1, "branch": 4, "segment": None, "name": "RI"}
    changed = detail(signed_in.post(f"/v1/studies/{KEY}/names", json=body))
    assert changed.findings is not None
    assert (changed.findings.branches[4].name, changed.findings.branches[4].vessel) == ("RI", "RI")
    body = {"command": "command-2", "revision": 2, "dominance": "left"}
    changed = detail(signed_in.post(f"/v1/studies/{KEY}/dominance", json=body))
    assert changed.findings is not None
    assert (changed.findings.dominance, changed.findings.dominance_source) == ("left", "corrected")
    assert signed_in.post(f"/v1/studies/{KEY}/dominance", json=body | {"dominance": "both"}).status_code == 400


def test_ischaemia_is_entered_and_removed_by_the_physician_only(signed_in: httpx.Client, client: httpx.Client) -> None:
    body = {"command": "command-1", "revision": 1, "ischaemia": "I±"}
    changed = detail(signed_in.post(f"/v1/studies/{KEY}/modifiers", json=body))
    assert changed.row.cad_rads is not None
    assert changed.row.cad_rads.endswith("/I±")
    changed = detail(signed_in.post(f"/v1/studies/{KEY}/modifiers", json={"command": "command-2", "revision": 2, "ischaemia": None}))
    assert changed.row.cad_rads is not None
    assert "I" not in changed.row.cad_rads.removeprefix("CAD-RADS").split("/")[-1]
    session = msgspec.json.decode(client.post("/v1/sign-in", json={"pin": RADIOGRAPHER_PIN}).content, type=Session)
    headers = {"Authorization": f"Bearer {session.token}"}
    again = {"command": "command-3", "revision": 3, "ischaemia": "I+"}
    assert client.post(f"/v1/studies/{KEY}/modifiers", json=again, headers=headers).status_code == 403
    assert signed_in.post(f"/v1/studies/{KEY}/modifiers", json=again | {"ischaemia": "I"}).status_code == 400


def test_a_name_that_cannot_be_given_is_refused(signed_in: httpx.Client) -> None:
    """What a name changes is tested where it is done (`workflow.test_service`)."""
    body = {"command": "command-1", "revision": 1, "branch": 99, "segment": 0, "name": "D1"}
    assert refusal(signed_in.post(f"/v1/studies/{KEY}/names", json=body)).code == "ANA-703"
    for wrong in ({"name": "nonsense"}, {"segment": -1}, {"branch": "LAD"}):
        assert signed_in.post(f"/v1/studies/{KEY}/names", json=body | wrong).status_code == 400


def test_same_command_again_is_done_once(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    body = {"command": "command-1", "revision": 1, "lesion": 0, "grade": "severe"}
    first = detail(signed_in.post(f"/v1/studies/{KEY}/corrections", json=body))
    second = detail(signed_in.post(f"/v1/studies/{KEY}/corrections", json=body))
    assert first == second
    assert workflow.commands_done == [("correct", KEY, "command-1")]


def test_stale_revision_and_wrong_state_are_conflicts(signed_in: httpx.Client) -> None:
    stale = signed_in.post(f"/v1/studies/{KEY}/approve", json={"command": "command-1", "revision": 0})
    assert (stale.status_code, refusal(stale).code) == (409, "WF-005")
    undo = signed_in.post(f"/v1/studies/{KEY}/undo", json={"command": "command-2"})
    assert (undo.status_code, refusal(undo).code) == (409, "WF-004")


def test_approve_and_undo(signed_in: httpx.Client) -> None:
    approved = detail(signed_in.post(f"/v1/studies/{KEY}/approve", json={"command": "command-1", "revision": 1}))
    assert approved.row.state == "approving"
    assert approved.row.approval is not None
    assert approved.row.approval.final
    undone = detail(signed_in.post(f"/v1/studies/{KEY}/undo", json={"command": "command-2"}))
    assert (undone.row.state, undone.row.approval) == ("draft", None)


def test_retry_queues_a_failed_study(signed_in: httpx.Client) -> None:
    assert detail(signed_in.post("/v1/studies/s-failed/retry", json={"command": "command-1"})).row.state == "queued"


def test_a_study_is_sent_again_to_one_destination_or_all(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    rows = tuple(
        DeliveryRow(id=number, destination=name, kind="store", description="x", state="done", attempts=1)
        for number, name in enumerate(("PACS", "LAB"))
    )
    workflow.add(msgspec.structs.replace(workflow.study("s-delivered"), deliveries=rows))
    path = "/v1/studies/s-delivered/send-again"
    one = detail(signed_in.post(path, json={"command": "command-1", "to": "LAB"}))
    assert [row.state for row in one.deliveries] == ["done", "pending"]
    every = detail(signed_in.post(path, json={"command": "command-2"}))
    assert [row.state for row in every.deliveries] == ["pending", "pending"]


def test_approval_against_policy_is_forbidden(client: httpx.Client) -> None:
    token = client.post("/v1/sign-in", json={"pin": STUDENT_PIN}).json()["token"]
    body = {"command": "command-1", "revision": 1}
    response = client.post(f"/v1/studies/{KEY}/approve", json=body, headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, refusal(response).code) == (403, "WF-007")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"command": "command-1"}',
        b'{"command": "short", "revision": 1}',
        b'{"command": "command-1", "revision": -1}',
        b'{"command": "command-1", "revision": "1"}',
        b'{"command": "command-1", "revision": 1, "force": true}',
    ],
)
def test_malformed_command_is_400_and_changes_nothing(signed_in: httpx.Client, workflow: MemoryWorkflow, body: bytes) -> None:
    response = signed_in.post(f"/v1/studies/{KEY}/approve", content=body)
    assert (response.status_code, refusal(response).code) == (400, "API-004")
    assert workflow.commands_done == []


def test_too_large_a_body_is_413(signed_in: httpx.Client) -> None:
    response = signed_in.post(f"/v1/studies/{KEY}/approve", content=b" " * 20_000)
    assert (response.status_code, refusal(response).code) == (413, "API-002")


def test_events_wait_for_a_change(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    start = workflow.snapshot().number
    waiting = threading.Timer(0.3, workflow.progress, args=("s-analysing", "lumen", 0.8))
    waiting.start()
    reply = msgspec.json.decode(signed_in.get(f"/v1/events?after={start}").content, type=EventsReply)
    waiting.join()
    assert [(event.number, event.key) for event in reply.events] == [(start + 1, "s-analysing")]
    assert reply.events[0].row is not None
    assert reply.events[0].row.stage == "lumen"


def test_events_end_empty_after_their_time(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    reply = signed_in.get(f"/v1/events?after={workflow.snapshot().number}&timeout=0.2")
    assert msgspec.json.decode(reply.content, type=EventsReply).events == ()


def test_gap_in_the_events_is_410(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    for step in range(120):
        workflow.progress("s-analysing", "segment", step / 120)
    response = signed_in.get("/v1/events?after=0")
    assert (response.status_code, refusal(response).code) == (410, "API-010")


@pytest.mark.parametrize("query", ["", "after=x", "after=-1", "after=1&timeout=x", "after=1&timeout=21", "after=nan", "after=inf"])
def test_bad_event_query_is_400(signed_in: httpx.Client, query: str) -> None:
    response = signed_in.get(f"/v1/events?{query}")
    assert (response.status_code, refusal(response).code) == (400, "API-005")


def test_fault_of_ours_is_500_with_a_sentence(tmp_path: Path) -> None:
    class Broken(MemoryWorkflow):
        def snapshot(self) -> Snapshot:
            raise RuntimeError("secret of the inside")

    workflow = Broken(pictures=tmp_path)
    token = workflow.sign_in(PHYSICIAN_PIN).token
    with serve(make_app(workflow), tmp_path / "s"), _client(tmp_path / "s") as client:
        response = client.get("/v1/snapshot", headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, refusal(response).code) == (500, "API-099")
    assert "secret" not in response.text


def test_polls_do_not_hold_up_commands(socket_path: Path, signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    start = workflow.snapshot().number
    polls = [threading.Thread(target=_poll, args=(socket_path, dict(signed_in.headers), start)) for _ in range(16)]
    for poll in polls:
        poll.start()
    approved = signed_in.post(f"/v1/studies/{KEY}/approve", json={"command": "command-1", "revision": 1})
    assert detail(approved).row.state == "approving"
    _until(lambda: not any(poll.is_alive() for poll in polls))


def _poll(path: Path, headers: dict[str, str], after: int) -> None:
    with _client(path) as client:
        client.get(f"/v1/events?after={after}", headers={"Authorization": headers["authorization"]})


def _client(path: Path) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://coronet", timeout=30)


def _until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


def test_search_gives_a_page_and_refuses_what_it_cannot_understand(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    answer = signed_in.get("/v1/studies", params={"text": "c0000001", "states": "draft,nonsense", "limit": 5})
    page = msgspec.json.decode(answer.content, type=StudyPage)
    assert (page.total, page.offset, [row.key for row in page.rows]) == (1, 0, [KEY])
    assert workflow.searches == ["c0000001"]
    for wrong in ({"from": "yesterday"}, {"limit": 1000}, {"offset": -1}, {"text": "x" * 200}):
        assert refusal(signed_in.get("/v1/studies", params=wrong)).code == "API-005"


def test_a_study_is_kept_by_command(signed_in: httpx.Client, workflow: MemoryWorkflow) -> None:
    body = {"command": "keep-0001", "protected": True}
    assert detail(signed_in.post(f"/v1/studies/{KEY}/protect", json=body)).protected
    assert detail(signed_in.post(f"/v1/studies/{KEY}/protect", json=body)).protected
    assert [kind for kind, _, _ in workflow.commands_done] == ["protect"]
