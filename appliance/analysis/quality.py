"""Image quality: contrast and noise in the aorta, contrast to the fat around the vessels, coverage of the heart.

Definitions: clinical practice values of the SCCT acquisition guideline (JCCT 2016;10:435); one table below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.grids import interpolate_to
from appliance.analysis.locate import CARDIAC
from appliance.analysis.stages import Heart, Structure
from appliance.errors import DeclinedError
from appliance.findings import Quality
from appliance.volume import Geometry, Volume

ARTERIAL_CONTRAST_HU = 200.0
"""Below this mean in the aorta there is no arterial phase to read."""
SCORES: tuple[tuple[int, float, float], ...] = ((5, 350.0, 15.0), (4, 300.0, 12.0), (3, 250.0, 8.0), (2, 200.0, 5.0))
"""Score, lowest aortic HU and lowest contrast-to-noise ratio for it; 1 below the last row."""
FAT_HU = (-150, -30)
CHAMBERS = tuple(structure for structure in CARDIAC if structure is not Structure.PERICARDIUM)
CUT_MM2 = 100.0
MINIMUM_VOXELS = 200


def assess(volume: Volume, heart: Heart) -> Quality:
    """Contrast, noise and coverage.

    Motion is not measured yet: it is None with a reason, not 0.

    Raises:
        DeclinedError: DEC-102, the aorta shows no arterial contrast.
    """
    aorta = _values(volume, heart, ndimage.binary_erosion(heart.mask(Structure.AORTA)))
    covered = _covered(heart)
    if len(aorta) < MINIMUM_VOXELS:
        return _unmeasured(covered)
    # Median and difference-based noise: a bright calcification or a mislabelled edge in the region moves neither.
    mean = float(np.median(aorta))
    if mean < ARTERIAL_CONTRAST_HU:
        raise DeclinedError(
            "DEC-102",
            zh=f"主动脉 CT 值 {mean:.0f} HU,未见动脉期强化,无法进行冠状动脉分析。",
            en=f"The aorta measures {mean:.0f} HU: no arterial contrast, the coronary analysis was not done.",
        )
    noise = float(1.4826 * np.median(np.abs(aorta - mean)))
    fat = _values(volume, heart, heart.mask(Structure.PERICARDIUM))
    fat = fat[(fat >= FAT_HU[0]) & (fat <= FAT_HU[1])]
    cnr = (mean - float(np.median(fat))) / noise if len(fat) >= MINIMUM_VOXELS and noise > 0 else None
    return Quality(
        score=_score(mean, cnr),
        aorta_mean_hu=round(mean, 1),
        aorta_noise_hu=round(noise, 1),
        cnr=None if cnr is None else round(cnr, 1),
        motion=None,
        coverage_complete=covered,
        not_assessable=(),
        cnr_reason="no_pericardial_fat" if cnr is None else None,
        motion_reason="not_measured",
    )


def _unmeasured(covered: bool) -> Quality:
    reason = "aorta_too_small"
    return Quality(
        score=1,
        aorta_mean_hu=None,
        aorta_noise_hu=None,
        cnr=None,
        motion=None,
        coverage_complete=covered,
        not_assessable=(),
        aorta_mean_hu_reason=reason,
        aorta_noise_hu_reason=reason,
        cnr_reason=reason,
        motion_reason="not_measured",
    )


def _score(mean_hu: float, cnr: float | None) -> int:
    for score, lowest_hu, lowest_cnr in SCORES:
        if mean_hu >= lowest_hu and cnr is not None and cnr >= lowest_cnr:
            return score
    return 1


def _values(volume: Volume, heart: Heart, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
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


def _covered(heart: Heart) -> bool:
    """True unless a chamber is cut by the first or last slices of the scan (more than ``CUT_MM2`` of it lies there)."""
    chambers = heart.mask(*CHAMBERS).sum(axis=(1, 2)) * heart.structures.geometry.spacing[0] * heart.structures.geometry.spacing[1]
    return not bool(chambers[0] > CUT_MM2 or chambers[-1] > CUT_MM2)
