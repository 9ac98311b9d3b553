"""Passes performed procedure steps on to the RIS, for ever: the messages of one step in order, a step that is refused holds no other."""

from __future__ import annotations

import logging
import threading

from appliance.archive.archive import Archive
from appliance.dicom.association import NOT_UNDERSTOOD
from appliance.dicom.mpps import pass_on
from appliance.errors import DicomError, Reason
from appliance.settings import MppsSettings
from appliance.workflow.delivery import BackOff

log = logging.getLogger(__name__)

IDLE_S = 5.0
COMPONENT = "ris"


class StepRelay:
    """See the module. One thread calls `step` or `run`.

    Args:
        archive: the messages.
        settings: ``[mpps]``; its host is set.
        back_off: waits after failures.
    """

    def __init__(self, *, archive: Archive, settings: MppsSettings, back_off: BackOff) -> None:
        self._archive = archive
        self._settings = settings
        self._back_off = back_off
        self._failures: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            wait_s = self.step()
            if wait_s > 0:
                watcher.wait(wait_s, stopped=stop.wait)
        watcher.close()

    def step(self) -> float:
        """Pass on one message if one is due; seconds until it is worth looking again (0: at once)."""
        now = self._archive.clock.monotonic()
        waiting = self._archive.procedure_steps.waiting()
        due = [message for message in waiting if self._due.get(message.id, now) <= now]
        if not due:
            return min([self._due[message.id] - now for message in waiting], default=IDLE_S)
        message = due[0]
        try:
            pass_on(self._settings, message)
        except DicomError as error:
            log.warning("RIS: %s", error)
            failures = self._failures[message.id] = self._failures.get(message.id, message.attempts) + 1
            wait_s = self._back_off.wait_s(failures)
            # a RIS that cannot be reached is not called for every step
            for each in [message] if error.code in {"DCM-050", NOT_UNDERSTOOD} else waiting:
                self._due[each.id] = now + wait_s
            self._archive.procedure_steps.failed(message.id, reason=error.reason)
            shown = Reason(error.code, zh=f"RIS:{error.zh}", en=f"RIS: {error.en}")
            self._archive.components.report(COMPONENT, ready=False, reason=shown)
            return 0.0
        self._archive.procedure_steps.done(message.id)
        self._failures.pop(message.id, None)
        self._due = {each.id: self._due[each.id] for each in waiting if each.id in self._due and each.id != message.id}
        if not self._archive.components.get(COMPONENT).ready:
            self._archive.components.report(COMPONENT, ready=True)
        return 0.0
