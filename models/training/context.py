"""The locator's soft masks as cor-seg will get them: coarse, upsampled, and wrong in the ways a network is wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

BLOOD_POOL_CLASSES = (2, 3, 4, 5, 6, 7)
"""Structures whose cavity is filled with blood: chambers, aorta, pulmonary artery."""

_BLOCK = 6  # 0.5 mm voxels in one of 3 mm


def noisy_context(structures: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Soft masks 'inside pericardium' and 'blood pool' (2, z, y, x) times 255 from the true structures at 0.5 mm.

    The true masks are averaged to 3 mm at a random phase, then shifted, blurred and eroded or dilated at random, and
    upsampled, which is how the masks of a locator at 3 mm reach the fine network.
    """
    phase = rng.integers(0, _BLOCK, 3)
    shift = rng.normal(0.0, 0.25, 3)
    blur = rng.uniform(0.0, 0.8)
    bias = rng.normal(0.0, 0.15)
    gain = rng.uniform(1.0, 2.0)
    masks = (structures > 0, np.isin(structures, BLOOD_POOL_CLASSES))
    coarse = [_coarsen(mask, phase) for mask in masks]
    disturbed = [np.clip(gain * (ndimage.gaussian_filter(mask, blur, mode="nearest") - 0.5 + bias) + 0.5, 0.0, 1.0) for mask in coarse]
    fine = [_upsample(mask, structures.shape, phase + _BLOCK * shift) for mask in disturbed]
    return (np.stack(fine) * 255.0 + 0.5).astype(np.uint8)


def _coarsen(mask: npt.NDArray[np.bool_], phase: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    after = [int(-(size + before) % _BLOCK) for size, before in zip(mask.shape, phase, strict=True)]
    padded = np.pad(mask, [(int(a), b) for a, b in zip(phase, after, strict=True)], mode="edge").astype(np.float32)
    blocks = [size // _BLOCK for size in padded.shape]
    return padded.reshape(blocks[0], _BLOCK, blocks[1], _BLOCK, blocks[2], _BLOCK).mean(axis=(1, 3, 5))


def _upsample(coarse: npt.NDArray[np.float32], shape: tuple[int, ...], phase: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Linear interpolation, axis by axis, of the block centres."""
    fine = coarse
    for axis, size in enumerate(shape):
        position = (np.arange(size) + phase[axis] + 0.5) / _BLOCK - 0.5
        position = np.clip(position, 0.0, coarse.shape[axis] - 1.0)
        lower = np.minimum(position.astype(np.int64), max(coarse.shape[axis] - 2, 0))
        upper = np.minimum(lower + 1, coarse.shape[axis] - 1)
        weight = (position - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        fine = np.take(fine, lower, axis=axis) * (1.0 - weight) + np.take(fine, upper, axis=axis) * weight
    return fine
