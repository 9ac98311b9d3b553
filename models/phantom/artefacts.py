"""What a CT adds to the picture: beam hardening, streaks, metal, and noise that is stronger where less light gets through.

All of it is computed from projections of coarse slices of the patient (2 mm in the slice, 4 mm apart), as the real causes are, and only
for the heights that a volume needs; the renderer interpolates the two fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.phantom import sinogram
from models.phantom.sinogram import Window
from models.phantom.tissue import tissue_table
from models.phantom.types import FloatArray, Patient, Scan

#: Coarse slices lie this many slices of the patient's grid apart.
STRIDE = 2
#: Attenuation of water (1/mm) at the mean energy of the beam behind a chest.
WATER = 0.0195
#: How strongly the noise follows the path lengths: tube current modulation and the bowtie filter take away about half.
MODULATION = 0.45
#: Error of a projection per squared projection of what is denser than soft tissue (mm of water), at `beam_hardening` 1.
HARDENING = 0.016
#: Path through dense things (mm of water) that the usual correction gets right.
CORRECTED_MM = 22.0
#: The noise map is computed on pixels this many times those of the patient's grid.
_ZOOM = 4
METAL_HU = {"lead": 9000.0, "wires": 5000.0, "valve": 3500.0}


@dataclass(frozen=True)
class Fields:
    """Two fields on one coarse grid (z, y, x): HU to add, and the factor of the noise; positions are mm, LPS."""

    origin: FloatArray
    spacing: FloatArray
    added_hu: FloatArray
    noise_gain: FloatArray


def fields(patient: Patient, scan: Scan, low: FloatArray, high: FloatArray) -> Fields:
    """The fields in a box (corners x, y, z; mm, LPS); equal wherever two calls overlap."""
    grid = patient.grid
    pitch = np.array([grid.spacing, grid.spacing, STRIDE * grid.spacing])
    count = np.array([grid.shape[2], grid.shape[1], (grid.shape[0] + STRIDE - 1) // STRIDE])
    first = np.clip(np.floor((low - grid.origin) / pitch), 0, count - 2).astype(int)
    last = np.clip(np.ceil((high - grid.origin) / pitch), first + 1, count - 1).astype(int)
    slices = np.arange(first[2], last[2] + 1)
    window = (int(first[1]), int(last[1]) + 1, int(first[0]), int(last[0]) + 1)
    return Fields(grid.origin + first * pitch, pitch, _added(patient, scan, slices, window), _gain(patient, scan, slices, window))


def coarse_hu(patient: Patient, scan: Scan, slices: FloatArray, every: int = 1) -> FloatArray:
    """Attenuation of coarse slices (by number), painter's order, without vessels; `every` so many pixels."""
    table = tissue_table(scan)
    channels = patient.channels[slices * STRIDE, ::every, ::every]
    hu = np.full(channels.shape[:3], -1000.0, np.float32)
    for c, name in enumerate(patient.channel_names):
        hu[channels[..., c] < 0] = table[name][0]
    return hu


def _added(patient: Patient, scan: Scan, slices: FloatArray, window: Window) -> FloatArray:
    """Beam hardening and streaks (HU)."""
    shape = patient.grid.shape[1:]
    if scan.beam_hardening <= 0.0 and scan.streaks <= 0.0:
        return np.zeros((len(slices), window[1] - window[0], window[3] - window[2]), np.float32)
    pixel = patient.grid.spacing
    angles = sinogram.half_turn(160 if scan.streaks > 0.0 else 48)
    bins = int(np.ceil(np.hypot(*shape))) + 2
    hu = coarse_hu(patient, scan, slices)
    metal = _metal_density(patient, scan, slices)
    dense = np.maximum(hu - 130.0, 0.0) * np.float32(0.001) + metal
    paths = sinogram.project(dense, angles, pixel, bins)
    error = -HARDENING * scan.beam_hardening * paths * (np.minimum(paths, 60.0) - CORRECTED_MM)
    if scan.streaks > 0.0:
        flowing = np.where(np.isin(np.arange(len(patient.channel_names))[_top(patient, slices)], _blood(patient)), hu - 250.0, 0.0)
        flowing = np.maximum(flowing, 0.0) * np.float32(0.001) + metal
        error = error + scan.streaks * _inconsistent(sinogram.project(flowing, angles, pixel, bins), scan, slices)
    added = 1000.0 * sinogram.reconstruct(np.asarray(error, np.float32), angles, pixel, shape, window)
    return np.asarray(np.clip(added, -500.0, 500.0), np.float32)


