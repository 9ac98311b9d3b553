"""The analysis of one study, stage by stage. Everything that looks at a study calls ``analyze``: daemon, command line, evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.analysis.cadrads import Bands, with_category
from appliance.analysis.calcium import not_scored, score_calcium
from appliance.analysis.locate import Located, locate
from appliance.analysis.phase_choice import Chosen, choose_phase, look_at
from appliance.analysis.phase_reading import read_phase
from appliance.analysis.plaque_total import total_of
from appliance.analysis.reading import SeriesImages, StudyInput
from appliance.analysis.second_look import SecondLook, look_again, with_deposits
from appliance.analysis.stages import Heart, Segmentation
from appliance.build import software
from appliance.errors import DeclinedError, Reason, VolumeError
from appliance.findings import SCHEMA, Branch, Calcium, EngineInfo, Findings, ModelInfo, OtherSeries, SeriesInfo, Status, Stent
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import GpuPlan, Wanted, best_engine
from appliance.inference.engine import Engine, Session
from appliance.volume import Volume

Progress = Callable[[str, float], None]
"""Called with a stage's name, as in ``timing_s``, and the part of the whole analysis that is done, 0..1."""

NEEDED = ("heart-loc", "cor-seg")
"""Models without which nothing can be analysed."""

SHARES: dict[str, tuple[float, float]] = {
    "locate": (0.00, 0.06),
    "quality": (0.06, 0.07),
    "phases": (0.07, 0.08),
    "segment": (0.08, 0.70),
    "measure": (0.70, 0.95),
    "describe": (0.95, 0.96),
    "second_phase": (0.96, 0.98),
    "calcium": (0.98, 1.00),
}
"""Where each stage begins and ends on the progress bar, by the time that it takes on two cores."""


@dataclass(frozen=True)
class Models:
    """The networks, ready to run on one engine; ``sessions`` by the model's name in the catalog."""

    engine: Engine
    sessions: Mapping[str, Session]

    @classmethod
    def load(
        cls, *, catalog: Path | None = None, engine: Wanted = "auto", threads: int = 0, int8: bool = True, gpu: GpuPlan | None = None
    ) -> Models:
        """Verify and load every model that the analysis uses; the arguments are those of ``best_engine``.

        Raises:
            InferenceError: a model is missing, is not the one that the catalog names, or cannot run here.
        """
        models = ModelCatalog.load(catalog or installed_catalog())
        chosen = best_engine(wanted=engine, threads=threads, int8=int8, gpu=gpu)
        return cls(engine=chosen, sessions={name: chosen.load(models[name]) for name in dict.fromkeys([*NEEDED, *models])})

    @property
    def heart(self) -> Session:
        """Heart and great vessels in the whole scan."""
        return self.sessions["heart-loc"]

    @property
    def coronary(self) -> Session:
        """Coronary lumen, wall, calcium and veins at 0.5 mm."""
        return self.sessions["cor-seg"]

    @property
    def engine_info(self) -> EngineInfo:
        """The engine, as the findings file names it."""
        return EngineInfo(name=self.engine.name, device=self.engine.device, precision=self.engine.precision)

    @property
    def model_infos(self) -> tuple[ModelInfo, ...]:
        """The models, as the findings file names them."""
        return tuple(
            ModelInfo(name=m.name, version=m.version, sha256=m.sha256, validated_on_patients=m.validated_on_patients)
            for m in (session.model for session in self.sessions.values())
        )


@dataclass(frozen=True)
class Options:
    """What the site wants: its degrees of stenosis, and its scanner's calcium calibration (mg per cm3 and HU) where it has one."""

    bands: Bands = "scct"
    calcium_mass_factor: float | None = None


@dataclass(frozen=True)
class Analysis:
    """The findings, and what the pictures need beside them; ``heart`` is None where the study was declined before it was found.

    ``study`` has the phase that was analysed as its main volume; ``others`` has the volume of each further series that a branch names.
    """

    findings: Findings
    study: StudyInput
    heart: Heart | None = None
    segmentation: Segmentation | None = None
    others: Mapping[str, Volume] = field(default_factory=dict)


def analyze(
    study: StudyInput,
    *,
    models: Models,
    options: Options | None = None,
    progress: Progress | None = None,
    timing: Mapping[str, float] | None = None,
) -> Analysis:
    """Analyse one study.

    Args:
        study: the main CCTA volume, with further series where there are any.
        models: networks, loaded once for many studies.
        options: what the site wants.
        progress: told stage and part done.
        timing: seconds of steps that came before, such as ``read``; they go into ``timing_s``.

    Returns:
        Findings with status ``analysed``, or ``declined`` with the reason. Only typed failures are raised:

    Raises:
        AnalysisError, InferenceError: a stage could not do its work; never an empty result.
    """
    options = options or Options()
    clock = _Clock(progress=progress, seconds=dict(timing or {}))
    located: Located | None = None
    try:
        with clock.stage("locate") as report:
            located = locate(study.main.volume, session=models.heart, progress=report)
        with clock.stage("quality"):
            look = look_at(study.main.volume, located)
    except DeclinedError as declined:
        findings = not_analysed("declined", declined.reason, study=study, models=models, timing=clock.total())
        return Analysis(findings=findings, study=study, heart=located.heart if located else None)
    with clock.stage("phases") as report:
        chosen = choose_phase(study, look, heart=models.heart, progress=report)
    study, located = chosen.study, chosen.located
    reading = read_phase(study.main, located, chosen.quality, sessions=models.sessions, bands=options.bands, stage=clock.stage)
    clock.seconds.pop("measure")
    clock.seconds.update(reading.measured.timing_s)
    with clock.stage("second_phase") as report:
        second = look_again(chosen, reading, sessions=models.sessions, bands=options.bands, progress=report)
    with clock.stage("calcium"):
        before = reading.measured.branches
        scored = calcium_of(study, located.heart, before, stents=reading.seen.stents, factor=options.calcium_mass_factor)
        if not isinstance(scored, str):
            scored = with_deposits(scored, before, second.reading.measured.branches)
    found = msgspec.structs.replace(_findings(chosen, second, scored, models, clock.total()), bands=options.bands)
    found = with_category(found)
    others = {second.other.header.series_uid: second.other.volume} if second.other is not None and second.taken else {}
    return Analysis(findings=found, study=study, heart=located.heart, segmentation=reading.segmentation, others=others)


