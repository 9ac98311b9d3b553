"""What a plaque is made of: volumes by attenuation, type, remodelling, burden, high-risk features.

| quantity | rule | source |
|---|---|---|
| total volume | vessel less lumen between the lesion's shoulders | SCCT plaque, JCCT 2024;18:429 |
| calcified | denser than half way between soft plaque and the densest calcium of the section | half-maximum edge |
| low attenuation | below 30 HU, kept off lumen and fat by the blur | SCCT plaque |
| fibro-fatty, fibrous | by the boundaries for the tube voltage and the blood | `plaque_classes` |
| remodelling index | outer diameter at the lesion / mean of the references beside it; positive from 1.1 | CAD-RADS 2.0, JCCT 2022;16:536 |
| burden | (vessel - lumen) / vessel area at the narrowest point | SCCT plaque |
| spotty calcification | each piece under 3 mm and under 90 degrees, within non-calcified plaque | CAD-RADS 2.0 |
| napkin ring | low-attenuation core with a denser rim of at most 130 HU | CAD-RADS 2.0 |

Where the network ``lesions`` has looked, it proposes type and high-risk features, and these rules have the veto: no calcified plaque
without enough calcium to be seen, none without calcium where there is plenty, no feature that is not measured as well. Low attenuation is
the exception: the blur fills a core that is as small as itself with what lies around, so that no sample of it is below 30 HU. Where the
network is sure of one it is named, and its volume is only what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from appliance.analysis.lesion_degree import Stretch
from appliance.analysis.lesion_network import FEATURES, KINDS, Reading
from appliance.analysis.lesions import Survey
from appliance.analysis.lumen import LumenResult, calcium_cells
from appliance.analysis.plaque_classes import LOW_HU, boundaries
from appliance.analysis.runs import ranges_of
from appliance.analysis.section_samples import SAMPLE_MM, SAMPLES
from appliance.analysis.sections import cell_areas
from appliance.analysis.stages import Float, NamedTree
from appliance.findings import HighRiskFeature, PlaqueType, PlaqueVolume
from appliance.geometry import arc_length

Bools = NDArray[np.bool_]

RIM_HU = 130.0
POSITIVE_REMODELING = 1.1
SPOTTY_MM = 3.0
CALCIFIED_SHARE = 0.15
CALCIFIED_FROM_SHARE, CALCIFIED_SURELY_SHARE = 0.06, 0.25
"""Calcium in all plaque and wall: with less nothing is called calcified, with more nothing is called mixed, whatever the network says."""
TRACE_MM3, PLENTY_MM3 = 0.3, 1.5
"""Calcium: with less everything is called noncalcified, with more nothing is, whatever the network says."""
_CALCIUM_MM3, _CALCIUM_SPREAD_MM3, _SHARE_SPREAD = 0.6, 0.25, 0.03
FEATURE_SHARE = 0.15
"""Mean probability over the plaque from which on the network agrees with a measured feature."""
SURE_SHARE = 0.45
"""And so much names a core of low attenuation that was not measured: of 25 development patients' 12 it names 7, and 2 of the 95 others."""
_SMALLEST_CALCIUM_MM3 = 0.8
_SMALLEST_LOW_MM3 = 1.0
_LOW_RAYS = 2


@dataclass(frozen=True)
class Plaque:
    """One plaque. ``remodeling_index`` and ``burden_percent`` are None where no reference or lumen was measured."""

    kind: PlaqueType
    volume: PlaqueVolume
    remodeling_index: float | None
    burden_percent: float | None
    high_risk: tuple[HighRiskFeature, ...]


def describe_plaques(named: NamedTree, survey: Survey, lumen: LumenResult, *, kvp: float | None = None) -> tuple[Plaque, ...]:
    """One entry per stretch of the survey, in its order; ``kvp`` is the tube voltage, None where it is not known."""
    return tuple(_describe(stretch, named, survey, lumen, kvp) for stretch in survey.stretches)