def _top(patient: Patient, slices: FloatArray) -> FloatArray:
    """Number of the channel on top at each coarse voxel."""
    channels = patient.channels[slices * STRIDE]
    top = channels.shape[-1] - 1 - np.argmax(channels[..., ::-1] < 0, axis=-1)
    return np.asarray(np.where((channels < 0).any(axis=-1), top, 0))


def _blood(patient: Patient) -> list[int]:
    return [patient.channel_names.index(name) for name in ("svc", "ra", "rv", "pa", "ivc")]


def _inconsistent(paths: FloatArray, scan: Scan, slices: FloatArray) -> FloatArray:
    """Errors of projections through dense streaming blood and metal: they change from view to view, and quanta run out."""
    n, angles, bins = paths.shape
    views = np.empty((n, angles, 1), np.float32)
    quanta = np.empty((n, angles, bins), np.float32)
    for row, number in enumerate(slices):
        rng = np.random.default_rng((scan.seed, 9, int(number)))
        smooth = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, angles), 1.6, mode="wrap")
        views[row, :, 0] = smooth / smooth.std()
        quanta[row] = ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, (angles, bins)), 0.7, axis=1)
    starved = np.minimum(paths, 12.0)
    return np.asarray(1.3 * views * starved + 0.4 * quanta * starved - 0.02 * starved**2, np.float32)


