"""The analyst's own watchdog, where a unit of its own runs it: ready after the self-test, fed while idle and with each sign of progress.

A study that shows no progress for as long as the unit's ``WatchdogSec`` hangs in an engine; systemd ends the process, and the next one puts
the study back (three times, then it is shown as failed).
"""

from __future__ import annotations

import threading
import time
from typing import Any

from appliance.findings import Findings
from appliance.workflow.analyst import DraftMaker, Progress
from appliance.workflow.notify import Notifier
from appliance.workflow.release import Released

FEED_S = 20.0


class KeptAliveDrafts:
    """A `DraftMaker` that tells the service manager of its life.

    Args:
        drafts: does the work.
        notifier: the service manager's ear.
    """

    def __init__(self, *, drafts: DraftMaker, notifier: Notifier) -> None:
        self._drafts = drafts
        self._notifier = notifier
        self._busy = threading.Event()
        self._fed = 0.0

    def idle_loop(self, stop: threading.Event) -> None:
        """Feed while no study is in hand, until told to stop; one thread calls it."""
        while not stop.wait(min(self._notifier.watchdog_s() or FEED_S, FEED_S)):
            if not self._busy.is_set():
                self._notifier.notify("WATCHDOG=1")

    def self_test(self) -> str:
        """See `DraftMaker`."""
        engine = self._drafts.self_test()
        self._notifier.notify("READY=1")
        return engine

    def draft(self, *places: Any, progress: Progress, **more: Any) -> Findings:
        """See `DraftMaker`."""
        self._busy.set()
        try:
            return self._drafts.draft(*places, progress=self._feeding(progress), **more)
        finally:
            self._busy.clear()

    def release(self, *places: Any, progress: Progress, **more: Any) -> Released:
        """See `DraftMaker`."""
        self._busy.set()
        try:
            return self._drafts.release(*places, progress=self._feeding(progress), **more)
        finally:
            self._busy.clear()

    def _feeding(self, progress: Progress) -> Progress:
        def report(stage: str, fraction: float) -> None:
            now = time.monotonic()
            if now - self._fed >= 1.0:
                self._fed = now
                self._notifier.notify("WATCHDOG=1")
            progress(stage, fraction)

        return report
