"""Attenuation of the blood along the tree, and the noise of the image.

First from the centre line alone (``blood_along``): where the vessel is wide enough to show it unblurred. Then from sections fitted with a
blood of their own (``level_along``), each as sure as what it shows: blood taken a tenth too dense makes a vessel of 1.5 mm a tenth too
narrow, and contrast medium thins out just where the vessels are too narrow to show it unblurred.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from appliance.analysis.section_run import Fitted
from appliance.analysis.sections import Blur, Sections
from appliance.analysis.stages import Float, NamedTree, VesselClass
from appliance.volume import Volume

_PLATEAU_MM = 15.0
_NEAR_PLATEAU_MM = 7.0
_LEAST_BLOOD = 0.3
"""Blood below this part of its level at the branch's beginning is not believed: the line has left the vessel."""
_WALL_HU = 60.0
_WALK = 0.016
"""Standard deviation of the change of the level over a millimetre, as a part of it: behind a narrowing it may halve within a centimetre."""
_STEP = 10.0
"""How much more it may change where no lumen is seen."""
_OF_ITS_OWN = 0.06
"""What clouds, streaks and calcium add to a section's own error, as a part of the level."""
_ORIGIN = 0.03
_HUBER = 1.5
_CORE = 3
"""Samples of a ray from the centre on in which the network's lumen is looked for."""
_TURNS = 8