def _describe(stretch: Stretch, named: NamedTree, survey: Survey, lumen: LumenResult, kvp: float | None) -> Plaque:
    profile = survey.profiles[stretch.branch]
    reference = survey.references[stretch.branch]
    span = slice(stretch.start, stretch.end)
    along = arc_length(named.branches[stretch.branch].points_mm)
    weight = np.gradient(along)[span] if len(along) > 1 else np.ones(1)
    first = lumen.rows(stretch.branch).start
    rows = slice(first + stretch.start, first + stretch.end)
    rays, inner, outer = lumen.sections.rays[rows], lumen.fitted.lumen_radius[rows], lumen.fitted.outer_radius[rows]
    calcium = calcium_cells(lumen.fitted, rows)
    soft = _low_cells(rays, inner, outer, calcium, lumen)
    area = cell_areas()
    wall = np.pi / 4 * np.maximum(profile.vessel_mm[span] ** 2 - profile.lumen_mm[span] ** 2, 0.0)
    hard = np.minimum((calcium * area).sum(axis=(1, 2)), 0.95 * wall)
    low = np.minimum((soft * area).sum(axis=(1, 2)), wall - hard)
    total, calcified, attenuated = (float((x * weight).sum()) for x in (wall, hard, low))
    if attenuated < _SMALLEST_LOW_MM3:
        attenuated = 0.0
    share = calcified / max(total, 1e-6)
    fibrous = fibrous_share(rays, inner, outer, calcium, lumen, blood_hu=float(np.nanmedian(profile.lumen_hu[span])), kvp=kvp)
    firm = max(total - calcified - attenuated, 0.0)
    kind: PlaqueType = "calcified" if share >= CALCIFIED_SHARE else "mixed" if calcified >= _SMALLEST_CALCIUM_MM3 else "noncalcified"
    reading = survey.readings[stretch.branch] if survey.readings else None
    if reading is not None:
        kind = proposed_kind(_mean_over(reading.kinds, reading, span, weight), calcified_mm3=calcified, share=share)
    index = _remodeling(stretch, profile.vessel_mm, reference.vessel_mm, along)
    vessel = float(profile.vessel_mm[stretch.minimum])
    burden = 100.0 * (1.0 - (float(profile.lumen_mm[stretch.minimum]) / vessel) ** 2) if vessel > 0 else None
    features: list[HighRiskFeature] = []
    if attenuated > 0.0:
        features.append("low_attenuation")
    if index is not None and index >= POSITIVE_REMODELING:
        features.append("positive_remodeling")
    if kind == "mixed" and _spotty(calcium, weight):
        features.append("spotty_calcification")
    if attenuated > 0.0 and _napkin_ring(rays, outer, soft):
        features.append("napkin_ring")
    if reading is not None:
        likely = _mean_over(reading.features, reading, span, weight)
        features = [name for name in features if likely[FEATURES.index(name)] >= FEATURE_SHARE]
        if "low_attenuation" not in features and likely[FEATURES.index("low_attenuation")] >= SURE_SHARE:
            features.insert(0, "low_attenuation")
    return Plaque(
        kind=kind,
        volume=PlaqueVolume(
            total=round(total, 2),
            calcified=round(calcified, 2),
            noncalcified=round(total - calcified, 2),
            low_attenuation=round(attenuated, 2),
            fibrofatty=None if fibrous is None else round(firm * (1.0 - fibrous), 2),
            fibrous=None if fibrous is None else round(firm * fibrous, 2),
            fibrofatty_reason="too_thin" if fibrous is None else None,
            fibrous_reason="too_thin" if fibrous is None else None,
        ),
        remodeling_index=index,
        burden_percent=burden,
        high_risk=tuple(features),
    )


def proposed_kind(probability: Float, *, calcified_mm3: float, share: float) -> PlaqueType:
    """The likeliest of ``KINDS`` by network and measured calcium together, out of those that the calcium allows.

    Args:
        probability: of each of ``KINDS``, (3,).
        calcified_mm3: measured volume of calcium.
        share: of calcium in all plaque, 0..1.
    """
    calcium = float(expit((calcified_mm3 - _CALCIUM_MM3) / _CALCIUM_SPREAD_MM3))
    mostly = float(expit((share - CALCIFIED_SHARE) / _SHARE_SPREAD))
    measured = np.array([calcium * mostly, calcium * (1.0 - mostly), 1.0 - calcium])
    some = calcified_mm3 >= TRACE_MM3
    allowed = np.array([
        some and calcified_mm3 >= _SMALLEST_CALCIUM_MM3 and share >= CALCIFIED_FROM_SHARE,
        some and share < CALCIFIED_SURELY_SHARE,
        calcified_mm3 < PLENTY_MM3,
    ])  # fmt: skip
    return KINDS[int(np.where(allowed, probability * measured, -1.0).argmax())]


