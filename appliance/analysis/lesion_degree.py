"""How narrow a lesion is: the degree by the measured diameters, and when it is not to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import expit

from appliance.analysis.runs import ranges_of
from appliance.analysis.stages import Float, NamedTree, Profile, Range, Reference

_LEAST_REFERENCE_MM = 0.1
_NEAR_MM = 2.0
_USUAL_RADIUS_MM = 1.5
_CLOSED_PERCENT = 100.0
_BESIDE_MM, _LEAST_BESIDE = 5.0, 4
_FAT_BELOW_HU = 0.0
"""Tissue lies above water, fat below; plaque of 30 HU that fills a vessel of 1.5 mm, blurred into fat of -90, stays above too."""
_BESIDE_MENDED_MM = 1.5
"""So far beside the mended points the line was drawn towards them: that far the lines are smoothed, and the mask ends askew at a step."""
_PLAIN_BLOOD_HU = 42.0
"""Blood without contrast medium."""


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
        severe_percent, thinned: a severe narrowing behind which this part or less of the blood's enhancement is left is an occlusion: what
            follows is filled from elsewhere, or hardly at all. A short closed stretch shows some lumen otherwise, through the blur and
            beside calcium. Seen on few virtual occlusions only; a true narrowing of 90 % that thins the blood would be called closed.
        network_weight: weight of the network's classes beside the fit's.
        least_confidence: what is less sure is not reported.
        mended_trust: part of the confidence that is left where the line was mended. It is told, and hides nothing: a line breaks just
            where a vessel is tight or closed.
        shortest_branch_mm: branches shorter than this (left main aside) are too short to tell plaque from their own origin.
        fit_weight: weight of what is measured where the network ``lesions`` has looked too; 0: it alone decides.
        log_odds_weight: evidence for each unit of log-odds that this network gives to plaque; its doubt counts against.
        even_log_odds: log-odds that speak neither for nor against: plaque is commoner in its samples than in patients.
        peak_seen, shortest_seen_mm: in place of ``peak`` and ``shortest_mm`` where it has looked.
        unexplained: no degree is given where the section model leaves more than this part of the blood's attenuation unexplained at the
            narrowest place, as in a vessel that moved: what looks narrow there may be a blurred wide lumen. Beside calcium what is left is
            the calcium's own, whose shape no section model gives exactly.
        beyond_parent_mm: a branch's own disease begins so far outside its parent's healthy lumen (about the blur's width).
        blooming_mm2, blooming_error_mm, usual_percent, spread_percent: beside so much calcium a diameter is measured with about so large an
            error (0.3 to 0.45 mm on development patients, less than half of it without calcium). A degree is therefore drawn towards the
            mean of all degrees, 0 to 100 % being alike likely, by as much as the error asks for: the smaller the vessel, the more. Drawn
            towards half it never crosses half, the border of what matters; a closed vessel stays closed.
    """

    smallest_vessel_mm: float = 1.5
    peak: float = 5.0
    edge: float = 1.0
    shortest_mm: float = 3.0
    join_mm: float = 2.0
    noise_percent: float = 6.0
    occlusion_mm: float = 3.0
    severe_percent: float = 70.0
    thinned: float = 0.7
    network_weight: float = 1.0
    least_confidence: float = 0.8
    mended_trust: float = 0.6
    shortest_branch_mm: float = 12.0
    fit_weight: float = 0.7
    log_odds_weight: float = 1.4
    even_log_odds: float = 0.2
    peak_seen: float = 4.5
    shortest_seen_mm: float = 2.0
    unexplained: float = 0.14
    beyond_parent_mm: float = 0.5
    blooming_mm2: float = 0.5
    blooming_error_mm: float = 0.4
    usual_percent: float = 50.0
    spread_percent: float = 28.0


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


def regressed(lesion: Stretch, profile: Profile, along: Float, rules: LesionRules) -> Stretch:
    """The lesion with a degree nearer to the usual one, the less of its lumen can be seen beside calcium in a small vessel."""
    percent, reference = lesion.stenosis_percent, lesion.reference_mm
    if percent is None or reference is None or not rules.usual_percent < percent < _CLOSED_PERCENT:
        return lesion
    if not _beside_calcium(profile, along, lesion.minimum, rules):
        return lesion
    error = 100.0 * rules.blooming_error_mm / reference
    trust = rules.spread_percent**2 / (rules.spread_percent**2 + error**2)
    percent = rules.usual_percent + trust * (percent - rules.usual_percent)
    return replace(lesion, stenosis_percent=percent, lumen_mm=reference * (1.0 - percent / 100.0))