def _gain(patient: Patient, scan: Scan, slices: FloatArray, window: Window) -> FloatArray:
    """Factor of the noise at each coarse voxel, 1 in the middle of the grid.

    The variance of filtered back projection at a point is the mean, over its rays, of the variance of a ray, which grows exponentially
    with what the ray passes.
    """
    ny, nx = patient.grid.shape[1:]
    if scan.body_mm[0] <= 0.0:
        return np.ones((len(slices), window[1] - window[0], window[3] - window[2]), np.float32)
    middle = (patient.grid.shape[0] + STRIDE - 1) // STRIDE // 2
    rays, angles = _ray_variance(patient, scan, np.append(slices, middle))
    variance = sinogram.back_project(rays[:-1], angles, (ny, nx), window, 1.0 / _ZOOM)
    centre = (ny // 2 - 6, ny // 2 + 7, nx // 2 - 6, nx // 2 + 7)
    reference = sinogram.back_project(rays[-1:], angles, (ny, nx), centre, 1.0 / _ZOOM).mean()
    return np.asarray(np.clip(np.sqrt(variance / reference), 0.35, 2.5), np.float32)


def _ray_variance(patient: Patient, scan: Scan, slices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance of each ray (slice, angle, bin), up to a factor, and the angles; outside the grid the chest is an ellipse of water."""
    pixel = _ZOOM * patient.grid.spacing
    hu = coarse_hu(patient, scan, slices, _ZOOM)
    n, gy, gx = hu.shape
    size = int(560.0 / pixel)  # arms included
    corner_y, corner_x = (size - gy) // 2, (size - gx) // 2
    y, x = (np.mgrid[:size, :size] - 0.5 * (size - 1)) * pixel
    lateral, depth = scan.body_mm
    chest = (x / lateral) ** 2 + ((y - 22.0) / depth) ** 2 < 1.0
    body = np.where(chest, 1.0, 0.0)
    if scan.arms_down:
        body[(np.abs(x) - lateral - 48.0) ** 2 + (y - 35.0) ** 2 < 42.0**2] = 1.1
    stack = np.repeat(body[None], n, axis=0).astype(np.float32)
    inside = stack[:, corner_y : corner_y + gy, corner_x : corner_x + gx]
    inside[...] = np.maximum(1.0 + 0.001 * np.minimum(hu, 1500.0), 0.0)
    angles = sinogram.half_turn(36)
    paths = sinogram.project(stack, angles, pixel, int(1.45 * size)) * np.float32(WATER)
    return np.asarray(np.exp(np.float32(2.0 * MODULATION) * paths), np.float32), angles


def metal_tubes(patient: Patient, scan: Scan) -> list[tuple[FloatArray, FloatArray, float]]:
    """Centreline (mm), radius (mm) and HU of each piece of metal."""
    makers = {"lead": _lead, "wires": _wires, "valve": _valve}
    made = patient.cache.setdefault("metal", {})
    for name in scan.metal:
        if name not in made:
            made[name] = [(p, np.full(len(p), r), METAL_HU[name]) for p, r in makers[name](patient)]
    return [piece for name in scan.metal for piece in made[name]]


def _points_where(patient: Patient, mask: FloatArray) -> FloatArray:
    k, j, i = np.nonzero(mask)
    return np.asarray(np.asarray(patient.grid.origin) + patient.grid.spacing * np.column_stack([i, j, k]))


def _lead(patient: Patient) -> list[tuple[FloatArray, float]]:
    """A pacemaker lead: down the superior vena cava, through the right atrium into the tip of the right ventricle."""
    cava, atrium, ventricle = (_points_where(patient, patient.channel(name) < -3.0) for name in ("svc", "ra", "rv"))
    if min(len(cava), len(atrium), len(ventricle)) == 0:
        return []
    top = cava[cava[:, 2] > cava[:, 2].max() - 3.0].mean(axis=0)
    low = cava[cava[:, 2] < np.quantile(cava[:, 2], 0.3)].mean(axis=0)
    middle = atrium.mean(axis=0)
    inlet = ventricle[np.linalg.norm(ventricle - middle, axis=1).argmin()]
    tip = ventricle[np.linalg.norm(ventricle - middle, axis=1).argmax()]
    knots = np.stack([top, low, middle, 0.5 * (inlet + middle) - (0.0, 0.0, 6.0), ventricle.mean(axis=0), tip])
    s = np.linspace(0.0, len(knots) - 1.0, 160)
    line = np.column_stack([np.interp(s, np.arange(len(knots)), knots[:, a]) for a in range(3)])
    line = ndimage.gaussian_filter1d(line, 9.0, axis=0, mode="nearest")
    return [(line, 0.9), (line[-10:], 1.3)]


def _wires(patient: Patient) -> list[tuple[FloatArray, float]]:
    """Wire loops around the breastbone after open heart surgery."""
    bone = patient.channel("bone")
    grid = patient.grid
    middle = grid.shape[2] // 2
    turn = np.linspace(0.0, 2.0 * np.pi, 33)
    loops: list[tuple[FloatArray, float]] = []
    for k in range(10, grid.shape[0] - 5, 13):
        front = bone[k, : grid.shape[1] // 3, middle - 10 : middle + 11] < 0.0
        if not front.any():
            continue
        j, i = (float(v.mean()) for v in np.nonzero(front))
        centre = np.asarray(grid.origin) + grid.spacing * np.array([i + middle - 10, j, k])
        ring = np.column_stack([11.0 * np.cos(turn), 7.5 * np.sin(turn), 1.5 * np.sin(2.0 * turn)])
        loops.append((centre + ring, 0.5))
    return loops


def _valve(patient: Patient) -> list[tuple[FloatArray, float]]:
    """The ring of an artificial aortic valve between left ventricle and aorta."""
    ventricle, aorta = patient.channel("lv"), patient.channel("ao")
    near = _points_where(patient, (np.abs(ventricle) < 4.0) & (np.abs(aorta) < 4.0))
    if len(near) < 4:
        return []
    centre = near.mean(axis=0)
    axis = centre - _points_where(patient, ventricle < -4.0).mean(axis=0)
    axis /= np.linalg.norm(axis)
    a = np.cross(axis, (1.0, 0.0, 0.0))
    a /= np.linalg.norm(a)
    turn = np.linspace(0.0, 2.0 * np.pi, 41)[:, None]
    return [(centre + 11.0 * (np.cos(turn) * a + np.sin(turn) * np.cross(axis, a)), 1.1)]


def _metal_density(patient: Patient, scan: Scan, slices: FloatArray) -> FloatArray:
    """Density (1 = 1000 HU) of metal on the coarse slices."""
    grid = patient.grid
    out = np.zeros((len(slices), *grid.shape[1:]), np.float32)
    pitch = STRIDE * grid.spacing
    for points, radius, hu in metal_tubes(patient, scan):
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        middle = 0.5 * (points[1:] + points[:-1])
        mass = 0.001 * hu * np.pi * radius[1:] ** 2 * steps / (grid.spacing**2 * pitch)
        index = (middle - np.asarray(grid.origin)) / (grid.spacing, grid.spacing, pitch)
        k = np.rint(index[:, 2]).astype(int) - int(slices[0])
        j, i = np.rint(index[:, 1]).astype(int), np.rint(index[:, 0]).astype(int)
        ok = (k >= 0) & (k < len(out)) & (j >= 0) & (j < out.shape[1]) & (i >= 0) & (i < out.shape[2])
        np.add.at(out, (k[ok], j[ok], i[ok]), mass[ok])
    return out


__all__ = ["Fields", "coarse_hu", "fields", "metal_tubes"]
