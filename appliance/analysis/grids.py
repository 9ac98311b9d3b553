"""Moving a volume from one grid to another that has the same axes: averaging to a coarser one, interpolating to a finer one.

Both grids share their direction; only spacing, origin and shape differ. So every axis can be handled by itself.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from appliance.volume import Geometry, Volume

Voxel = TypeVar("Voxel", bound=np.generic)


def covering_grid(geometry: Geometry, spacing_mm: float) -> Geometry:
    """An isotropic grid with the same direction that covers all of ``geometry``, its first voxel edge on the grid's first edge."""
    shape = tuple(max(1, int(np.ceil(extent / spacing_mm - 1e-6))) for extent in reversed(geometry.extent_mm))
    first_edge = geometry.to_points(np.full(3, -0.5))
    origin = first_edge + geometry.direction @ np.full(3, spacing_mm / 2)
    z, y, x = shape
    return Geometry((z, y, x), (spacing_mm,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])), geometry.direction)


def sub_grid(geometry: Geometry, low: NDArray[np.float64], high: NDArray[np.float64], spacing_mm: float) -> Geometry:
    """An isotropic grid between two fractional indices (z, y, x) of ``geometry``, with its direction."""
    origin = geometry.to_points(low)
    extent = (high - low) * np.asarray(geometry.spacing)[::-1]
    z, y, x = (int(np.ceil(side / spacing_mm)) + 1 for side in extent)
    return Geometry((z, y, x), (spacing_mm,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])), geometry.direction)


def average_to(volume: Volume, grid: Geometry, *, fill: float = -1024.0) -> NDArray[np.float32]:
    """Mean HU of the voxel parts that fall into each voxel of a coarser ``grid``; ``fill`` where there is no image.

    Result (z, y, x) of the grid's shape. Exact box averaging, so nothing aliases.
    """
    weights = [_overlaps(volume.geometry, grid, axis) for axis in range(3)]
    in_plane = np.empty((volume.geometry.shape[0], grid.shape[1], grid.shape[2]), np.float32)
    across_x = np.ascontiguousarray(weights[2].T)
    for z, plane in enumerate(volume.voxels):
        in_plane[z] = weights[1] @ (plane.astype(np.float32) @ across_x)
    summed = np.tensordot(weights[0], in_plane, axes=(1, 0))
    covered = np.einsum("i,j,k->ijk", *(weight.sum(axis=1) for weight in weights))
    return np.where(covered > 0.25, summed / np.maximum(covered, 1e-6), fill).astype(np.float32)


def interpolate_to(voxels: NDArray[Voxel], geometry: Geometry, grid: Geometry) -> NDArray[Voxel]:
    """Trilinear values on ``grid``, rounded to the voxels' own integer type; the nearest edge value outside.

    Raises:
        ValueError: the grids' directions differ.
    """
    positions = positions_in(geometry, grid)
    out = np.empty(grid.shape, voxels.dtype)
    _interpolate(voxels, positions[0], positions[1], positions[2], out)
    return out


def positions_in(geometry: Geometry, grid: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Where the planes, rows and columns of ``grid`` lie: fractional indices of ``geometry`` (z, y, x), moved to its edge where outside.

    Raises:
        ValueError: the grids' directions differ.
    """
    if not np.allclose(geometry.direction, grid.direction):
        raise ValueError("the two grids must share their direction")
    start = geometry.to_index(grid.to_points(np.zeros(3)))
    step = np.asarray(grid.spacing)[::-1] / np.asarray(geometry.spacing)[::-1]
    z, y, x = (
        np.clip(start[axis] + step[axis] * np.arange(grid.shape[axis]), 0, geometry.shape[axis] - 1).astype(np.float32) for axis in range(3)
    )
    return z, y, x


def _overlaps(source: Geometry, target: Geometry, axis: int) -> NDArray[np.float32]:
    """Share of each target voxel (rows) that each source voxel (columns) fills, along one array axis."""
    along = 2 - axis
    size, spacing = source.shape[axis], source.spacing[along]
    first = source.to_index(target.to_points(np.zeros(3)))[axis]
    ratio = target.spacing[along] / spacing
    centre = first + ratio * np.arange(target.shape[axis])
    low, high = centre[:, None] - ratio / 2, centre[:, None] + ratio / 2
    voxel = np.arange(size)[None, :]
    shares: NDArray[np.float32] = (np.clip(np.minimum(high, voxel + 0.5) - np.maximum(low, voxel - 0.5), 0, None) / ratio).astype(
        np.float32
    )
    return shares


@njit(parallel=True, cache=True)
def _interpolate(voxels: Any, at_z: Any, at_y: Any, at_x: Any, out: Any) -> None:  # pragma: no cover - compiled
    nz, ny, nx = voxels.shape
    for i in prange(out.shape[0]):
        z0 = min(int(at_z[i]), max(nz - 2, 0))
        z1 = min(z0 + 1, nz - 1)
        dz = at_z[i] - z0
        for j in range(out.shape[1]):
            y0 = min(int(at_y[j]), max(ny - 2, 0))
            y1 = min(y0 + 1, ny - 1)
            dy = at_y[j] - y0
            for k in range(out.shape[2]):
                x0 = min(int(at_x[k]), max(nx - 2, 0))
                x1 = min(x0 + 1, nx - 1)
                dx = at_x[k] - x0
                c00 = voxels[z0, y0, x0] * (1 - dx) + voxels[z0, y0, x1] * dx
                c01 = voxels[z0, y1, x0] * (1 - dx) + voxels[z0, y1, x1] * dx
                c10 = voxels[z1, y0, x0] * (1 - dx) + voxels[z1, y0, x1] * dx
                c11 = voxels[z1, y1, x0] * (1 - dx) + voxels[z1, y1, x1] * dx
                value = (c00 * (1 - dy) + c01 * dy) * (1 - dz) + (c10 * (1 - dy) + c11 * dy) * dz
                out[i, j, k] = np.int64(np.floor(value + 0.5))
