"""The receiver looked at from outside: a C-ECHO to our own door now and then. One that runs but does not answer is started again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from appliance.archive.clock import Clock
from appliance.errors import DicomError
from appliance.settings import DestinationSettings, ReceiverSettings

log = logging.getLogger(__name__)

INTERVAL_S = 60.0
MAXIMUM_FAILURES = 3
"""One failure may be a receiver that is busy to its limit; three minutes of them are not."""
STARTING_S = 600.0
"""So long a receiver that has not answered yet counts as starting: a first start on a slow or busy machine takes minutes."""


class ReceiverProbe:
    """One thread of the coordinator calls `run`.

    Args:
        destination: our own door.
        echo: C-ECHO; raises DicomError if there is no good answer.
        restart: starts the receiver again.
        clock: its monotonic time counts.
    """

    def __init__(
        self,
        *,
        destination: DestinationSettings,
        echo: Callable[[DestinationSettings], None],
        restart: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._destination = destination
        self._echo = echo
        self._restart = restart
        self._failures = 0
        self._clock = clock
        self._starting_until = self._silent_since = clock.monotonic() + STARTING_S

    def silent_s(self) -> float:
        """Seconds since the receiver last answered, before its first answer since its time to start was over.

        A restart by the probe gives no new time here: a receiver that never comes back is the watchdog's affair in the end.
        """
        return max(0.0, self._clock.monotonic() - self._silent_since)

    def run(self, stop: threading.Event) -> None:
        """Look now and then until told to stop."""
        while not stop.wait(INTERVAL_S):
            self.step()

    def step(self) -> None:
        """Look once."""
        try:
            self._echo(self._destination)
        except DicomError as error:
            if self._clock.monotonic() < self._starting_until:
                log.info("the receiver does not answer yet: %s", error)
                return
            self._failures += 1
            log.warning("the receiver did not answer (%d): %s", self._failures, error)
        else:
            self._failures = 0
            self._starting_until = self._silent_since = self._clock.monotonic()
        if self._failures >= MAXIMUM_FAILURES:
            log.error("the receiver has not answered %d times and is started again", self._failures)
            self._failures = 0
            self._starting_until = self._clock.monotonic() + STARTING_S
            self._restart()


def own_door(receiver: ReceiverSettings) -> DestinationSettings:
    """How a peer on this machine reaches our receiver."""
    host = "127.0.0.1" if receiver.host in {"", "0.0.0.0"} else receiver.host  # noqa: S104 - it is read, not bound
    calling = receiver.calling_ae_titles[0] if receiver.calling_ae_titles else receiver.ae_title
    return DestinationSettings(
        name="receiver", host=host, port=receiver.port, ae_title=receiver.ae_title, calling_ae_title=calling, timeout_s=10.0
    )
