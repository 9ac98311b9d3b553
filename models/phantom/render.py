"""The virtual CT: a patient, a scan and a voxel grid in, a volume with exact labels out."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from models.phantom import compose as kernels
from models.phantom import painting
from models.phantom.organs import CHANNELS
from models.phantom.types import FloatArray, Patient, Rendered, Scan
from models.phantom.vessels import VEIN, paint_tree

STRUCTURE_CLASS = {
    "pericardium": 8, "soft": 8, "wall": 8, "myocardium": 1, "ivc": 8, "svc": 8, "pa": 7, "ra": 4, "rv": 5, "la": 2, "lv": 3, "ao": 6,
}  # fmt: skip


def render(
    patient: Patient,
    scan: Scan,
    *,
    origin: tuple[float, float, float],
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    seed: int = 0,
    noise: bool = True,
) -> Rendered:
    """Render an axis-aligned volume.

    `origin` is the centre of voxel (0, 0, 0) and `spacing` the voxel size, both (x, y, z) in mm, LPS; `shape` is (z, y, x). Labels are
    exact at voxel centres. The same place renders the same with `noise=False`, whatever volume it is part of.
    """
    step = np.asarray(spacing, np.float64)
    taps = [_gaussian(s / d) for s, d in zip((scan.psf_sigma_mm[0], scan.psf_sigma_mm[0], scan.psf_sigma_mm[1]), spacing, strict=True)]
    pad = np.array([t.size // 2 for t in taps])
    start = np.asarray(origin, np.float64) - pad * step
    padded = (shape[0] + 2 * int(pad[2]), shape[1] + 2 * int(pad[1]), shape[2] + 2 * int(pad[0]))
    hu = np.empty(padded, np.float32)
    structures = np.empty(padded, np.uint8)
    vessels = np.zeros(padded, np.uint8)
    _organs(patient, scan, start, step, hu, structures)
    _tubes(patient, scan, start, step, hu, structures, vessels)
    paint_tree(patient, scan, start, step, hu, vessels)
    kernels.blur_slices(hu, taps[0], taps[1])
    out = np.empty(shape, np.int16)
    block = noise_block(scan.kernel, round(scan.noise_coarseness, 1))
    rng = np.random.default_rng((scan.seed, seed, 77))
    shifts = rng.integers(0, 4096, 6)
    sd = scan.noise_hu if noise else 0.0
    centre = np.asarray(patient.grid.origin[:2]) + 118.0
    middle = (centre - np.asarray(origin[:2])) / step[:2]
    gain = np.array([0.62 * sd, 0.42 * sd, middle[0], middle[1], (75.0 / step[0]) ** 2]) / np.sqrt(2.0)
    kernels.finish(hu, taps[2], int(pad[2]), int(pad[1]), int(pad[0]), block, shifts, gain, out)
    crop = tuple(slice(int(p), int(p) + n) for p, n in zip(pad[::-1], shape, strict=True))
    return Rendered(out, np.ascontiguousarray(structures[crop]), np.ascontiguousarray(vessels[crop]))


def _gaussian(sigma: float) -> FloatArray:
    radius = max(1, int(np.ceil(2.6 * sigma)))
    x = np.arange(-radius, radius + 1)
    k = np.exp(-0.5 * (x / max(sigma, 1e-3)) ** 2)
    return np.asarray(k / k.sum(), np.float32)


@lru_cache(maxsize=16)
def noise_block(kernel: str, coarseness: float) -> FloatArray:
    """A periodic block of unit-variance noise with the spectrum of filtered back projection (ramp times apodisation)."""
    rng = np.random.default_rng(20260101)
    n = 128
    white = rng.normal(0.0, 1.0, (n, n, n)).astype(np.float32)
    f = np.fft.fftfreq(n)
    fx, fy, fz = f[None, None, : n // 2 + 1], f[None, :, None], f[:, None, None]
    r = np.hypot(np.abs(fx), np.abs(fy))
    cut = (0.26 if kernel.endswith("sharp") else 0.19) / coarseness
    response = np.sqrt(r + 0.015) * np.exp(-((r / cut) ** 2)) * np.exp(-((fz / (0.33 / coarseness)) ** 2))
    block = np.fft.irfftn(np.fft.rfftn(white) * response, s=(n, n, n), axes=(0, 1, 2)).astype(np.float32)
    return np.asarray(block / block.std(), np.float32)


@lru_cache(maxsize=2)
def texture_block() -> FloatArray:
    """A periodic block of tissue texture (unit variance, skewed towards bright strands)."""
    rng = np.random.default_rng(20260102)
    n = 96
    total = np.zeros((n, n, n), np.float32)
    for sigma, weight in ((1.0, 0.6), (2.2, 1.0), (5.0, 0.8)):
        part = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (n, n, n)).astype(np.float32), sigma, mode="wrap")
        total += weight * part / part.std()
    sheets = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (n, n, n)).astype(np.float32), 4.0, mode="wrap")
    strands = np.exp(-((sheets / sheets.std() / 0.12) ** 2))
    total = total / total.std() + 2.2 * (strands - strands.mean())
    return np.asarray(total / total.std(), np.float32)


def _organs(patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray) -> None:
    if "masks" not in patient.cache:
        patient.cache["masks"] = kernels.cell_masks(patient.channels, 75)
    near, inside = patient.cache["masks"]
    table = tissue_table(scan)
    value, amplitude, scale = (np.array([table[name][c] for name in CHANNELS], np.float32) for c in range(3))
    classes = np.array([STRUCTURE_CLASS.get(name, 0) for name in CHANNELS], np.uint8)
    kernels.compose(
        patient.channels, near, inside, np.asarray(patient.grid.origin), patient.grid.spacing, start, step, value, amplitude, scale,
        np.array([-1000.0], np.float32), classes, CHANNELS.index("pericardium"), texture_block(), hu, structures,
    )  # fmt: skip


def tissue_table(scan: Scan) -> dict[str, tuple[float, float, float]]:
    """Attenuation (HU), texture amplitude (HU) and texture frequency (voxels per mm) of each channel."""
    v = scan.vessel_hu
    return {
        "body": (scan.fat_hu - 5.0, 9.0, 0.8),
        "muscle": (58.0, 22.0, 0.7),
        "lung": (-845.0, 38.0, 1.1),
        "liver": (75.0 + 0.08 * v, 6.0, 0.6),
        "gas": (-960.0, 0.0, 1.0),
        "bone": (620.0, 60.0, 1.0),
        "marrow": (150.0, 55.0, 0.9),
        "pericardium": (scan.fat_hu, 12.0, 0.9),
        "soft": (42.0, 10.0, 0.8),
        "wall": (62.0, 12.0, 0.8),
        "myocardium": (scan.myocardium_hu, 7.0, 0.5),
        "ivc": (min(0.5 * scan.right_heart_hu + 45.0, 150.0), 10.0, 0.2),
        "svc": (min(1.5 * scan.right_heart_hu, 1000.0), 0.10 * scan.right_heart_hu, 0.25),
        "pa": (0.92 * scan.right_heart_hu + 0.06 * v, 5.0, 0.3),
        "ra": (scan.right_heart_hu, 4.0 + 0.13 * scan.right_heart_hu, 0.25),
        "rv": (0.9 * scan.right_heart_hu + 0.05 * v, 12.0, 0.2),
        "la": (0.98 * v, 5.0, 0.3),
        "lv": (0.96 * v, 6.0, 0.3),
        "ao": (v, 4.0, 0.3),
    }


def _tubes(
    patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray, vessels: FloatArray
) -> None:
    value = {"lung": 0.75 * scan.vessel_hu, "vein": scan.vein_hu, "calcification": 900.0}
    for kind, label in (("lung", 0), ("vein", VEIN), ("calcification", 0)):
        rows = [_tube_rows(t.points_mm, t.radius_mm, value[kind]) for t in patient.tubes if t.kind == kind]
        if not rows:
            continue
        s = np.concatenate(rows)
        reach = np.maximum(s[:, 6], s[:, 7])[:, None] + float(step.max())
        lo, hi = np.minimum(s[:, :3], s[:, 3:6]) - reach, np.maximum(s[:, :3], s[:, 3:6]) + reach
        lists = painting.brick_lists(lo, hi, start, step, hu.shape)
        painting.paint_tubes(hu, structures, vessels, start, step, s, lists, label, kind == "calcification")


def _tube_rows(points: FloatArray, radius: FloatArray, value: float) -> FloatArray:
    n = len(points) - 1
    return np.concatenate([points[:-1], points[1:], radius[:-1, None], radius[1:, None], np.full((n, 1), value)], axis=1)
