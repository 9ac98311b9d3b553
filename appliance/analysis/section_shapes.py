"""Blurred shapes that the section model is made of: a disc, and a sector of a ring, seen through a Gaussian of standard deviation s.

A disc of radius R at distance r from its centre: D(r; R, s) = 1 - Q_1(r/s, R/s), Marcum's Q function. A piece of ring on one ray, from
radius p to q and as wide as the ray's share of the circle: the product of two blurred intervals, along the ray and across it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ive
from scipy.stats import ncx2

from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES

_TABLE_STEP = 0.125
_TABLE_SIZE = 160
REACH = 4
"""Rays to either side in which a piece of calcium is seen: a quarter of the circle."""


@lru_cache(maxsize=1)
def blurred_disc() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """D(rho; A) and its derivative by A on a grid of step 0.125 in both, unit blur, shape (160, 160), first axis rho."""
    grid = np.arange(_TABLE_SIZE) * _TABLE_STEP
    rho, radius = np.meshgrid(grid, grid, indexing="ij")
    value = np.zeros_like(rho)
    value[:, 1:] = ncx2.cdf(radius[:, 1:] ** 2, 2, np.maximum(rho[:, 1:] ** 2, 1e-12))
    value = np.clip(np.nan_to_num(value), 0.0, 1.0)
    slope = radius * np.exp(-0.5 * (radius - rho) ** 2) * ive(0, radius * rho)
    return value.astype(np.float32), slope.astype(np.float32)


@njit(cache=True, inline="always")
def look_up(table, rho, radius):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Bilinear value of one of the tables of ``blurred_disc``."""
    a = min(rho / 0.125, 158.999)
    b = min(max(radius, 0.0) / 0.125, 158.999)
    i, j = int(a), int(b)
    u, v = a - i, b - j
    return (table[i, j] * (1 - v) + table[i, j + 1] * v) * (1 - u) + (table[i + 1, j] * (1 - v) + table[i + 1, j + 1] * v) * u


@njit(cache=True)
def harmonics():  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Harmonics 0 to 2 at the rays' angles, (RAYS, 5)."""
    basis = np.empty((RAYS, 5))
    for k in range(RAYS):
        angle = 2.0 * np.pi * k / RAYS
        basis[k, 0] = 1.0
        basis[k, 1] = np.cos(angle)
        basis[k, 2] = np.sin(angle)
        basis[k, 3] = np.cos(2 * angle)
        basis[k, 4] = np.sin(2 * angle)
    return basis


@njit(cache=True, inline="always")
def _normal(t):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The normal distribution's cumulative function."""
    return 0.5 * math.erfc(-t * 0.7071067811865476)


@njit(cache=True)
def ring_pieces(begin, end, active, s, seen, to_begin, to_end):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Every active ray's piece of ring at every sample.

    Args:
        begin: inner radius of the piece on each ray, mm (RAYS,).
        end: outer radius of it.
        active: which rays have one (RAYS,).
        s: blur per ray, mm (RAYS,).
        seen: filled with the sum over the pieces (RAYS, SAMPLES).
        to_begin: filled with the derivative by each piece's inner radius, (RAYS, SAMPLES, 2 REACH + 1); the last axis counts the piece's
            ray from ``REACH`` rays before the sample's.
        to_end: the same by its outer radius.
    """
    seen[:] = 0.0
    to_begin[:] = 0.0
    to_end[:] = 0.0
    for own in range(RAYS):
        if not active[own]:
            continue
        p, q, width = begin[own], end[own], s[own]
        half = 0.5 * (p + q) * np.pi / RAYS
        for turn in range(-REACH, REACH + 1):
            k = (own + turn) % RAYS
            c, d = np.cos(2.0 * np.pi * turn / RAYS), np.sin(2.0 * np.pi * turn / RAYS)
            for j in range(SAMPLES):
                along, beside = j * SAMPLE_MM * c, j * SAMPLE_MM * d
                u, v = (along - p) / width, (along - q) / width
                if u < -3.5 or v > 3.5 or abs(beside) - half > 3.5 * width:
                    continue
                across = _normal((beside + half) / width) - _normal((beside - half) / width)
                seen[k, j] += (_normal(u) - _normal(v)) * across
                density = across * 0.3989422804014327 / width
                to_begin[k, j, REACH - turn] = -density * np.exp(-0.5 * u * u)
                to_end[k, j, REACH - turn] = density * np.exp(-0.5 * v * v)
