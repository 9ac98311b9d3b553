"""Attenuation within what the locator marked, and of arterial blood: what everything else in the scan is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.grids import interpolate_to
from appliance.analysis.stages import Heart, Structure
from appliance.volume import Geometry, Volume

MINIMUM_VOXELS = 200
"""Fewer voxels than this are no measurement."""
USUAL_BLOOD_HU = 400.0
"""What is aimed for (SCCT acquisition guideline, JCCT 2016;10:435), for a scan that shows neither aorta nor ventricle whole."""


def aortic_values(volume: Volume, heart: Heart) -> NDArray[np.float32]:
    """HU inside the aorta, a voxel of the locator away from its wall; empty where it is not in the scan."""
    return values_within(volume, heart, ndimage.binary_erosion(heart.mask(Structure.AORTA)))


def blood_hu(volume: Volume, heart: Heart) -> float:
    """Median attenuation of arterial blood, HU: in the aorta, or in the left ventricle where too little aorta was scanned."""
    values = aortic_values(volume, heart)
    if len(values) < MINIMUM_VOXELS:
        values = values_within(volume, heart, ndimage.binary_erosion(heart.mask(Structure.LV)))
    return float(np.median(values)) if len(values) else USUAL_BLOOD_HU


def values_within(volume: Volume, heart: Heart, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """HU of the scan's voxels whose centres lie in a mask on the structures' grid (every second voxel along each axis)."""
    where = np.argwhere(mask)
    if not len(where):
        return np.zeros(0, np.float32)
    grid, scan = heart.structures.geometry, volume.geometry
    corners = scan.to_index(grid.to_points(np.stack([where.min(axis=0) - 0.5, where.max(axis=0) + 0.5])))
    low = np.clip(np.ceil(corners[0]), 0, np.asarray(scan.shape) - 1).astype(int)
    high = np.clip(np.floor(corners[1]), 0, np.asarray(scan.shape) - 1).astype(int) + 1
    box = tuple(slice(a, b, 2) for a, b in zip(low, high, strict=True))
    voxels = volume.voxels[box]
    if not voxels.size:
        return np.zeros(0, np.float32)
    x, y, z = scan.spacing
    origin = scan.to_points(low)
    nz, ny, nx = voxels.shape
    fine = Geometry((nz, ny, nx), (2 * x, 2 * y, 2 * z), (float(origin[0]), float(origin[1]), float(origin[2])), scan.direction)
    inside = interpolate_to(mask.astype(np.uint8) * 255, grid, fine) > 127
    values: NDArray[np.float32] = voxels[inside].astype(np.float32)
    return values
