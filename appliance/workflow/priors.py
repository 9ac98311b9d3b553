"""Earlier examinations: asked for when a study has arrived, fetched in the background, never analysed and never sent on.

A thread of its own that only talks to archives: nothing waits for it. What was found is noted before anything is fetched, so that intake
knows the images by their study when they come.

    WF-090  an earlier examination, fetched for comparison
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import date

from appliance.archive.archive import Archive
from appliance.archive.priors import FoundPrior
from appliance.archive.studies import StudyRecord
from appliance.dicom.prior_get import get_prior
from appliance.dicom.prior_scu import fetch_prior, find_priors
from appliance.errors import DicomError, Reason
from appliance.settings import PriorsSettings, Settings
from appliance.workflow.probe import own_door
from appliance.workflow.workers import Work

log = logging.getLogger(__name__)

EARLIER = Reason(code="WF-090", zh="既往检查,仅供对比", en="an earlier examination, for comparison only")
AT_A_TIME = 5
IDLE_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0


class PriorFetcher:
    """Asks one archive. One thread calls `run`.

    Args:
        settings: the archive.
        archive: studies and what was found for them.
        receiver: our receiver's AE title, to which the archive sends.
        today: local date.
        find: asks; another one in tests of failures.
        fetch: has a study sent.
    """

    def __init__(
        self,
        *,
        settings: PriorsSettings,
        archive: Archive,
        receiver: str,
        today: Callable[[], date],
        find: Callable[..., list[FoundPrior]] = find_priors,
        fetch: Callable[..., None] = fetch_prior,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._receiver = receiver
        self._today = today
        self._find = find
        self._fetch = fetch
        self._wait_s = FIRST_WAIT_S

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop; an archive that is down is asked again, later and later."""
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            if self.step():
                self._wait_s = FIRST_WAIT_S
                watcher.wait(IDLE_S, stopped=stop.wait)
            else:
                stop.wait(self._wait_s)
                self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        watcher.close()

    def step(self) -> bool:
        """Ask for the studies that are new; False if the archive did not answer."""
        component = f"priors {self._settings.name}"
        for key in self._archive.priors.unasked(self._settings.name, limit=AT_A_TIME):
            study = self._archive.studies.get(key)
            try:
                found = [each for each in self._find(self._settings, study.header, today=self._today()) if not self._is_here(each)]
            except DicomError as error:
                log.warning("%s cannot be asked for earlier examinations: %s", self._settings.name, error.code)
                name = self._settings.name
                shown = Reason(error.code, zh=f"{name}:无法查询既往检查,{error.zh}", en=f"{name}: no earlier examinations, {error.en}")
                self._archive.components.report(component, ready=False, reason=shown)
                return False
            self._archive.priors.found(key, found, source=self._settings.name)
            self._archive.components.report(component, ready=True)
            for prior in found:
                self._retrieve(study, prior)
        return True

    def _is_here(self, prior: FoundPrior) -> bool:
        """Whether the box has the study already: then it is shown as its own."""
        return self._archive.studies.find(prior.study_uid) is not None

    def _retrieve(self, study: StudyRecord, prior: FoundPrior) -> None:
        if self._settings.retrieve == "list":
            return
        try:
            self._fetch(self._settings, prior.study_uid, receiver=self._receiver)
        except DicomError as error:
            log.warning("an earlier examination cannot be fetched from %s: %s", self._settings.name, error.code)
            self._archive.priors.settle(study.key, prior.study_uid, reason=error.reason)
        else:
            self._archive.priors.settle(study.key, prior.study_uid, reason=None)
            log.info("study %s: an earlier examination came from %s", study.key, self._settings.name)


def prior_workers(settings: Settings, archive: Archive, *, today: Callable[[], date]) -> dict[str, Work]:
    """Name -> what its thread runs, one for each archive that is asked."""
    return {f"priors {each.name}": prior_fetcher(each, settings, archive, today=today).run for each in settings.priors if each.enabled}


def prior_fetcher(source: PriorsSettings, settings: Settings, archive: Archive, *, today: Callable[[], date]) -> PriorFetcher:
    """Asks one archive, and fetches in the way that the settings say."""
    fetch: Callable[..., None] = fetch_prior
    if source.retrieve == "get":
        scratch = archive.data / "priors"
        scratch.mkdir(exist_ok=True)
        door = own_door(settings.receiver)

        def fetch(source: PriorsSettings, study_uid: str, **_: object) -> None:
            get_prior(source, study_uid, door=door, scratch=scratch)

    return PriorFetcher(settings=source, archive=archive, receiver=settings.receiver.ae_title, today=today, fetch=fetch)
