"""Curves and cross-sections in space: arc length, smoothing, rotation-minimising frames, interpolated sampling.

Points are LPS in mm, shape (n, 3), unless said otherwise. Frames follow Wang et al., 'Computation of rotation minimizing frames',
ACM Trans. Graph. 27 (2008), double reflection.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from appliance.volume import Geometry, Volume

Float = NDArray[np.float64]


def arc_length(points: Float) -> Float:
    """Distance along the curve from its first point, shape (n,)."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def resample_curve(points: Float, step_mm: float) -> Float:
    """Points at equal distances of at most ``step_mm`` along the curve; both ends are kept.

    Raises:
        ValueError: fewer than two distinct points.
    """
    length = arc_length(points)
    keep = np.concatenate([[True], np.diff(length) > 1e-9])
    if keep.sum() < 2:
        raise ValueError("a curve needs two distinct points")
    count = max(int(np.ceil(length[-1] / step_mm)) + 1, 2)
    at = np.linspace(0.0, length[-1], count)
    return np.stack([np.interp(at, length[keep], points[keep, axis]) for axis in range(3)], axis=1)


def smooth_curve(points: Float, sigma_mm: float, step_mm: float) -> Float:
    """Gaussian smoothing along an evenly sampled curve with both ends fixed (odd reflection about the ends)."""
    if len(points) < 3 or sigma_mm <= 0:
        return points
    sigma = sigma_mm / step_mm
    pad = min(int(4 * sigma) + 1, len(points) - 1)
    head = 2 * points[0] - points[pad:0:-1]
    tail = 2 * points[-1] - points[-2 : -pad - 2 : -1]
    padded = np.concatenate([head, points, tail])
    return np.asarray(gaussian_filter1d(padded, sigma, axis=0)[pad : pad + len(points)])


def tangents(points: Float) -> Float:
    """Unit tangents, shape (n, 3)."""
    gradient = np.gradient(points, axis=0)
    unit: Float = gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
    return unit


def frames(points: Float) -> tuple[Float, Float, Float]:
    """Rotation-minimising frames: (tangent, normal, binormal), each (n, 3), right-handed."""
    t = tangents(points)
    r = np.empty_like(t)
    seed = np.eye(3)[np.argmin(np.abs(t[0]))]
    r[0] = np.cross(t[0], np.cross(seed, t[0]))
    r[0] /= np.linalg.norm(r[0])
    for i in range(len(t) - 1):
        v1 = points[i + 1] - points[i]
        c1 = float(v1 @ v1)
        if c1 < 1e-18:
            r[i + 1] = r[i]
            continue
        rl = r[i] - (2 / c1) * (v1 @ r[i]) * v1
        tl = t[i] - (2 / c1) * (v1 @ t[i]) * v1
        v2 = t[i + 1] - tl
        c2 = float(v2 @ v2)
        r[i + 1] = rl if c2 < 1e-18 else rl - (2 / c2) * (v2 @ rl) * v2
        r[i + 1] /= np.linalg.norm(r[i + 1])
    return t, r, np.cross(t, r)


@njit(parallel=True, cache=True, fastmath=True)
def _trilinear(voxels, index, fill):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count = index.shape[0]
    out = np.empty(count, np.float32)
    nz, ny, nx = voxels.shape
    for i in prange(count):
        z, y, x = index[i, 0], index[i, 1], index[i, 2]
        if z < 0 or y < 0 or x < 0 or z > nz - 1 or y > ny - 1 or x > nx - 1:
            out[i] = fill
            continue
        z0, y0, x0 = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
        z0, y0, x0 = max(z0, 0), max(y0, 0), max(x0, 0)
        z1, y1, x1 = min(z0 + 1, nz - 1), min(y0 + 1, ny - 1), min(x0 + 1, nx - 1)
        dz, dy, dx = z - z0, y - y0, x - x0
        c00 = voxels[z0, y0, x0] * (1 - dx) + voxels[z0, y0, x1] * dx
        c01 = voxels[z0, y1, x0] * (1 - dx) + voxels[z0, y1, x1] * dx
        c10 = voxels[z1, y0, x0] * (1 - dx) + voxels[z1, y0, x1] * dx
        c11 = voxels[z1, y1, x0] * (1 - dx) + voxels[z1, y1, x1] * dx
        out[i] = (c00 * (1 - dy) + c01 * dy) * (1 - dz) + (c10 * (1 - dy) + c11 * dy) * dz
    return out


def sample(voxels: NDArray[np.generic], geometry: Geometry, points: Float, *, fill: float = -1024.0) -> NDArray[np.float32]:
    """Trilinear values at LPS ``points`` (..., 3); ``fill`` outside the grid. Result shape (...)."""
    index = geometry.to_index(points).reshape(-1, 3)
    return np.asarray(_trilinear(voxels, index, fill)).reshape(points.shape[:-1])


def cross_sections(
    volume: Volume, points: Float, normal: Float, binormal: Float, *, half_width_mm: float, step_mm: float
) -> NDArray[np.float32]:
    """Square sections perpendicular to a curve: HU, shape (n, m, m), m = 2 * round(half_width / step) + 1.

    Rows run along ``binormal``, columns along ``normal``; the centre pixel lies on the curve.
    """
    count = round(half_width_mm / step_mm)
    offset = np.arange(-count, count + 1) * step_mm
    grid = (
        points[:, None, None, :]
        + offset[None, None, :, None] * normal[:, None, None, :]
        + offset[None, :, None, None] * binormal[:, None, None, :]
    )
    return sample(volume.voxels, volume.geometry, grid)
