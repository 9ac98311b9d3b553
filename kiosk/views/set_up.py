"""The first set-up in words: one step at a time, at the end everything to be checked."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk import box_words, words
from kiosk.set_up_fields import STEPS, Field, rows_of
from kiosk.state import KioskState, SettingUp
from kiosk.views.frame import Frame, make_frame

KEY_ROWS = ("1234567890", "QWERTYUIOP", "ASDFGHJKL.", "ZXCVBNM-/:")


@dataclass(frozen=True)
class ChoiceView:
    """One of a field's values."""

    value: str
    text: str
    chosen: bool


@dataclass(frozen=True)
class FieldView:
    """One field; ``value`` is what is shown (dots for a PIN)."""

    id: str
    label: str
    hint: str
    value: str
    typing: bool
    choices: tuple[ChoiceView, ...]


@dataclass(frozen=True)
class SetUpView:
    """The whole screen. ``summary``: label and value of everything, on the last step."""

    frame: Frame
    heading: str
    title: str
    position: str
    step: int
    steps: int
    rows: tuple[tuple[FieldView, ...], ...]
    summary: tuple[tuple[str, str], ...]
    help: str
    error: str
    keyboard: bool
    done: str
    space: str
    back: str
    next: str
    finish: str
    busy: bool


def make_set_up_view(state: KioskState, setting_up: SettingUp, *, now: float, wall: float) -> SetUpView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
    step, last = STEPS[setting_up.step], setting_up.step == len(STEPS) - 1
    taken = setting_up.restarts is not None
    busy = setting_up.sending or taken
    return SetUpView(
        frame=frame,
        heading=frame.say(box_words.SET_UP),
        title=frame.say(box_words.SET_UP_STEP_NAME[step]),
        position=frame.say(box_words.SET_UP_STEP, step=setting_up.step + 1, steps=len(STEPS)),
        step=setting_up.step,
        steps=len(STEPS),
        rows=tuple(tuple(_field(field, setting_up, frame) for field in row) for row in rows_of(step)),
        summary=_summary(setting_up, frame) if last else (),
        help=_help(setting_up, frame) if last else "",
        error=frame.say(setting_up.error) if setting_up.error else "",
        keyboard=bool(setting_up.field),
        done=frame.say(words.KEYBOARD_DONE),
        space=frame.say(words.KEYBOARD_SPACE),
        back=frame.say(box_words.SET_UP_BACK) if setting_up.step and not busy else "",
        next="" if last else frame.say(box_words.SET_UP_NEXT),
        finish=frame.say(box_words.SET_UP_FINISH) if last and not busy else "",
        busy=busy,
    )


def _field(field: Field, setting_up: SettingUp, frame: Frame) -> FieldView:
    value = setting_up.values[field.id]
    choices = tuple(ChoiceView(each, frame.say(text), chosen=each == value) for each, text in field.choices)
    shown = "●" * len(value) if field.secret else value
    return FieldView(field.id, frame.say(field.label), frame.say(field.hint), shown, typing=setting_up.field == field.id, choices=choices)


def _help(setting_up: SettingUp, frame: Frame) -> str:
    if setting_up.restarts is not None:
        return frame.say(box_words.SET_UP_DONE if setting_up.restarts else box_words.SET_UP_DONE_HERE)
    return frame.say(box_words.SET_UP_SENDING if setting_up.sending else box_words.SET_UP_CHECK)


def _summary(setting_up: SettingUp, frame: Frame) -> tuple[tuple[str, str], ...]:
    """Everything that was entered, the PIN but for its length."""
    values = setting_up.values

    def peer(name: str) -> str:
        host = values[f"{name}_host"]
        return f"{values[f'{name}_title']} @ {host}:{values[f'{name}_port']}" if host else "–"

    rows = (
        (box_words.SET_UP_INSTITUTION, values["institution"] or "–"),
        (box_words.SET_UP_AE_TITLE, f"{values['ae_title']} : {values['port']}"),
        (box_words.SET_UP_ARCHIVE, peer("archive")),
        (box_words.SET_UP_PRINTER, peer("printer")),
        (box_words.SET_UP_ADDRESS, values["address"] or "DHCP"),
        (box_words.SET_UP_GATEWAY, values["gateway"] or "–"),
        (box_words.SET_UP_NTP, values["ntp"] or "–"),
        (box_words.SET_UP_TIME_ZONE, values["time_zone"] + (f"   {values['clock']}" if values["clock"] else "")),
        (box_words.SET_UP_USER, f"{values['user']} · {words.ROLE[values['role']].say(frame.language)}"),
    )
    return tuple((frame.say(label), value) for label, value in rows)
