"""The correction of names, dominance and modifiers in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from appliance.anatomy import SEGMENTS, SIDE_BRANCHES, VESSEL_EN, VESSEL_ZH, can_be_called
from appliance.api.messages import Branch, Dominance, Entered, Findings, Ischaemia, SegmentName, Session
from appliance.findings import percent_as_read, whole_percent
from kiosk import words
from kiosk.editing import branch_of, names_at
from kiosk.state import EDIT_TABS, Edit, EditTab, KioskState, Review
from kiosk.words import Language

UNSURE = 0.6
"""Below this confidence a name is marked as unsure."""
NAMES: tuple[SegmentName, ...] = (
    "LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "RI", "pLCx", "LCx", "OM1", "OM2", "L-PDA", "L-PLB", "pRCA", "mRCA", "dRCA", "R-PDA", "R-PLB",
    "other",
)  # fmt: skip
"""In the order of the keys: left main, LAD, ramus, circumflex, right."""

DOMINANCES: tuple[Dominance, ...] = ("right", "left", "codominant")


@dataclass(frozen=True)
class NameRow:
    """A segment, or a whole branch, that can be renamed."""

    branch: int
    segment: int | None
    text: str
    detail: str
    unsure: bool
    corrected: bool
    chosen: bool
    indented: bool


@dataclass(frozen=True)
class NameKey:
    """A name to give; one that is not ``allowed`` can be tapped too: it says why."""

    name: SegmentName
    text: str
    meaning: str
    allowed: bool
    chosen: bool
    used: bool


@dataclass(frozen=True)
class DominanceKey:
    """A dominance to set; None: what the names say."""

    dominance: Dominance | None
    text: str
    meaning: str
    chosen: bool


@dataclass(frozen=True)
class ModifierKey:
    """What is entered when it is tapped."""

    id: str
    ischaemia: Ischaemia | None
    grafts: bool | None
    exceptions: bool | None
    text: str
    meaning: str
    chosen: bool


@dataclass(frozen=True)
class ModifierGroup:
    """The choices of one modifier."""

    title: str
    keys: tuple[ModifierKey, ...]


@dataclass(frozen=True)
class EditPopup:
    """The whole pop-up; only the parts of the chosen tab are filled."""

    title: str
    result: str
    tabs: tuple[tuple[EditTab, str, bool], ...]
    hint: str
    warning: str
    busy: bool
    close: str
    rows: tuple[NameRow, ...] = ()
    names: tuple[NameKey, ...] = ()
    dominances: tuple[DominanceKey, ...] = ()
    modifiers: tuple[ModifierGroup, ...] = ()
    may_enter: bool = False


def make_edit_popup(state: KioskState, review: Review, edit: Edit) -> EditPopup | None:
    """What the pop-up shows; None without findings."""
    findings = review.detail.findings if review.detail else None
    if findings is None:
        return None
    language = state.language
    hint, warning = _hint(review, edit, state.session, language)
    return EditPopup(
        title=words.EDIT_TITLE.say(language),
        result=findings.cad_rads.text if findings.cad_rads else "",
        tabs=tuple((tab, words.EDIT_TABS[tab].say(language), tab == edit.tab) for tab in EDIT_TABS),
        hint=words.SAVING.say(language) if review.pending == "edit" else hint,
        warning="" if review.pending == "edit" else warning,
        busy=review.pending is not None,
        close=words.CLOSE.say(language),
        rows=_rows(findings, edit, language) if edit.tab == "names" else (),
        names=_names(review, findings, edit, language) if edit.tab == "names" else (),
        dominances=_dominances(findings, language) if edit.tab == "dominance" else (),
        modifiers=_modifiers(findings.entered, language) if edit.tab == "modifiers" else (),
        may_enter=may_enter(state.session),
    )


def may_enter(session: Session | None) -> bool:
    """Whether a person may enter modifiers: physicians only, as the appliance asks for."""
    return session is not None and session.role == "physician"


def _hint(review: Review, edit: Edit, session: Session | None, language: Language) -> tuple[str, str]:
    """What to do next, and why something is not possible."""
    if edit.tab == "dominance":
        return words.EDIT_DOMINANCE_HINT.say(language), ""
    if edit.tab == "modifiers":
        return words.EDIT_MODIFIERS_HINT.say(language), "" if may_enter(session) else words.PHYSICIANS_ONLY.say(language)
    branch = None if edit.place is None else branch_of(review, edit.place[0])
    if branch is None or edit.place is None:
        return words.EDIT_PLACE_HINT.say(language), ""
    what = _place_text(branch, edit.place[1], language)
    refused = ""
    if edit.refused is not None:
        trunk = VESSEL_ZH if language == "zh" else VESSEL_EN
        owner = SEGMENTS[edit.refused].vessel
        refused = words.NAME_REFUSED.say(language, name=edit.refused, trunk=trunk[owner], here=trunk[branch.vessel])
    return words.EDIT_NAME_HINT.say(language, what=what), refused


def _place_text(branch: Branch, segment: int | None, language: Language) -> str:
    if segment is not None and segment < len(branch.segments):
        return branch.segments[segment][2]
    if len(branch.segments) == 1:
        return branch.name
    return words.WHOLE_VESSEL.say(language, vessel=branch.vessel)


def _rows(findings: Findings, edit: Edit, language: Language) -> tuple[NameRow, ...]:
    rows = []
    for branch in findings.branches:
        parts: list[int | None] = [None] if len(branch.segments) == 1 else [None, *range(len(branch.segments))]
        for segment in parts:
            start, end = (0, len(branch.points_mm)) if segment is None else branch.segments[segment][:2]
            corrected = branch.name_source == "corrected"
            rows.append(
                NameRow(
                    branch=branch.id,
                    segment=segment,
                    text=_place_text(branch, segment, language),
                    detail=_detail(findings, branch, start, end, language),
                    unsure=not corrected and branch.name_confidence < UNSURE,
                    corrected=corrected,
                    chosen=edit.place == (branch.id, segment),
                    indented=segment is not None,
                )
            )
    return tuple(rows)


def _detail(findings: Findings, branch: Branch, start: int, end: int, language: Language) -> str:
    """Length, worst narrowing and how sure the name is."""
    points = branch.points_mm[start:end]
    length = sum(math.dist(a, b) for a, b in pairwise(points))
    degrees = [
        lesion.diameter_stenosis_percent
        for lesion in findings.lesions
        if lesion.branch == branch.id and start <= lesion.minimum < end and lesion.diameter_stenosis_percent is not None
    ]
    parts = [f"{length:.0f} mm"]
    if degrees:
        parts.append(words.NARROWING.say(language, percent=percent_as_read(max(degrees))))
    if branch.name_source == "corrected":
        parts.append(words.CORRECTED.say(language))
    else:
        parts.append(words.NAME_SURE.say(language, percent=whole_percent(100 * branch.name_confidence)))
    return " · ".join(parts)


def _names(review: Review, findings: Findings, edit: Edit, language: Language) -> tuple[NameKey, ...]:
    branch = None if edit.place is None else branch_of(review, edit.place[0])
    segment = None if edit.place is None else edit.place[1]
    now = () if branch is None else names_at(branch, segment)
    used = {name for each in findings.branches for _, _, name in each.segments}
    keys = []
    for name in NAMES:
        row = SEGMENTS[name]
        meaning = row.zh if language == "zh" else words.SHORT_NAME.get(name, row.en)
        if segment is None and branch is not None and name not in SIDE_BRANCHES:
            meaning = words.AS_WHOLE.say(language, vessel=row.vessel)
        keys.append(
            NameKey(
                name=name,
                text=name if name != "other" else words.NO_NAME.say(language),
                meaning=meaning,
                allowed=branch is not None and can_be_called(branch.vessel, name, whole=segment is None),
                chosen=name in now,
                used=name in used and name not in now and name != "other",
            )
        )
    return tuple(keys)


def _dominances(findings: Findings, language: Language) -> tuple[DominanceKey, ...]:
    corrected = findings.dominance_source == "corrected"
    keys = [
        DominanceKey(
            dominance=dominance,
            text=words.DOMINANCE[dominance].say(language),
            meaning=words.DOMINANCE_MEANS[dominance].say(language),
            chosen=findings.dominance == dominance and corrected,
        )
        for dominance in DOMINANCES
    ]
    told = findings.dominance
    automatic = words.DOMINANCE_UNKNOWN if told is None else words.DOMINANCE[told]
    meaning = words.DOMINANCE_BY_PERSON if corrected else words.DOMINANCE_BY_NAMES
    keys.append(
        DominanceKey(
            dominance=None,
            text=words.BY_NAMES.say(language),
            meaning=meaning.say(language, dominance=automatic.say(language)),
            chosen=not corrected,
        )
    )
    return tuple(keys)


def _modifiers(entered: Entered, language: Language) -> tuple[ModifierGroup, ...]:
    def key(name: str, says: words.Words, means: words.Words, chosen: bool, value: Entered) -> ModifierKey:
        return ModifierKey(
            name, value.ischaemia, value.grafts, value.exceptions, says.say(language), means.say(language), chosen
        )  # fmt: skip

    ischaemia = [
        key(
            f"ischaemia-{value or 'none'}",
            words.ISCHAEMIA[value][0],
            words.ISCHAEMIA[value][1],
            entered.ischaemia == value,
            Entered(ischaemia=value, grafts=entered.grafts, exceptions=entered.exceptions),
        )
        for value in words.ISCHAEMIA
    ]
    grafts = [
        key(
            f"grafts-{label}",
            words.ENTERED[value],
            words.GRAFTS_MEAN[value],
            entered.grafts is value,
            Entered(ischaemia=entered.ischaemia, grafts=value, exceptions=entered.exceptions),
        )
        for label, value in (("auto", None), ("yes", True), ("no", False))
    ]
    exceptions = [
        key(
            f"exceptions-{label}",
            words.ENTERED[value],
            words.EXCEPTIONS_MEAN[value],
            entered.exceptions is value,
            Entered(ischaemia=entered.ischaemia, grafts=entered.grafts, exceptions=value),
        )
        for label, value in (("auto", None), ("yes", True), ("no", False))
    ]
    titles = (words.ISCHAEMIA_TITLE, words.GRAFTS_TITLE, words.EXCEPTIONS_TITLE)
    return tuple(
        ModifierGroup(title=title.say(language), keys=tuple(keys))
        for title, keys in zip(titles, (ischaemia, grafts, exceptions), strict=True)
    )
