"""The bulk of a heart among the locator's structures: what belongs to it, and the field round it that is looked at again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.stages import Structure

CHAMBERS = (Structure.LV_MYOCARDIUM, Structure.LEFT_ATRIUM, Structure.LV, Structure.RIGHT_ATRIUM, Structure.RV)
CARDIAC = (*CHAMBERS, Structure.PERICARDIUM)
CORE_RADIUS_MM = 10.0
REACH_MM = 18.0
FIELD_MM = (180.0, 236.0, 236.0)
"""The field (z, y, x) that the locator knows best: a heart with its surroundings, as a cardiac scan shows it."""


def core_of(structures: NDArray[np.uint8], *, spacing_mm: float) -> NDArray[np.bool_]:
    """Voxels deeper than 10 mm inside the chambers and their muscle: caval and pulmonary veins are thinner."""
    chambers = np.isin(structures, [int(c) for c in CHAMBERS])
    return np.asarray(ndimage.distance_transform_edt(np.pad(chambers, 1))[1:-1, 1:-1, 1:-1] * spacing_mm > CORE_RADIUS_MM)


def limit_to_heart(structures: NDArray[np.uint8], *, spacing_mm: float) -> NDArray[np.uint8]:
    """Keep the heart's classes only near its bulk: caval veins, pulmonary veins and other tissue farther away become background.

    The bulk is what is left of the chambers after an opening with a ball of 10 mm; near is within 18 mm of it. Aorta and
    pulmonary artery keep their whole course.

    Args:
        structures: labels of `Structure` (z, y, x).
        spacing_mm: edge of a voxel.
    """
    cardiac = np.isin(structures, [int(c) for c in CARDIAC])
    core = core_of(structures, spacing_mm=spacing_mm)
    if not core.any():
        return np.where(cardiac, 0, structures).astype(np.uint8)
    near = ndimage.distance_transform_edt(~core) * spacing_mm <= CORE_RADIUS_MM + REACH_MM
    return np.where(cardiac & ~near, 0, structures).astype(np.uint8)


def field_round(structures: NDArray[np.uint8], *, spacing_mm: float) -> tuple[slice, slice, slice] | None:
    """The part of a large scan that shows the heart as a cardiac scan would; None where the scan is no larger, or shows no bulk.

    Args:
        structures: labels of `Structure` (z, y, x) of the whole scan.
        spacing_mm: edge of a voxel.
    """
    size = [round(length / spacing_mm) for length in FIELD_MM]
    if all(whole <= part for whole, part in zip(structures.shape, size, strict=True)):
        return None
    pieces, count = ndimage.label(core_of(structures, spacing_mm=spacing_mm))
    if count == 0:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    centre = ndimage.center_of_mass(pieces == sizes.argmax())
    starts = [min(max(0, round(c - n / 2)), max(0, whole - n)) for c, n, whole in zip(centre, size, structures.shape, strict=True)]
    z, y, x = (slice(a, min(a + n, whole)) for a, n, whole in zip(starts, size, structures.shape, strict=True))
    return z, y, x


def nothing_beyond(structures: NDArray[np.uint8], field: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
    """The structures without the heart's classes outside a field; aorta and pulmonary artery keep their course."""
    beyond = np.isin(structures, [int(c) for c in CARDIAC])
    beyond[field] = False
    return np.where(beyond, 0, structures).astype(np.uint8)
