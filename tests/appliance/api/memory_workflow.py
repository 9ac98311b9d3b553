"""A workflow in memory with the whole interface that the API asks for: sessions, revisions, commands done once, undo window, events.

It keeps its promises with real locks and waits, so the API and the kiosk are tested over a real socket against real behaviour. Run as a
module it serves the sample studies, for looking at the kiosk by hand: ``python -m tests.appliance.api.memory_workflow SOCKET``.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from appliance.analysis.cadrads import enter
from appliance.analysis.naming_corrections import rename, set_dominance
from appliance.api.messages import (
    NOT_VALIDATED_NOTICE,
    Approval,
    DeliveryRow,
    Dominance,
    Entered,
    Event,
    Findings,
    Grade,
    Health,
    Reason,
    SegmentName,
    Session,
    Snapshot,
    StudyDetail,
    StudyPage,
    StudyState,
)
from appliance.api.server import make_app, serve
from appliance.archive.folding import fold, fold_name
from appliance.errors import WorkflowError
from tests.appliance.api.samples import HEALTH, draw_picture, make_findings, make_report, sample_details

RADIOGRAPHER_PIN = "1357"
PHYSICIAN_PIN = "2468"
STUDENT_PIN = "1111"
ENGINEER_PIN = "8642"
PEOPLE = {
    RADIOGRAPHER_PIN: ("u-rad", "周技师", "radiographer", True, False),
    PHYSICIAN_PIN: ("u-phy", "林医师", "physician", True, True),
    STUDENT_PIN: ("u-stu", "实习技师", "radiographer", False, False),
    ENGINEER_PIN: ("u-eng", "孙工", "engineer", False, False),
}


class MemoryWorkflow:
    """See the module. ``clock`` is wall-clock seconds; the undo window closes when :meth:`tick` is called after its end."""

    def __init__(
        self,
        *,
        pictures: Path,
        undo_seconds: float = 8.0,
        kept_events: int = 100,
        clock: Callable[[], float] = time.time,
        details: list[StudyDetail] | None = None,
    ) -> None:
        self._clock = clock
        self._undo_seconds = undo_seconds
        self._kept = kept_events
        self._pictures = pictures
        self._changed = threading.Condition()
        self._details = {each.row.key: each for each in (sample_details(clock()) if details is None else details)}
        self._sessions: dict[str, Session] = {}
        self._events: list[Event] = []
        self._number = 0
        self._done: dict[str, str] = {}
        self._window_ends: dict[str, float] = {}
        self.health: Health = HEALTH
        self.badge_reader: list[str] | None = None
        """PINs of the people whose badges are shown next; None: no reader."""
        self.commands_done: list[tuple[str, str, str]] = []
        self.searches: list[str] = []

    # what the API asks for

    def sign_in(self, pin: str) -> Session:
        person = PEOPLE.get(pin)
        if person is None:
            raise WorkflowError("WF-001", zh="PIN 不正确", en="wrong PIN", kind="unauthenticated")
        user, name, role, approve, final = person
        session = Session(
            token=secrets.token_urlsafe(24), user_id=user, user_name=name, role=role, may_approve=approve, may_finalise=final  # type: ignore[arg-type]
        )  # fmt: skip
        with self._changed:
            self._sessions[session.token] = session
        return session

    def sign_in_by_badge(self, *, timeout_s: float) -> Session | None:
        if self.badge_reader is None:
            raise WorkflowError("WF-082", zh="没有读卡器", en="there is no badge reader", kind="not_found")
        with self._changed:
            self._changed.wait_for(lambda: self.badge_reader != [], timeout=timeout_s)
            pin = self.badge_reader.pop() if self.badge_reader else None
        return None if pin is None else self.sign_in(pin)

    def session(self, token: str) -> Session | None:
        with self._changed:
            return self._sessions.get(token)

    def sign_out(self, token: str) -> None:
        with self._changed:
            self._sessions.pop(token, None)

    def snapshot(self) -> Snapshot:
        with self._changed:
            rows = tuple(self._with_seconds_left(each).row for each in self._details.values())
            return Snapshot(number=self._number, rows=rows, health=self.health)

    def events_after(self, number: int, *, timeout_s: float) -> list[Event] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._number > number, timeout=timeout_s)
            oldest = self._number - len(self._events)
            if number < oldest or number > self._number:
                return None
            return self._events[number - oldest :]

    def study(self, key: str) -> StudyDetail:
        with self._changed:
            return self._with_seconds_left(self._detail(key))

    def picture(self, key: str, picture_id: str) -> Path:
        with self._changed:
            info = next((each for each in self._detail(key).pictures if each.id == picture_id), None)
            if info is None:
                raise WorkflowError("WF-003", zh="没有此图像", en="no such picture", kind="not_found")
            path = self._pictures / f"{info.id}.png"
            if not path.exists():
                path.write_bytes(draw_picture(info))
            return path

    def correct(self, *, session: Session, study: str, revision: int, lesion: int, grade: Grade, command: str) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return detail
            self._expect(detail, state="draft", revision=revision)
            findings = detail.findings
            if findings is None or all(each.id != lesion for each in findings.lesions):
                raise WorkflowError("WF-006", zh="没有此病变", en="no such lesion", kind="not_found")
            changed = make_findings(
                tuple(
                    msgspec.structs.replace(each, grade=grade, grade_source="corrected") if each.id == lesion else each
                    for each in findings.lesions
                )
            )
            text = changed.cad_rads.text if changed.cad_rads else None
            return self._commit(
                "correct", command, detail, {"revision": revision + 1, "cad_rads": text}, findings=changed, report=make_report(changed)
            )

    def rename(
        self, *, session: Session, study: str, revision: int, branch: int, segment: int | None, name: SegmentName, command: str
    ) -> StudyDetail:
        return self._changed_by("rename", study, revision, command, lambda found: rename(found, {(branch, segment): name}))

    def set_dominance(self, *, session: Session, study: str, revision: int, dominance: Dominance | None, command: str) -> StudyDetail:
        return self._changed_by("dominance", study, revision, command, lambda found: set_dominance(found, dominance))

    def enter_modifiers(self, *, session: Session, study: str, revision: int, entered: Entered, command: str) -> StudyDetail:
        if session.role != "physician":
            raise WorkflowError("WF-054", zh="您的角色无权执行此操作", en="your role may not do this", kind="forbidden")
        return self._changed_by("modifiers", study, revision, command, lambda found: enter(found, entered))

    def _changed_by(self, kind: str, study: str, revision: int, command: str, change: Callable[[Findings], Findings]) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return detail
            self._expect(detail, state="draft", revision=revision)
            assert detail.findings is not None
            changed = change(detail.findings)
            text = changed.cad_rads.text if changed.cad_rads else None
            return self._commit(
                kind, command, detail, {"revision": revision + 1, "cad_rads": text}, findings=changed, report=make_report(changed)
            )

    def approve(self, *, session: Session, study: str, revision: int, command: str) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return self._with_seconds_left(detail)
            if not session.may_approve:
                raise WorkflowError("WF-007", zh="本机构规定须由医师审核", en="site policy asks for a physician", kind="forbidden")
            self._expect(detail, state="draft", revision=revision)
            approval = Approval(
                user_id=session.user_id, user_name=session.user_name, role=session.role, at=datetime.fromtimestamp(self._clock(), tz=UTC)
            )
            self._window_ends[study] = self._clock() + self._undo_seconds
            changes = {"state": "approving", "approval": approval, "undo_seconds": self._undo_seconds}
            return self._commit("approve", command, detail, changes)

    def undo(self, *, session: Session, study: str, command: str) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return detail
            self._expect(detail, state="approving")
            self._window_ends.pop(study)
            return self._commit("undo", command, detail, {"state": "draft", "approval": None, "undo_seconds": None})

    def retry(self, *, session: Session, study: str, command: str, waiting: bool = False) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return detail
            if any(each.state == "retrying" for each in detail.deliveries):
                rows = tuple(msgspec.structs.replace(each, state="pending", next_attempt_at=None) for each in detail.deliveries)
                return self._commit("retry", command, detail, {}, deliveries=rows)
            self._expect(detail, state="failed")
            return self._commit("retry", command, detail, {"state": "queued", "reason": None})

    def send_again(self, *, session: Session, study: str, to: str, command: str) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            if command in self._done:
                return detail
            rows = tuple(
                msgspec.structs.replace(each, state="pending", sent=0, accepted=0) if to in {"", each.destination} else each
                for each in detail.deliveries
            )
            return self._commit("send-again", command, detail, {}, deliveries=rows)

    def search(
        self, *, text: str, states: Sequence[StudyState], from_date: str, to_date: str, urgent: bool, offset: int, limit: int
    ) -> StudyPage:
        with self._changed:
            rows = [each.row for each in self._details.values()]
            words = fold(text).split()
            found = [
                row
                for row in rows
                if all(
                    word in fold(f"{fold_name(row.header.patient_name)} {row.header.patient_id} {row.header.accession_number}")
                    for word in words
                )
                and (not states or row.state in states)
                and (from_date or "0") <= (row.header.study_date or "0") <= (to_date or "9")
                and (row.urgent or not urgent)
            ]
            found.sort(key=lambda row: (not row.urgent, -row.received_at))
            self.searches.append(text)
            return StudyPage(total=len(found), offset=offset, rows=tuple(found[offset : offset + limit]))

    def protect(self, *, session: Session, study: str, protected: bool, command: str) -> StudyDetail:
        with self._changed:
            detail = self._detail(study)
            return detail if command in self._done else self._commit("protect", command, detail, {}, protected=protected)

    # what the appliance does by itself, driven by the test

    def tick(self) -> None:
        """Close every undo window that has run out: the study is delivered to a printer and a PACS."""
        with self._changed:
            for key in [key for key, end in self._window_ends.items() if end <= self._clock()]:
                self._window_ends.pop(key)
                rows = (
                    DeliveryRow(id=1, destination="胶片打印机", kind="print", description="2 × 14×17 in", state="sending", attempts=1),
                    DeliveryRow(id=2, destination="PACS", kind="store", description="24 objects", state="pending", attempts=0),
                )
                detail = self._details[key]
                final = detail.row.approval is not None and detail.row.approval.final
                notices = (NOT_VALIDATED_NOTICE,) if final else detail.notices
                self._put(detail, {"state": "delivering", "undo_seconds": None}, deliveries=rows, notices=notices)

    def deliver(self, key: str, *, refused: Reason | None = None) -> None:
        """Finish the deliveries of a study; with a reason the PACS refuses and is tried again later."""
        with self._changed:
            detail = self._details[key]
            later = self._clock() + 30
            rows = tuple(
                msgspec.structs.replace(each, state="retrying", attempts=3, last_error=refused, next_attempt_at=later)
                if refused and each.kind == "store"
                else msgspec.structs.replace(each, state="done", attempts=1)
                for each in detail.deliveries
            )
            self._put(detail, {"state": "delivering" if refused else "delivered"}, deliveries=rows)

    def progress(self, key: str, stage: str, fraction: float) -> None:
        """The analyst reports progress."""
        with self._changed:
            self._put(self._details[key], {"state": "analysing", "stage": stage, "progress": fraction})

    def add(self, detail: StudyDetail) -> None:
        """A study arrives."""
        with self._changed:
            self._put(detail, {})

    def drop_sessions(self) -> None:
        """As after a restart of the daemon with nobody signed in."""
        with self._changed:
            self._sessions.clear()

    def _detail(self, key: str) -> StudyDetail:
        if key not in self._details:
            raise WorkflowError("WF-002", zh="没有此检查", en="no such study", kind="not_found")
        return self._details[key]

    def _expect(self, detail: StudyDetail, *, state: str, revision: int | None = None) -> None:
        if detail.row.state != state:
            raise WorkflowError("WF-004", zh="检查状态已改变", en="the study is in another state")
        if revision is not None and detail.row.revision != revision:
            raise WorkflowError("WF-005", zh="草稿已更新,请重新查看", en="the draft has changed, look again")

    def _with_seconds_left(self, detail: StudyDetail) -> StudyDetail:
        end = self._window_ends.get(detail.row.key)
        if end is None:
            return detail
        left = max(end - self._clock(), 0.0)
        return msgspec.structs.replace(detail, row=msgspec.structs.replace(detail.row, undo_seconds=left))

    def _commit(self, kind: str, command: str, detail: StudyDetail, changes: dict[str, object], **more: object) -> StudyDetail:
        self._done[command] = detail.row.key
        self.commands_done.append((kind, detail.row.key, command))
        return self._put(detail, changes, **more)

    def _put(self, detail: StudyDetail, changes: dict[str, object], **more: object) -> StudyDetail:
        row = msgspec.structs.replace(detail.row, updated_at=self._clock(), **changes)
        detail = msgspec.structs.replace(detail, row=row, **more)
        self._details[row.key] = detail
        self._number += 1
        self._events = [*self._events, Event(number=self._number, key=row.key, row=row)][-self._kept :]
        self._changed.notify_all()
        return detail


def main() -> None:
    """Serve the samples until interrupted; windows close and deliveries finish by themselves."""
    with tempfile.TemporaryDirectory() as folder:
        workflow = MemoryWorkflow(pictures=Path(folder))
        with serve(make_app(workflow), Path(sys.argv[1])):
            fraction = 0.0
            while True:
                time.sleep(0.5)
                workflow.tick()
                fraction = (fraction + 0.01) % 1
                workflow.progress("s-analysing", "segment", fraction)
                for row in workflow.snapshot().rows:
                    if row.state == "delivering" and time.time() - row.updated_at > 3:
                        workflow.deliver(row.key)


if __name__ == "__main__":
    main()
