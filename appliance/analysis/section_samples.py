"""The samples of a cross-section: rays from its centre, with the attenuation and the network's class along each."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

RAYS = 16
SAMPLES = 26
SAMPLE_MM = 0.2


@njit(cache=True, inline="always")
def _cubic(t, w):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Catmull-Rom weights: interpolating, and almost without blur of its own."""
    w[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    w[1] = (1.5 * t - 2.5) * t * t + 1.0
    w[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    w[3] = (0.5 * t - 0.5) * t * t


@njit(parallel=True, cache=True, fastmath=True)
def sample_rays(voxels, centre, across, up, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fill ``out`` (n, RAYS, SAMPLES) with HU along the rays; ``across`` and ``up`` are index steps per mm; NaN outside the volume."""
    nz, ny, nx = voxels.shape
    for i in prange(len(centre)):
        wz = np.empty(4)
        wy = np.empty(4)
        wx = np.empty(4)
        for k in range(RAYS):
            angle = 2.0 * np.pi * k / RAYS
            c, s = np.cos(angle), np.sin(angle)
            gz = c * across[i, 0] + s * up[i, 0]
            gy = c * across[i, 1] + s * up[i, 1]
            gx = c * across[i, 2] + s * up[i, 2]
            for j in range(SAMPLES):
                r = j * SAMPLE_MM
                z, y, x = centre[i, 0] + r * gz, centre[i, 1] + r * gy, centre[i, 2] + r * gx
                z0, y0, x0 = int(np.floor(z)), int(np.floor(y)), int(np.floor(x))
                if z0 < 1 or y0 < 1 or x0 < 1 or z0 > nz - 3 or y0 > ny - 3 or x0 > nx - 3:
                    out[i, k, j] = np.nan
                    continue
                _cubic(z - z0, wz)
                _cubic(y - y0, wy)
                _cubic(x - x0, wx)
                value = 0.0
                for p in range(4):
                    for q in range(4):
                        row = 0.0
                        for t in range(4):
                            row += wx[t] * voxels[z0 - 1 + p, y0 - 1 + q, x0 - 1 + t]
                        value += wz[p] * wy[q] * row
                out[i, k, j] = value


@njit(parallel=True, cache=True)
def label_rays(classes, centre, across, up, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Fill ``out`` (n, RAYS, SAMPLES) with the class of the nearest voxel; 0 outside the grid."""
    nz, ny, nx = classes.shape
    for i in prange(len(centre)):
        for k in range(RAYS):
            angle = 2.0 * np.pi * k / RAYS
            c, s = np.cos(angle), np.sin(angle)
            for j in range(SAMPLES):
                r = j * SAMPLE_MM
                z = int(np.rint(centre[i, 0] + r * (c * across[i, 0] + s * up[i, 0])))
                y = int(np.rint(centre[i, 1] + r * (c * across[i, 1] + s * up[i, 1])))
                x = int(np.rint(centre[i, 2] + r * (c * across[i, 2] + s * up[i, 2])))
                inside = z >= 0 and y >= 0 and x >= 0 and z < nz and y < ny and x < nx
                out[i, k, j] = classes[z, y, x] if inside else 0
