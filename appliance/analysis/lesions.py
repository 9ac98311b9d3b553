"""Plaques with and without narrowing.

Three witnesses are heard at every point, each measured against what is usual in this very patient (median and spread over all healthy
sections), so that noise and small biases count for nothing: the wall's thickness in the section fit, plaque and calcium in the fine
network's classes, and the narrowing against the reference. Where the network ``lesions`` has looked along the straightened vessels, what it
says is the fourth and weightiest. A stretch where together they speak clearly enough for long enough is a lesion. How narrow it is, the
diameters say (``fusion``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from appliance.analysis.fusion import fused_reference
from appliance.analysis.lesion_degree import (
    LesionRules,
    Stretch,
    joined_ranges,
    measure_stretch,
    on_mended_line,
    outside_parent,
    regressed,
)
from appliance.analysis.lesion_network import Reading
from appliance.analysis.lumen import LumenResult
from appliance.analysis.mask_sections import MaskSections, mask_sections
from appliance.analysis.reference import healthy_weight, junction_distance, reference_of, robust_scale, smooth_along, with_left_main
from appliance.analysis.runs import ranges_of
from appliance.analysis.stages import Float, NamedTree, Profile, Reference
from appliance.geometry import arc_length

_LEAST_REFERENCE_MM = 0.1
_CORE = 4
"""Samples of a ray, 0.2 mm apart, that lie in the middle of a section: within 0.6 mm, inside any vessel that is graded."""
_TIP_MM = 3.0
"""A vessel that ends in the tissue fades over so much; one that parts into daughters does not end."""


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
        lumen: what was measured, with the network's diameters joined to it where there are any (``fusion.fused_lumen``).
        rules: when a stretch is a lesion.
        readings: what the network ``lesions`` says of each branch (``lesion_network.read_tree``); None: the rules work alone.
        known: the healthy vessel where it is known (the evaluation's oracle); None: estimated.
    """
    rules = rules or LesionRules()
    profiles = lumen.profiles
    masks = tuple(mask_sections(lumen.sections.labels[lumen.rows(number)]) for number in range(len(profiles)))
    along = [arc_length(branch.points_mm) for branch in named.branches]
    junction = [junction_distance(named, i, profiles) for i in range(len(profiles))]
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
        if readings is not None and known is None:
            references = [fused_reference(one, reading) for one, reading in zip(references, readings, strict=True)]
        evidence = _evidence(profiles, references, calm, junction, along, rules)
        if readings is not None:
            evidence = joined_evidence(evidence, readings, along, rules)
    if readings is not None:
        rules = replace(rules, peak=rules.peak_seen, shortest_mm=rules.shortest_seen_mm)
    stretches: list[Stretch] = []
    for number in range(len(profiles)):
        free = outside_parent(named, number, references, rules.beyond_parent_mm)
        core = lumen.sections.rays[lumen.rows(number)][:, :, :_CORE].mean(axis=(1, 2))
        found = _stretches(number, profiles[number], references[number], evidence[number], along[number], named, rules, free, core)
        stretches += [regressed(one, profiles[number], along[number], rules) for one in found]
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
        thick = wall + network + usual.calcium[i]
        # where another vessel opens, a healthy wall looks thick and a healthy lumen wide: a lumen that is narrow there is narrow
        doubt = np.clip((junction[i] - 0.2) / 0.5, 0.4, 1.0)
        total = np.where(thick > 0, thick * doubt, thick) + 0.8 * np.clip(less, -2, 6)
        total = total * np.clip(profiles[i].quality / 0.5, 0.3, 1.0)
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
    core_hu: Float,
) -> list[Stretch]:
    wide = np.nan_to_num(reference.lumen_mm, nan=0.0) >= rules.smallest_vessel_mm
    if along[-1] < rules.shortest_branch_mm and named.branches[number].name != "LM":
        return []
    tip_mm = 0.0 if goes_on(named, number) else _TIP_MM
    inside = (along > 0.8) & (along < along[-1] - tip_mm) & wide & free
    ranges = joined_ranges(ranges_of((evidence > rules.edge) & inside), along, rules.join_mm)
    found = []
    for start, end in ranges:
        peak = float(evidence[start:end].max())
        length = float(along[end - 1] - along[start])
        # a short stretch must speak louder
        if peak < rules.peak or length < rules.shortest_mm:
            continue
        lesion = measure_stretch(number, start, end, profile, reference, evidence, along, rules)
        if lesion.confidence >= rules.least_confidence:
            found.append(on_mended_line(lesion, named, profile, core_hu, along, rules))
    return found


def goes_on(named: NamedTree, number: int) -> bool:
    """Whether a branch goes on into another one at its end, as the left main does."""
    last = len(named.branches[number].points_mm) - 1
    return any(child.parent == number and child.parent_index is not None and child.parent_index >= last - 2 for child in named.branches)


def without(survey: Survey, refused: set[int]) -> Survey:
    """The survey without the stretches numbered in ``refused``."""
    return replace(survey, stretches=tuple(s for i, s in enumerate(survey.stretches) if i not in refused))
