"""The two clocks, handed in by constructor arguments."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records that people read; monotonic time for every timer (a clock step must neither complete nor stall a study)."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, from an arbitrary origin."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only ever grow, from an arbitrary origin."""
        return time.monotonic()
