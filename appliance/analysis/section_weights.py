"""Which samples of a section count, and where to begin."""

from __future__ import annotations

import numpy as np
from numba import njit

from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES

_RISE_HU, _RISE_NOISE = 40.0, 3.0
_BEYOND_MM = 2.4
"""So far beyond the present outer wall is looked: less, and the wall of a thick soft plaque fills all that is seen and is taken for fat."""
_LUNG_BELOW_HU, _LUNG_BLUR = -180.0, 2
"""Fat does not lie below; two samples before that, the blurred edge of the lung is one part in a hundred of its step."""


@njit(cache=True)
def usable(ray, active):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """1 for samples inside the volume on rays without calcium, else 0, (RAYS, SAMPLES)."""
    weight = np.zeros((RAYS, SAMPLES))
    for k in range(RAYS):
        if active[k]:
            continue
        for j in range(SAMPLES):
            weight[k, j] = 0.0 if np.isnan(ray[k, j]) else 1.0
    return weight


@njit(cache=True)
def half_maximum(ray, weight, blood):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Radius at which the mean over the rays falls below half the blood's contrast to soft tissue: good enough to begin with."""
    for j in range(1, SAMPLES):
        total, count = 0.0, 0.0
        for k in range(RAYS):
            if weight[k, j] > 0.0:
                total += ray[k, j]
                count += 1.0
        if count > 2.0 and total / count < 0.5 * (blood + 30.0):
            return max(j * SAMPLE_MM, 0.4)
    return 0.0


@njit(cache=True)
def neighbours_cut(ray, blood, noise, outer, active, calcium_end, weight):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Weights (RAYS, SAMPLES): none far beyond the wall, outside the volume, and from where something else begins behind the vessel.

    The model knows one attenuation outside the vessel on each ray. Often a thin layer of fat lies there, then muscle, another vessel or
    lung: from the foot of that rise or fall on nothing is looked at, or the fat would be taken for a thick pale wall.
    """
    step = max(_RISE_HU, _RISE_NOISE * noise)
    for k in range(RAYS):
        lowest = 1e9
        end = SAMPLES
        near = 0.6 * outer[k]
        if active[k]:
            near = max(near, calcium_end[k] + 0.6)
        far = max(outer[k], calcium_end[k] if active[k] else 0.0) + _BEYOND_MM
        for j in range(SAMPLES):
            r = j * SAMPLE_MM
            if r > far:
                end = j
                break
            if r <= near:
                continue
            if ray[k, j] < _LUNG_BELOW_HU:
                end = max(j - _LUNG_BLUR, 0)
                break
            lowest = min(lowest, ray[k, j])
            vessel = ray[k, j] > lowest + 90.0 and ray[k, j] > 0.45 * blood and lowest < 0.6 * blood
            if vessel or (r > outer[k] and ray[k, j] > lowest + step):
                # the rise began before: take back what belongs to it
                end = j
                while end > 0 and ray[k, end - 1] > lowest + 25.0:
                    end -= 1
                break
        for j in range(SAMPLES):
            weight[k, j] = 1.0 if j < end and not np.isnan(ray[k, j]) else 0.0
