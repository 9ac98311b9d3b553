"""The review of one study in words: result, lesions, pictures, report, approval, deliveries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from appliance.anatomy import SEGMENTS, Vessel
from appliance.api.messages import GRADES, DeliveryRow, Grade, Lesion, PictureInfo, Session, StudyDetail
from kiosk import words
from kiosk.state import KioskState, Picture, Review
from kiosk.views.frame import ALL_NOTICES, Frame, make_frame, patient_line, patient_name, study_date, time_of_day
from kiosk.words import Language

VESSELS: tuple[Vessel, ...] = ("LM", "LAD", "LCX", "RCA")
MORE_VESSELS: tuple[Vessel, ...] = ("RI", "other")


@dataclass(frozen=True)
class VesselTab:
    """A vessel to look at; None: all. ``worst`` colours it by its worst degree."""

    vessel: Vessel | None
    text: str
    count: int
    worst: Grade | None
    chosen: bool


@dataclass(frozen=True)
class LesionCard:
    """One lesion. ``chip`` holds what its degree key says: the measured percentage over the degree, or the corrected degree over it."""

    lesion: int
    segment: str
    place: str
    plaque: str
    high_risk: str
    chip: tuple[str, str]
    grade: Grade
    corrected: str
    chosen: bool
    can_change: bool


@dataclass(frozen=True)
class PictureView:
    """A key view: its caption and, when it has come, its content."""

    id: str
    title: str
    picture: Picture | None
    chosen: bool
    note: str


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


@dataclass(frozen=True)
class ReviewView:
    """The whole screen; ``loading`` says why there is nothing to show yet."""

    frame: Frame
    key: str
    name: str
    identity: str
    study: str
    back: str
    sign_out: str
    switch_language: str
    loading: str
    state: str
    category: str | None
    cad_rads: str
    facts: tuple[str, ...]
    vessels: tuple[VesselTab, ...]
    lesions_title: str
    lesions: tuple[LesionCard, ...]
    no_lesions: str
    warnings: tuple[str, ...]
    picture: PictureView | None
    pictures: tuple[PictureView, ...]
    picture_count: str
    no_pictures: str
    impression_title: str
    impression: tuple[str, ...]
    full_report: str
    approve: ApproveBox | None
    undo: UndoBar | None
    approved_title: str
    approved_by: str
    deliveries_title: str
    deliveries: tuple[DeliveryLine, ...]
    no_deliveries: str
    send_again: str
    popup: GradePopup | ReportPopup | None
    revision: int | None


def make_review_view(state: KioskState, review: Review, *, now: float, wall: float) -> ReviewView:
    """The screen of the open study."""
    detail = review.detail
    row = detail.row if detail else state.rows.get(review.key)
    language = state.language
    frame = make_frame(state, now=now, wall=wall, notices=detail.notices if detail else ALL_NOTICES)
    findings = detail.findings if detail else None
    lesions = _lesions(review)
    cards = tuple(_card(lesion, review=review, language=language) for lesion in _ordered(lesions, review.vessel))
    pictures = tuple(_picture(each, state=state, review=review) for each in shown_pictures(review))
    cad_rads = findings.cad_rads if findings else None
    return ReviewView(
        frame=frame,
        key=review.key,
        name=patient_name(row.header, language=language) if row else "",
        identity=patient_line(row.header, language=language) if row else "",
        study=_study_line(detail, language=language),
        back=frame.say(words.BACK),
        sign_out=frame.say(words.SIGN_OUT),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
        loading="" if detail else frame.say(words.LOADING),
        state=row.state if row else "",
        category=cad_rads.category if cad_rads else None,
        cad_rads=cad_rads.text if cad_rads else "",
        facts=_facts(detail, language=language),
        vessels=_vessel_tabs(lesions, review.vessel, language=language),
        lesions_title=frame.say(words.LESIONS),
        lesions=cards,
        no_lesions="" if cards or not detail else frame.say(words.NO_LESIONS_HERE if review.vessel else words.NO_LESIONS),
        warnings=_warnings(detail, language=language),
        picture=next((each for each in pictures if each.chosen), None),
        pictures=pictures,
        picture_count=_count(pictures),
        no_pictures="" if pictures or not detail else frame.say(words.NO_PICTURES),
        impression_title=frame.say(words.IMPRESSION),
        impression=_impression(detail, language=language),
        full_report=frame.say(words.FULL_REPORT),
        approve=_approve_box(review, state.session, online=state.online, language=language),
        undo=_undo_bar(state, review, now=now),
        approved_title=_approved_title(detail, language=language),
        approved_by=_approved_by(detail, wall=wall, language=language),
        deliveries_title=frame.say(words.DELIVERIES),
        deliveries=tuple(_delivery(each, wall=wall, language=language) for each in detail.deliveries) if detail else (),
        no_deliveries=frame.say(words.NO_DELIVERIES),
        send_again=_send_again(detail, state, language=language),
        popup=_popup(state, review),
        revision=detail.row.revision if detail else None,
    )


def shown_pictures(review: Review) -> list[PictureInfo]:
    """The key views of the chosen vessel, all of them without one."""
    pictures = review.detail.pictures if review.detail else ()
    return [picture for picture in pictures if review.vessel in (None, picture.vessel)]


def lesion_of(review: Review, lesion: int) -> Lesion | None:
    """The lesion with that id, None if the findings (no longer) have it."""
    return next((each for each in _lesions(review) if each.id == lesion), None)


def picture_for_lesion(review: Review, lesion: int) -> str | None:
    """The key view that shows a lesion best: its own, else the first of its segment or vessel; None if it has none."""
    found = lesion_of(review, lesion)
    if found is None:
        return None
    pictures = shown_pictures(review)
    own = (each.id for each in pictures if each.lesion == lesion)
    segment = (each.id for each in pictures if each.segment == found.segment)
    vessel = (each.id for each in pictures if each.vessel == found.vessel)
    return next(own, None) or next(segment, None) or next(vessel, None)


def _lesions(review: Review) -> tuple[Lesion, ...]:
    return review.detail.findings.lesions if review.detail and review.detail.findings else ()


def _ordered(lesions: tuple[Lesion, ...], vessel: Vessel | None) -> list[Lesion]:
    """Those of the vessel, the worst degree first, then by narrowing."""
    of_vessel = [lesion for lesion in lesions if vessel in (None, lesion.vessel)]
    return sorted(of_vessel, key=lambda lesion: (-GRADES.index(lesion.grade), -(lesion.diameter_stenosis_percent or 0.0), lesion.id))


def _card(lesion: Lesion, *, review: Review, language: Language) -> LesionCard:
    segment = SEGMENTS[lesion.segment]
    free = review.detail is not None and review.detail.row.state == "draft"
    percent = percent_text(lesion.diameter_stenosis_percent)
    corrected = lesion.grade_source == "corrected"
    length = words.LENGTH.say(language, mm=f"{lesion.length_mm:.0f}")
    return LesionCard(
        lesion=lesion.id,
        segment=lesion.segment,
        place=segment.zh if language == "zh" else _capital(segment.en),
        plaque=f"{words.PLAQUE[lesion.plaque_type].say(language)} · {length}",
        high_risk=" · ".join(words.HIGH_RISK[feature].say(language) for feature in lesion.high_risk),
        chip=(words.GRADE[lesion.grade].say(language), words.MEASURED_SHORT.say(language, percent=percent))
        if corrected
        else (percent, words.GRADE[lesion.grade].say(language)),
        grade=lesion.grade,
        corrected=words.CORRECTED.say(language) if corrected else "",
        chosen=review.lesion == lesion.id,
        can_change=free,
    )


def percent_text(percent: float | None) -> str:
    """A measured percentage, rounded down as the bands are (69.6 is moderate and must not read 70); a dash for unknown."""
    return "–" if percent is None else f"{math.floor(percent)}%"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _vessel_tabs(lesions: tuple[Lesion, ...], chosen: Vessel | None, *, language: Language) -> tuple[VesselTab, ...]:
    present = tuple(vessel for vessel in MORE_VESSELS if any(lesion.vessel == vessel for lesion in lesions))
    tabs = [VesselTab(vessel=None, text=words.ALL_VESSELS.say(language), count=len(lesions), worst=None, chosen=chosen is None)]
    for vessel in VESSELS + present:
        of_vessel = [lesion.grade for lesion in lesions if lesion.vessel == vessel]
        worst = max(of_vessel, key=GRADES.index, default=None)
        text = vessel if vessel != "other" else words.SEX["O"].say(language)
        tabs.append(VesselTab(vessel=vessel, text=text, count=len(of_vessel), worst=worst, chosen=chosen == vessel))
    return tuple(tabs)


def _study_line(detail: StudyDetail | None, *, language: Language) -> str:
    if detail is None:
        return ""
    header = detail.row.header
    phase = words.PHASE.say(language, percent=f"{header.phase_percent:g}") if header.phase_percent is not None else ""
    return " · ".join(part for part in (study_date(header), phase, header.accession_number) if part)


def _facts(detail: StudyDetail | None, *, language: Language) -> tuple[str, ...]:
    findings = detail.findings if detail else None
    if findings is None:
        return ()
    facts = []
    if findings.quality is not None:
        facts.append(words.QUALITY.say(language, score=findings.quality.score))
    if findings.dominance is not None:
        facts.append(words.DOMINANCE[findings.dominance].say(language))
    if findings.segment_involvement_score is not None:
        facts.append(f"SIS {findings.segment_involvement_score}")
    if findings.segment_stenosis_score is not None:
        facts.append(f"SSS {findings.segment_stenosis_score}")
    if findings.calcium is not None:
        facts.append(f"CAC {findings.calcium.agatston:.0f}")
    return tuple(facts)


def _warnings(detail: StudyDetail | None, *, language: Language) -> tuple[str, ...]:
    """Segments that could not be read: never silent."""
    quality = detail.findings.quality if detail and detail.findings else None
    return tuple(
        words.NOT_ASSESSABLE.say(language, segment=each.segment, reason=words.NOT_ASSESSABLE_REASON[each.reason].say(language))
        for each in (quality.not_assessable if quality else ())
    )


def _picture(info: PictureInfo, *, state: KioskState, review: Review) -> PictureView:
    held = state.pictures.get(review.key, info.id)
    note = words.LOADING_PICTURE if held is None else words.PICTURE_FAILED if held.pixels is None else None
    return PictureView(
        id=info.id,
        title=info.title_zh if state.language == "zh" else info.title_en,
        picture=held,
        chosen=info.id == review.picture,
        note=note.say(state.language) if note else "",
    )


def _count(pictures: tuple[PictureView, ...]) -> str:
    here = next((index for index, picture in enumerate(pictures, start=1) if picture.chosen), None)
    return f"{here} / {len(pictures)}" if here else ""


def _impression(detail: StudyDetail | None, *, language: Language) -> tuple[str, ...]:
    """The sentences of the report's last section."""
    report = detail.report if detail else None
    if report is None:
        return (words.NO_REPORT.say(language),) if detail else ()
    sections = report.zh if language == "zh" else report.en
    return sections[-1].sentences if sections else ()


