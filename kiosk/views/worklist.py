"""The worklist in words: what waits for a person first, urgent before all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from appliance.api.messages import Health, StudyRow, StudyState
from kiosk import words
from kiosk.box_words import UPDATE
from kiosk.state import KioskState, Tab
from kiosk.views.frame import Frame, make_frame, patient_line, patient_name, time_of_day
from kiosk.words import Language, Words, words_of

Tone = Literal["todo", "working", "done", "caution", "trouble", "quiet"]

TABS: dict[Tab, Words] = {
    "all": words.TAB_ALL,
    "review": words.TAB_REVIEW,
    "working": words.TAB_WORKING,
    "done": words.TAB_DONE,
    "trouble": words.TAB_TROUBLE,
}
TAB_OF_STATE: dict[StudyState, Tab] = {
    "receiving": "working",
    "queued": "working",
    "analysing": "working",
    "draft": "review",
    "approving": "review",
    "approved": "done",
    "delivering": "done",
    "delivered": "done",
    "declined": "trouble",
    "failed": "trouble",
}
STATES_OF_TAB: dict[Tab, tuple[StudyState, ...]] = {
    "all": (),
    **{tab: tuple(state for state, its in TAB_OF_STATE.items() if its == tab) for tab in TABS if tab != "all"},
}
TONE_OF_STATE: dict[StudyState, Tone] = {
    "receiving": "working",
    "queued": "quiet",
    "analysing": "working",
    "draft": "todo",
    "approving": "todo",
    "approved": "working",
    "delivering": "working",
    "delivered": "done",
    "declined": "caution",
    "failed": "trouble",
}
ORDER_OF_TAB: dict[Tab, int] = {"review": 0, "working": 1, "trouble": 2, "done": 3}
REVIEWABLE: tuple[StudyState, ...] = ("draft", "approving", "approved", "delivering", "delivered")
EARLIER_CODE = "WF-090"
"""Reason of a study that was fetched as an earlier examination."""
LATER_CODE = "WF-015"
"""Another series came after the analysis: it can be done again."""
CATEGORIES = ("N", "0", "1", "2", "3", "4A", "4B", "5")


@dataclass(frozen=True)
class RowView:
    """One study. ``category`` is the CAD-RADS category for the colour of the chip, None without a result."""

    key: str
    name: str
    identity: str
    received: str
    images: str
    state: str
    tone: Tone
    detail: str
    progress: float | None
    category: str | None
    cad_rads: str
    urgent: str
    can_open: bool
    retry: str
    retrying: bool


@dataclass(frozen=True)
class TabView:
    """A group of the list and how many are in it."""

    tab: Tab
    text: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class HealthItem:
    """A lamp of the health strip."""

    id: str
    text: str
    good: bool


@dataclass(frozen=True)
class TroublesPopup:
    """All that is wrong with the appliance."""

    title: str
    troubles: tuple[str, ...]
    close: str


@dataclass(frozen=True)
class WorklistView:
    """The whole screen."""

    frame: Frame
    heading: str
    tabs: tuple[TabView, ...]
    columns: tuple[str, str, str, str]
    rows: tuple[RowView, ...]
    empty: str
    health: tuple[HealthItem, ...]
    warnings: str
    search: str
    update: str
    """Word of the key to the update screen; empty for those who may not."""
    troubles: TroublesPopup | None
    sign_out: str
    switch_language: str


def make_worklist_view(state: KioskState, *, now: float, wall: float) -> WorklistView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
    rows = sorted(state.rows.values(), key=_order)
    shown = [row for row in rows if state.tab == "all" or tab_of(row) == state.tab]
    return WorklistView(
        frame=frame,
        heading=frame.say(words.WORKLIST),
        tabs=tuple(_tab(tab, rows, chosen=state.tab == tab, language=state.language) for tab in TABS),
        columns=(
            frame.say(words.COLUMN_RESULT),
            frame.say(words.COLUMN_PATIENT),
            frame.say(words.COLUMN_RECEIVED),
            frame.say(words.COLUMN_STATE),
        ),
        rows=tuple(make_row(row, state=state, wall=wall) for row in shown),
        empty="" if shown else frame.say(words.EMPTY_TAB if rows else words.EMPTY_LIST),
        health=_health(state.health, language=state.language),
        warnings=_warnings(state.health, language=state.language),
        search=frame.say(words.SEARCH),
        update=frame.say(UPDATE) if state.session is not None and state.session.role in state.info.update_roles else "",
        troubles=_troubles(state),
        sign_out=frame.say(words.SIGN_OUT),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
    )


def category_of(cad_rads: str | None) -> str | None:
    """The category in a CAD-RADS text such as ``CAD-RADS 4A/P3/HRP``: what decides its colour."""
    found = re.search(r"\b(4A|4B|[0-5N])\b", cad_rads.replace("CAD-RADS", " ")) if cad_rads else None
    return found.group(1) if found else None


def _order(row: StudyRow) -> tuple[bool, int, int, float, str]:
    """Urgent before all (unless done), then by group, then the severe, then the longest waiting."""
    tab = tab_of(row)
    category = category_of(row.cad_rads)
    severity = CATEGORIES.index(category) if category and tab == "review" else 0
    waiting = row.received_at if tab in ("review", "working") else -row.updated_at
    return (not row.urgent or tab == "done", ORDER_OF_TAB[tab], -severity, waiting, row.key)


def tab_of(row: StudyRow) -> Tab:
    """The group of a study; earlier examinations that were fetched are nobody's trouble."""
    return "done" if row.reason is not None and row.reason.code == EARLIER_CODE else TAB_OF_STATE[row.state]


