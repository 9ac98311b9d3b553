"""The sign-in screen in words."""

from __future__ import annotations

from dataclasses import dataclass

from kiosk import box_words, words
from kiosk.state import KioskState
from kiosk.views.frame import Frame, make_frame


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
    """``digits`` of the PIN typed so far (never the PIN itself); ``prompt`` or, when something is wrong, ``error`` in its place."""

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


def make_sign_in_view(state: KioskState, *, now: float, wall: float) -> SignInView:
    """The screen of the state."""
    frame = make_frame(state, now=now, wall=wall)
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
