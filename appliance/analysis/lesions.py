"""Plaques with and without narrowing.

Three witnesses are heard at every point, each measured against what is usual in this very patient (median and spread over all healthy
sections), so that noise and small biases count for nothing: the wall's thickness in the section fit, plaque and calcium in the fine
network's classes, and the narrowing against the reference. Where the network ``lesions`` has looked along the straightened vessels, what it
says is the fourth and weightiest. A stretch where together they speak clearly enough for long enough is a lesion. How narrow it is stays
the section fit's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit, logit

from appliance.analysis.lesion_network import Reading
from appliance.analysis.lumen import LumenResult
from appliance.analysis.mask_sections import MaskSections, mask_sections
from appliance.analysis.reference import healthy_weight, junction_distance, reference_of, robust_scale, smooth_along, with_left_main
from appliance.analysis.runs import ranges_of
from appliance.analysis.stages import Float, NamedTree, Profile, Range, Reference
from appliance.geometry import arc_length

_LEAST_REFERENCE_MM = 0.1
_NEAR_MM = 2.0
_USUAL_RADIUS_MM = 1.5


@dataclass(frozen=True)
class LesionRules:
    """When a stretch is a lesion. Choices of this project, tuned on the development family of virtual patients.

    Attributes:
        smallest_vessel_mm: vessels narrower than this are not graded (CAD-RADS 2.0 grades vessels over 1.5 mm).
        peak, edge: evidence at the strongest point, and where a lesion ends.
        shortest_mm: shortest lesion.
        join_mm: gaps up to this are bridged.
        noise_percent: narrowing below this is none.
        occlusion_mm: shortest stretch without lumen that is an occlusion.
        network_weight: weight of the network's classes beside the fit's.
        least_confidence: what is less sure is not reported.
        shortest_branch_mm: branches shorter than this (left main aside) are too short to tell plaque from their own origin.
        fit_weight: weight of what is measured where the network ``lesions`` has looked too; 0: it alone decides.
        log_odds_weight: evidence for each unit of log-odds that this network gives to plaque; its doubt counts against.
        even_log_odds: log-odds that speak neither for nor against: plaque is commoner in its samples than in patients.
        peak_seen, shortest_seen_mm: in place of ``peak`` and ``shortest_mm`` where it has looked.
        unexplained: no degree is given where the section model leaves more than this part of the blood's attenuation unexplained at the
            narrowest place, as in a vessel that moved: what looks narrow there may be a blurred wide lumen.
        beyond_parent_mm: a branch's own disease begins so far outside its parent's healthy lumen (about the blur's width).
        seen_scale, seen_offset: the network's narrowing (in per cent) as a degree; it is trained to the mean and shies from extremes.
        disagreement: points by which the measured degree may lie above the network's. Beyond that the line has missed the lumen there (a
            step between two heart beats, a bend, a neighbour), for the network sees 3.7 mm to either side: its degree is taken.
        blooming_mm2: calcium from which on the network's degree is no witness, for blooming deceives it.
    """

    smallest_vessel_mm: float = 1.5
    peak: float = 5.0
    edge: float = 1.0
    shortest_mm: float = 3.0
    join_mm: float = 2.0
    noise_percent: float = 6.0
    occlusion_mm: float = 3.0
    network_weight: float = 1.0
    least_confidence: float = 0.6
    shortest_branch_mm: float = 12.0
    fit_weight: float = 0.7
    log_odds_weight: float = 1.4
    even_log_odds: float = 0.2
    peak_seen: float = 4.5
    shortest_seen_mm: float = 2.0
    unexplained: float = 0.14
    beyond_parent_mm: float = 0.5
    seen_scale: float = 1.25
    seen_offset: float = 8.0
    disagreement: float = 40.0
    blooming_mm2: float = 0.5


@dataclass(frozen=True)
class Stretch:
    """One lesion: half-open range and narrowest point on a branch, with what was measured there.

    ``stenosis_percent`` is None where no reference could be given, and where the place is ``unreadable``; ``evidence`` is the mean over
    the lesion.
    """

    branch: int
    start: int
    minimum: int
    end: int
    lumen_mm: float
    reference_mm: float | None
    stenosis_percent: float | None
    evidence: float
    confidence: float
    unreadable: bool = False


@dataclass(frozen=True)
class Survey:
    """The whole tree under one look, one entry per branch: what is measured, what would be healthy, where the evidence for plaque lies.

    ``readings`` is what the network ``lesions`` says, empty where none looked.
    """

    profiles: tuple[Profile, ...]
    references: tuple[Reference, ...]
    masks: tuple[MaskSections, ...]
    evidence: tuple[Float, ...]
    stretches: tuple[Stretch, ...]
    readings: tuple[Reading, ...] = ()


def find_lesions(
    named: NamedTree,
    lumen: LumenResult,
    *,
    rules: LesionRules | None = None,
    readings: Sequence[Reading] | None = None,
    known: Sequence[Reference] | None = None,
) -> Survey:
    """Reference, evidence and lesions of every branch.

    Args:
        named: the tree.
        lumen: what the section fit measured.
        rules: when a stretch is a lesion.
        readings: what the network ``lesions`` says of each branch (``lesion_network.read_tree``); None: the rules work alone.
        known: the healthy vessel where it is known (the evaluation's oracle); None: estimated.
    """
    rules = rules or LesionRules()
    profiles = lumen.profiles
    masks = tuple(mask_sections(lumen.sections.labels[lumen.rows(number)]) for number in range(len(profiles)))
    along = [arc_length(branch.points_mm) for branch in named.branches]
    junction = [junction_distance(named, i, profile) for i, profile in enumerate(profiles)]
    thickness = [0.5 * (p.vessel_mm - p.lumen_mm) for p in profiles]
    calm = _usual_wall(profiles, thickness, masks, junction)
    evidence = [np.clip(calm.wall[i], -2, 6) + np.clip(calm.calcium[i], 0, 6) for i in range(len(profiles))]
    if readings is not None:
        evidence = joined_evidence(evidence, readings, along, rules)
    references: list[Reference] = []
    for _ in range(2):
        weight = [healthy_weight(smooth_along(e, s, 1.0), j, s) for e, s, j in zip(evidence, along, junction, strict=True)]
        references = [reference_of(p, s, w) for p, s, w in zip(profiles, along, weight, strict=True)]
        references = list(known) if known is not None else with_left_main(named, profiles, references)
        evidence = _evidence(profiles, references, calm, junction, along, rules)
        if readings is not None:
            evidence = joined_evidence(evidence, readings, along, rules)
    if readings is not None:
        rules = replace(rules, peak=rules.peak_seen, shortest_mm=rules.shortest_seen_mm)
    stretches: list[Stretch] = []
    for number in range(len(profiles)):
        reading = readings[number] if readings is not None else None
        free = outside_parent(named, number, references, rules.beyond_parent_mm)
        stretches += _stretches(number, profiles[number], references[number], evidence[number], along[number], named, rules, free, reading)
    return Survey(
        profiles=profiles,
        references=tuple(references),
        masks=masks,
        evidence=tuple(evidence),
        stretches=tuple(stretches),
        readings=tuple(readings or ()),
    )


def joined_evidence(measured: Sequence[Float], readings: Sequence[Reading], along: Sequence[Float], rules: LesionRules) -> list[Float]:
    """The evidence of the section fit together with the network's, per branch: a weighted sum of standard scores and log-odds.

    Metal is as bright as calcium: the more a stretch looks like a stent, the less the measured brightness and thickness count.
    """
    joined = []
    for own, reading, where in zip(measured, readings, along, strict=True):
        share = np.clip(smooth_along(reading.share, where, 0.4), 0.002, 0.998)
        positive = np.where(own > 0, own * (1.0 - reading.stent), own)
        joined.append(rules.fit_weight * positive + rules.log_odds_weight * (logit(share) - rules.even_log_odds))
    return joined


@dataclass(frozen=True)
class _Usual:
    """Standardised witnesses that need no reference, one array per branch."""

    wall: list[Float]
    network: list[Float]
    calcium: list[Float]


def _usual_wall(profiles: tuple[Profile, ...], thickness: list[Float], masks: tuple[MaskSections, ...], junction: list[Float]) -> _Usual:
    """How far each section's wall lies above what is usual for a vessel of its size in this patient."""
    size = np.concatenate([p.vessel_mm for p in profiles])
    clear = (np.concatenate(junction) > 0.8) & (np.concatenate([p.quality for p in profiles]) > 0.3)
    measured = np.concatenate(thickness)
    seen = np.concatenate([m.thickness_mm for m in masks])
    in_lumen = size - 2 * measured
    wall = _standardise(measured, in_lumen, clear, floor=0.08)
    network = _standardise(seen, in_lumen, clear & (seen > 0), floor=0.08)
    calcium = np.concatenate([m.calcium_mm2 for m in masks])
    dense = np.concatenate([p.calcium_mm2 for p in profiles])
    bright = 4.0 * np.clip((dense - 0.15) / 0.5, 0, 1) + 2.0 * np.clip(calcium / 0.6, 0, 1)
    cuts = np.cumsum([len(p.lumen_mm) for p in profiles])[:-1]
    return _Usual(wall=np.split(wall, cuts), network=np.split(network, cuts), calcium=np.split(bright, cuts))


def _standardise(value: Float, size: Float, clear: NDArray[np.bool_], *, floor: float) -> Float:
    """Standard scores against sections of similar size: in bands of lumen diameter, median and spread of the healthy half."""
    out = np.zeros_like(value)
    # plaque thins the lumen: sections are compared with all sizes as well as with their own
    whole = robust_scale(value, clear, floor)
    edges = (0.0, 1.4, 2.0, 2.8, 9.0)
    for low, high in pairwise(edges):
        band = (size >= low) & (size < high)
        middle, spread = robust_scale(value, clear & band, floor)
        if (clear & band).sum() < 60:
            middle, spread = whole
        out[band] = (value[band] - middle) / spread
    return np.clip(out, -4.0, 12.0)


def _evidence(
    profiles: tuple[Profile, ...],
    references: list[Reference],
    usual: _Usual,
    junction: list[Float],
    along: list[Float],
    rules: LesionRules,
) -> list[Float]:
    # a reference of nothing, as of a branch that is closed from end to end, is none
    healthy = [np.where(r.lumen_mm > _LEAST_REFERENCE_MM, r.lumen_mm, np.nan) for r in references]
    narrow = [np.nan_to_num(1.0 - p.lumen_mm / h, nan=0.0) for p, h in zip(profiles, healthy, strict=True)]
    clear = np.concatenate(junction) > 1.0
    middle, spread = robust_scale(np.concatenate(narrow), clear, 0.04)
    found = []
    for i in range(len(profiles)):
        less = (narrow[i] - middle) / spread
        # disease narrows the lumen inside an outer wall that stays: where the whole vessel shrinks, the line has left it
        shrunk = np.nan_to_num(profiles[i].vessel_mm / references[i].vessel_mm, nan=1.0)
        less = less * np.clip((shrunk - 0.5) / 0.25, 0.0, 1.0)
        wall = 0.9 * np.clip(usual.wall[i], -2, 5)
        network = rules.network_weight * 0.9 * np.clip(usual.network[i], -2, 5)
        total = wall + network + usual.calcium[i] + 0.8 * np.clip(less, -2, 6)
        doubt = np.clip((junction[i] - 0.2) / 0.5, 0.4, 1.0)
        total = np.where(total > 0, total * doubt, total) * np.clip(profiles[i].quality / 0.5, 0.3, 1.0)
        found.append(smooth_along(total, along[i], 0.8))
    return found


def _stretches(
    number: int,
    profile: Profile,
    reference: Reference,
    evidence: Float,
    along: Float,
    named: NamedTree,
    rules: LesionRules,
    free: NDArray[np.bool_],
    reading: Reading | None,
) -> list[Stretch]:
    wide = np.nan_to_num(reference.lumen_mm, nan=0.0) >= rules.smallest_vessel_mm
    if along[-1] < rules.shortest_branch_mm and named.branches[number].name != "LM":
        return []
    inside = (along > 0.8) & (along < along[-1] - 3.0) & wide & free
    ranges = _joined(ranges_of((evidence > rules.edge) & inside), along, rules.join_mm)
    found = []
    for start, end in ranges:
        peak = float(evidence[start:end].max())
        length = float(along[end - 1] - along[start])
        # a short stretch must speak louder
        if peak < rules.peak or length < rules.shortest_mm:
            continue
        lesion = measure_stretch(number, start, end, profile, reference, evidence, along, named, rules)
        if reading is not None:
            lesion = witnessed(lesion, profile, reading, along, rules)
        if lesion.confidence >= rules.least_confidence:
            found.append(lesion)
    return found


def outside_parent(named: NamedTree, number: int, references: Sequence[Reference], beyond_mm: float) -> NDArray[np.bool_]:
    """Which points of a branch lie outside its parent's healthy lumen, (n,): before that a section shows the parent, or where both part."""
    branch = named.branches[number]
    free = np.ones(len(branch.points_mm), np.bool_)
    if branch.parent is None or branch.parent_index is None:
        return free
    parent = named.branches[branch.parent].points_mm
    near = slice(max(branch.parent_index - 6, 0), branch.parent_index + 7)
    size = references[branch.parent].lumen_mm[near]
    radius = 0.5 * float(np.nanmedian(size)) if np.isfinite(size).any() else _USUAL_RADIUS_MM
    distance = cKDTree(parent).query(branch.points_mm)[0]
    left = np.flatnonzero(distance > radius + beyond_mm)
    free[: int(left[0]) if len(left) else len(free)] = False
    return free


def witnessed(lesion: Stretch, profile: Profile, reading: Reading, along: Float, rules: LesionRules) -> Stretch:
    """The lesion with the network's degree where the measured one lies too far above it, and no calcium explains that."""
    if lesion.stenosis_percent is None or lesion.reference_mm is None:
        return lesion
    span = slice(lesion.start, lesion.end)
    seen = min(100.0 * rules.seen_scale * float(reading.narrowing[span].max()) + rules.seen_offset, 99.0)
    near = np.abs(along - along[lesion.minimum]) <= _NEAR_MM
    if lesion.stenosis_percent - seen <= rules.disagreement or float(profile.calcium_mm2[near].max()) >= rules.blooming_mm2:
        return lesion
    at = lesion.start + int(np.argmax(reading.narrowing[span]))
    lumen = lesion.reference_mm * (1.0 - seen / 100.0)
    return replace(lesion, minimum=at, lumen_mm=lumen, stenosis_percent=seen, confidence=0.8 * lesion.confidence)


def _joined(ranges: tuple[Range, ...], along: Float, gap_mm: float) -> list[Range]:
    joined: list[Range] = []
    for start, end in ranges:
        if joined and along[start] - along[joined[-1][1] - 1] <= gap_mm:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def measure_stretch(
    number: int,
    start: int,
    end: int,
    profile: Profile,
    reference: Reference,
    evidence: Float,
    along: Float,
    named: NamedTree,
    rules: LesionRules,
) -> Stretch:
    """What was measured between two points of a branch, as a lesion."""
    lumen = profile.lumen_mm[start:end]
    healthy = reference.lumen_mm[start:end]
    usable = np.isfinite(healthy) & (healthy > _LEAST_REFERENCE_MM)
    share = np.where(usable, lumen / np.where(usable, healthy, 1.0), np.inf)
    at = start + int(np.argmin(share))
    known = bool(usable.any())
    stenosis: float | None = None
    if known:
        stenosis = float(np.clip(100.0 * (1.0 - share.min()), 0.0, 99.0))
        closed = _joined(ranges_of(lumen <= 0.0), along[start:end], 0.9)
        if any(along[start + b - 1] - along[start + a] >= rules.occlusion_mm for a, b in closed):
            stenosis = 100.0
        if stenosis < rules.noise_percent:
            # no narrowing: the place to show is where the plaque is thickest
            stenosis = 0.0
            at = start + int(np.argmax(evidence[start:end]))
    unreadable = bool(stenosis) and _unexplained(profile, along, at) > rules.unexplained
    if unreadable:
        stenosis = None
    mean = float(evidence[start:end].mean())
    trust = float(expit(0.8 * (mean - 2.5))) * float(np.clip(profile.quality[start:end].mean() + 0.3, 0, 1))
    repaired = any(a < end and b > start for a, b in named.branches[number].repaired)
    return Stretch(
        branch=number,
        start=start,
        minimum=at,
        end=end,
        lumen_mm=float(profile.lumen_mm[at]),
        reference_mm=float(reference.lumen_mm[at]) if known and usable[at - start] else None,
        stenosis_percent=stenosis,
        evidence=mean,
        confidence=trust * (0.6 if repaired else 1.0),
        unreadable=unreadable,
    )


def _unexplained(profile: Profile, along: Float, at: int) -> float:
    """Part of the blood's attenuation that the section model leaves unexplained within 2 mm of a point."""
    near = np.abs(along - along[at]) <= _NEAR_MM
    return float(np.median(profile.noise_hu[near]) / max(float(np.median(profile.lumen_hu[near])), 50.0))


def without(survey: Survey, refused: set[int]) -> Survey:
    """The survey without the stretches numbered in ``refused``."""
    return replace(survey, stretches=tuple(s for i, s in enumerate(survey.stretches) if i not in refused))