def _tab(tab: Tab, rows: list[StudyRow], *, chosen: bool, language: Language) -> TabView:
    count = sum(tab in ("all", tab_of(row)) for row in rows)
    return TabView(tab=tab, text=TABS[tab].say(language), count=count, chosen=chosen)


def make_row(row: StudyRow, *, state: KioskState, wall: float) -> RowView:
    """A study in words."""
    language = state.language
    category = category_of(row.cad_rads)
    return RowView(
        key=row.key,
        name=patient_name(row.header, language=language),
        identity=patient_line(row.header, language=language),
        received=time_of_day(row.received_at, now=wall),
        images=words.IMAGES.say(language, count=row.images),
        state=_state_words(row).say(language),
        tone="quiet" if tab_of(row) != TAB_OF_STATE[row.state] else TONE_OF_STATE[row.state],
        detail=_detail(row, language=language),
        progress=row.progress if row.state == "analysing" else None,
        category=category,
        cad_rads=(row.cad_rads or "").removeprefix("CAD-RADS "),
        urgent=words.URGENT.say(language) if row.urgent else "",
        can_open=row.state in REVIEWABLE,
        retry=_retry(row).say(language),
        retrying=row.key in state.retrying,
    )


def _state_words(row: StudyRow) -> Words:
    if row.state == "approving" and row.approval is not None and row.approval.final:
        return Words("已签发(可撤销)", "Signed (can be undone)")
    return words.PRIORS if tab_of(row) != TAB_OF_STATE[row.state] else words.STATE[row.state]


def _retry(row: StudyRow) -> Words:
    """What the key of a row does: a failed analysis is tried again, one that lacks a later series is done again."""
    later = row.reason is not None and row.reason.code == LATER_CODE and row.state in ("draft", "delivered")
    return words.REANALYSE if later else words.RETRY if row.state == "failed" else Words("", "")


def _detail(row: StudyRow, *, language: Language) -> str:
    """The second line of the state: the stage that runs, the reason, or who approved."""
    if row.state == "analysing" and row.stage:
        stage = words.STAGE[row.stage].say(language) if row.stage in words.STAGE else row.stage
        return stage if row.progress is None else f"{stage} · {row.progress:.0%}"
    if row.reason is not None:
        return words_of(row.reason).say(language)
    if row.approval is not None:
        return row.approval.user_name
    return ""


def _health(health: Health | None, *, language: Language) -> tuple[HealthItem, ...]:
    if health is None:
        return ()
    free = int(health.disk_free_fraction * 100)
    engine = (HealthItem(id="engine", text=health.engine, good=True),) if health.engine else ()
    return (
        HealthItem(id="receiver", text=words.RECEIVER.say(language), good=health.receiver_ready),
        HealthItem(id="analyst", text=words.ANALYST.say(language), good=health.analyst_ready),
        *engine,
        HealthItem(id="disk", text=words.DISK.say(language, percent=free), good=health.disk_free_fraction > 0.1),
    )


def _warnings(health: Health | None, *, language: Language) -> str:
    """What a person must know of the appliance itself: the first trouble, and how many more there are."""
    warnings = health.warnings if health else ()
    if not warnings:
        return ""
    more = words.MORE_TROUBLES.say(language, count=len(warnings) - 1) if len(warnings) > 1 else ""
    return words_of(warnings[0]).say(language) + more


def _troubles(state: KioskState) -> TroublesPopup | None:
    if not state.troubles_open or state.health is None or not state.health.warnings:
        return None
    return TroublesPopup(
        title=words.TROUBLES.say(state.language),
        troubles=tuple(words_of(warning).say(state.language) for warning in state.health.warnings),
        close=words.CLOSE.say(state.language),
    )
