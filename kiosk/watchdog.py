"""systemd's watchdog, fed from the frame loop: a frozen screen is restarted, a living one never."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import systemd.daemon


class Watchdog:
    """Says READY once the first frame stands on the screen and feeds the watchdog while frames go on. Harmless without systemd."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        notify: Callable[[str], object] = systemd.daemon.notify,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``environment`` holds ``WATCHDOG_USEC`` where the unit has a watchdog (sd_watchdog_enabled(3))."""
        self._clock = clock
        self._notify = notify
        period = (os.environ if environment is None else environment).get("WATCHDOG_USEC", "")
        self._every_s = int(period) / 1e6 / 3 if period.isdecimal() else 1.0
        self._last: float | None = None
        self._begun = False

    def frame(self) -> None:
        """A frame is about to be drawn, so the one before it was.

        The first can take minutes where the processor draws (shaders are compiled): that time is of the start, not of the watchdog.
        """
        if not self._begun:
            self._begun = True
            return
        now = self._clock()
        if self._last is None:
            self._notify("READY=1")
        if self._last is None or now - self._last >= self._every_s:
            self._last = now
            self._notify("WATCHDOG=1")
