"""The analyst: takes queued studies one by one, makes their drafts, and makes what an approval releases.

It is a process of its own. Anything that may have hurt the engines (an engine error, an error nobody foresaw) ends the process after the
study has been put back; the daemon starts another one, which tests itself before it takes the next study. A study that has ended the
process three times is not tried again but shown as failed.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from appliance.archive.archive import Archive
from appliance.archive.instance_files import hold_lock
from appliance.archive.studies import StudyRecord
from appliance.errors import ArchiveError, CoronetError, InferenceError, Reason, WorkflowError
from appliance.findings import Earlier, Findings
from appliance.settings import Settings
from appliance.study import Approval
from appliance.workflow.box import POWER, may_begin
from appliance.workflow.comparing import newest_earlier
from appliance.workflow.entries import read_results
from appliance.workflow.release import Released, draft_name, enlist, release_name
from appliance.workflow.states import Facts, StudyEvent, StudyMachine

log = logging.getLogger(__name__)

MAXIMUM_ATTEMPTS = 3
PROGRESS_S = 0.5
IDLE_S = 5.0
EXIT_STOPPED, EXIT_SELF_TEST, EXIT_ENGINE, EXIT_FAULT = 0, 3, 4, 5

CRASHED = Reason(code="WF-020", zh="分析进程三次意外终止,未得出结果", en="the analysis ended unexpectedly three times; there is no result")
FAULT = Reason(code="WF-021", zh="分析时发生内部错误", en="internal fault during the analysis")


Progress = Callable[[str, float], None]


class DraftMaker(Protocol):
    """What the analyst does to a study, behind one door."""

    def self_test(self) -> str:
        """Load the engines and run the golden case; returns the engine's name. Raises InferenceError."""
        ...

    def draft(
        self, images: Sequence[Path], folder: Path, *, main_series: str | None, progress: Progress, earlier: Earlier | None = None
    ) -> Findings:
        """Analyse a study and write its draft to ``folder``, which appears whole; a folder that is there already is read.

        ``earlier`` is what the result is compared with.
        """
        ...

    def release(self, images: Sequence[Path], folder: Path, released: Path, *, approval: Approval, progress: Progress) -> Released:
        """Make films and objects of an approved draft in ``released``, which appears whole."""
        ...


class Stopped(BaseException):
    """The process was told to stop: like KeyboardInterrupt an order, not an error."""


class SupersededError(WorkflowError):
    """Images came while the study was being worked on: this result would be of an older generation and is dropped."""

    def __init__(self) -> None:
        super().__init__("WF-004", zh="检查又收到了新影像,本次结果作废", en="further images came, this result is dropped")


@dataclass(frozen=True)
class Job:
    """A study to be worked on, as it was taken."""

    study: StudyRecord
    release: bool