def joined_ranges(ranges: tuple[Range, ...], along: Float, gap_mm: float) -> list[Range]:
    """The ranges with gaps of up to ``gap_mm`` closed."""
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
        closed = joined_ranges(ranges_of(lumen <= 0.0), along[start:end], 0.9)
        if any(along[start + b - 1] - along[start + a] >= rules.occlusion_mm for a, b in closed):
            stenosis = 100.0
        if stenosis >= rules.severe_percent and _left_behind(profile, along, start, end) <= rules.thinned:
            stenosis = 100.0
        if stenosis < rules.noise_percent:
            # no narrowing: the place to show is where the plaque is thickest
            stenosis = 0.0
            at = start + int(np.argmax(evidence[start:end]))
    unexplained = not _beside_calcium(profile, along, at, rules) and _unexplained(profile, along, at) > rules.unexplained
    unreadable = bool(stenosis) and unexplained
    if unreadable:
        stenosis = None
    mean = float(evidence[start:end].mean())
    trust = float(expit(0.8 * (mean - 2.5))) * float(np.clip(profile.quality[start:end].mean() + 0.3, 0, 1))
    return Stretch(
        branch=number,
        start=start,
        minimum=at,
        end=end,
        lumen_mm=float(profile.lumen_mm[at]),
        reference_mm=float(reference.lumen_mm[at]) if known and usable[at - start] else None,
        stenosis_percent=stenosis,
        evidence=mean,
        confidence=trust,
        unreadable=unreadable,
    )


def _left_behind(profile: Profile, along: Float, start: int, end: int) -> float:
    """Part of the blood's enhancement before a stretch that is left behind it; 1 where the branch has too little of either."""
    before = (along < along[start]) & (along >= along[start] - _BESIDE_MM)
    behind = (along > along[end - 1]) & (along <= along[end - 1] + _BESIDE_MM)
    if min(before.sum(), behind.sum()) < _LEAST_BESIDE:
        return 1.0
    first, last = (float(np.median(profile.lumen_hu[side])) - _PLAIN_BLOOD_HU for side in (before, behind))
    return last / max(first, 1.0)


def on_mended_line(lesion: Stretch, named: NamedTree, profile: Profile, core_hu: Float, along: Float, rules: LesionRules) -> Stretch:
    """The lesion with less confidence where the line through it was mended, and without a degree where it was mended through fat.

    A closed vessel is full of tissue. Where the middle of its sections is fat, no vessel lies on the line: the images are displaced there,
    as at a step between two heart beats, or the line was led astray, and nothing is known of the lumen. Only there:
    what else a lesion holds was seen.

    Args:
        lesion: as measured.
        named: the tree.
        profile: of its branch.
        core_hu: attenuation of the middle of each section of the branch, (n,).
        along: distance from the branch's first point, mm (n,).
        rules: when a stretch is a lesion.
    """
    repaired = named.branches[lesion.branch].repaired
    if not any(a < lesion.end and b > lesion.start for a, b in repaired):
        return lesion
    lesion = replace(lesion, confidence=lesion.confidence * rules.mended_trust)
    mended = np.zeros(len(along), np.bool_)
    for start, end in repaired:
        mended |= (along >= along[start] - _BESIDE_MENDED_MM) & (along <= along[end - 1] + _BESIDE_MENDED_MM)
    span = slice(lesion.start, lesion.end)
    astray = mended[span] & (profile.lumen_mm[span] <= 0.0) & (core_hu[span] < _FAT_BELOW_HU)
    return replace(lesion, stenosis_percent=None, unreadable=True) if lesion.stenosis_percent and astray.any() else lesion


def _beside_calcium(profile: Profile, along: Float, at: int, rules: LesionRules) -> bool:
    """Whether there is much calcium within 2 mm of a point."""
    return bool(profile.calcium_mm2[np.abs(along - along[at]) <= _NEAR_MM].max() >= rules.blooming_mm2)


def _unexplained(profile: Profile, along: Float, at: int) -> float:
    """Part of the blood's attenuation that the section model leaves unexplained within 2 mm of a point."""
    near = np.abs(along - along[at]) <= _NEAR_MM
    return float(np.median(profile.noise_hu[near]) / max(float(np.median(profile.lumen_hu[near])), 50.0))
