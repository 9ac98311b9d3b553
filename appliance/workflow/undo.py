"""The undo window: how long an approval can still be taken back.

The window is measured on the monotonic clock of the coordinator. It opens when the coordinator first sees the approval, so after a restart
a person has the whole window again; it never closes early because somebody set the clock.
"""

from __future__ import annotations

import logging
import threading

from appliance.archive.clock import Clock
from appliance.archive.studies import StudyRecord, StudyStore
from appliance.errors import WorkflowError
from appliance.workflow.states import StudyMachine

log = logging.getLogger(__name__)

TICK_S = 0.2
IDLE_S = 5.0


class UndoWindows:
    """The open windows. May be used by several threads.

    Args:
        clock: its monotonic time counts.
        seconds: length of a window.
    """

    def __init__(self, *, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._closes_at: dict[tuple[str, int], float] = {}

    def left(self, study: StudyRecord) -> float | None:
        """Seconds left to take back the approval of a study, not below 0; None if it is not ``approving``."""
        if study.state != "approving":
            return None
        now = self._clock.monotonic()
        with self._lock:
            # an approval is named by the revision it made, so the next approval of the same study has a window of its own
            closes_at = self._closes_at.setdefault((study.key, study.revision), now + self._seconds)
        return max(closes_at - now, 0.0)

    def keep_only(self, approving: list[StudyRecord]) -> None:
        """Forget all windows but those of these studies."""
        keys = {(study.key, study.revision) for study in approving}
        with self._lock:
            self._closes_at = {key: time for key, time in self._closes_at.items() if key in keys}


class UndoTimer:
    """Closes windows that are over; one thread of the coordinator."""

    def __init__(self, *, studies: StudyStore, machine: StudyMachine, windows: UndoWindows) -> None:
        self._studies = studies
        self._machine = machine
        self._windows = windows

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        watcher = self._machine.database.watcher()
        while not stop.is_set():
            if self.step():
                stop.wait(TICK_S)
            else:
                watcher.wait(IDLE_S, stopped=stop.wait)
        watcher.close()

    def step(self) -> bool:
        """Close what is over; True while a window is open."""
        approving = self._studies.in_state("approving")
        self._windows.keep_only(approving)
        for study in approving:
            if self._windows.left(study) == 0:
                try:
                    self._machine.apply(study.key, "window_closed", revision=study.revision)
                except WorkflowError:
                    log.info("study %s changed before its window closed", study.key)
        return bool(approving)