def _mean_over(values: Float, reading: Reading, span: slice, weight: Float) -> Float:
    """Mean of the columns (n, k) over a stretch, weighted by length and by how sure the network is of plaque there."""
    sure = weight * np.clip(reading.share[span], 0.02, 1.0)
    return np.asarray((values[span] * sure[:, None]).sum(axis=0) / sure.sum())


def _low_cells(rays: Float, inner: Float, outer: Float, calcium: Bools, lumen: LumenResult) -> Bools:
    """True for cells of low attenuation in the wall, at least the blur's width away from lumen, fat and calcium."""
    radius = np.arange(SAMPLES) * SAMPLE_MM
    keep_off = 1.3 * lumen.blur.in_plane_mm
    within = (radius >= (inner + keep_off)[:, :, None]) & (radius <= (outer - keep_off)[:, :, None])
    # neighbours along the ray, across rays and along the vessel: single samples are too noisy for a threshold
    calm = (rays + np.roll(rays, 1, axis=1) + np.roll(rays, -1, axis=1)) / 3
    if len(calm) > 2:
        calm = np.concatenate([calm[:1], (calm[:-2] + calm[1:-1] + calm[2:]) / 3, calm[-1:]])
    # what is left of the noise after that must not make ordinary plaque look soft
    low = within & (calm < LOW_HU - 0.35 * lumen.noise_hu) & ~calcium
    enough = low.any(axis=2).sum(axis=1) >= _LOW_RAYS
    return np.asarray(low & enough[:, None, None])


def fibrous_share(
    rays: Float, inner: Float, outer: Float, calcium: Bools, lumen: LumenResult, *, blood_hu: float, kvp: float | None
) -> float | None:
    """Fibrous part of what is neither low-attenuation plaque nor calcium; None where the wall is nowhere thicker than the blur.

    Told where lumen, fat and calcium are farther away than the blur, for the whole of the plaque.
    """
    if not np.isfinite(blood_hu):
        return None
    cut = boundaries(kvp=kvp, blood_hu=blood_hu, noise_hu=lumen.noise_hu)
    radius = np.arange(SAMPLES) * SAMPLE_MM
    keep_off = lumen.blur.in_plane_mm
    within = (radius >= (inner + keep_off)[:, :, None]) & (radius <= (outer - keep_off)[:, :, None]) & ~calcium
    calm = (rays + np.roll(rays, 1, axis=1) + np.roll(rays, -1, axis=1)) / 3
    weight = np.where(within, cell_areas(), 0.0)
    firm = float((weight * ((calm >= cut.fatty) & (calm < cut.calcium))).sum())
    return float((weight * ((calm >= cut.fibrous) & (calm < cut.calcium))).sum()) / firm if firm > 0.0 else None


def _remodeling(stretch: Stretch, vessel: Float, reference: Float, along: Float) -> float | None:
    near = np.abs(along - along[stretch.minimum]) <= 1.2
    ends = reference[[stretch.start, min(stretch.end, len(reference) - 1)]]
    known = ends[np.isfinite(ends)]
    if not len(known):
        return None
    return float(np.median(vessel[near]) / known.mean())


def _spotty(calcium: Bools, weight: Float) -> bool:
    """Every piece of calcium is short and covers less than a quarter of the wall."""
    arcs = calcium.any(axis=2).mean(axis=1)
    present = arcs > 0
    if not present.any() or float(arcs.max()) >= 0.25:
        return False
    return all(float(weight[a:b].sum()) < SPOTTY_MM for a, b in ranges_of(present))


def _napkin_ring(rays: Float, outer: Float, soft: Bools) -> bool:
    """A core of low attenuation whose rim towards the outside is denser, yet not calcified, over most of its arc and at least 1 mm."""
    radius = np.arange(SAMPLES) * SAMPLE_MM
    sections = 0
    for i in np.flatnonzero(soft.any(axis=(1, 2))):
        cored = soft[i].any(axis=1)
        if cored.mean() < 0.2:
            continue
        rim = (radius >= (outer[i] - 0.5)[:, None]) & (radius <= (outer[i] - 0.1)[:, None])
        values = [rays[i, k][rim[k]] for k in np.flatnonzero(cored) if rim[k].any()]
        core = float(np.mean(rays[i][soft[i]]))
        if not values:
            continue
        level = np.array([float(v.mean()) for v in values])
        sections += int(((level > core + 25.0) & (level <= RIM_HU)).mean() > 0.7)
    return sections >= 3