def noise_of(volume: Volume) -> float:
    """Standard deviation of the noise, HU: from differences of near neighbours in blood and muscle, in the middle of the volume."""
    nz, ny, nx = volume.geometry.shape
    part = volume.voxels[nz // 4 : 3 * nz // 4 : 4, ny // 5 : 4 * ny // 5, nx // 5 : 4 * nx // 5].astype(np.float32)
    difference = part[:, :, 3:] - part[:, :, :-3]
    blood_or_muscle = (part[:, :, 3:] > 20) & (part[:, :, :-3] > 20)
    values = difference[blood_or_muscle]
    if values.size < 500:
        return 25.0
    spread = 1.4826 * float(np.median(np.abs(values))) / np.sqrt(2.0)
    return float(np.clip(spread, 8.0, 80.0))


def blood_along(named: NamedTree, sections: Sections, radius: Float, *, blur: Blur | None = None) -> Float:
    """Attenuation of the blood at every point, (n,)."""
    core = np.nanmean(sections.rays[:, :, :2], axis=(1, 2))
    core = np.where(np.isfinite(core), core, 0.0)
    spread = blur.in_plane_mm if blur else 0.4
    wide = radius > 2.6 * spread
    # the blur lets a little of the wall into the very centre, the more the narrower the vessel
    core = _WALL_HU + (core - _WALL_HU) / (1.0 - np.exp(-0.5 * (np.maximum(radius, spread) / spread) ** 2))
    blood = np.zeros(len(core))
    typical = float(np.median(core[wide])) if wide.sum() > 20 else 380.0
    for number, branch in enumerate(named.branches):
        here = np.flatnonzero(sections.branch == number)
        above = typical
        if branch.parent is not None and branch.parent_index is not None:
            parent = np.flatnonzero(sections.branch == branch.parent)
            above = float(blood[parent[min(branch.parent_index, len(parent) - 1)]])
        blood[here] = plateau(core[here], wide[here], sections.along[here], above)
    return blood


def plateau(core: Float, wide: NDArray[np.bool_], along: Float, above: float) -> Float:
    """The level of the blood along a branch: it begins at ``above`` and follows the core where the vessel is wide.

    Blood thins out along a vessel, and behind a tight narrowing or an occlusion it may fall to half (transluminal attenuation gradient,
    Choi et al., JACC Cardiovasc Imaging 2011), so what is healthy is told by the neighbours, not by the ostium: sections near the median
    of their window, brighter ones and single dark ones left out. Narrow stretches keep the level from before them.
    """
    possible = wide & (core > _LEAST_BLOOD * above) & (core < 1.25 * above)
    out = np.empty(len(core))
    level = above
    for i in range(0, len(core), 4):
        near = np.abs(along - along[i])
        window = possible & (near <= (_NEAR_PLATEAU_MM if (possible & (near <= _NEAR_PLATEAU_MM)).sum() >= 12 else _PLATEAU_MM))
        if window.sum() >= 5:
            middle = float(np.median(core[window]))
            agreeing = window & (np.abs(core - middle) < 0.15 * middle)
            if agreeing.any():  # none: two groups far apart, with the median between them
                # ten healthy sections weigh as much as the level so far
                share = float(agreeing.sum()) / (float(agreeing.sum()) + 10.0)
                level = share * float(np.median(core[agreeing])) + (1.0 - share) * level
        out[i : i + 4] = level
    return out


def level_along(named: NamedTree, sections: Sections, chosen: NDArray[np.intp], fitted: Fitted, expected: Float) -> Float:
    """The level of the blood at every point, (n,), from sections fitted with a blood of their own.

    The level walks at random along a branch, from its parent's at its origin; what the sections show is believed by its variance, and
    outliers little (Huber): the mode of a Gaussian random walk, found by reweighted least squares.

    Args:
        named: the tree.
        sections: all of them.
        chosen: numbers of those that were fitted.
        fitted: these.
        expected: the level as known before, (n,).
    """
    shown, weight = np.zeros(len(expected)), np.zeros(len(expected))
    told = np.maximum(fitted.blood_told, 1e-12)
    shown[chosen] = fitted.blood_hu
    weight[chosen] = 1.0 / (1.0 / told + (_OF_ITS_OWN * expected[chosen]) ** 2)
    # dense plaque that closes a vessel would pass for thin blood: only where the network sees lumen is blood looked for
    inside = (sections.labels[:, :, :_CORE] == VesselClass.LUMEN).mean(axis=(1, 2)) >= 0.5
    weight[chosen[fitted.calcium_mm2 > 0.0]] = 0.0
    weight[~inside] = 0.0
    level = expected.copy()
    for number, branch in enumerate(named.branches):
        here = np.flatnonzero(sections.branch == number)
        first = float(expected[here[0]]), 1e-9
        if branch.parent is not None and branch.parent_index is not None:
            parent = np.flatnonzero(sections.branch == branch.parent)
            above = float(level[parent[min(branch.parent_index, len(parent) - 1)]])
            first = above, (_ORIGIN * above) ** -2
        level[here] = _walk(shown[here], weight[here], sections.along[here], inside[here], first)
    return level


def _walk(shown: Float, weight: Float, along: Float, inside: NDArray[np.bool_], first: tuple[float, float]) -> Float:
    """The most likely random walk through what is shown; ``first`` is what is known of its beginning, with its weight.

    Across what is not ``inside`` a lumen it may step: behind an occlusion there is other blood.
    """
    typical = max(float(np.average(shown, weights=weight)) if weight.sum() > 0.0 else first[0], 50.0)
    free = np.where(inside[1:] & inside[:-1], 1.0, _STEP)
    stiff = 1.0 / ((_WALK * typical * free) ** 2 * np.maximum(np.diff(along), 1e-3))
    bands = np.zeros((2, len(shown)))
    bands[0, 1:] = -stiff
    robust = np.ones_like(shown)
    level = np.full_like(shown, typical)
    for _ in range(_TURNS):
        now = weight * robust
        bands[1] = now
        bands[1, :-1] += stiff
        bands[1, 1:] += stiff
        right = now * shown
        bands[1, 0] += first[1]
        right[0] += first[1] * first[0]
        level = solveh_banded(bands, right)
        away = np.abs(shown - level) * np.sqrt(weight)
        robust = np.minimum(1.0, _HUBER / np.maximum(away, 1e-9))
    return np.asarray(level)
