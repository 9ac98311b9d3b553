"""Shapes of lesions along a vessel: how the lumen narrows and the wall thickens from shoulder to shoulder (0 to 1)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.phantom.profiles import waves
from models.phantom.tree import STEP_MM
from models.phantom.types import FloatArray

FORMS = ("hump", "tandem", "diffuse", "flat")


def hump(rng: np.random.Generator, n: int, peak: int, *, left_open: bool = False, right_open: bool = False) -> FloatArray:
    """One narrowing with value 1 at `peak` and 0 at both ends; each side has its own steepness, an open side stays narrow."""
    i = np.arange(n, dtype=float)
    left = np.clip(i / max(peak, 1), 0.0, 1.0)
    right = np.clip((n - 1 - i) / max(n - 1 - peak, 1), 0.0, 1.0)
    if left_open:
        left = float(rng.uniform(0.6, 1.0)) + (1.0 - float(rng.uniform(0.6, 1.0))) * left
        left = np.clip(left, 0.0, 1.0)
    if right_open:
        right = np.clip(0.75 + 0.25 * right, 0.0, 1.0)
    u = np.where(i <= peak, _side(rng, left), _side(rng, right))
    u[peak] = 1.0
    return np.asarray(u)


def _side(rng: np.random.Generator, u: FloatArray) -> FloatArray:
    """From shoulder (0) to minimum (1): gentle, steep like a shelf, or with a plateau before the minimum."""
    plateau = float(rng.choice([1.0, rng.uniform(1.0, 2.2)]))
    power = float(np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
    return np.asarray((0.5 - 0.5 * np.cos(np.pi * np.clip(u * plateau, 0.0, 1.0))) ** power)


def narrowing(rng: np.random.Generator, form: str, n: int, peak: int, *, left_open: bool = False, right_open: bool = False) -> FloatArray:
    """Share of the greatest narrowing along a lesion of `n` points; exactly 1 at `peak`, 0 at closed ends.

    Forms: "hump" one minimum, "tandem" two or three, "diffuse" many over a raised floor, "flat" a long even one.
    """
    single = hump(rng, n, peak, left_open=left_open, right_open=right_open)
    ends = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) * STEP_MM / max(1.5, 0.08 * n * STEP_MM))
    ends = np.sin(0.5 * np.pi * ends)
    if form == "hump":
        out = single
    elif form == "flat":
        out = np.maximum(single, ends * float(rng.uniform(0.75, 0.95)))
    else:
        out = 0.85 * single**3 if form == "diffuse" else single**1.5
        count = int(rng.integers(1, 3)) if form == "tandem" else int(np.clip(rng.poisson(n * STEP_MM / 9.0), 2, 9))
        for _ in range(count):
            centre = float(rng.uniform(0.08, 0.92)) * n
            width = float(rng.uniform(1.5, 4.0 if form == "tandem" else 6.0)) / STEP_MM
            out = np.maximum(out, float(rng.uniform(0.35, 0.92)) * np.exp(-0.5 * ((np.arange(n) - centre) / width) ** 2))
        if form == "diffuse":
            out = np.maximum(out, float(rng.uniform(0.2, 0.5)))
        out = out * (1.0 if left_open or right_open else ends)
    rough = 1.0 + float(rng.uniform(0.0, 0.12)) * waves(rng, n, float(rng.uniform(2.0, 6.0)))
    out = np.clip(out * rough, 0.0, 0.985)
    bell = np.exp(-0.5 * ((np.arange(n) - peak) * STEP_MM / 0.9) ** 2)
    out = np.maximum(out, bell * single)
    out[peak] = 1.0
    if not left_open:
        out[0] = 0.0
    if not right_open:
        out[-1] = 0.0
    return np.asarray(out)


def thickening(rng: np.random.Generator, q: FloatArray, *, left_open: bool, right_open: bool) -> FloatArray:
    """Where the wall is thickened (0 to 1): wider than the narrowing, because plaque reaches beyond it."""
    n = len(q)
    ramp = max(1.5, float(rng.uniform(0.1, 0.3)) * n * STEP_MM)
    left, right = np.arange(n) * STEP_MM / ramp, np.arange(n)[::-1] * STEP_MM / ramp
    if left_open:
        left = left + 0.7
    if right_open:
        right = right + 0.7
    plateau = np.sin(0.5 * np.pi * np.clip(np.minimum(left, right), 0.0, 1.0)) ** 2
    level = float(rng.uniform(0.4, 0.95))
    out = np.maximum(q, level * plateau * (1.0 + 0.15 * waves(rng, n, 6.0)))
    # the outer wall follows the plaque more smoothly than the lumen does
    return np.asarray(np.clip(ndimage.gaussian_filter1d(out, 1.0 / STEP_MM, mode="nearest"), 0.0, 1.0))
