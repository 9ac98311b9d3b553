"""From a study's images to the draft that a person looks at, and from the approved draft to films and DICOM objects.

Used alike by the analyst process and by the command line.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
from PIL import Image
from pydicom.uid import generate_uid

from appliance.analysis.golden import check_models
from appliance.analysis.pipeline import Models, Options, Progress, analyze
from appliance.analysis.reading import StudyInput, read_study
from appliance.errors import CoronetError, InferenceError, Reason
from appliance.film.pages import make_film_pages
from appliance.findings import Earlier, Findings
from appliance.imaging.keyviews import make_key_views
from appliance.imaging.on_card import drawn_by
from appliance.inference.choose import trouble_of
from appliance.inference.tensorrt_engine import TensorRtEngine
from appliance.report.objects import make_objects, write_objects
from appliance.report.pdf import make_pdf
from appliance.report.text import write_report
from appliance.settings import PrinterSettings, Settings
from appliance.study import Approval, KeyView, ReportText, StudyHeader
from appliance.volume import Volume
from appliance.workflow.draft_folder import (
    Draft,
    FurtherSource,
    read_draft,
    read_structures,
    whole_folder,
    write_key_views,
    write_structures,
)
from appliance.workflow.engine_plan import BUILD_STEP_PERCENT, OnEngine, building, gpu_plan
from appliance.workflow.release import Released
from appliance.workflow.warmup import warm_up

log = logging.getLogger(__name__)

ANALYSIS_SHARE = 0.8
"""Part of a draft's time that the analysis takes; pictures and report take the rest."""


def make_draft(
    study: StudyInput,
    folder: Path,
    *,
    models: Models,
    settings: Settings,
    progress: Progress | None = None,
    timing: Mapping[str, float] | None = None,
    earlier: Earlier | None = None,
) -> Findings:
    """Analyse, make the pictures, write the report, compared with an ``earlier`` one; ``folder`` appears when all of it is there.

    A declined study gets a folder too: findings with the reason and a short report, without pictures.

    Raises:
        CoronetError: a stage failed; no folder appears.
    """

    def analysing(stage: str, part: float) -> None:
        if progress is not None:
            progress(stage, ANALYSIS_SHARE * part)

    def drawing(_: str, part: float) -> None:
        if progress is not None:
            progress("key_views", ANALYSIS_SHARE + (1 - ANALYSIS_SHARE) * part)

    options = Options(bands=settings.policy.stenosis_bands, calcium_mass_factor=settings.analysis.calcium_mass_factor)
    analysis = analyze(study, models=models, options=options, progress=analysing, timing=timing)
    study, findings, views = analysis.study, analysis.findings, list[KeyView]()
    if findings.status == "analysed":
        findings = msgspec.structs.replace(findings, earlier=earlier)
    header = study.main.header
    seconds = {name: value for name, value in findings.timing_s.items() if name != "total"}
    with whole_folder(folder) as part:
        if findings.status == "analysed" and analysis.heart is not None:
            start = time.perf_counter()
            structures = analysis.heart.structures
            draw = partial(make_key_views, findings=findings, structures=structures, others=analysis.others, progress=drawing)
            views = drawn_by(models.engine, study.main.volume, draw)
            write_structures(structures, part)
            seconds["key_views"] = round(time.perf_counter() - start, 3)
        start = time.perf_counter()
        write_key_views(views, part / "key-views")
        (part / "header.json").write_bytes(msgspec.json.encode(header))
        (part / "source.json").write_bytes(msgspec.json.encode(study.main.sop_instances))
        (part / "further.json").write_bytes(msgspec.json.encode(further_sources(study, findings)))
        _write_report(part, header, findings, views, approval=None, institution=settings.policy.institution)
        seconds["report"] = round(time.perf_counter() - start, 3)
        seconds["total"] = round(sum(seconds.values()), 3)
        findings = msgspec.structs.replace(findings, timing_s=seconds)
        (part / "findings.json").write_bytes(findings.to_json())
    return findings


def correct_draft(folder: Path, corrected: Path, *, change: Callable[[Findings], Findings], institution: str = "") -> Findings:
    """A new draft folder with a person's correction; findings, scores, CAD-RADS and report follow, pictures are linked.

    Args:
        folder: the draft as it was.
        corrected: the new folder.
        change: the findings after the correction, from those before.
        institution: stands on the report.

    Raises:
        CoronetError: the correction does not fit the findings; no folder appears.
    """
    draft = read_draft(folder)
    findings = change(draft.findings)
    with whole_folder(corrected) as part:
        for name in ("header.json", "source.json", "further.json", "structures.npz"):
            if (folder / name).exists():  # drafts of earlier versions have no further.json
                os.link(folder / name, part / name)
        shutil.copytree(folder / "key-views", part / "key-views", copy_function=os.link)
        (part / "findings.json").write_bytes(findings.to_json())
        _write_report(part, draft.header, findings, draft.key_views, approval=None, institution=institution)
    return findings


