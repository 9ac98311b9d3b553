"""Orders join studies: a worker that asks the worklist now and then, and for each new study, and fills in what the images leave out.

An order is a study's by its Study Instance UID or its accession number, and only if the patient is the same. What the images say is never
overwritten; an urgent order makes the study urgent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import date

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.orders import Order
from appliance.archive.studies import StudyRecord
from appliance.dicom.worklist_client import by_accession, scheduled
from appliance.errors import DicomError, Reason
from appliance.settings import WorklistSettings
from appliance.study import StudyHeader

log = logging.getLogger(__name__)

IDLE_S, PAUSE_S = 5.0, 1.0
OPEN = ("receiving", "queued", "analysing", "draft")
"""States in which an order still joins."""


class OrderJoiner:
    """See the module. One thread calls `step` or `run`.

    Args:
        archive: studies and orders.
        settings: ``[worklist]``; its host is set.
        today: the date at the site.
    """

    def __init__(self, *, archive: Archive, settings: WorklistSettings, today: Callable[[], date]) -> None:
        self._archive = archive
        self._settings = settings
        self._today = today
        self._poll_at = 0.0
        self._asked: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            self.step()
            if not stop.wait(PAUSE_S):
                watcher.wait(IDLE_S, stopped=stop.wait)
        watcher.close()

    def step(self) -> None:
        """Ask the worklist if it is time, ask for new studies whose order is not known, and join."""
        now = self._archive.clock.monotonic()
        if now >= self._poll_at:
            self._poll_at = now + self._settings.poll_s
            self._asked.clear()
            self._ask(lambda: scheduled(self._settings, today=self._today()))
        studies = self._archive.studies.in_state(*OPEN)  # type: ignore[arg-type]
        for study in studies:
            accession = study.header.accession_number
            if self._order(study) is None and accession and accession not in self._asked:
                self._asked.add(accession)
                self._ask(lambda number=accession: by_accession(self._settings, number))  # type: ignore[misc]
            self._join(study)

    def _ask(self, question: Callable[[], list[Order]]) -> None:
        try:
            self._archive.orders.keep(question())
        except DicomError as error:
            log.warning("worklist: %s", error)
            reason = Reason(error.code, zh=f"工作列表:{error.zh}", en=f"worklist: {error.en}")
            self._archive.components.report("worklist", ready=False, reason=reason)
        else:
            if not self._archive.components.get("worklist").ready:
                self._archive.components.report("worklist", ready=True)

    def _order(self, study: StudyRecord) -> Order | None:
        header = study.header
        return self._archive.orders.find(
            study_uid=study.study_uid, accession_number=header.accession_number, patient_id=header.patient_id
        )  # fmt: skip

    def _join(self, study: StudyRecord) -> None:
        if self._joined(study) == study:
            return
        with self._archive.database.transaction():
            study = self._archive.studies.get(study.key)  # it may have changed since
            joined = self._joined(study)
            if joined != study and study.state in OPEN:
                self._archive.studies.save(joined)
                log.info("study %s joined with its order", study.key)

    def _joined(self, study: StudyRecord) -> StudyRecord:
        order = self._order(study)
        if order is None:
            return study
        return msgspec.structs.replace(study, header=with_order(study.header, order), urgent=study.urgent or order.urgent)


def with_order(header: StudyHeader, order: Order) -> StudyHeader:
    """The header with what the order knows and the images do not say."""
    return msgspec.structs.replace(
        header,
        accession_number=header.accession_number or order.accession_number,
        referring_physician=header.referring_physician or order.referring_physician,
        requested_procedure=header.requested_procedure or order.requested_procedure,
        study_description=header.study_description or order.study_description,
    )
