"""Taking the blur along the vessel out of a series of lumen areas.

A section's fit knows the blur in its own plane. Along the vessel the scanner mixes neighbouring sections: to first order what is measured
is the true area averaged with the blur's Gaussian, so that a short tight narrowing looks wider than it is. Undone by least squares with
a smooth result (Tikhonov regularisation of the second derivative, as strong as the scatter of the areas demands), areas never negative.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from appliance.analysis.stages import Float

_BEND = 0.5
"""Second derivative that areas may well have, as a part of the vessel's area per mm2: a lesion closes within a millimetre or two."""
_LEAST_SCATTER, _MOST_SCATTER = 0.02, 0.25
_TURNS = 3


def unblurred_areas(area: Float, along: Float, blur_mm: Float) -> Float:
    """The areas without the blur along the line.

    Args:
        area: measured, mm2 (n,).
        along: place on the line, mm, increasing (n,).
        blur_mm: standard deviation of the blur along the line, (n,).
    """
    if len(area) < 7:
        return area
    typical = max(float(np.median(area)), 0.5)
    noise = _scatter(area) / typical
    step = np.gradient(along)
    mix = np.exp(-0.5 * ((along[:, None] - along[None]) / blur_mm[:, None]) ** 2) * step[None]
    mix /= mix.sum(axis=1, keepdims=True)
    bend = _second_derivative(along)
    strength = (float(np.clip(noise, _LEAST_SCATTER, _MOST_SCATTER)) / _BEND) ** 2
    normal = mix.T @ mix + strength * (bend.T @ bend)
    found = np.linalg.solve(normal, mix.T @ area)
    for _ in range(_TURNS):
        below = found < 0.0
        if not below.any():
            break
        # areas that came out negative are held at none
        found = np.linalg.solve(normal + np.diag(np.where(below, 1e3, 0.0)), mix.T @ area)
    return np.asarray(np.maximum(found, 0.0))


def _scatter(area: Float) -> float:
    """Standard deviation of single areas, from their distance to the median of five."""
    return 1.4826 * float(np.median(np.abs(area - median_filter(area, 5, mode="nearest"))))


def _second_derivative(along: Float) -> Float:
    n = len(along)
    out = np.zeros((n - 2, n))
    before, behind = along[1:-1] - along[:-2], along[2:] - along[1:-1]
    rows = np.arange(n - 2)
    out[rows, rows] = 2.0 / (before * (before + behind))
    out[rows, rows + 1] = -2.0 / (before * behind)
    out[rows, rows + 2] = 2.0 / (behind * (before + behind))
    return out
