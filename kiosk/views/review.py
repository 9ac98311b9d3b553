"""The review of one study in words: result, lesions, pictures, report, approval, deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.anatomy import Vessel
from appliance.api.messages import Grade, Lesion, PictureInfo, StudyDetail
from appliance.comparison import CHANGES, compare
from appliance.degrees import degree_unknown, rank
from appliance.findings import whole_score
from kiosk import words
from kiosk.state import KioskState, Picture, Review
from kiosk.views.decision import (
    ApproveBox,
    DeliveryLine,
    GradePopup,
    ReportPopup,
    UndoBar,
    approved_by,
    approved_title,
    delivery_line,
    make_approve_box,
    make_popup,
    make_undo_bar,
    send_again,
)
from kiosk.views.editing import EditPopup
from kiosk.views.frame import ALL_NOTICES, Frame, make_frame, patient_line, patient_name, study_date
from kiosk.views.selection import lesions_of, percent_text, place_of, shown_pictures
from kiosk.words import Language

VESSELS: tuple[Vessel, ...] = ("LM", "LAD", "LCX", "RCA")
ShownGrade = Grade | Literal["unknown"]
MORE_VESSELS: tuple[Vessel, ...] = ("RI", "other")


@dataclass(frozen=True)
class VesselTab:
    """A vessel to look at; None: all. ``worst`` colours it by its worst degree."""

    vessel: Vessel | None
    text: str
    count: int
    worst: ShownGrade | None
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
    grade: ShownGrade
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
    edit: str
    compared: str
    popup: GradePopup | ReportPopup | EditPopup | None
    revision: int | None


def make_review_view(state: KioskState, review: Review, *, now: float, wall: float) -> ReviewView:
    """The screen of the open study."""
    detail = review.detail
    row = detail.row if detail else state.rows.get(review.key)
    language = state.language
    frame = make_frame(state, now=now, wall=wall, notices=detail.notices if detail else ALL_NOTICES)
    findings = detail.findings if detail else None
    lesions = lesions_of(review)
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
        approve=make_approve_box(review, state.session, online=state.online, language=language),
        undo=make_undo_bar(state, review, now=now),
        approved_title=approved_title(detail, language=language),
        approved_by=approved_by(detail, wall=wall, language=language),
        deliveries_title=frame.say(words.DELIVERIES),
        deliveries=tuple(delivery_line(each, wall=wall, language=language) for each in detail.deliveries) if detail else (),
        no_deliveries=frame.say(words.NO_DELIVERIES),
        send_again=send_again(detail, state, language=language),
        edit=frame.say(words.EDIT) if detail and findings and detail.row.state == "draft" else "",
        compared=_compared(detail, language=language),
        popup=make_popup(state, review),
        revision=detail.row.revision if detail else None,
    )


def _ordered(lesions: tuple[Lesion, ...], vessel: Vessel | None) -> list[Lesion]:
    """Those of the vessel, the worst degree first, then by narrowing."""
    of_vessel = [lesion for lesion in lesions if vessel in (None, lesion.vessel)]
    return sorted(of_vessel, key=lambda lesion: (*(-part for part in rank(lesion)), lesion.id))


def _known_grade(lesion: Lesion) -> ShownGrade:
    """The grade; a plaque whose degree nobody measured or set is not one without stenosis."""
    return "unknown" if degree_unknown(lesion) else lesion.grade


def _card(lesion: Lesion, *, review: Review, language: Language) -> LesionCard:
    free = review.detail is not None and review.detail.row.state == "draft"
    percent = percent_text(lesion.diameter_stenosis_percent)
    corrected = lesion.grade_source == "corrected"
    sizes = [words.PLAQUE[lesion.plaque_type].say(language), words.LENGTH.say(language, mm=f"{lesion.length_mm:.0f}")]
    if lesion.area_stenosis_percent:  # none without narrowing
        sizes.append(words.AREA.say(language, percent=percent_text(lesion.area_stenosis_percent)))
    return LesionCard(
        lesion=lesion.id,
        segment=lesion.segment,
        place=place_of(lesion, language=language),
        plaque=" · ".join(sizes),
        high_risk=" · ".join(words.HIGH_RISK[feature].say(language) for feature in lesion.high_risk),
        chip=(words.GRADE[lesion.grade].say(language), words.MEASURED_SHORT.say(language, percent=percent))
        if corrected
        else (percent, (words.DEGREE_UNKNOWN if degree_unknown(lesion) else words.GRADE[lesion.grade]).say(language)),
        grade=_known_grade(lesion),
        corrected=words.CORRECTED.say(language) if corrected else "",
        chosen=review.lesion == lesion.id,
        can_change=free,
    )


def _vessel_tabs(lesions: tuple[Lesion, ...], chosen: Vessel | None, *, language: Language) -> tuple[VesselTab, ...]:
    present = tuple(vessel for vessel in MORE_VESSELS if any(lesion.vessel == vessel for lesion in lesions))
    tabs = [VesselTab(vessel=None, text=words.ALL_VESSELS.say(language), count=len(lesions), worst=None, chosen=chosen is None)]
    for vessel in VESSELS + present:
        of_vessel = [lesion for lesion in lesions if lesion.vessel == vessel]
        worst = _known_grade(max(of_vessel, key=rank)) if of_vessel else None
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
        facts.append(f"CAC {whole_score(findings.calcium.agatston)}")
    if findings.grafts_that_count:
        facts.append(words.GRAFTS.say(language, count=len(findings.grafts_that_count)))
    return tuple(facts)


def _warnings(detail: StudyDetail | None, *, language: Language) -> tuple[str, ...]:
    """Series that came after the analysis, and segments that could not be read: never silent."""
    quality = detail.findings.quality if detail and detail.findings else None
    reason = detail.row.reason if detail and detail.row.state not in ("declined", "failed") else None
    marks = () if reason is None else (words.words_of(reason).say(language),)
    return (
        marks
        + _other_phases(detail, language=language)
        + tuple(
            words.NOT_ASSESSABLE.say(language, segment=each.segment, reason=words.NOT_ASSESSABLE_REASON[each.reason].say(language))
            for each in (quality.not_assessable if quality else ())
        )
    )


def _compared(detail: StudyDetail | None, *, language: Language) -> str:
    """What has changed since an earlier examination of the patient, in a line; empty without one."""
    findings = detail.findings if detail else None
    compared = compare(findings) if findings else None
    if findings is None or compared is None:
        return ""
    earlier = compared.earlier
    head = words.COMPARED if earlier.final else words.COMPARED_UNSIGNED
    date = f"{earlier.study_date[:4]}-{earlier.study_date[4:6]}-{earlier.study_date[6:]}"
    now = "" if findings.cad_rads is None else findings.cad_rads.text.removeprefix("CAD-RADS ")
    parts = [f"CAD-RADS {earlier.cad_rads.removeprefix('CAD-RADS ')} → {now}"]
    if compared.calcium is not None:
        before, after = (whole_score(score) for score in compared.calcium)
        parts.append(words.COMPARED_CALCIUM.say(language, before=before, now=after, change=f"{after - before:+d}"))
    comma = words.LIST_COMMA.say(language)
    parts += [words.CHANGE[change].say(language, segments=comma.join(names)) for change in CHANGES if (names := compared.of(change))]
    return f"{head.say(language, date=date)}{' · '.join(parts)}"


def _other_phases(detail: StudyDetail | None, *, language: Language) -> tuple[str, ...]:
    """The arteries that were measured in another phase than the one that the screen names."""
    findings = detail.findings if detail else None
    lines = []
    for series in findings.other_series if findings else ():
        taken = {branch.vessel for branch in (findings.branches if findings else ()) if branch.series_uid == series.series_uid}
        names = words.LIST_COMMA.say(language).join(vessel for vessel in VESSELS if vessel in taken)
        if names:
            percent = "" if series.phase_percent is None else f"({series.phase_percent:g}%)"
            lines.append(words.OTHER_PHASE.say(language, vessels=names, percent=percent))
    return tuple(lines)


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
