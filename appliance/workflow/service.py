"""What people can ask of the workflow: see, correct, approve, take back, retry. The API is a thin skin over this.

Commands are idempotent by a key that the client makes, guarded by the revision that the person saw, committed before they are answered,
and audited with what was before and after.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.anatomy import Dominance, SegmentName
from appliance.archive.archive import Archive
from appliance.archive.search import Keeping, PageQuery
from appliance.archive.studies import StudyRecord
from appliance.errors import ArchiveError, WorkflowError
from appliance.findings import Entered, Findings, Grade
from appliance.settings import PolicySettings, RetentionSettings
from appliance.study import Approval, ReportText, notices
from appliance.workflow.badge_desk import BadgeDesk
from appliance.workflow.changing import DraftChange, dominance_change, entry_change, grade_change, name_change
from appliance.workflow.condition import health_of
from appliance.workflow.late_series import CAME_LATER
from appliance.workflow.release import draft_name, release_name
from appliance.workflow.resending import send_again
from appliance.workflow.sessions import Sessions
from appliance.workflow.states import Facts, StudyMachine
from appliance.workflow.undo import UndoWindows
from appliance.worklist import Event, PictureInfo, Session, Snapshot, StudyDetail, StudyPage, StudyRow, StudyState

WORKLIST_LENGTH = 200


class DraftView(Protocol):
    """Reads and corrects drafts (folders on the disk)."""

    def findings(self, folder: Path) -> Findings:
        """The findings of a draft."""
        ...

    def report(self, folder: Path) -> ReportText:
        """The report of a draft or a release."""
        ...

    def pictures(self, folder: Path) -> tuple[PictureInfo, ...]:
        """The key views of a draft."""
        ...

    def picture(self, folder: Path, picture_id: str) -> Path | None:
        """The PNG of a key view."""
        ...

    def correct(self, folder: Path, corrected: Path, *, change: Callable[[Findings], Findings]) -> Findings:
        """Write a changed draft to a new folder, which appears whole."""
        ...


class WorkflowService:
    """See the module. Every method may be called by several threads.

    Args:
        archive: all that is kept.
        machine: carries the transitions out.
        drafts: reads and corrects drafts.
        windows: the open undo windows.
        policy: what the site wants.
        receiver_ready: whether images can be received now.
        badges: where badges are shown; None where there is no reader.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        machine: StudyMachine,
        drafts: DraftView,
        windows: UndoWindows,
        policy: PolicySettings,
        receiver_ready: Callable[[], bool],
        badges: BadgeDesk | None = None,
    ) -> None:
        self._badges = badges
        self._archive = archive
        self._machine = machine
        self._drafts = drafts
        self._windows = windows
        self._policy = policy
        self._receiver_ready = receiver_ready
        self._correcting = threading.Lock()
        self._sessions = Sessions(clock=archive.clock, policy=policy)

    # -- people

    def sign_in(self, pin: str) -> Session:
        """Open a session for the person whose PIN it is.

        Raises:
            WorkflowError: WF-050 nobody has that PIN, WF-059 two people have it (kind ``unauthenticated``), WF-051 too many failures
                (kind ``busy``).
        """
        try:
            user = self._archive.users.check(pin)
        except ArchiveError as error:
            shared = error.code == "ARC-036"
            self._archive.audit.record(actor="coronet", action="sign-in refused" if shared else "sign-in locked")
            code, kind = ("WF-059", "unauthenticated") if shared else ("WF-051", "busy")
            raise WorkflowError(code, zh=error.zh, en=error.en, kind=kind, **error.details) from error
        if user is None:
            self._archive.audit.record(actor="coronet", action="sign-in refused")
            raise WorkflowError("WF-050", zh="PIN 不正确", en="wrong PIN", kind="unauthenticated")
        self._archive.audit.record(actor=user.id, action="sign-in")
        return self._sessions.open(user)

    def sign_in_by_badge(self, *, timeout_s: float) -> Session | None:
        """Open a session for the person whose badge is shown within ``timeout_s`` seconds; None if none is.

        Raises:
            WorkflowError: WF-081 nobody has that badge (kind ``unauthenticated``), WF-082 there is no badge reader (kind ``not_found``).
        """
        if self._badges is None:
            raise WorkflowError("WF-082", zh="没有读卡器", en="there is no badge reader", kind="not_found")
        user = self._badges.wait(timeout_s)
        if user is None:
            return None
        self._archive.audit.record(actor=user.id, action="sign-in", details={"by": "badge"})
        return self._sessions.open(user)

    def session(self, token: str) -> Session | None:
        """The open session with that token, None if there is none."""
        return self._sessions.use(token)

    def sign_out(self, token: str) -> None:
        """Close a session; nothing happens if it is closed already."""
        session = self._sessions.use(token)
        if session is not None:
            self._sessions.close(token)
            self._archive.audit.record(actor=session.user_id, action="sign-out")

    # -- looking

    def snapshot(self) -> Snapshot:
        """The whole worklist and the number of the last event in it."""
        with self._archive.database.reading():
            number = self._archive.studies.last_event()
            studies = self._archive.studies.latest(limit=WORKLIST_LENGTH)
            health = health_of(self._archive, receiver_ready=self._receiver_ready())
        return Snapshot(number=number, rows=tuple(self._row(study) for study in studies), health=health)

    def events_after(self, number: int, *, timeout_s: float) -> list[Event] | None:
        """Changes after event ``number``, waiting up to ``timeout_s`` seconds for the first; None: a gap, ask for a snapshot."""
        watcher = self._archive.database.watcher()
        try:
            deadline = self._archive.clock.monotonic() + timeout_s
            while True:
                changes = self._archive.studies.events_after(number)
                left = deadline - self._archive.clock.monotonic()
                if changes is None:
                    return None
                if changes or left <= 0 or not watcher.wait(left):
                    return [Event(number=last, key=study.key, row=self._row(study)) for last, study in changes]
        finally:
            watcher.close()

    def study(self, key: str) -> StudyDetail:
        """Everything of one study.

        Raises:
            WorkflowError: WF-052 no such study (kind ``not_found``).
        """
        with self._archive.database.reading():
            study = self._get(key)
            deliveries = tuple(row.delivery() for row in self._archive.outbox.of_study(key))
            kept = self._archive.search.kept([key]).get(key, Keeping())
            earlier = self._archive.priors.of_study(key)
        detail = StudyDetail(
            row=self._row(study), deliveries=deliveries, protected=kept.protected, images_removed=kept.images_removed, priors=earlier
        )
        if study.draft is None:
            return detail
        folder = self._archive.drafts / study.draft
        released = self._archive.drafts / release_name(study)
        findings = self._drafts.findings(folder)
        return msgspec.structs.replace(
            detail,
            findings=findings,
            report=self._drafts.report(released if released.exists() else folder),
            pictures=self._drafts.pictures(folder),
            notices=notices(approval=study.approval, validated_on_patients=findings.validated_on_patients),
        )

    def picture(self, key: str, picture_id: str) -> Path:
        """The PNG file of a key view.

        Raises:
            WorkflowError: WF-052 no such study, WF-053 no such picture (kind ``not_found``).
        """
        study = self._get(key)
        path = None if study.draft is None else self._drafts.picture(self._archive.drafts / study.draft, picture_id)
        if path is None:
            raise WorkflowError("WF-053", zh="没有此图像", en="no such picture", kind="not_found")
        return path

    # -- commands

    def correct(self, *, session: Session, study: str, revision: int, lesion: int, grade: Grade, command: str) -> StudyDetail:
        """Set the grade of a lesion in a draft; scores, CAD-RADS and report follow. Radiographers and physicians may.

        Raises:
            WorkflowError: WF-001 not a draft, WF-003 it has changed, WF-052 no such study, WF-054 not allowed, WF-055 no such lesion.
        """
        return self._change(session, command, ("correct", study, revision, lesion, grade), grade_change(lesion, grade))

    def rename(
        self, *, session: Session, study: str, revision: int, branch: int, segment: int | None, name: SegmentName, command: str
    ) -> StudyDetail:
        """Give a segment (None: the whole branch) another name; all that follows is done anew. Raises as ``correct``; ANA-703, -704."""
        what = ("rename", study, revision, branch, segment, name)
        return self._change(session, command, what, name_change(branch, segment, name))

    def set_dominance(self, *, session: Session, study: str, revision: int, dominance: Dominance | None, command: str) -> StudyDetail:
        """Say which side dominates, or with None leave it to the names again. Raises as ``correct``."""
        return self._change(session, command, ("dominance", study, revision, dominance), dominance_change(dominance))

    def enter_modifiers(self, *, session: Session, study: str, revision: int, entered: Entered, command: str) -> StudyDetail:
        """Enter what CAD-RADS does not derive (modifier I) or a physician knows better (G, E), or take it back; physicians only.

        Raises as ``correct``.
        """
        self._require(session.role == "physician")
        what = ("modifiers", study, revision, entered.ischaemia, entered.grafts, entered.exceptions)
        return self._change(session, command, what, entry_change(entered))

    def _change(self, session: Session, command: str, what: tuple[Any, ...], change: DraftChange) -> StudyDetail:
        """A new draft in the place of the one that the person saw; ``what`` is the command's name, study, revision, and the rest."""
        self._require(session.role in {"radiographer", "physician"})
        _, study, revision, *_ = what
        # one at a time: the new folder is written first, then named by the row in one transaction; a crash leaves the old draft or the new
        with self._correcting:
            if not self._known(command, *what):
                before = self._expect(study, state="draft", revision=revision)
                folder, name = self._next_draft(before)
                findings = self._drafts.correct(folder, self._archive.drafts / name, change=change.apply)
                details = change.told(self._drafts.findings(folder), findings)
                with self._machine.transaction():
                    self._first_time(command, *what)
                    self._machine.apply(
                        study,
                        "corrected",
                        facts=Facts(draft=name, cad_rads=findings.cad_rads.text if findings.cad_rads else None),
                        actor=session.user_id,
                        revision=revision,
                        details={**details, "cad_rads_before": before.cad_rads},
                    )
        return self.study(study)

    def approve(self, *, session: Session, study: str, revision: int, command: str) -> StudyDetail:
        """Approve the draft that the person saw; the undo window opens.

        Raises:
            WorkflowError: WF-001 not a draft, WF-003 the draft has changed, WF-052 no such study, WF-054 site policy asks for a physician.
        """
        self._require(session.may_approve)
        with self._machine.transaction():
            if self._first_time(command, "approve", study, revision):
                self._get(study)
                at = datetime.fromtimestamp(self._archive.clock.wall(), tz=UTC)
                approval = Approval(user_id=session.user_id, user_name=session.user_name, role=session.role, at=at)
                after = self._machine.apply(
                    study,
                    "approved",
                    facts=Facts(approval=approval),
                    actor=session.user_id,
                    revision=revision,
                    details={"role": session.role, "final": approval.final},
                )
                self._windows.left(after)
        return self.study(study)

    def undo(self, *, session: Session, study: str, command: str) -> StudyDetail:
        """Take an approval back while the window is open.

        Raises:
            WorkflowError: WF-001 the window has closed, WF-052 no such study, WF-054 not allowed.
        """
        self._require(session.may_approve)
        with self._machine.transaction():
            if self._first_time(command, "undo", study):
                self._get(study)
                self._machine.apply(study, "undone", actor=session.user_id)
        return self.study(study)

    def retry(self, *, session: Session, study: str, command: str, waiting: bool = False) -> StudyDetail:
        """Analyse again with the series that came later; or send what waits in the outbox, prints too; or queue a failed study again.

        ``waiting``: the person saw that something waits and wants it sent. If it has gone meanwhile, that is all: no new analysis.

        Raises:
            WorkflowError: WF-001 nothing to retry, WF-052 no such study, WF-054 not allowed.
        """
        self._require(session.role in {"radiographer", "physician", "engineer"})
        with self._machine.transaction():
            if self._first_time(command, "retry", study, waiting):
                before = self._get(study)
                lacks = before.reason is not None and before.reason.code == CAME_LATER.code
                marked = lacks and not waiting and before.state in ("draft", "delivered")
                resent = 0 if marked else self._archive.outbox.resend(study)
                if marked:
                    self._require(session.role in {"radiographer", "physician"})  # corrections and the approval go
                    self._machine.apply(study, "reanalysed", actor=session.user_id)
                elif resent:
                    self._archive.audit.record(actor=session.user_id, action="send again", study=study, details={"rows": resent})
                    self._archive.studies.save(self._archive.studies.get(study))
                elif not waiting:
                    self._machine.apply(study, "retried", actor=session.user_id)
        return self.study(study)

    def send_again(self, *, session: Session, study: str, to: str, command: str) -> StudyDetail:
        """Store once more what a destination has already; ``to`` empty: to every destination that has it.

        Raises:
            WorkflowError: WF-052 no such study, WF-054 not allowed, WF-091 nothing was stored there, WF-092 its files are gone.
        """
        self._require(session.role in {"radiographer", "physician", "engineer"})
        with self._machine.transaction():
            if self._first_time(command, "send again", study, to):
                send_again(self._archive, self._get(study), to=to, actor=session.user_id)
        return self.study(study)

    def search(
        self, *, text: str, states: Sequence[StudyState], from_date: str, to_date: str, urgent: bool, offset: int, limit: int
    ) -> StudyPage:
        """A page of the studies that match, urgent ones first, then the newest; empty values mean any."""
        query = PageQuery(text=text, states=tuple(states), from_date=from_date, to_date=to_date, urgent=urgent)
        page = self._archive.search.page(query, offset=offset, limit=limit)
        rows = tuple(self._row(study) for study in self._archive.studies.rows(page.keys))
        return StudyPage(total=page.total, offset=offset, rows=rows)

    def protect(self, *, session: Session, study: str, protected: bool, command: str) -> StudyDetail:
        """Keep a study whatever happens, or no longer.

        Raises:
            WorkflowError: WF-052 no such study, WF-054 not allowed.
        """
        self._require(session.role in {"radiographer", "physician", "engineer"})
        with self._machine.transaction():
            if self._first_time(command, "protect", study, protected):
                self._get(study)
                self._archive.retention(RetentionSettings()).protect(study, actor=session.user_id, protected=protected)
                self._archive.studies.save(self._archive.studies.get(study))
        return self.study(study)

    # -- parts

    def _next_draft(self, study: StudyRecord) -> tuple[Path, str]:
        """The draft's folder, and the name of the one to come."""
        if study.draft is None:
            raise WorkflowError("WF-056", zh="检查没有草稿", en="the study has no draft")
        name = draft_name(study)
        shutil.rmtree(self._archive.drafts / name, ignore_errors=True)  # left by a command that was not committed
        return self._archive.drafts / study.draft, name

    def _expect(self, key: str, *, state: str, revision: int) -> StudyRecord:
        """The study if it still is what the person saw (checked again when the change is committed)."""
        study = self._get(key)
        if study.state != state:
            raise WorkflowError("WF-001", zh="检查状态已改变", en="the study is in another state", state=study.state)
        if study.revision != revision:
            raise WorkflowError("WF-003", zh="草稿已更新,请重新查看", en="the draft has changed, look again", study=key)
        return study

    def _known(self, command: str, *what: Any) -> bool:
        try:
            return self._archive.commands.known(command, *what)
        except ArchiveError as error:
            raise WorkflowError("WF-057", zh=error.zh, en=error.en) from error

    def _first_time(self, command: str, *what: Any) -> bool:
        try:
            return self._archive.commands.first_time(command, *what)
        except ArchiveError as error:
            raise WorkflowError("WF-057", zh=error.zh, en=error.en) from error

    def _get(self, key: str) -> StudyRecord:
        try:
            return self._archive.studies.get(key)
        except ArchiveError as error:
            raise WorkflowError("WF-052", zh=error.zh, en=error.en, kind="not_found") from error

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise WorkflowError("WF-054", zh="您的角色无权执行此操作", en="your role may not do this", kind="forbidden")

    def _row(self, study: StudyRecord) -> StudyRow:
        return study.row(undo_seconds=self._windows.left(study))
