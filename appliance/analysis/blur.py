"""The scanner's blur, estimated from the image: the Gaussian under which healthy wide sections are explained best.

What would be explained as well by a sharper scanner and a thick pale wall is decided by holding the wall to what a healthy one is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from appliance.analysis.section_run import fit_all
from appliance.analysis.sections import Blur, Sections
from appliance.analysis.stages import Float
from appliance.volume import Geometry

_BLURS_MM = (0.21, 0.24, 0.275, 0.315, 0.36, 0.41, 0.47, 0.54, 0.62)
_RATIOS = (0.76, 0.87, 1.0, 1.15, 1.32)
_SECTIONS = 160
_FEWEST = 30
_LEAST_RADIUS_MM, _MOST_RADIUS_MM = 1.0, 2.4
_FIRMNESS = 4.0
_START_MM = 3.0
"""So near to a branch's beginning a section shows two vessels."""


def usual_blur(geometry: Geometry) -> Blur:
    """The blur of an ordinary cardiac kernel on a grid."""
    voxel = np.asarray(geometry.spacing) / np.sqrt(12.0)
    return Blur(float(np.hypot(0.32, voxel[0])), float(np.hypot(0.35, voxel[2])))


def estimate_blur(sections: Sections, blood: Float, radius: Float, noise: float, geometry: Geometry) -> Blur:
    """The blur under which a sample of healthy wide sections is explained best; a usual one where there are too few.

    Args:
        sections: cut about the lumen's middle.
        blood: at every section, HU (n,).
        radius: lumen radius as far as known, mm (n,).
        noise: HU.
        geometry: of the series.
    """
    start = usual_blur(geometry)
    core = sections.rays[:, :, :2].mean(axis=(1, 2))
    wide = (radius > _LEAST_RADIUS_MM) & (radius < _MOST_RADIUS_MM) & (np.abs(core - blood) < 0.15 * blood) & (sections.along > _START_MM)
    usable = np.flatnonzero(wide)
    if len(usable) < _FEWEST:
        return start
    chosen = usable[:: max(1, len(usable) // (2 * _SECTIONS))]
    first = fit_all(sections.take(chosen), blood[chosen], radius[chosen], noise, start, firmness=_FIRMNESS)
    # sections that hold a second vessel, a mouth or calcium are no witnesses
    plain = first.calcium_mm2 == 0.0
    if plain.sum() < _FEWEST:
        return start
    chosen = chosen[plain & (first.residual <= np.median(first.residual[plain]))]
    part = sections.take(chosen)

    def misfit(in_plane: float, across: float) -> float:
        fitted = fit_all(part, blood[chosen], radius[chosen], noise, Blur(in_plane, across), firmness=_FIRMNESS)
        return float(np.mean(fitted.residual**2))

    size = _lowest(_BLURS_MM, lambda s: misfit(s, s))
    ratio = _lowest(_RATIOS, lambda f: misfit(size * f, size / f))
    return Blur(in_plane_mm=size * ratio, across_mm=size / ratio)


def _lowest(places: tuple[float, ...], value: Callable[[float], float]) -> float:
    """Where ``value`` is lowest: the best of ``places``, moved by the parabola through it and its neighbours (in the logarithm)."""
    known: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in known:
            known[i] = value(places[i])
        return known[i]

    best = min(range(0, len(places), 2), key=at)
    best = min(range(max(best - 1, 0), min(best + 2, len(places))), key=at)
    if best in (0, len(places) - 1):
        return places[best]
    low, middle, high = at(best - 1), at(best), at(best + 1)
    bend = low - 2 * middle + high
    shift = float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend > 1e-9 else 0.0
    step = np.log(places[best + 1] / places[best - 1]) / 2
    return float(places[best] * np.exp(shift * step))