def make_release(
    folder: Path,
    released: Path,
    *,
    approval: Approval,
    study: Callable[[], StudyInput],
    settings: Settings,
    progress: Progress | None = None,
) -> Released:
    """Make what an approval releases, in a new folder ``released`` that appears whole.

    Args:
        folder: the approved draft.
        released: where the release goes; an existing one is kept as it is (the work was done before a restart).
        approval: who approved, as what, when.
        study: reads the images again; called only where a correction made the pictures out of date.
        settings: printers (their page sizes) and institution.
        progress: told stage and part done.
    """
    if not released.exists():
        draft = read_draft(folder)
        views = _current_views(draft, study, progress)
        # people read local time, and DICOM times without an offset are local (PS3.5 6.2)
        approval = msgspec.structs.replace(approval, at=approval.at.astimezone())
        institution = settings.policy.institution
        with whole_folder(released) as part:
            report = _write_report(part, draft.header, draft.findings, views, approval=approval, institution=institution)
            shutil.copy2(folder / "findings.json", part / "findings.json")
            pdf = (part / "report.pdf").read_bytes()
            kinds = {"objects": False, "clear": True} if _pseudonymised(settings) else {"objects": False}
            for name, clear in kinds.items():
                objects = make_objects(
                    draft.header,
                    draft.findings,
                    report,
                    pdf,
                    views,
                    draft.source,
                    further=draft.further,
                    approval=approval,
                    uids=_repeatable_uids(draft.header.study_uid, released.name),
                    now=approval.at,
                    institution=institution,
                    clear=clear,
                )
                write_objects(objects, part / name)
            for printer in settings.printer:
                _write_pages(part, draft, views, printer, approval=approval, institution=institution)
    pages = {printer.name: _pages_in(released / "film" / _page_folder(printer)) for printer in settings.printer}
    objects_in, clear_in = (tuple(sorted((released / name).glob("*.dcm"))) for name in ("objects", "clear"))
    return Released(objects=objects_in, pages=pages, clear=clear_in)


def _pseudonymised(settings: Settings) -> bool:
    """Whether results go anywhere without the patient."""
    return any(route.enabled and route.pseudonymise and "results" in route.send for route in settings.route)


def preview_release(draft: Draft, folder: Path, *, printer: PrinterSettings | None = None, institution: str = "", now: datetime) -> None:
    """Objects and film pages of an unapproved draft, marked as such, for the command line; they are never sent or printed."""
    uids = _repeatable_uids(draft.header.study_uid, draft.folder.name)
    pdf = (draft.folder / "report.pdf").read_bytes()
    views = list(draft.key_views)
    objects = make_objects(
        draft.header,
        draft.findings,
        draft.report,
        pdf,
        views,
        draft.source,
        further=draft.further,
        approval=None,
        uids=uids,
        now=now,
        institution=institution,
    )
    write_objects(objects, folder / "objects")
    if printer is not None and draft.findings.status == "analysed":
        _write_pages(folder, draft, views, printer, approval=None, institution=institution)


def _current_views(draft: Draft, study: Callable[[], StudyInput], progress: Progress | None) -> list[KeyView]:
    """The draft's key views; drawn again where a corrected grade or name is written in them, or an artery came back."""
    graded = all(lesion.grade_source == "measured" for lesion in draft.findings.lesions)
    rejected = draft.findings.entered.grafts is False and draft.findings.grafts
    if graded and not rejected and all(branch.name_source == "measured" for branch in draft.findings.branches):
        return list(draft.key_views)
    structures = read_structures(draft.folder)
    images = study()
    volume, others = images.holding(draft.source).volume, _further(images, draft.findings)
    drawing = None if progress is None else lambda _, part: progress("key_views", part)
    return make_key_views(volume, draft.findings, structures=structures, others=others, progress=drawing)


def further_sources(study: StudyInput, findings: Findings) -> FurtherSource:
    """The images of the series beside the main one that something in the findings was measured in, or that were read for it in vain."""
    read = {series.series_uid for series in findings.other_series if series.read}
    if findings.calcium is not None:
        read.add(findings.calcium.series_uid)
    every = (*study.phases, *([] if study.calcium is None else [study.calcium]))
    return tuple((source.header.series_uid, source.sop_instances) for source in every if source.header.series_uid in read)


def _further(study: StudyInput, findings: Findings) -> dict[str, Volume]:
    """The volume of each further series that a branch was measured in."""
    wanted = {branch.series_uid for branch in findings.branches if branch.series_uid is not None}
    every = (*study.phases, *([] if study.main_source is None else [study.main_source]))
    return {source.header.series_uid: source.read().volume for source in every if source.header.series_uid in wanted}


