"""What every screen shows: who is signed in, the notices, the connection, the message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from appliance.api.messages import DRAFT_NOTICE, NOT_VALIDATED_NOTICE, StudyHeader
from kiosk import words
from kiosk.state import KioskState
from kiosk.words import Language, Words

ALL_NOTICES = (DRAFT_NOTICE, NOT_VALIDATED_NOTICE)


@dataclass(frozen=True)
class Frame:
    """The parts around every screen.

    Attributes:
        language: spoken now.
        title: institution, empty if it has not been told.
        notices: sentences of the study that stand on every screen with study data.
        user: name and role of the person, empty on the sign-in screen.
        online: whether the appliance answers.
        offline_text: what to say when it does not, with the age of the data.
        message: what was done or went wrong just now.
        message_is_error: red instead of blue.
        time: time of day.
    """

    language: Language
    title: str
    notices: tuple[str, ...]
    user: str
    online: bool
    offline_text: str
    message: str
    message_is_error: bool
    time: str

    def say(self, text: Words, **blanks: object) -> str:
        """The words in the frame's language."""
        return text.say(self.language, **blanks)


def make_frame(state: KioskState, *, now: float, wall: float, notices: tuple[str, ...] = ALL_NOTICES) -> Frame:
    """The frame of the state at monotonic ``now`` and wall-clock ``wall``."""
    language = state.language
    session = state.session
    return Frame(
        language=language,
        title=state.info.institution,
        notices=notices,
        user=f"{session.user_name} · {words.ROLE[session.role].say(language)}" if session else "",
        online=state.online,
        offline_text="" if state.online else _offline_text(state, now=now),
        message=state.message.say(language) if state.message else "",
        message_is_error=state.message_is_error,
        time=time_of_day(wall, now=wall),
    )


def _offline_text(state: KioskState, *, now: float) -> str:
    if state.boot_fault in words.BOOT_FAULT:
        return f"{words.BOOT_FAULT[state.boot_fault].say(state.language)} ({state.boot_fault})"
    if state.heard_at is None or state.session is None:
        return words.CONNECTING.say(state.language)
    return words.DISCONNECTED.say(state.language, age=span(now - state.heard_at, language=state.language))


def span(seconds: float, *, language: Language) -> str:
    """A length of time in words: seconds, then minutes."""
    if seconds < 60:
        return words.SECONDS.say(language, count=int(seconds))
    return words.MINUTES.say(language, count=int(seconds // 60))


def time_of_day(at: float, *, now: float) -> str:
    """HH:MM in local time, with the date before it if that is not today's."""
    moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    same_day = moment.date() == today.date()
    return moment.strftime("%H:%M" if same_day else "%m-%d %H:%M")


def patient_line(header: StudyHeader, *, language: Language) -> str:
    """ID, sex and age in one line; what the images do not say is left out."""
    parts = [
        header.patient_id,
        words.SEX[header.patient_sex].say(language) if header.patient_sex in words.SEX else "",
        _age(header, language),
    ]
    return " · ".join(part for part in parts if part)


def _age(header: StudyHeader, language: Language) -> str:
    """``061Y`` as ``61岁`` or ``61 y`` (PS3.5 6.2, AS)."""
    age = header.patient_age
    if len(age) != 4 or not age[:3].isdigit() or age[3] not in words.AGE_UNIT:
        return ""
    return f"{int(age[:3])}{words.AGE_UNIT[age[3]].say(language)}"


def patient_name(header: StudyHeader, *, language: Language) -> str:
    """The name to show, never empty."""
    return header.display_name or words.UNNAMED.say(language)


def study_date(header: StudyHeader) -> str:
    """YYYYMMDD as YYYY-MM-DD, empty if there is none."""
    date = header.study_date
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdigit() else ""