class Analyst:
    """See the module. One analyst at a time works on an archive.

    Args:
        archive: studies, images, outbox.
        machine: carries the transitions out.
        drafts: does the work.
        settings: destinations and printers of what is released.
    """

    def __init__(self, *, archive: Archive, machine: StudyMachine, drafts: DraftMaker, settings: Settings) -> None:
        self._archive = archive
        self._machine = machine
        self._drafts = drafts
        self._settings = settings

    def run(self, stop: threading.Event) -> int:
        """Work until told to stop, or until the process must not go on; returns the exit status."""
        try:
            engine = self._drafts.self_test()
        except CoronetError as error:
            log.error("self-test failed: %s", error)  # noqa: TRY400 - the typed error says it all
            self._archive.components.report("analyst", ready=False, reason=error.reason)
            return EXIT_SELF_TEST
        self.resume()
        self._archive.components.report("analyst", ready=True, detail=engine)
        log.info("ready on %s", engine)
        watcher = self._archive.database.watcher()
        try:
            while not stop.is_set():
                job = self.take()
                if job is None:
                    watcher.wait(IDLE_S, stopped=stop.wait)
                elif (status := self.work(job)) is not None:
                    return status
        except Stopped:
            pass
        finally:
            self._archive.components.report("analyst", ready=False)
        return EXIT_STOPPED

    def resume(self) -> None:
        """At start: studies that an analyst which died had in hand are queued again, or failed after too many attempts."""
        for study in self._archive.studies.in_state("analysing"):
            if study.attempts >= MAXIMUM_ATTEMPTS:
                self._machine.apply(study.key, "analysis_failed", facts=Facts(reason=CRASHED))
            else:
                self._machine.apply(study.key, "interrupted")
            log.warning("study %s was left by an analyst that died, attempt %d", study.key, study.attempts)

    def take(self) -> Job | None:
        """Claim the next piece of work: an approved study first (a person waits for the films), else a queued one."""
        for study in self._archive.studies.in_state("approved"):
            try:
                if study.attempts >= MAXIMUM_ATTEMPTS:
                    self._machine.apply(study.key, "release_failed", facts=Facts(reason=CRASHED))
                else:
                    return Job(self._machine.apply(study.key, "release_begun", generation=study.generation), release=True)
            except WorkflowError:
                log.info("study %s changed before it was taken", study.key)
        if not may_begin(self._archive.components.get(POWER)):
            return None
        for study in self._archive.studies.in_state("queued"):
            try:
                return Job(self._machine.apply(study.key, "claimed", generation=study.generation), release=False)
            except WorkflowError:
                log.info("study %s changed before it was taken", study.key)
        return None

    def work(self, job: Job) -> int | None:
        """Do one piece of work; an exit status if the process must end after it."""
        study = job.study
        try:
            if job.release:
                self._release(study)
            else:
                self._analyse(study)
        except SupersededError:
            log.info("study %s has got further images, result dropped", study.key)
        except Stopped:
            self._put_back(job, None, stopped=True)
            raise
        except InferenceError as error:
            log.error("study %s: engine error %s", study.key, error)  # noqa: TRY400 - the typed error says it all
            self._put_back(job, error.reason)
            return EXIT_ENGINE
        except ArchiveError:
            raise  # the database itself fails: nothing can be recorded, the supervisor starts afresh
        except CoronetError as error:
            log.warning("study %s: %s", study.key, error)
            self._fail(job, error.reason)
        except Exception as error:  # noqa: BLE001 - an error nobody foresaw may have left anything behind: the process ends
            # its message may hold patient data, the frames do not
            log.error("study %s: %s\n%s", study.key, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))  # noqa: TRY400
            self._put_back(job, FAULT)
            return EXIT_FAULT
        return None

    def _analyse(self, study: StudyRecord) -> None:
        images = [each.path for each in self._archive.index.of_study(study.key)]
        name, progress = draft_name(study), self._progress(study)
        earlier = newest_earlier(self._archive, study)
        folder = self._archive.drafts / name
        findings = self._drafts.draft(images, folder, main_series=study.main_series, progress=progress, earlier=earlier)
        cad_rads = findings.cad_rads.text if findings.cad_rads else None
        match findings.status:
            case "analysed":
                self._transition(study, "analysed", Facts(draft=name, cad_rads=cad_rads))
            case "declined":
                self._transition(study, "declined", Facts(draft=name, reason=findings.reason))
            case "failed":
                self._transition(study, "analysis_failed", Facts(reason=findings.reason or FAULT))
        log.info("study %s %s", study.key, findings.status)

    def _release(self, study: StudyRecord) -> None:
        if study.draft is None or study.approval is None:
            raise WorkflowError("WF-022", zh="已审核的检查缺少草稿", en="an approved study has no draft")
        images = self._archive.index.of_study(study.key)
        folder = self._archive.drafts / study.draft
        released = self._archive.drafts / release_name(study)
        made = self._drafts.release(
            [each.path for each in images], folder, released, approval=study.approval, progress=self._progress(study)
        )
        entries = read_results(self._archive, made.objects)
        with self._machine.transaction():
            self._transition(study, "released")
            self._archive.found.replace_results(entries, study=study.key)
            if not enlist(made, study=study, archive=self._archive, settings=self._settings):
                self._transition(study, "delivery_done")
        log.info("study %s released", study.key)

    def _transition(self, study: StudyRecord, event: StudyEvent, facts: Facts | None = None) -> None:
        """Apply an event that belongs to the study as it was taken.

        Raises:
            SupersededError: the study has moved on.
        """
        try:
            self._machine.apply(study.key, event, facts=facts, generation=study.generation)
        except WorkflowError as error:
            raise SupersededError from error

    def _put_back(self, job: Job, reason: Reason | None, *, stopped: bool = False) -> None:
        """The work was not finished: leave it for the next process, or give it up after too many attempts."""
        exhausted = job.study.attempts >= MAXIMUM_ATTEMPTS
        if exhausted and not stopped:
            self._fail(job, reason or CRASHED)
        elif not job.release:
            with contextlib.suppress(SupersededError):
                self._transition(job.study, "stopped" if stopped else "interrupted")

    def _fail(self, job: Job, reason: Reason) -> None:
        with contextlib.suppress(SupersededError):
            self._transition(job.study, "release_failed" if job.release else "analysis_failed", Facts(reason=reason))

    def _progress(self, study: StudyRecord) -> Progress:
        """A listener that notes progress at most every `PROGRESS_S` (a new stage at once) and ends work on a study that has moved on."""
        clock = self._archive.clock
        last_stage, last_time = "", -PROGRESS_S

        def report(stage: str, fraction: float) -> None:
            nonlocal last_stage, last_time
            now = clock.monotonic()
            if stage == last_stage and now - last_time < PROGRESS_S:
                return
            last_stage, last_time = stage, now
            if not self._archive.studies.report_progress(study.key, generation=study.generation, stage=stage, progress=fraction):
                raise SupersededError

        return report


def run_analyst(archive: Archive, *, drafts: DraftMaker, settings: Settings) -> int:
    """The analyst process: work until SIGTERM, which ends the analysis in hand and queues its study again; returns the exit status.

    Raises:
        ArchiveError: another analyst works on this archive, or the database fails.
    """
    held = hold_lock(archive.data / "analyst.lock", what="analyst")
    stop = threading.Event()
    told: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # the first signal only; raised between two steps of Python, so that a transaction in progress is rolled back
        if not told:
            told.append(number)
            # by a thread: the process may just hold the event's own lock, in `wait`, and would wait for itself for ever
            _thread.start_new_thread(stop.set, ())
            raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    machine = StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)
    try:
        return Analyst(archive=archive, machine=machine, drafts=drafts, settings=settings).run(stop)
    except Stopped:
        return EXIT_STOPPED
    finally:
        held.close()
