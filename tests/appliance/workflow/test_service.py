"""What people can ask: signing in, looking, correcting, approving, taking back, retrying."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from argon2 import PasswordHasher

from appliance.api.port import WorkflowPort
from appliance.errors import AnalysisError, WorkflowError
from appliance.findings import Entered
from appliance.settings import PolicySettings, Settings
from appliance.study import DRAFT_NOTICE
from appliance.workflow.analyst import Analyst
from appliance.workflow.drafts import DraftFolders
from appliance.workflow.late_series import CAME_LATER
from appliance.workflow.service import WorkflowService
from appliance.workflow.sessions import LONGEST_S
from appliance.workflow.undo import UndoTimer, UndoWindows
from appliance.worklist import Session
from tests.appliance.workflow.world import PaperDrafts, World, correct_paper

PHYSICIAN_PIN, RADIOGRAPHER_PIN, ENGINEER_PIN = "2468", "1357", "9753"


class Office:
    """The service with its people and its undo timer, over a study that is a draft."""

    def __init__(self, world: World, *, approval: str = "radiographer") -> None:
        self.world = world
        policy = PolicySettings(approval=approval, undo_seconds=8.0, idle_lock_seconds=600.0)  # type: ignore[arg-type]
        self.windows = UndoWindows(clock=world.clock, seconds=policy.undo_seconds)
        drafts = DraftFolders(institution="")
        drafts.correct = correct_paper  # type: ignore[method-assign]
        self.service = WorkflowService(
            archive=world.archive,
            machine=world.machine,
            drafts=drafts,
            windows=self.windows,
            policy=policy,
            receiver_ready=lambda: True,
        )
        self.timer = UndoTimer(studies=world.archive.studies, machine=world.machine, windows=self.windows)
        if not world.archive.users.all():
            for name, role, pin in (
                ("陈医师", "physician", PHYSICIAN_PIN),
                ("周技师", "radiographer", RADIOGRAPHER_PIN),
                ("吴工", "engineer", ENGINEER_PIN),
            ):
                world.archive.users.add(name=name, role=role, pin=pin)  # type: ignore[arg-type]

    def sign_in(self, pin: str = PHYSICIAN_PIN) -> Session:
        return self.service.sign_in(pin)

    def make_draft(self, study: str = "1.2.3") -> str:
        self.world.queued(study)
        self.analyse()
        return self.world.study(study).key

    def analyse(self, drafts: PaperDrafts | None = None) -> None:
        analyst = Analyst(archive=self.world.archive, machine=self.world.machine, drafts=drafts or PaperDrafts(), settings=Settings())
        job = analyst.take()
        assert job is not None
        analyst.work(job)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.close()


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


def test_the_service_is_what_the_api_asks_for(office: Office) -> None:
    port: WorkflowPort = office.service
    assert port.snapshot().rows == ()


# -- signing in


def test_a_pin_opens_a_session_with_the_rights_of_its_role(office: Office) -> None:
    physician, radiographer, engineer = (office.sign_in(pin) for pin in (PHYSICIAN_PIN, RADIOGRAPHER_PIN, ENGINEER_PIN))
    assert (physician.user_name, physician.may_approve, physician.may_finalise) == ("陈医师", True, True)
    assert (radiographer.may_approve, radiographer.may_finalise) == (True, False)
    assert (engineer.may_approve, engineer.may_finalise) == (False, False)
    assert office.service.session(physician.token) == physician
    assert len({physician.token, radiographer.token, engineer.token}) == 3


def test_site_policy_may_ask_for_a_physician(world: World) -> None:
    office = Office(world, approval="physician")
    key = office.make_draft()
    radiographer = office.sign_in(RADIOGRAPHER_PIN)
    assert not radiographer.may_approve
    with pytest.raises(WorkflowError, match="WF-054") as raised:
        office.service.approve(session=radiographer, study=key, revision=1, command="c1")
    assert raised.value.details["kind"] == "forbidden"
    assert office.sign_in().may_approve


def test_a_wrong_pin_and_too_many_of_them(office: Office) -> None:
    for _ in range(5):
        with pytest.raises(WorkflowError, match="WF-050") as raised:
            office.sign_in("0000")
        assert raised.value.details["kind"] == "unauthenticated"
    with pytest.raises(WorkflowError, match="WF-051") as raised:
        office.sign_in()
    assert raised.value.details["kind"] == "busy"
    office.world.clock.pass_s(60)
    assert office.sign_in().user_name == "陈医师"
    actions = [entry.action for entry in office.world.archive.audit.entries()]
    assert actions == ["sign-in refused"] * 5 + ["sign-in locked", "sign-in"]


def test_a_session_ends_by_signing_out_idleness_or_age(office: Office) -> None:
    clock = office.world.clock
    out, idle, old = office.sign_in(), office.sign_in(), office.sign_in()
    office.service.sign_out(out.token)
    assert office.service.session(out.token) is None
    for _ in range(int(LONGEST_S / 500) + 1):
        if office.service.session(old.token) is None:
            break
        clock.pass_s(500)
    assert office.service.session(idle.token) is None
    assert office.service.session(old.token) is None
    assert clock.monotonic() - 1000.0 >= LONGEST_S
    assert office.service.session("made up") is None


# -- looking


def test_a_draft_is_shown_with_everything(office: Office) -> None:
    key = office.make_draft()
    detail = office.service.study(key)
    assert detail.row.cad_rads == "CAD-RADS 3/P1"
    assert detail.findings is not None
    assert detail.report is not None
    assert [(each.id, each.width, each.height, each.vessel) for each in detail.pictures] == [("cpr-lad-000", 8, 6, "LAD")]
    assert detail.notices[0] == DRAFT_NOTICE
    assert office.service.picture(key, "cpr-lad-000").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("picture", ["nothing", "../../../coronet", "a/b", ""])
def test_a_picture_that_is_not_there_is_not_found(office: Office, picture: str) -> None:
    key = office.make_draft()
    with pytest.raises(WorkflowError, match="WF-053") as raised:
        office.service.picture(key, picture)
    assert raised.value.details["kind"] == "not_found"


def test_an_unknown_study_is_not_found(office: Office) -> None:
    for call in (office.service.study, lambda key: office.service.picture(key, "x")):
        with pytest.raises(WorkflowError, match="WF-052"):
            call("nothing")


def test_events_follow_the_snapshot_without_a_gap(office: Office) -> None:
    before = office.service.snapshot()
    key = office.make_draft()
    events = office.service.events_after(before.number, timeout_s=0.0)
    assert events is not None
    assert [(event.key, event.row and event.row.state) for event in events] == [(key, "draft")]
    assert office.service.events_after(events[-1].number, timeout_s=0.0) == []
    assert office.service.events_after(events[-1].number + 7, timeout_s=0.0) is None
    assert office.service.snapshot().number == events[-1].number


def test_a_waiting_client_hears_of_a_change_made_elsewhere(office: Office) -> None:
    number = office.service.snapshot().number
    heard: list[str] = []

    def listen() -> None:
        events = office.service.events_after(number, timeout_s=30.0)
        heard.extend(event.key for event in events or [])

    thread = threading.Thread(target=listen)
    thread.start()
    key = office.make_draft()
    thread.join(30)
    assert heard == [key]


def test_health_shows_what_was_put_aside(office: Office) -> None:
    office.world.push_bytes(b"MZ" * 100, "1.2.9.9")
    office.world.intake().step()
    office.world.archive.components.report("analyst", ready=True, detail="openvino")
    health = office.service.snapshot().health
    assert (health.receiver_ready, health.analyst_ready, health.engine) == (True, True, "openvino")
    assert [warning.code for warning in health.warnings] == ["WF-058"]
    assert 0 < health.disk_free_fraction <= 1


# -- correcting


def test_a_corrected_grade_makes_a_new_revision_and_keeps_the_old_draft(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in(RADIOGRAPHER_PIN)
    before = office.world.study().draft
    detail = office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command="c1")
    assert (detail.row.revision, detail.row.cad_rads) == (2, "CAD-RADS 4A/P1")
    assert detail.findings is not None
    assert detail.findings.lesions[0].grade == "severe"
    after = office.world.study().draft
    assert before != after
    assert (office.world.archive.drafts / str(before) / "findings.json").exists()
    entry = office.world.archive.audit.entries(study=key)[-1]
    assert (entry.actor, entry.details["before"], entry.details["after"]) == (session.user_id, "moderate", "severe")
    assert office.world.archive.audit.verify() is None


def test_a_new_name_makes_a_new_revision_and_is_audited(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in(RADIOGRAPHER_PIN)
    detail = office.service.rename(session=session, study=key, revision=1, branch=1, segment=0, name="D1", command="c1")
    assert detail.row.revision == 2
    assert detail.findings is not None
    assert (detail.findings.branches[0].name, detail.findings.lesions[0].segment) == ("D1", "D1")
    assert office.service.rename(session=session, study=key, revision=1, branch=1, segment=0, name="D1", command="c1") == detail
    entry = office.world.archive.audit.entries(study=key)[-1]
    assert (entry.actor, entry.details["before"], entry.details["after"]) == (session.user_id, "pLAD", "D1")
    with pytest.raises(AnalysisError, match="ANA-703"):
        office.service.rename(session=session, study=key, revision=2, branch=5, segment=0, name="D1", command="c2")


def test_a_physician_enters_ischaemia_and_takes_it_back(office: Office) -> None:
    key, radiographer, physician = office.make_draft(), office.sign_in(RADIOGRAPHER_PIN), office.sign_in()
    proven = Entered(ischaemia="I+")
    with pytest.raises(WorkflowError, match="WF-054"):
        office.service.enter_modifiers(session=radiographer, study=key, revision=1, entered=proven, command="c0")
    detail = office.service.enter_modifiers(session=physician, study=key, revision=1, entered=proven, command="c1")
    assert (detail.row.revision, detail.row.cad_rads) == (2, "CAD-RADS 3/P1/I+")
    entry = office.world.archive.audit.entries(study=key)[-1]
    assert (entry.actor, entry.details["modifiers"]) == (physician.user_id, ["ischaemia"])
    assert (entry.details["before"], entry.details["after"]) == ({"ischaemia": None}, {"ischaemia": "I+"})
    graded = office.service.correct(session=physician, study=key, revision=2, lesion=0, grade="severe", command="c2")
    assert graded.row.cad_rads == "CAD-RADS 4A/P1/I+"
    taken = office.service.enter_modifiers(session=physician, study=key, revision=3, entered=Entered(), command="c3")
    assert taken.row.cad_rads == "CAD-RADS 4A/P1"
    assert office.world.archive.audit.verify() is None


def test_dominance_is_what_a_person_says_and_a_new_name_leaves_it(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in(RADIOGRAPHER_PIN)
    detail = office.service.set_dominance(session=session, study=key, revision=1, dominance="left", command="c1")
    assert detail.findings is not None
    assert (detail.findings.dominance, detail.findings.dominance_source) == ("left", "corrected")
    named = office.service.rename(session=session, study=key, revision=2, branch=3, segment=None, name="R-PDA", command="c2")
    assert named.findings is not None
    assert named.findings.dominance == "left"
    back = office.service.set_dominance(session=session, study=key, revision=3, dominance=None, command="c3")
    assert back.findings is not None
    assert (back.findings.dominance, back.findings.dominance_source) == ("right", "measured")
    entry = office.world.archive.audit.entries(study=key)[-1]
    assert (entry.details["before"], entry.details["after"]) == ("left", "right")


def test_a_repeated_command_is_not_carried_out_twice(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    first = office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command="c1")
    again = office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command="c1")
    assert again == first
    with pytest.raises(WorkflowError, match="WF-057"):
        office.service.correct(session=session, study=key, revision=2, lesion=0, grade="mild", command="c1")


def test_what_a_person_saw_must_still_be_so(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command="c1")
    with pytest.raises(WorkflowError, match="WF-003"):
        office.service.correct(session=session, study=key, revision=1, lesion=0, grade="mild", command="c2")
    with pytest.raises(WorkflowError, match="WF-003"):
        office.service.approve(session=session, study=key, revision=1, command="c3")
    with pytest.raises(WorkflowError, match="WF-055"):
        office.service.correct(session=session, study=key, revision=2, lesion=7, grade="mild", command="c4")
    assert office.world.study().state == "draft"


def test_a_correction_that_crashed_before_its_commit_can_be_given_again(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    left_over = office.world.archive.drafts / key / "g1-r2"
    left_over.mkdir()
    (left_over / "half").write_text("written")
    detail = office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command="c1")
    assert detail.row.revision == 2
    assert not (left_over / "half").exists()


def test_of_people_who_correct_at_the_same_moment_one_wins(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    results: list[str] = []

    def correct(number: int) -> None:
        try:
            office.service.correct(session=session, study=key, revision=1, lesion=0, grade="severe", command=f"c{number}")
            results.append("done")
        except WorkflowError as error:
            results.append(error.code)

    threads = [threading.Thread(target=correct, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["WF-003", "WF-003", "WF-003", "done"]
    assert office.service.study(key).findings is not None


def test_an_engineer_neither_corrects_nor_approves(office: Office) -> None:
    key, engineer = office.make_draft(), office.sign_in(ENGINEER_PIN)
    with pytest.raises(WorkflowError, match="WF-054"):
        office.service.correct(session=engineer, study=key, revision=1, lesion=0, grade="severe", command="c1")
    with pytest.raises(WorkflowError, match="WF-054"):
        office.service.approve(session=engineer, study=key, revision=1, command="c2")


# -- approving and taking back


def test_an_approval_can_be_taken_back_until_the_window_closes(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    approving = office.service.approve(session=session, study=key, revision=1, command="c1")
    assert (approving.row.state, approving.row.undo_seconds) == ("approving", 8.0)
    assert approving.row.approval is not None
    assert approving.row.approval.final
    office.world.clock.pass_s(7.9)
    office.timer.step()
    assert office.service.study(key).row.undo_seconds == pytest.approx(0.1)
    undone = office.service.undo(session=session, study=key, command="c2")
    assert (undone.row.state, undone.row.approval, undone.row.undo_seconds) == ("draft", None, None)


def test_after_the_window_it_is_too_late(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    office.service.approve(session=session, study=key, revision=1, command="c1")
    office.world.clock.pass_s(8.0)
    office.timer.step()
    assert office.world.study().state == "approved"
    with pytest.raises(WorkflowError, match="WF-001"):
        office.service.undo(session=session, study=key, command="c2")
    office.analyse()
    assert office.world.study().state == "delivered"
    assert office.service.study(key).report is not None
    assert office.service.study(key).report.title_zh == "已审核 陈医师"  # type: ignore[union-attr]


def test_a_second_approval_has_a_window_of_its_own(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    office.service.approve(session=session, study=key, revision=1, command="c1")
    office.world.clock.pass_s(6.0)
    undone = office.service.undo(session=session, study=key, command="c2")
    office.service.approve(session=session, study=key, revision=undone.row.revision, command="c3")
    office.world.clock.pass_s(6.0)
    office.timer.step()
    assert office.world.study().state == "approving"


def test_a_restart_opens_the_window_anew_and_a_set_clock_does_not_close_it(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    office.service.approve(session=session, study=key, revision=1, command="c1")
    office.world.clock.pass_s(7.0)
    restarted = Office(office.world)
    restarted.timer.step()
    office.world.clock.wall_time += 86400
    restarted.timer.step()
    assert restarted.service.study(key).row.undo_seconds == 8.0
    office.world.clock.pass_s(8.0)
    restarted.timer.step()
    assert office.world.study().state == "approved"


def test_a_tap_that_is_repeated_after_a_disconnect_approves_once(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    first = office.service.approve(session=session, study=key, revision=1, command="tap")
    again = office.service.approve(session=session, study=key, revision=1, command="tap")
    assert first.row.revision == again.row.revision == 2
    approvals = [entry for entry in office.world.archive.audit.entries(study=key) if entry.details.get("event") == "approved"]
    assert len(approvals) == 1


def test_late_images_void_an_approval(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    office.service.approve(session=session, study=key, revision=1, command="c1")
    office.world.push(5)
    office.world.intake().step()
    office.world.clock.pass_s(8.0)
    office.timer.step()
    row = office.service.study(key).row
    assert (row.state, row.approval) == ("receiving", None)


# -- retrying


def test_a_failed_study_is_queued_again(office: Office) -> None:
    office.world.queued()
    key = office.world.study().key

    def fail(_progress: object) -> None:
        raise AnalysisError("ANA-001", zh="错", en="wrong")

    office.analyse(PaperDrafts(before=fail))
    engineer = office.sign_in(ENGINEER_PIN)
    assert office.service.study(key).row.reason is not None
    assert office.service.retry(session=engineer, study=key, command="c1").row.state == "queued"
    assert office.service.retry(session=engineer, study=key, command="c1").row.state == "queued"
    with pytest.raises(WorkflowError, match="WF-001"):
        office.service.retry(session=engineer, study=key, command="c2")


def test_a_person_lets_a_held_print_go_again(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    study = office.world.study()
    office.world.archive.studies.save(msgspec.structs.replace(study, state="delivering"))
    outbox = office.world.archive.outbox
    number = outbox.add(study=key, generation=1, destination="film", kind="print", purpose="results", description="1", files=["page.png"])
    outbox.begin(number)
    outbox.resume()
    assert office.service.study(key).deliveries[0].last_error is not None
    office.service.retry(session=session, study=key, command="c1")
    assert [row.id for row in outbox.waiting_for("film")] == [number]
    assert office.world.archive.audit.entries(study=key)[-1].action == "send again"


def test_send_what_waits_never_begins_a_new_analysis_where_it_has_gone_meanwhile(office: Office) -> None:
    """The kiosk showed a delivery that waits; it ended before the tap, on a study that lacks a later series."""
    key, session = office.make_draft(), office.sign_in()
    study = office.world.study()
    office.world.archive.studies.save(msgspec.structs.replace(study, state="delivered", reason=CAME_LATER))
    after = office.service.retry(session=session, study=key, command="c1", waiting=True).row
    assert (after.state, after.reason, office.world.study().draft) == ("delivered", CAME_LATER, study.draft)
    assert office.service.retry(session=session, study=key, command="c2").row.state == "queued"


def test_a_pin_of_two_people_signs_neither_in(office: Office) -> None:
    """People that came from another box keep their PINs; nothing tells that one is somebody's here before it is used."""
    users = office.world.archive.users
    other = users.add(name="Wu", role="physician", pin="775533")
    with office.world.archive.database.transaction() as connection:
        row = connection.execute("SELECT * FROM users WHERE name <> 'Wu' LIMIT 1").fetchone()
        connection.execute("UPDATE users SET pin_hash = ? WHERE id = ?", (PasswordHasher(1, 8, 1).hash("775533"), row["id"]))
    with pytest.raises(WorkflowError, match="WF-059"):
        office.service.sign_in("775533")
    users.change_pin(other.id, pin="775534")
    assert office.service.sign_in("775533").user_id == row["id"]


def test_an_engineer_does_not_undo_what_readers_did_by_a_new_analysis(office: Office) -> None:
    key, session = office.make_draft(), office.sign_in()
    study = office.world.study()
    office.world.archive.studies.save(msgspec.structs.replace(study, reason=CAME_LATER))
    with pytest.raises(WorkflowError, match="WF-054"):
        office.service.retry(session=office.sign_in(ENGINEER_PIN), study=key, command="c1")
    assert office.world.study().draft == study.draft
    again = office.service.retry(session=session, study=key, command="c2").row
    assert (again.state, again.reason) == ("queued", None)
