"""The update of the box in words: what runs, what was found on the stick, how far it is, how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.api.messages import SelfTestInfo, SelfTestRow, UpdateInfo, UpdateState, UpdateWish
from kiosk import box_words, words
from kiosk.state import KioskState, Updating
from kiosk.views.frame import Frame, make_frame
from kiosk.views.worklist import Tone
from kiosk.words import Language, Words, words_of

TONE: dict[UpdateState, Tone] = {
    "idle": "quiet", "looking": "working", "offered": "todo", "installing": "working", "installed": "working", "restarting": "working",
    "trying": "working", "returning": "trouble", "good": "done", "back": "trouble", "refused": "caution", "failed": "trouble",
}  # fmt: skip
WISHES: dict[UpdateState, tuple[UpdateWish, ...]] = {
    "idle": ("look",),
    "offered": ("install", "dismiss"),
    "installed": ("restart",),
    "good": ("dismiss", "look"),
    "back": ("dismiss",),
    "refused": ("look", "dismiss"),
    "failed": ("look", "dismiss"),
}
"""The first is the one that the person most likely wants."""


@dataclass(frozen=True)
class WishKey:
    """A key of the screen."""

    wish: UpdateWish
    text: str
    first: bool


@dataclass(frozen=True)
class UpdateView:
    """The whole screen. ``progress`` 0..1 while something is written, -1 while it works without a measure, None otherwise."""

    frame: Frame
    heading: str
    installed_label: str
    installed: str
    stick: str
    stick_there: bool
    title: str
    tone: Tone
    version: str
    text: str
    matters: bool
    """The text says what went wrong or what it waits for."""
    notes_title: str
    notes: str
    progress: float | None
    steps: tuple[tuple[str, bool], ...]
    keys: tuple[WishKey, ...]
    switch_language: str
    sign_out: str
    self_test: str
    """The key that begins it; empty while one runs."""


def make_update_view(state: KioskState, updating: Updating, *, now: float, wall: float) -> UpdateView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
    info = updating.info or UpdateInfo(installed=state.info.version)
    wishes = WISHES.get(info.state, ()) if updating.info is not None and info.may and info.available else ()
    if not info.stick:
        wishes = tuple(each for each in wishes if each not in ("look", "install"))
    shown = info.version and info.state not in ("idle", "looking", "refused")
    noted = shown and info.state not in ("back", "failed") and (info.notes_zh or info.notes_en)
    return UpdateView(
        frame=frame,
        heading=frame.say(box_words.UPDATE),
        installed_label=frame.say(box_words.UPDATE_INSTALLED),
        installed=info.installed,
        stick=frame.say(box_words.UPDATE_STICK if info.stick else box_words.UPDATE_NO_STICK),
        stick_there=info.stick,
        title=frame.say(box_words.UPDATE_STATE[info.state]),
        tone=TONE[info.state],
        version=frame.say(box_words.UPDATE_VERSION, version=info.version) if shown else "",
        text=_text(info, frame),
        matters=info.reason is not None or bool(info.waiting),
        notes_title=_test_title(updating.test, frame) if updating.test else frame.say(box_words.UPDATE_NOTES) if noted else "",
        notes=_test_text(updating.test, frame) if updating.test else _notes(info, state.language) if noted else "",
        progress=_progress(info),
        steps=tuple((frame.say(text), done) for text, done in _steps(info)),
        keys=()
        if updating.pending
        else tuple(_key(wish, frame, state=info.state, first=number == 0) for number, wish in enumerate(wishes)),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
        sign_out=frame.say(words.SIGN_OUT),
        self_test="" if updating.test is not None and updating.test.running else frame.say(box_words.SELF_TEST),
    )


def _notes(info: UpdateInfo, language: Language) -> str:
    return info.notes_zh if language == "zh" else info.notes_en


def _test_title(test: SelfTestInfo, frame: Frame) -> str:
    if test.running:
        return frame.say(box_words.SELF_TEST_RUNNING)
    bad = sum(row.state == "bad" for row in test.rows)
    return frame.say(box_words.SELF_TEST_BAD, count=bad) if bad or not test.rows else frame.say(box_words.SELF_TEST_GOOD)


def _test_text(test: SelfTestInfo, frame: Frame) -> str:
    """One line for each part, what does not work first."""
    order = {"bad": 0, "good": 1, "absent": 2}
    return "\n".join(_test_line(row, frame) for row in sorted(test.rows, key=lambda row: order[row.state]))


def _test_line(row: SelfTestRow, frame: Frame) -> str:
    kind, _, name = row.part.partition(" ")  # "destination PACS"
    said_kind = frame.say(box_words.SELF_TEST_PART[kind]) if kind in box_words.SELF_TEST_PART else kind
    part = f"{said_kind} {name}".strip()
    mark = {"good": "✓", "absent": "–", "bad": "×"}[row.state]
    said = frame.say(Words(row.zh, row.en))
    return f"{mark} {part}: {said}" + (f" ({row.code})" if row.code else "")


def _key(wish: UpdateWish, frame: Frame, *, state: UpdateState, first: bool) -> WishKey:
    text = box_words.UPDATE_LATER if wish == "dismiss" and state == "offered" else box_words.UPDATE_WISH[wish]
    return WishKey(wish, frame.say(text), first=first and wish != "dismiss")


def _text(info: UpdateInfo, frame: Frame) -> str:
    """What a person has to know now: the reason, what it waits for, or what to do."""
    if info.reason is not None:
        return frame.say(words_of(info.reason))
    if info.state == "installed" and info.waiting:
        parts = frame.say(words.LIST_COMMA).join(frame.say(box_words.UPDATE_WAITING[each]) for each in info.waiting)
        return frame.say(box_words.UPDATE_WAITS_FOR, parts=parts)
    if info.state == "idle" and not info.available:
        return frame.say(box_words.UPDATE_NOT_HERE)
    return frame.say(box_words.UPDATE_HELP.get(info.state, words.NOTHING))


def _progress(info: UpdateInfo) -> float | None:
    if info.state == "installing":
        return info.progress or 0.0
    return -1.0 if info.state in ("looking", "restarting", "trying", "returning") else None


def _steps(info: UpdateInfo) -> tuple[tuple[Words, bool], ...]:
    """The way of an update, and how much of it is behind."""
    order: tuple[UpdateState, ...] = ("looking", "offered", "installing", "installed", "restarting", "trying", "good")
    if info.state not in order:
        return ()
    at = order.index(info.state)
    marks = (
        ("offered", box_words.STEP_CHECKED),
        ("installed", box_words.STEP_WRITTEN),
        ("trying", box_words.STEP_RESTARTED),
        ("good", box_words.STEP_PROVED),
    )
    return tuple((text, at >= order.index(state)) for state, text in marks)
