"""Attenuation of the blood along the tree, and the noise of the image.

Blood: the attenuation on the centre line where the vessel is wide enough to show it unblurred, as a slowly falling line from the ostium on;
narrow and distal stretches inherit it from above.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.sections import Blur, Sections
from appliance.analysis.stages import Float, NamedTree
from appliance.volume import Volume

_PLATEAU_MM = 15.0
_NEAR_PLATEAU_MM = 7.0
_LEAST_BLOOD = 0.3
"""Blood below this part of its level at the branch's beginning is not believed: the line has left the vessel."""
_WALL_HU = 60.0


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
