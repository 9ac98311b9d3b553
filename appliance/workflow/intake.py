"""Intake: sorts arriving images into studies, says when a study is complete, and chooses the series to analyse.

A series is complete when its associations are released, its geometry is whole and it has been quiet for a while; a study that stays
incomplete is judged as it is after a longer silence. All timers run on the monotonic clock and start anew with the process, so neither a
step of the clock nor a restart completes a study too early. What cannot be read is put aside visibly; nothing is ever dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.archive.archive import Archive
from appliance.archive.found import InstanceEntry
from appliance.archive.index import Instance
from appliance.archive.studies import StudyRecord
from appliance.errors import CoronetError, Reason, WorkflowError
from appliance.settings import IntakeSettings
from appliance.settings.receiver import Workflow
from appliance.study import StudyHeader
from appliance.workflow.entries import read_entry
from appliance.workflow.late_series import CAME_LATER, arrival
from appliance.workflow.priors import EARLIER
from appliance.workflow.routing import RouteFacts, Router, enlist_files, facts_of
from appliance.workflow.states import Facts, StudyEvent, StudyMachine

log = logging.getLogger(__name__)

BATCH = 200
"""Images sorted in one transaction."""
TICK_S = 0.25
SETTLED_S = 1.0
"""After so much silence a series is examined, though it is not decided upon before the quiet time is over."""
IDLE_S = 5.0

UNREADABLE = Reason(code="WF-012", zh="序列的影像信息无法解析", en="the headers of the series cannot be understood")
NOT_ASKED_FOR = Reason(
    code="WF-014",
    zh="按接收 AE 标题的设置,本检查不做分析",
    en="images sent to this AE title are not analysed, by the settings of the receiver",
)
NO_SERIES = Reason(code="WF-013", zh="检查中没有可分析的影像", en="the study holds no image that could be analysed")


@dataclass(frozen=True)
class Verdict:
    """What was found of one series.

    Attributes:
        reason: why it may not be analysed; None: it may.
        complete: whether its geometry is whole.
        slices: how many slices would be analysed.
        from_diastole: how far its cardiac phase is from the one that is usually read.
        header: its identification.
    """

    series_uid: str
    reason: Reason | None
    complete: bool
    slices: int
    from_diastole: float = 0.0
    header: StudyHeader | None = None


class Examiner(Protocol):
    """Judges one series by its headers (no pixels)."""

    def __call__(self, series_uid: str, paths: Sequence[Path]) -> Verdict:
        """May raise a CoronetError where the images do not make a series; its reason is the verdict then."""
        ...


class Intake:
    """See the module. One thread calls `step` or `run`.

    Args:
        archive: instances, studies, outbox.
        machine: carries the transitions out.
        settings: the quiet times.
        router: says where the source images go.
        examine: judges a series.
        identify: reads study and series of one file.
        workflow_of: what happens to images, by the title of ours that they were sent to.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        machine: StudyMachine,
        settings: IntakeSettings,
        router: Router,
        examine: Examiner,
        identify: Callable[[Path], StudyHeader],
        workflow_of: Callable[[str], Workflow] = lambda _: "analyse",
    ) -> None:
        self._archive = archive
        self._machine = machine
        self._settings = settings
        self._router = router
        self._examine = examine
        self._identify = identify
        self._workflow_of = workflow_of
        self._last_image: dict[str, float] = {}
        self._verdicts: dict[str, tuple[int, list[Verdict]]] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            waiting = self.step()
            if waiting:
                stop.wait(TICK_S)
            else:
                watcher.wait(IDLE_S, stopped=stop.wait)
        watcher.close()

    def step(self) -> bool:
        """Sort what has arrived, then look at every study that is not complete; True while some timer runs."""
        while self._sort_batch():
            pass
        receiving = self._archive.studies.in_state("receiving")
        for study in receiving:
            self._judge(study)
        unrelayed = self._archive.index.with_unrelayed()
        for key in unrelayed:
            self._relay(key)
        return bool(receiving or unrelayed)

    # -- sorting

    def _sort_batch(self) -> bool:
        images = self._archive.index.unsorted(limit=BATCH)
        read = [(image, self._identity(image)) for image in images]
        with self._machine.transaction():
            for image, identity in read:
                if isinstance(identity, Reason):
                    self._archive.index.quarantine(image.id, problem=identity)
            sorted_images = [(image, identity) for image, identity in read if isinstance(identity, StudyHeader)]
            for study_uid in dict.fromkeys(identity.study_uid for _, identity in sorted_images):
                self._add_to_study([(image, identity) for image, identity in sorted_images if identity.study_uid == study_uid])
        return len(images) == BATCH

    def _identity(self, image: Instance) -> StudyHeader | Reason:
        try:
            return self._identify(image.path)
        except WorkflowError as error:
            log.warning("instance %d put aside: %s %s", image.id, error.code, error.details.get("cause", ""))
            return error.reason

    def _add_to_study(self, images: Sequence[tuple[Instance, StudyHeader]]) -> None:
        first = images[0][1]
        study = self._archive.studies.find(first.study_uid) or self._archive.studies.create(first)
        self._archive.found.add([self._entry(image, identity) for image, identity in images], study=study.key)
        for image, identity in images:
            self._archive.index.sort(image.id, study=study.key, series_uid=identity.series_uid)
        self._last_image[study.key] = self._archive.clock.monotonic()
        series = {identity.series_uid for _, identity in images}
        others = [image.path for image, identity in images if identity.series_uid != study.main_series]
        event = arrival(self._archive, study, series, others)
        self._machine.apply(study.key, event, facts=Facts(images=len(images), reason=CAME_LATER if event == "series_came" else None))

    def _entry(self, image: Instance, identity: StudyHeader) -> InstanceEntry:
        """What the search index keeps of an image; only its identity where its other attributes cannot be read."""
        relative = self._archive.relative(image.path)
        try:
            return read_entry(image.path, relative=relative)
        except Exception as error:  # noqa: BLE001 - an odd attribute must not keep the image from its study
            log.warning("instance %d is found by its identity only: %s", image.id, type(error).__name__)
            return InstanceEntry(image.sop_instance_uid, image.sop_class_uid, "", identity.series_uid, relative)

    # -- completion

    def _judge(self, study: StudyRecord) -> None:
        quiet = self._quiet(study.key)
        stalled = quiet >= self._settings.stalled_seconds
        if (self._archive.index.association_open(study.key) and not stalled) or quiet < min(SETTLED_S, self._settings.quiet_seconds):
            return
        verdicts = self._examine_study(study)  # while the silence lasts, so that it costs no time after it
        if quiet < self._settings.quiet_seconds:
            return
        if not stalled and self._archive.procedure_steps.awaited(study.study_uid, study=study.key):
            return  # the CT says that it made more images of these series than have come
        chosen = choose(verdicts)
        if self._archive.priors.is_prior(study.study_uid):
            self._finish(study, "declined", Facts(reason=EARLIER))
        elif not self._asked_for(study.key):
            self._finish(study, "declined", Facts(reason=NOT_ASKED_FOR))
        elif chosen is not None:
            self._finish(study, "completed", Facts(main_series=chosen.series_uid, header=chosen.header), slices=chosen.slices)
        elif stalled or all(verdict.complete for verdict in verdicts):
            largest = max(verdicts, key=lambda verdict: verdict.slices, default=None)
            self._finish(study, "declined", Facts(reason=(largest and largest.reason) or NO_SERIES))

    def _finish(self, study: StudyRecord, event: StudyEvent, facts: Facts, **details: int) -> None:
        # the study may have got an image since: then its count differs and the silence begins again
        with self._machine.transaction():
            if self._archive.studies.get(study.key).images != study.images:
                return
            self._machine.apply(study.key, event, facts=facts, generation=study.generation, details=details)
        self._verdicts.pop(study.key, None)
        log.info("study %s %s", study.key, event)

    def _asked_for(self, key: str) -> bool:
        """Whether any image of the study came to a title whose images are analysed, or by no association at all (import)."""
        return any(self._workflow_of(called) == "analyse" for called in self._archive.index.called_titles(key))

    def _quiet(self, key: str) -> float:
        """Seconds since the last image of a study was seen by this process, or since the process first saw the study."""
        now = self._archive.clock.monotonic()
        return now - self._last_image.setdefault(key, now)

    def _examine_study(self, study: StudyRecord) -> list[Verdict]:
        """A verdict per series, kept until a further image comes."""
        kept = self._verdicts.get(study.key)
        if kept is not None and kept[0] == study.images:
            return kept[1]
        series: dict[str, list[Path]] = {}
        for image in self._archive.index.of_study(study.key):
            series.setdefault(image.series_uid or "", []).append(image.path)
        verdicts = [self._verdict(uid, paths) for uid, paths in series.items()]
        self._verdicts[study.key] = (study.images, verdicts)
        return verdicts

    def _verdict(self, series_uid: str, paths: Sequence[Path]) -> Verdict:
        try:
            return self._examine(series_uid, paths)
        except CoronetError as error:
            return Verdict(series_uid, reason=error.reason, complete=False, slices=len(paths))
        except Exception as error:  # noqa: BLE001 - whatever strange headers do, the study is declined visibly and the loop goes on
            log.error("a series could not be examined: %s", type(error).__name__)  # noqa: TRY400 - its message may hold patient data
            return Verdict(series_uid, reason=UNREADABLE, complete=False, slices=len(paths))

    # -- relay

    def _relay(self, key: str) -> None:
        """Enlist images for those who get the source, once the study has been quiet."""
        if self._router.sends("source") and self._quiet(key) < self._settings.quiet_seconds:
            return
        study = self._archive.studies.get(key)
        facts = facts_of(self._archive, study, self._archive.index.unrelayed(key)) if self._router.asks_facts else []
        with self._machine.transaction():
            study = self._archive.studies.get(key)
            images = self._archive.index.take_unrelayed(key, most=len(facts) or None)
            titles = self._archive.index.called_titles(key)
            if self._archive.priors.is_prior(study.study_uid) or all(self._workflow_of(called) == "archive-only" for called in titles):
                return
            for consignment in self._router.consign(facts or [RouteFacts(urgent=study.urgent)] * len(images), what="source"):
                files = [images[number].path for number in consignment.instances]
                text = f"原始影像 {len(files)} 幅 / {len(files)} source images"
                enlist_files(consignment, archive=self._archive, study=study, what="source", files=files, description=text)


def choose(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The main CCTA series: of those that may be analysed and are whole, the one with most slices, then the one nearest to diastole.

    Of two alike it is the same whichever came first.
    """
    usable = [verdict for verdict in verdicts if verdict.reason is None and verdict.complete]
    return min(usable, key=lambda verdict: (-verdict.slices, verdict.from_diastole, verdict.series_uid), default=None)
