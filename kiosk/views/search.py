"""The search in words: field, filters, one page of studies, and the details of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.api.messages import PriorRow, StudyDetail
from kiosk import words
from kiosk.state import Finder, KioskState
from kiosk.views.decision import DeliveryLine, delivery_line
from kiosk.views.frame import Frame, make_frame, patient_line, patient_name, study_date, time_of_day
from kiosk.views.worklist import REVIEWABLE, TABS, RowView, TabView, make_row
from kiosk.words import Language

KEY_ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL-", "ZXCVBNM")
DAYS: tuple[tuple[int | None, words.Words], ...] = (
    (None, words.ANY_DATE), (1, words.TODAY), (7, words.WEEK), (30, words.MONTH),
)  # fmt: skip


@dataclass(frozen=True)
class DaysView:
    """A choice of the study date."""

    days: int | None
    text: str
    chosen: bool


@dataclass(frozen=True)
class Again:
    """A destination that has the study and can get it once more; ``to`` empty: all of them."""

    to: str
    text: str


@dataclass(frozen=True)
class StudyPopup:
    """The details of one study and what can be done with it; empty texts: cannot be done now."""

    key: str
    name: str
    identity: str
    loading: str
    state: str
    facts: tuple[tuple[str, str], ...]
    protected: bool
    deliveries_title: str
    deliveries: tuple[DeliveryLine, ...]
    again: tuple[Again, ...]
    priors_title: str
    priors: tuple[str, ...]
    open: str
    resend: str
    protect: str
    close: str


@dataclass(frozen=True)
class SearchView:
    """The whole screen."""

    frame: Frame
    heading: str
    text: str
    hint: str
    keyboard: bool
    done: str
    space: str
    tabs: tuple[TabView, ...]
    days: tuple[DaysView, ...]
    urgent: str
    urgent_chosen: bool
    rows: tuple[RowView, ...]
    position: str
    previous: bool
    next: bool
    empty: str
    popup: StudyPopup | None
    sign_out: str
    switch_language: str


def make_search_view(state: KioskState, finder: Finder, *, now: float, wall: float) -> SearchView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
    rows = finder.rows or ()
    last = finder.offset + len(rows)
    return SearchView(
        frame=frame,
        heading=frame.say(words.SEARCH),
        text=finder.text,
        hint=frame.say(words.SEARCH_HINT),
        keyboard=finder.typing,
        done=frame.say(words.KEYBOARD_DONE),
        space=frame.say(words.KEYBOARD_SPACE),
        tabs=tuple(TabView(tab=tab, text=text.say(state.language), count=0, chosen=finder.tab == tab) for tab, text in TABS.items()),
        days=tuple(DaysView(days, text.say(state.language), chosen=finder.days == days) for days, text in DAYS),
        urgent=frame.say(words.ONLY_URGENT),
        urgent_chosen=finder.urgent,
        rows=tuple(
            _row(row_view, row.header.study_date) for row_view, row in ((make_row(row, state=state, wall=wall), row) for row in rows)
        ),
        position=frame.say(words.PAGE, first=finder.offset + 1 if rows else 0, last=last, total=f"{finder.total:,}"),
        previous=finder.offset > 0,
        next=last < finder.total,
        empty="" if rows else frame.say(words.SEARCHING if finder.rows is None else words.NOTHING_FOUND),
        popup=_popup(state, finder, wall=wall),
        sign_out=frame.say(words.SIGN_OUT),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
    )


def _row(row: RowView, date: str) -> RowView:
    """A line of the list: the date of the study instead of the hour of its arrival; every one can be looked at."""
    shown = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else row.received
    return replace(row, received=shown, can_open=True, retry="")


def _popup(state: KioskState, finder: Finder, *, wall: float) -> StudyPopup | None:
    if finder.details is None:
        return None
    language, detail = state.language, finder.detail
    row = detail.row if detail is not None else next((each for each in finder.rows or () if each.key == finder.details), None)
    if row is None:
        return None
    waiting = detail is not None and any(each.state == "retrying" for each in detail.deliveries)
    free = state.online and finder.pending is None and row.key not in state.retrying
    protected = detail is not None and detail.protected
    return StudyPopup(
        key=row.key,
        name=patient_name(row.header, language=language),
        identity=patient_line(row.header, language=language),
        loading="" if detail is not None else words.LOADING.say(language),
        state=words.STATE[row.state].say(language),
        facts=_facts(detail, wall=wall, language=language) if detail is not None else (),
        protected=protected,
        deliveries_title=words.DELIVERIES.say(language) if detail is not None and detail.deliveries else "",
        deliveries=tuple(delivery_line(each, wall=wall, language=language) for each in detail.deliveries) if detail is not None else (),
        again=_again(detail, language=language) if detail is not None and free else (),
        priors_title=words.PRIORS.say(language) if detail is not None and detail.priors else "",
        priors=tuple(prior_line(each, language=language) for each in detail.priors) if detail is not None else (),
        open=words.OPEN_STUDY.say(language) if row.state in REVIEWABLE else "",
        resend=words.SEND_AGAIN.say(language) if waiting and free else "",
        protect="" if detail is None or not free else (words.UNPROTECT if protected else words.PROTECT).say(language),
        close=words.CLOSE.say(language),
    )


def _again(detail: StudyDetail, *, language: Language) -> tuple[Again, ...]:
    """What can be sent once more: to each destination that has all of something, and to all if there are several."""
    names = sorted({each.destination for each in detail.deliveries if each.kind == "store" and each.state == "done"})
    each_one = tuple(Again(name, words.SEND_AGAIN_TO.say(language, name=name)) for name in names)
    return (*each_one, Again("", words.SEND_AGAIN_TO_ALL.say(language))) if len(names) > 1 else each_one


def _facts(detail: StudyDetail, *, wall: float, language: Language) -> tuple[tuple[str, str], ...]:
    """Labels and values; what the images do not say is left out."""
    row, header = detail.row, detail.row.header
    clock = header.study_time
    taken = f"{study_date(header)} {clock[:2]}:{clock[2:4]}" if len(clock) >= 4 else study_date(header)
    images = words.IMAGES_REMOVED if detail.images_removed and not row.images else words.IMAGES
    reason = "" if row.reason is None else words.words_of(row.reason).say(language)
    values = (
        (words.ACCESSION, header.accession_number),
        (words.STUDY_TIME, taken),
        (words.DESCRIPTION, header.study_description),
        (words.IMAGES_LABEL, images.say(language, count=row.images)),
        (words.COLUMN_RECEIVED, time_of_day(row.received_at, now=wall)),
        (words.COLUMN_RESULT, row.cad_rads or reason),
        (words.KEPT, words.PROTECTED.say(language) if detail.protected else ""),
    )
    return tuple((label.say(language), value) for label, value in values if value)


def prior_line(prior: PriorRow, *, language: Language) -> str:
    """An earlier examination in one line."""
    date = f"{prior.study_date[:4]}-{prior.study_date[4:6]}-{prior.study_date[6:]}" if len(prior.study_date) == 8 else prior.study_date
    place = words.PRIOR_STATE[prior.state].say(language, source=prior.source) if prior.source else words.PRIOR_HERE.say(language)
    parts = (date, prior.modalities.replace("\\", "/"), prior.description, prior.cad_rads or "", place)
    return "  ·  ".join(part for part in parts if part)
