"""Noise of a virtual scan: its texture, and where it is strong."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from models.phantom.types import FloatArray, Scan

BLOCK = 128
#: Pixel size (mm) at which the grain of `noise_coarseness` 1 is defined.
PIXEL_MM = 0.45


def block_of(scan: Scan, spacing: tuple[float, float, float]) -> FloatArray:
    """The noise block of a scan at a voxel size: the grain has its size in millimetres, in steps of about 12 %."""
    in_plane = _level(scan.noise_coarseness * PIXEL_MM / spacing[0])
    along = _level(scan.noise_coarseness * PIXEL_MM / spacing[2])
    return noise_block(scan.kernel, in_plane, along, scan.reconstruction, round(4.0 * scan.iterative_strength) / 4.0)


def _level(coarseness: float) -> float:
    return float(np.round(1.125 ** np.round(np.log(np.clip(coarseness, 0.3, 3.0)) / np.log(1.125)), 4))


@lru_cache(maxsize=12)
def noise_block(
    kernel: str, coarseness: float, coarseness_z: float | None = None, reconstruction: str = "fbp", strength: float = 0.0
) -> FloatArray:
    """A periodic block of unit-variance noise.

    Filtered back projection has the spectrum ramp times apodisation of the kernel. Iterative reconstruction takes away high
    frequencies first and leaves blotches: its spectrum moves to low frequencies and small deviations are flattened more than large ones.
    Learned reconstruction flattens evenly and keeps more of the grain.
    """
    rng = np.random.default_rng(20260101)
    n = BLOCK
    white = rng.normal(0.0, 1.0, (n, n, n)).astype(np.float32)
    f = np.fft.fftfreq(n).astype(np.float32)
    fx, fy, fz = f[None, None, : n // 2 + 1], f[None, :, None], f[:, None, None]
    r = np.hypot(np.abs(fx), np.abs(fy))
    along = coarseness if coarseness_z is None else coarseness_z
    cut = {"cardiac-smooth": 0.165, "cardiac-sharp": 0.26}.get(kernel, 0.19) / coarseness
    floor = 0.015
    if reconstruction == "iterative":
        cut *= 1.0 - 0.4 * strength
        floor += 0.05 * strength
    elif reconstruction == "deep-learning":
        cut *= 1.0 - 0.18 * strength
    response = np.sqrt(r + floor) * np.exp(-((r / cut) ** 2)) * np.exp(-((fz / (0.33 / along)) ** 2))
    block = np.fft.irfftn(np.fft.rfftn(white) * response, s=(n, n, n), axes=(0, 1, 2)).astype(np.float32)
    block /= block.std()
    if reconstruction == "iterative" and strength > 0.0:
        flat = np.sign(block) * np.maximum(np.abs(block) - 0.9 * strength, 0.0)
        block = ndimage.uniform_filter(flat, 3, mode="wrap") * np.float32(0.35) + flat * np.float32(0.65)
    block -= block.mean()
    return np.asarray(block / block.std(), np.float32)
