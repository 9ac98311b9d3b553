"""Everything after the segmentation, in order: the tree, its names, its lumen, its lesions, what they are made of, and their degrees."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from appliance.analysis.cadrads import UNREADABLE, Bands, grade_of
from appliance.analysis.centrelines import trace
from appliance.analysis.fusion import fused_lumen
from appliance.analysis.lesion_degree import Stretch
from appliance.analysis.lesion_network import read_tree
from appliance.analysis.lesions import Survey, find_lesions
from appliance.analysis.lumen import LumenResult, measure_lumen, radius_guess
from appliance.analysis.naming import name_branches
from appliance.analysis.plaque import Plaque, describe_plaques
from appliance.analysis.repair import repair
from appliance.analysis.stages import Float, Heart, Measured, NamedBranch, NamedTree, Profile, Progress, Segmentation
from appliance.analysis.verify import verify
from appliance.findings import Branch, Lesion, PlaqueVolume
from appliance.geometry import arc_length
from appliance.inference.engine import Session
from appliance.volume import Volume

STAGES: tuple[tuple[str, float], ...] = (
    ("centrelines", 0.20),
    ("repair", 0.25),
    ("name", 0.30),
    ("lumen", 0.85),
    ("lesions", 0.92),
    ("plaque", 0.98),
    ("cadrads", 1.0),
)
"""The stages and the part of the whole that is done after each."""


def measure(
    volume: Volume,
    heart: Heart,
    segmentation: Segmentation,
    *,
    progress: Progress | None = None,
    bands: Bands = "scct",
    kvp: float | None = None,
    sessions: Mapping[str, Session] | None = None,
) -> Measured:
    """Measure one segmented study.

    Args:
        volume: the original series.
        heart: its structures.
        segmentation: its coronaries.
        progress: told each stage's name and the part done.
        bands: which table of degrees.
        kvp: tube voltage, for the classes of plaque; None where it is not known.
        sessions: networks by name; a stage whose network is not among them works by its rules alone.

    Raises:
        AnalysisError: no coronary, no ostium, or no chambers to name by (ANA-101 to ANA-103).
        InferenceError: a network's output must not be used.
    """
    sessions = sessions or {}
    clock = _Clock(progress)
    with clock.stage("centrelines"):
        lines = trace(heart, segmentation, session=sessions.get("ostia"))
    with clock.stage("repair"):
        tree = verify(repair(lines, segmentation, session=sessions.get("repair")), heart, segmentation)
    with clock.stage("name"):
        named = name_branches(tree, heart, session=sessions.get("naming"))
    with clock.stage("lumen"):
        lumen = measure_lumen(named, volume, segmentation, radius_mm=radius_guess(tree, named))
    with clock.stage("lesions"):
        seer = sessions.get("lesions")
        readings = read_tree(named, volume, [profile.lumen_hu for profile in lumen.profiles], seer) if seer is not None else None
        if readings is not None:
            lumen = fused_lumen(named, lumen, readings)
        survey = find_lesions(named, lumen, readings=readings)
    with clock.stage("plaque"):
        plaques = describe_plaques(named, survey, lumen, kvp=kvp)
    with clock.stage("cadrads"):
        branches = make_branches(named, lumen)
        lesions = make_lesions(named, survey, plaques, bands=bands)
    return Measured(
        branches=branches,
        lesions=lesions,
        dominance=named.dominance,
        plaque_total=_sum(lesions),
        dropped=(*tree.dropped, *named.dropped),
        timing_s=clock.seconds,
    )


@dataclass
class _Clock:
    progress: Progress | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        if self.progress is not None:
            self.progress(name, dict(STAGES)[name])


def make_branches(named: NamedTree, lumen: LumenResult) -> tuple[Branch, ...]:
    """The branches of the findings file."""
    return tuple(_branch(number, branch, lumen.profiles[number]) for number, branch in enumerate(named.branches))


def _branch(number: int, branch: NamedBranch, profile: Profile) -> Branch:
    return Branch(
        id=number,
        parent=branch.parent,
        parent_index=branch.parent_index,
        vessel=branch.vessel,
        points_mm=tuple((float(x), float(y), float(z)) for x, y, z in branch.points_mm.round(3)),
        segments=branch.segments,
        name_confidence=round(branch.confidence, 3),
        lumen_diameter_mm=_numbers(profile.lumen_mm),
        vessel_diameter_mm=_numbers(profile.vessel_mm),
        repaired=branch.repaired,
        parent_reason="ostium" if branch.parent is None else None,
        parent_index_reason="ostium" if branch.parent_index is None else None,
    )


def _numbers(values: Float) -> tuple[float | None, ...]:
    return tuple(round(float(v), 3) if np.isfinite(v) else None for v in values)


def make_lesions(named: NamedTree, survey: Survey, plaques: Sequence[Plaque], *, bands: Bands = "scct") -> tuple[Lesion, ...]:
    """The lesions of the findings file, in the order of their vessels."""
    order = sorted(range(len(plaques)), key=lambda i: (survey.stretches[i].branch, survey.stretches[i].start))
    return tuple(_lesion(number, survey.stretches[i], plaques[i], named, bands) for number, i in enumerate(order))


def _lesion(number: int, stretch: Stretch, plaque: Plaque, named: NamedTree, bands: Bands) -> Lesion:
    branch = named.branches[stretch.branch]
    along = arc_length(branch.points_mm)
    percent = stretch.stenosis_percent
    ratio = None if percent is None else 1.0 - percent / 100.0
    unknown = None if percent is not None else UNREADABLE if stretch.unreadable else "no_reference"
    return Lesion(
        id=number,
        branch=stretch.branch,
        vessel=branch.vessel,
        segment=branch.segment_at(stretch.minimum),
        start=stretch.start,
        minimum=stretch.minimum,
        end=stretch.end,
        length_mm=round(float(along[min(stretch.end, len(along)) - 1] - along[stretch.start]), 2),
        minimum_lumen_diameter_mm=round(stretch.lumen_mm, 3),
        reference_diameter_mm=None if stretch.reference_mm is None else round(stretch.reference_mm, 3),
        reference_diameter_mm_reason="no_reference" if stretch.reference_mm is None else None,
        diameter_stenosis_percent=None if percent is None else round(percent, 2),
        diameter_stenosis_percent_reason=unknown,
        area_stenosis_percent=None if ratio is None else round(100.0 * (1.0 - ratio**2), 2),
        area_stenosis_percent_reason=unknown,
        grade="none" if percent is None else grade_of(round(percent, 2), bands=bands),
        plaque_type=plaque.kind,
        volume_mm3=plaque.volume,
        remodeling_index=None if plaque.remodeling_index is None else round(plaque.remodeling_index, 3),
        remodeling_index_reason="no_reference" if plaque.remodeling_index is None else None,
        plaque_burden_percent=None if plaque.burden_percent is None else round(plaque.burden_percent, 2),
        plaque_burden_percent_reason="no_outer_wall" if plaque.burden_percent is None else None,
        high_risk=plaque.high_risk,
        confidence=round(stretch.confidence, 3),
    )


def _sum(lesions: Sequence[Lesion]) -> PlaqueVolume:
    volumes = [lesion.volume_mm3 for lesion in lesions]
    return PlaqueVolume(
        total=round(sum(v.total for v in volumes), 2),
        calcified=round(sum(v.calcified for v in volumes), 2),
        noncalcified=round(sum(v.noncalcified for v in volumes), 2),
        low_attenuation=round(sum(v.low_attenuation for v in volumes), 2),
    )
