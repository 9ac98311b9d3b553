"""The service manager's ear: sd_notify(3) through systemd-python."""

from __future__ import annotations

import importlib
import os
from typing import Protocol


class Notifier(Protocol):
    """The service manager's ear (sd_notify(3))."""

    def notify(self, message: str) -> None:
        """Tell it, e.g. ``READY=1``."""
        ...

    def watchdog_s(self) -> float | None:
        """How often it wants to hear ``WATCHDOG=1``; None if it does not."""
        ...


class SystemdNotifier:
    """systemd, where it started us; silence elsewhere."""

    def __init__(self) -> None:
        # not an import statement: for tools that look from the root of this repository, ``systemd`` is our folder of units
        self._daemon = importlib.import_module("systemd.daemon")

    def notify(self, message: str) -> None:
        """See `Notifier`."""
        self._daemon.notify(message)

    def watchdog_s(self) -> float | None:
        """See `Notifier`; half of the limit that systemd has set."""
        limit = os.environ.get("WATCHDOG_USEC", "")
        return int(limit) / 2e6 if limit.isdigit() else None