def not_analysed(
    status: Status,
    reason: Reason,
    *,
    study: StudyInput | None = None,
    models: Models | None = None,
    timing: Mapping[str, float] | None = None,
) -> Findings:
    """Findings of a study that was declined or whose analysis failed: the reason, and nothing that could be read as a result."""
    why = status
    return Findings(
        schema=SCHEMA,
        status=status,
        reason=reason,
        software=software(),
        engine=models.engine_info if models else None,
        engine_reason=None if models else why,
        models=models.model_infos if models else (),
        series=_series_info(study.main) if study else None,
        series_reason=None if study else why,
        other_series=(),
        quality=None,
        quality_reason=why,
        dominance=None,
        dominance_reason=why,
        branches=(),
        lesions=(),
        bridges=(),
        stents=(),
        calcium=None,
        calcium_reason=why,
        plaque_total_mm3=None,
        plaque_total_mm3_reason=why,
        segment_involvement_score=None,
        segment_involvement_score_reason=why,
        segment_stenosis_score=None,
        segment_stenosis_score_reason=why,
        cad_rads=None,
        cad_rads_reason=why,
        timing_s=dict(timing or {}),
    )


def calcium_of(
    study: StudyInput, heart: Heart, branches: Sequence[Branch], *, stents: Sequence[Stent] = (), factor: float | None = None
) -> Calcium | str:
    """The calcium score of the study's scan without contrast medium, or the code of the reason why there is none."""
    if study.calcium is None:
        return "no_calcium_series"
    reason = not_scored(study.calcium.header.kvp)
    if reason is not None:
        return reason
    try:
        scan = study.calcium.read()
    except VolumeError:
        return "not_readable"
    uid = scan.header.series_uid
    return score_calcium(scan.volume, study.main.volume, heart, branches, series_uid=uid, stents=stents, mass_factor=factor)


def _findings(chosen: Chosen, second: SecondLook, scored: Calcium | str, models: Models, timing: dict[str, float]) -> Findings:
    study, measured, seen = chosen.study, second.reading.measured, second.reading.seen
    return Findings(
        schema=SCHEMA,
        status="analysed",
        reason=None,
        software=software(),
        engine=models.engine_info,
        models=models.model_infos,
        series=_series_info(study.main),
        other_series=tuple(_other_series(study, second)),
        quality=second.rate(chosen.quality),
        dominance=measured.dominance,
        dominance_reason="not_determined" if measured.dominance is None else None,
        branches=measured.branches,
        lesions=seen.lesions,
        bridges=seen.bridges,
        stents=seen.stents,
        variants=seen.variants,
        calcium=None if isinstance(scored, str) else scored,
        calcium_reason=scored if isinstance(scored, str) else None,
        plaque_total_mm3=total_of(seen.lesions),
        segment_involvement_score=None,
        segment_stenosis_score=None,
        cad_rads=None,
        grafts=second.reading.grafts,
        set_aside=second.reading.set_aside,
        timing_s=timing,
    )


def _series_info(images: SeriesImages) -> SeriesInfo:
    header, geometry = images.header, images.volume.geometry
    return SeriesInfo(
        study_uid=header.study_uid,
        series_uid=header.series_uid,
        phase_percent=header.phase_percent,
        phase_percent_reason="not_in_header" if header.phase_percent is None else None,
        kvp=header.kvp,
        kvp_reason="not_in_header" if header.kvp is None else None,
        slices=geometry.shape[0],
        spacing_mm=geometry.spacing,
    )


def _other_series(study: StudyInput, second: SecondLook) -> Iterator[OtherSeries]:
    for header in (source.header for source in study.phases):
        read = second.other is not None and header.series_uid == second.other.header.series_uid
        yield OtherSeries(
            series_uid=header.series_uid,
            role="phase",
            phase_percent=header.phase_percent,
            phase_percent_reason="not_in_header" if header.phase_percent is None else None,
            vessels=second.elsewhere if read else (),
            vessels_reason=None if read else "not_rated",
            read=read,
        )
    if study.calcium is not None:
        yield OtherSeries(
            series_uid=study.calcium.header.series_uid, role="calcium", phase_percent=None, phase_percent_reason="calcium_series"
        )


@dataclass
class _Clock:
    """Times the stages and turns their own progress into that of the whole."""

    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        start, (first, last) = time.perf_counter(), SHARES[name]

        def report(part: float) -> None:
            if self.progress is not None:
                self.progress(name, first + (last - first) * part)

        report(0.0)
        yield report
        report(1.0)
        self.seconds[name] = time.perf_counter() - start

    def total(self) -> dict[str, float]:
        """All stages in seconds, rounded to milliseconds, and their sum."""
        rounded = {name: round(value, 3) for name, value in self.seconds.items()}
        return {**rounded, "total": round(sum(self.seconds.values()), 3)}
