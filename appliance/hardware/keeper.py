"""Keeps one device going: opened, served until it fails, opened again with back-off. Unplugging and plugging in at any time is normal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from appliance.errors import HardwareError, Reason

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


class Device(Protocol):
    """Something that is served until it fails."""

    def serve(self, stop: threading.Event, *, ready: Callable[[str], None]) -> None:
        """Open it, call ``ready(description)`` once it answers, serve it until ``stop``. Raises HardwareError when it fails."""
        ...


class Report(Protocol):
    """How the state of a device is told (`appliance.archive.components` in the product)."""

    def __call__(self, name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        """Record it."""
        ...


class Keeper:
    """One thread of the coordinator calls `run`.

    Args:
        name: of the component, e.g. ``panel``.
        device: what is kept going.
        report: told once per change, so that a device that is missing for weeks does not fill the database.
        first_wait_s: before the first new try; doubled up to `LONGEST_WAIT_S`.
    """

    def __init__(self, *, name: str, device: Device, report: Report, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._name = name
        self._device = device
        self._report = report
        self._first_wait_s = first_wait_s
        self._told: tuple[bool, str, str] | None = None
        self._wait_s = first_wait_s

    def run(self, stop: threading.Event) -> None:
        """Serve the device, again and again, until told to stop."""
        while not stop.is_set():
            try:
                self._device.serve(stop, ready=self._ready)
            except HardwareError as error:
                self._tell(ready=False, detail="", reason=error.reason)
            stop.wait(self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    def _ready(self, description: str) -> None:
        self._wait_s = self._first_wait_s
        self._tell(ready=True, detail=description, reason=None)

    def _tell(self, *, ready: bool, detail: str, reason: Reason | None) -> None:
        told = (ready, detail, reason.code if reason else "")
        if told != self._told:
            self._told = told
            log.info("%s: %s", self._name, f"ready, {detail}" if ready else told[2])
            self._report(self._name, ready=ready, detail=detail, reason=reason)
