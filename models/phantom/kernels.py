"""Compiled loops of the virtual patient: distances to chains of capsules and sampling of distance fields."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray


@nb.njit(parallel=True, cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def capsule_field(points: FloatArray, segments: FloatArray, cap: float) -> FloatArray:
    """Signed distance (mm, clipped above at `cap`) of `points` (n, 3) to a union of tapered capsules.

    `segments` has one row per capsule: start xyz, end xyz, start radius, end radius.
    """
    n = points.shape[0]
    out = np.empty(n, np.float32)
    for i in nb.prange(n):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best = np.float32(cap)
        for s in range(segments.shape[0]):
            ax, ay, az = segments[s, 0], segments[s, 1], segments[s, 2]
            ux, uy, uz = segments[s, 3] - ax, segments[s, 4] - ay, segments[s, 5] - az
            px, py, pz = x - ax, y - ay, z - az
            length2 = ux * ux + uy * uy + uz * uz
            t = (px * ux + py * uy + pz * uz) / length2 if length2 > 0.0 else 0.0
            t = min(1.0, max(0.0, t))
            dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
            d = math.sqrt(dx * dx + dy * dy + dz * dz) - (segments[s, 6] + t * (segments[s, 7] - segments[s, 6]))
            if d < best:
                best = np.float32(d)
        out[i] = best
    return out


@nb.njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def tube_grid(
    shape: tuple[int, int, int],
    origin: FloatArray,
    spacing: float,
    points: FloatArray,
    radius: FloatArray,
    reach: float,
) -> FloatArray:
    """Distance (mm, at most `reach`) from each voxel of a grid to a union of balls, computed near the balls only."""
    nz, ny, nx = shape
    out = np.full(shape, np.float32(reach), np.float32)
    slabs = 16
    for slab in nb.prange(slabs):
        z0, z1 = slab * nz // slabs, (slab + 1) * nz // slabs
        for p in range(points.shape[0]):
            r = radius[p]
            far = r + reach
            ka = max(z0, int(math.ceil((points[p, 2] - far - origin[2]) / spacing)))
            kb = min(z1, int(math.floor((points[p, 2] + far - origin[2]) / spacing)) + 1)
            ja = max(0, int(math.ceil((points[p, 1] - far - origin[1]) / spacing)))
            jb = min(ny, int(math.floor((points[p, 1] + far - origin[1]) / spacing)) + 1)
            ia = max(0, int(math.ceil((points[p, 0] - far - origin[0]) / spacing)))
            ib = min(nx, int(math.floor((points[p, 0] + far - origin[0]) / spacing)) + 1)
            for k in range(ka, kb):
                dz = origin[2] + k * spacing - points[p, 2]
                for j in range(ja, jb):
                    dy = origin[1] + j * spacing - points[p, 1]
                    for i in range(ia, ib):
                        dx = origin[0] + i * spacing - points[p, 0]
                        d = math.sqrt(dx * dx + dy * dy + dz * dz) - r
                        if d < out[k, j, i]:
                            out[k, j, i] = np.float32(d)
    return out
