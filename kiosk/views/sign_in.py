"""The sign-in screen in words."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk import box_words, words
from kiosk.recovery import groups_of
from kiosk.state import KioskState, Recovery
from kiosk.views.frame import Frame, make_frame

GROUPS_IN_A_LINE = 4


@dataclass(frozen=True)
class ServiceView:
    """The strip for the service engineer; ``said``: what became of the order on the stick."""

    code: str
    said: str
    error: bool
    read: str
    busy: bool


@dataclass(frozen=True)
class SignInView:
    """``digits`` of the PIN typed so far (never the PIN itself); ``prompt`` or, when something is wrong, ``error`` in its place.

    ``typed``: the recovery key so far, in the place of the PIN and of the heading; None where a PIN is wanted.
    """

    frame: Frame
    heading: str
    prompt: str
    error: bool
    digits: int
    busy: bool
    enter: str
    erase: str
    switch_language: str
    service: ServiceView | None
    typed: str | None = None


def make_sign_in_view(state: KioskState, *, now: float, wall: float) -> SignInView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
    if state.recovery is not None:
        return _recovery(state.recovery, frame)
    asked = words.OR_BADGE if state.info.badge_reader else words.ENTER_PIN
    message = words.CHECKING_PIN if state.signing_in else state.pin_message or asked
    return SignInView(
        frame=frame,
        heading=frame.say(words.APPLIANCE),
        prompt=frame.say(message),
        error=state.pin_message is not None and state.pin_message is not words.LOCKED,
        digits=len(state.pin),
        busy=state.signing_in,
        enter=frame.say(words.SIGN_IN),
        erase=frame.say(words.ERASE),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
        service=_service(state, frame),
    )


def _recovery(recovery: Recovery, frame: Frame) -> SignInView:
    message = box_words.RECOVERY_SENDING if recovery.sending else recovery.said or box_words.RECOVERY_HELP
    groups = groups_of(recovery.digits)
    lines = (" ".join(groups[at : at + GROUPS_IN_A_LINE]) for at in range(0, len(groups), GROUPS_IN_A_LINE))
    return SignInView(
        frame=frame,
        heading="",
        prompt=frame.say(message),
        error=recovery.error,
        digits=0,
        busy=recovery.sending or recovery.over,
        enter=frame.say(box_words.RECOVERY_ENTER),
        erase=frame.say(words.ERASE),
        switch_language=frame.say(words.SWITCH_LANGUAGE),
        service=None,
        typed="\n".join(lines),
    )


def _service(state: KioskState, frame: Frame) -> ServiceView | None:
    """Only while the appliance tells a code, or until what it said has been read."""
    code, service = state.info.service_code, state.service
    if not code and service.said is None:
        return None
    said = box_words.SERVICE_READING if service.pending else service.said or box_words.SERVICE_HELP
    return ServiceView(
        code=frame.say(box_words.SERVICE_CODE, code=f"{code[:4]} {code[4:]}") if code else "",
        said=frame.say(said),
        error=service.error,
        read=frame.say(box_words.SERVICE_READ) if code else "",
        busy=service.pending or not state.online,
    )
