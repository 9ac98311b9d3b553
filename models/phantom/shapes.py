"""Signed distances of simple bodies and smooth random fields on a patient's grid."""

from __future__ import annotations

import numpy as np

from models.phantom.kernels import capsule_field
from models.phantom.types import FloatArray, Vector

Extent = tuple[int, int, int]
Chain = tuple[list[Vector], list[float]]


def smooth_min(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """Union of two signed distances with a fillet of about `k` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.asarray(np.minimum(a, b) - h * h * (k * 0.25))


def capsules(q: FloatArray, shape: Extent, *chains: Chain) -> FloatArray:
    """Signed distance to chains of capsules: each chain is a list of points and a list of radii."""
    rows = []
    for points, radii in chains:
        for a, b, ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
            rows.append([*a, *b, ra, rb])
    return np.asarray(capsule_field(q, np.asarray(rows, np.float32), 60.0)).reshape(shape)


def ellipsoid(q: FloatArray, shape: Extent, centre: Vector, radii: Vector) -> FloatArray:
    """Approximate signed distance to an ellipsoid."""
    d = (q - np.asarray(centre, np.float32)) / np.asarray(radii, np.float32)
    k0 = np.sqrt((d * d).sum(1))
    k1 = np.sqrt(((d / np.asarray(radii, np.float32)) ** 2).sum(1)) + 1e-6
    return np.asarray(k0 * (k0 - 1.0) / k1, np.float32).reshape(shape)


def spline_weights(n: int, cells: int) -> FloatArray:
    """Weights (n, cells + 3) of a uniform cubic B-spline over `cells` intervals, at `n` even places."""
    u = np.linspace(0.0, cells - 1e-6, n)
    k = u.astype(int)
    t = u - k
    w = np.zeros((n, cells + 3), np.float32)
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for c, value in enumerate(basis):
        w[np.arange(n), k + c] = value / 6.0
    return w


def lumps(rng: np.random.Generator, shape: Extent, cells: int, amplitude: float) -> FloatArray:
    """A smooth random field (z, y, x) in mm, of standard deviation `amplitude`, with `cells` lattice cells a side."""
    coarse = rng.normal(0.0, 2.4 * amplitude, (cells + 3,) * 3).astype(np.float32)
    wz, wy, wx = (spline_weights(n, cells) for n in shape)
    rows = np.tensordot(coarse, wx, axes=(2, 1))
    plane = np.einsum("zyx,jy->zjx", rows, wy, optimize=True)
    return np.asarray(np.tensordot(wz, plane, axes=(1, 0)), np.float32)


def displacement(rng: np.random.Generator, shape: Extent, cells: int, amplitude: float) -> FloatArray:
    """A smooth random displacement (n, 3) in mm."""
    return np.stack([lumps(rng, shape, cells, amplitude).ravel() for _ in range(3)], 1)


def unit_slope(d: FloatArray, spacing: float = 2.0) -> FloatArray:
    """A level-set function rescaled so that it grows by about 1 per mm near its zero."""
    g = np.gradient(d, spacing)
    return np.asarray(d / np.clip(np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2), 0.3, 3.0), np.float32)