def _write_report(
    part: Path,
    header: StudyHeader,
    findings: Findings,
    views: Sequence[KeyView],
    *,
    approval: Approval | None,
    institution: str,
) -> ReportText:
    report = write_report(header, findings, approval=approval, institution=institution)
    (part / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    (part / "report.pdf").write_bytes(make_pdf(report, header, list(views), approval=approval, findings=findings))
    return report


def _write_pages(
    part: Path, draft: Draft, views: Sequence[KeyView], printer: PrinterSettings, *, approval: Approval | None, institution: str
) -> None:
    folder = part / "film" / _page_folder(printer)
    if folder.exists():
        return
    folder.mkdir(parents=True)
    pages = make_film_pages(
        draft.header,
        draft.findings,
        list(views),
        page_pixels=printer.page_pixels,
        orientation=printer.orientation,
        institution=institution,
        approval=approval,
    )
    for page in pages:
        Image.fromarray(page.image).save(folder / f"page-{page.number}.png", compress_level=1)


def _pages_in(folder: Path) -> tuple[Path, ...]:
    """The pages by their numbers, 10 after 9."""
    return tuple(sorted(folder.glob("page-*.png"), key=lambda path: int(path.stem.removeprefix("page-"))))


def _page_folder(printer: PrinterSettings) -> str:
    columns, rows = printer.page_pixels
    return f"{columns}x{rows}-{printer.orientation.lower()}"


def _repeatable_uids(study_uid: str, name: str) -> Callable[[], str]:
    """UIDs that are the same when the same release is made again after a crash, so that a PACS never gets it twice."""
    count = 0

    def next_uid() -> str:
        nonlocal count
        count += 1
        return str(generate_uid(entropy_srcs=[study_uid, name, str(count)]))

    return next_uid


class StudyDrafts:
    """What the analyst process does to a study; the models are loaded by its self-test and kept.

    Args:
        settings: engine, printers, institution.
        on_engine: told of the engine whenever there is news: whether it works as it should, a word on it, and why it does not.
    """

    def __init__(self, *, settings: Settings, on_engine: OnEngine | None = None) -> None:
        self._settings = settings
        self._on_engine = on_engine or (lambda _ready, _detail, _reason: None)
        self._no_card: Reason | None = None
        self._built = "", -1
        self._models: Models | None = None

    def self_test(self) -> str:
        """Load the models, run the golden case and compile what will be needed; the engine in words.

        Raises:
            InferenceError: a model is missing or altered, or gives other answers than it should.
        """
        try:
            models = self._sound_models()
        except CoronetError:
            self._on_engine(True, "", None)  # why there is no engine at all stands in the analyst's own row
            raise
        self._models = models
        self._tell(models)
        return f"{models.engine.name} {models.engine.precision}"

    def _sound_models(self) -> Models:
        self._models = self._no_card = None
        quantised = self._settings.inference.quantised
        try:
            models = self._checked_models(int8=quantised)
        except InferenceError as error:
            if error.code != "INF-051" or not quantised:
                raise
            log.warning("tried again without INT8: %s", error)  # a processor may do INT8 otherwise than those that it was judged on
            models = self._checked_models(int8=False)
        warm_up()
        if isinstance(models.engine, TensorRtEngine):
            models.engine.keep_compiled()
        return models

    def _checked_models(self, *, int8: bool) -> Models:
        wanted = self._settings.analysis
        plan = gpu_plan(self._settings, on_build=self._building, on_trouble=self._without_card)
        models = Models.load(catalog=wanted.catalog, engine=wanted.engine, threads=wanted.threads, int8=int8, gpu=plan)
        check_models(models)
        return models

    def draft(
        self, images: Sequence[Path], folder: Path, *, main_series: str | None = None, progress: Progress, earlier: Earlier | None = None
    ) -> Findings:
        """Analyse a study and write its draft; a folder that is there already was finished before a restart and is read.

        Raises:
            CoronetError: a stage failed.
        """
        if folder.exists():
            return read_draft(folder).findings
        if self._models is None:
            self.self_test()
        models = self._models
        assert models is not None  # noqa: S101 - set by the self-test
        if isinstance(models.engine, TensorRtEngine):
            models.engine.begin_study()
        start = time.perf_counter()
        progress("read", 0.0)
        study = read_study(images, main_series=main_series)
        seconds = round(time.perf_counter() - start, 3)
        try:
            return make_draft(
                study, folder, models=models, settings=self._settings, progress=progress, timing={"read": seconds}, earlier=earlier
            )
        finally:
            self._tell(models)

    def _building(self, network: str, part: float) -> None:
        """At the first start engines are built, which may take minutes: the screen says how far that is."""
        percent = int(100 * part) // BUILD_STEP_PERCENT * BUILD_STEP_PERCENT
        if (network, percent) != self._built:
            self._built = network, percent
            self._on_engine(False, f"{network} {percent} %", building(network, percent))

    def _without_card(self, reason: Reason) -> None:
        if self._models is None:
            self._no_card = reason

    def _tell(self, models: Models) -> None:
        trouble = trouble_of(models.engine) or self._no_card
        self._on_engine(trouble is None, f"{models.engine.name} {models.engine.precision}", trouble)

    def release(self, images: Sequence[Path], folder: Path, released: Path, *, approval: Approval, progress: Progress) -> Released:
        """Make films and objects of an approved draft."""
        settings = self._settings
        return make_release(folder, released, approval=approval, study=lambda: read_study(images), settings=settings, progress=progress)
