"""Journeys as tables: each step is what the person does and what they see then. No display is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kiosk.actions import Action, PressDigit, SubmitPin
from kiosk.controller import Controller
from kiosk.views import ReviewView, SignInView, View, WorklistView

DEADLINE_S = 15.0


class ManualClock:
    """The real time, which a test can put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


@dataclass(frozen=True)
class Step:
    """``do`` is one action, several, or something that happens at the appliance; ``see`` must come true after it."""

    do: Action | Sequence[Action] | Callable[[], object]
    see: Callable[[View], bool]


class Journey:
    """Runs tables of steps."""

    def __init__(self, *, controller: Controller, clock: ManualClock) -> None:
        self.controller = controller
        self.clock = clock

    def run(self, *steps: Step) -> View:
        """Take every step; returns what is seen at the end."""
        for number, step in enumerate(steps, start=1):
            self._do(step.do)
            self.wait(step.see, what=f"step {number}: {step.do}")
        return self.view

    @property
    def view(self) -> View:
        self.controller.tick()
        return self.controller.view()

    @property
    def review(self) -> ReviewView:
        view = self.view
        assert isinstance(view, ReviewView)
        return view

    @property
    def worklist(self) -> WorklistView:
        view = self.view
        assert isinstance(view, WorklistView)
        return view

    @property
    def sign_in(self) -> SignInView:
        view = self.view
        assert isinstance(view, SignInView)
        return view

    def wait(self, see: Callable[[View], bool], *, what: str = "") -> None:
        """Let the kiosk run until ``see`` is true of its view."""
        end = time.monotonic() + DEADLINE_S
        while not see(self.view):
            assert time.monotonic() < end, f"not seen after {what}: {self.view}"
            time.sleep(0.005)

    def _do(self, what: Action | Sequence[Action] | Callable[[], object]) -> None:
        if isinstance(what, Action):
            self.controller.act(what)
        elif callable(what):
            what()
        else:
            for action in what:
                self.controller.act(action)


def pin(digits: str) -> list[Action]:
    """Type a PIN and press sign in."""
    return [*(PressDigit(digit) for digit in digits), SubmitPin()]


def on_worklist(view: View) -> bool:
    """The worklist with its rows is shown."""
    return isinstance(view, WorklistView) and bool(view.rows)


def on_sign_in(view: View) -> bool:
    """The sign-in screen is shown and the appliance answers."""
    return isinstance(view, SignInView) and view.frame.online


def on_review(state: str) -> Callable[[View], bool]:
    """The review of a study in that state is shown, with its detail."""
    return lambda view: isinstance(view, ReviewView) and view.state == state and not view.loading
