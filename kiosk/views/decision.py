"""The decision on a study in words: choosing a degree, approving, undoing, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from appliance.api.messages import GRADES, DeliveryRow, Grade, Session, StudyDetail
from appliance.degrees import degree_unknown
from kiosk import words
from kiosk.state import KioskState, Review
from kiosk.views.editing import EditPopup, make_edit_popup
from kiosk.views.frame import time_of_day
from kiosk.views.selection import lesion_of, percent_text, place_of
from kiosk.words import Language


@dataclass(frozen=True)
class GradeChoice:
    """One of the six degrees in the choice."""

    grade: Grade
    text: str
    band: str
    chosen: bool


@dataclass(frozen=True)
class GradePopup:
    """The choice of degrees for a lesion."""

    title: str
    place: str
    measured: str
    choices: tuple[GradeChoice, ...]
    cancel: str


@dataclass(frozen=True)
class ReportPopup:
    """The whole report."""

    title: str
    sections: tuple[tuple[str, str], ...]
    close: str


@dataclass(frozen=True)
class ApproveBox:
    """The one tap: ``text`` on the button and what it does; ``enabled`` False with the reason in ``means``."""

    text: str
    means: str
    enabled: bool


@dataclass(frozen=True)
class UndoBar:
    """The open undo window: seconds left (rounded up) and the fraction of the window that is left."""

    text: str
    undo: str
    seconds: int
    fraction: float
    enabled: bool


@dataclass(frozen=True)
class DeliveryLine:
    """One outbox row."""

    id: int
    destination: str
    icon: Literal["printer", "archive"]
    state: Literal["pending", "sending", "done", "retrying"]
    state_text: str
    detail: str


def make_approve_box(review: Review, session: Session | None, *, online: bool, language: Language) -> ApproveBox | None:
    """The button, while there is a draft to approve."""
    if session is None or review.detail is None or review.detail.row.state != "draft":
        return None
    text = words.APPROVE_SIGN if session.may_finalise else words.APPROVE_RELEASE
    means = words.SIGN_MEANS if session.may_finalise else words.RELEASE_MEANS
    if not session.may_approve:
        means = words.MAY_NOT_APPROVE
    if review.pending == "approve":
        text = words.CONFIRMING
    enabled = session.may_approve and online and review.pending is None
    return ApproveBox(text=text.say(language), means=means.say(language), enabled=enabled)


def make_undo_bar(state: KioskState, review: Review, *, now: float) -> UndoBar | None:
    """The bar, while the undo window of the open study is open."""
    end = state.undo_ends.get(review.key)
    if end is None or review.detail is None or review.detail.row.state != "approving":
        return None
    left = max(end - now, 0.0)
    length = max(state.undo_lengths.get(review.key, left), left, 0.1)
    approval = review.detail.row.approval
    text = words.UNDO_BAR_SIGN if approval is not None and approval.final else words.UNDO_BAR_RELEASE
    return UndoBar(
        text=text.say(state.language, seconds=math.ceil(left)),
        undo=words.UNDO.say(state.language),
        seconds=math.ceil(left),
        fraction=round(left / length, 2),
        enabled=state.online and review.pending is None and left > 0 and state.session is not None and state.session.may_approve,
    )


def approved_title(detail: StudyDetail | None, *, language: Language) -> str:
    """What the approval was; empty without one."""
    approval = detail.row.approval if detail else None
    if approval is None:
        return ""
    return (words.SIGNED_TITLE if approval.final else words.RELEASED_TITLE).say(language)


def approved_by(detail: StudyDetail | None, *, wall: float, language: Language) -> str:
    """Who approved and when; empty without an approval."""
    approval = detail.row.approval if detail else None
    if approval is None:
        return ""
    return words.APPROVED_BY.say(language, name=approval.user_name, time=time_of_day(approval.at.timestamp(), now=wall))


def delivery_line(row: DeliveryRow, *, wall: float, language: Language) -> DeliveryLine:
    """An outbox row in words: when it is tried again, and why it was not done."""
    details = []
    if row.state == "retrying":
        if row.next_attempt_at is None:
            details.append(words.HELD.say(language))
        else:
            details.append(words.NEXT_ATTEMPT.say(language, seconds=max(math.ceil(row.next_attempt_at - wall), 0)))
        if row.last_error is not None:
            details.append(words.Words(row.last_error.zh, row.last_error.en).say(language))
    if row.attempts > 1:
        details.append(words.ATTEMPTS.say(language, count=row.attempts))
    return DeliveryLine(
        id=row.id,
        destination=row.destination,
        icon="printer" if row.kind == "print" else "archive",
        state=row.state,
        state_text=words.DELIVERY_STATE[row.state].say(language),
        detail=" · ".join([*details, *([_counts(row, language=language)] if row.files and row.kind == "store" else [])]) or row.description,
    )


def _counts(row: DeliveryRow, *, language: Language) -> str:
    """Sent, accepted and committed apart; committed only where the destination offers it."""
    parts = [words.SENT.say(language, count=row.sent, files=row.files), words.ACCEPTED.say(language, count=row.accepted)]
    if row.committed is not None:
        parts.append(words.COMMITTED.say(language, count=row.committed))
    if row.left_out:
        parts.append(words.LEFT_OUT.say(language, count=row.left_out))
    return " · ".join(parts)


def send_again(detail: StudyDetail | None, state: KioskState, *, language: Language) -> str:
    """The button's text while something waits for its next attempt or for a person; empty without."""
    if detail is None or not state.online or detail.row.key in state.retrying:
        return ""
    return words.SEND_AGAIN.say(language) if any(row.state == "retrying" for row in detail.deliveries) else ""


def make_popup(state: KioskState, review: Review) -> GradePopup | ReportPopup | EditPopup | None:
    """The pop-up that is open on the review."""
    language = state.language
    if review.edit is not None:
        return make_edit_popup(state, review, review.edit)
    lesion = lesion_of(review, review.grading) if review.grading is not None else None
    if lesion is not None:
        bands = words.BANDS[state.info.stenosis_bands]
        percent = lesion.diameter_stenosis_percent
        graded = None if degree_unknown(lesion) else lesion.grade
        measured = words.NOT_MEASURED if percent is None else words.MEASURED
        return GradePopup(
            title=words.CHANGE_GRADE.say(language),
            place=f"{lesion.segment}  {place_of(lesion, language=language)}",
            measured=measured.say(language, percent=percent_text(percent).rstrip("%")),
            choices=tuple(
                GradeChoice(grade=grade, text=words.GRADE[grade].say(language), band=bands[grade], chosen=grade == graded)
                for grade in GRADES
            ),
            cancel=words.CANCEL.say(language),
        )
    report = review.detail.report if review.detail else None
    if review.report_open and report is not None:
        sections = report.zh if language == "zh" else report.en
        return ReportPopup(
            title=report.title_zh if language == "zh" else report.title_en,
            sections=tuple((section.heading, "\n".join(section.sentences)) for section in sections),
            close=words.CLOSE.say(language),
        )
    return None
