"""The locator's soft masks as cor-seg will get them: coarse, upsampled, and wrong in the ways a network is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.heart_bulk import limit_to_heart
from models.networks.cor_seg import SPACING_MM
from models.phantom import Patient, draw_scan, render

BLOOD_POOL_CLASSES = (2, 3, 4, 5, 6, 7)
"""Structures whose cavity is filled with blood: chambers, aorta, pulmonary artery."""

COARSE_MM = 3.0
_MARGIN_MM = 42.0

Corner = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoarseMap:
    """Structures of a whole heart at 3 mm; ``origin`` is the LPS position of voxel (0, 0, 0)."""

    origin: Corner
    structures: npt.NDArray[np.uint8]


def coarse_map(patient: Patient) -> CoarseMap:
    """The true structures at 3 mm, 42 mm beyond the heart's box on every side."""
    low, high = (np.asarray(corner, dtype=np.float64) for corner in patient.heart_box)
    origin = low - _MARGIN_MM
    nx, ny, nz = (int(n) for n in np.ceil((high - low + 2 * _MARGIN_MM) / COARSE_MM))
    x, y, z = (float(value) for value in origin)
    # only the structures count: a scan without motion, steps and artefacts shows them in their place, and is quick
    still = replace(draw_scan(0), motion_mm={}, heart_motion_mm=0.0, steps=(), ghost=None, beam_hardening=0.0, streaks=0.0, metal=())
    rendered = render(patient, still, origin=(x, y, z), spacing=(COARSE_MM,) * 3, shape=(nz, ny, nx), seed=0, noise=False)
    return CoarseMap(origin=origin, structures=limit_to_heart(rendered.structures, spacing_mm=COARSE_MM))


def noisy_context(coarse: CoarseMap, *, origin: Corner, shape: tuple[int, int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Soft masks 'inside pericardium' and 'blood pool' (2, z, y, x) times 255 at 0.5 mm, from the true map at 3 mm.

    The true masks are shifted by about a millimetre, blurred, and eroded or dilated at random, then upsampled linearly,
    which is how the masks of a locator at 3 mm reach the fine network.
    """
    start = ((origin - coarse.origin + rng.normal(0.0, 0.8, 3)) / COARSE_MM)[::-1]
    positions = [start[axis] + np.arange(shape[axis]) * (SPACING_MM / COARSE_MM) for axis in range(3)]
    low = [max(0, min(int(p[0]) - 3, n - 2)) for p, n in zip(positions, coarse.structures.shape, strict=True)]
    high = [min(n, max(int(p[-1]) + 5, 2)) for p, n in zip(positions, coarse.structures.shape, strict=True)]
    part = coarse.structures[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    blur, gain, bias = rng.uniform(0.4, 0.9), rng.uniform(1.0, 2.0), rng.normal(0.0, 0.12)
    masks = []
    for mask in (part > 0, np.isin(part, BLOOD_POOL_CLASSES)):
        soft = ndimage.gaussian_filter(mask.astype(np.float32), blur, mode="nearest")
        disturbed = np.clip(gain * (soft - 0.5 + bias) + 0.5, 0.0, 1.0)
        masks.append(_sample(disturbed, [p - a for p, a in zip(positions, low, strict=True)]))
    return (np.stack(masks) * 255.0 + 0.5).astype(np.uint8)


def _sample(coarse: npt.NDArray[np.float32], positions: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
    """Linear interpolation, axis by axis, at fractional indices; the edge value outside."""
    fine = coarse
    for axis, wanted in enumerate(positions):
        position = np.clip(wanted, 0.0, coarse.shape[axis] - 1.0)
        lower = np.minimum(position.astype(np.int64), coarse.shape[axis] - 2)
        weight = (position - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        fine = np.take(fine, lower, axis=axis) * (1.0 - weight) + np.take(fine, lower + 1, axis=axis) * weight
    return fine
