"""Sessions on the GPU with the processor behind them: what the GPU cannot do is done there, in the same study, and people are told.

One failure is enough: a card that failed, or answered what cannot be, is left alone until the process starts anew. What the processor then
gives is a full answer; a wrong one of the card is never used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import Model
from appliance.inference.engine import Outputs, Session
from appliance.inference.whole import Segmented, Whole, WholeSession

log = logging.getLogger(__name__)

OnTrouble = Callable[[Reason], None]

CALLERS_FAULT = frozenset({"INF-011", "INF-040"})
"""Input that no engine takes: the caller hears of it, and the card is not to blame."""
FOR_ONE_STUDY = frozenset({"INF-010", "INF-060", "INF-063"})
"""Shape that the engine was not built for, too little memory, another patient on the card: the next study may go better."""


class Guard:
    """Whether the card may be used, for all sessions of one engine.

    Args:
        on_trouble: told each reason why the processor did what the card should have done.
    """

    def __init__(self, *, on_trouble: OnTrouble | None = None) -> None:
        self._on_trouble = on_trouble
        self._given_up: InferenceError | None = None
        self._last: InferenceError | None = None

    @property
    def usable(self) -> bool:
        """Whether the card may be used."""
        return self._given_up is None

    @property
    def trouble(self) -> Reason | None:
        """Why the card is not, or was last not, used; None if all went well."""
        error = self._given_up or self._last
        return None if error is None else error.reason

    def failed(self, error: InferenceError) -> None:
        """The card did not do what it should: tell, and leave it alone from now on unless it was for this study only."""
        if error.code in FOR_ONE_STUDY:
            self.note(error)
        else:
            self.give_up(error)

    def note(self, error: InferenceError) -> None:
        """Something went without the card, which may be used all the same."""
        log.warning("the GPU was not used: %s", error)
        self._last = error
        if self._on_trouble is not None:
            self._on_trouble(error.reason)

    def give_up(self, error: InferenceError) -> None:
        """Leave the card alone from now on."""
        self._given_up = self._given_up or error
        self.note(error)

    def begin_study(self) -> None:
        """What went without the card in the study before need not in this one."""
        self._last = None


class Releasing(Protocol):
    """Something that holds memory of the card until it is told."""

    def release(self) -> None:
        """Clear it and give it back."""


class GuardedSession:
    """A session on the card with one on the processor behind it; see the protocol ``Session``.

    Args:
        guard: of the engine.
        card: runs on the card.
        processor: makes the same model ready on the processor; called when first needed.
    """

    def __init__(self, *, guard: Guard, card: Session, processor: Callable[[], Session]) -> None:
        self._guard = guard
        self._card = card
        self._make = processor
        self._made: Session | None = None

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._card.model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``."""
        if self._guard.usable:
            try:
                return self._card.run(channels)
            except InferenceError as error:
                if error.code in CALLERS_FAULT:
                    raise
                self._guard.failed(error)
        if self._made is None:
            self._made = self._make()
        return self._made.run(channels)


class GuardedWholeSession(GuardedSession):
    """One that takes whole volumes too; see the protocol ``WholeSession``.

    Args:
        guard, card, processor: as for `GuardedSession`.
        whole: does the volumes on the card.
        network: holds memory there, to be cleared after each volume.
    """

    def __init__(self, *, guard: Guard, card: Session, processor: Callable[[], Session], whole: WholeSession, network: Releasing) -> None:
        super().__init__(guard=guard, card=card, processor=processor)
        self._whole = whole
        self._network = network

    def whole_volume(self, whole: Whole, *, progress: Callable[[float], None] | None = None) -> Segmented | None:
        """A whole volume on the card; None where it must not or could not (which has been told), and the caller goes on without it."""
        if not self._guard.usable:
            return None
        try:
            return self._whole.whole_volume(whole, progress=progress)
        finally:
            self._release()

    def _release(self) -> None:
        try:
            self._network.release()
        except InferenceError as error:
            self._guard.failed(error)