def _approve_box(review: Review, session: Session | None, *, online: bool, language: Language) -> ApproveBox | None:
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


def _undo_bar(state: KioskState, review: Review, *, now: float) -> UndoBar | None:
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
        enabled=state.online and review.pending is None and left > 0,
    )


def _approved_title(detail: StudyDetail | None, *, language: Language) -> str:
    approval = detail.row.approval if detail else None
    if approval is None:
        return ""
    return (words.SIGNED_TITLE if approval.final else words.RELEASED_TITLE).say(language)


def _approved_by(detail: StudyDetail | None, *, wall: float, language: Language) -> str:
    approval = detail.row.approval if detail else None
    if approval is None:
        return ""
    return words.APPROVED_BY.say(language, name=approval.user_name, time=time_of_day(approval.at.timestamp(), now=wall))


def _delivery(row: DeliveryRow, *, wall: float, language: Language) -> DeliveryLine:
    details = []
    if row.state == "retrying":
        if row.next_attempt_at is None:
            details.append(words.HELD.say(language))
        else:
            details.append(words.NEXT_ATTEMPT.say(language, seconds=max(math.ceil(row.next_attempt_at - wall), 0)))
        if row.last_error is not None:
            details.append(row.last_error.zh if language == "zh" else row.last_error.en)
    if row.attempts > 1:
        details.append(words.ATTEMPTS.say(language, count=row.attempts))
    return DeliveryLine(
        id=row.id,
        destination=row.destination,
        icon="printer" if row.kind == "print" else "archive",
        state=row.state,
        state_text=words.DELIVERY_STATE[row.state].say(language),
        detail=" · ".join(details) or row.description,
    )


def _send_again(detail: StudyDetail | None, state: KioskState, *, language: Language) -> str:
    """The button's text while something waits for its next attempt or for a person; empty without."""
    if detail is None or not state.online or detail.row.key in state.retrying:
        return ""
    return words.SEND_AGAIN.say(language) if any(row.state == "retrying" for row in detail.deliveries) else ""


def _popup(state: KioskState, review: Review) -> GradePopup | ReportPopup | None:
    language = state.language
    lesion = lesion_of(review, review.grading) if review.grading is not None else None
    if lesion is not None:
        segment = SEGMENTS[lesion.segment]
        bands = words.BANDS[state.info.stenosis_bands]
        percent = lesion.diameter_stenosis_percent
        measured = words.NOT_MEASURED if percent is None else words.MEASURED
        return GradePopup(
            title=words.CHANGE_GRADE.say(language),
            place=f"{lesion.segment}  {segment.zh if language == 'zh' else _capital(segment.en)}",
            measured=measured.say(language, percent=percent_text(percent).rstrip("%")),
            choices=tuple(
                GradeChoice(grade=grade, text=words.GRADE[grade].say(language), band=bands[grade], chosen=grade == lesion.grade)
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
