"""The virtual CT: a patient, a scan and a voxel grid in, a volume with exact labels out."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from models.phantom import artefacts, motion, painting
from models.phantom import compose as kernels
from models.phantom.noise import block_of
from models.phantom.organs import CHANNELS
from models.phantom.physics import calcium_factor
from models.phantom.tissue import tissue_table
from models.phantom.types import FloatArray, Ghost, Patient, Rendered, Scan, Vector
from models.phantom.vessels import VEIN, paint_tree

STRUCTURE_CLASS = {
    "pericardium": 8, "soft": 8, "wall": 8, "myocardium": 1, "ivc": 8, "svc": 8, "pa": 7, "ra": 4, "rv": 5, "la": 2, "lv": 3, "ao": 6,
}  # fmt: skip
#: What moves with the heart beat, and how much of `heart_motion_mm`.
BEATING = {"pericardium": 0.6, "wall": 1.0, "myocardium": 1.0, "ra": 1.0, "rv": 1.0, "la": 0.8, "lv": 1.0, "ao": 0.4, "pa": 0.5}
AIR_HU = -1024
#: Slices farther apart than this (mm) and than 1.5 pixels are averaged from thinner ones.
FINE_MM = 0.8


def render(
    patient: Patient,
    scan: Scan,
    *,
    origin: Vector,
    spacing: Vector,
    shape: tuple[int, int, int],
    seed: int = 0,
    noise: bool = True,
) -> Rendered:
    """Render an axis-aligned volume.

    `origin` is the centre of voxel (0, 0, 0) and `spacing` the voxel size, both (x, y, z) in mm, LPS; `shape` is (z, y, x). Labels are
    exact at voxel centres: for a vessel that moves, at its mean position; above a step (`Scan.steps`), where the image shows it. The same
    place renders the same with `noise=False`, whatever volume it is part of; artefacts are part of the picture, not of the noise.
    """
    thin = thin_slices(spacing)
    step = np.array([spacing[0], spacing[1], spacing[2] / thin])
    in_plane = [point_spread(scan.psf_sigma_mm[0] / d, scan.edge_enhancement) for d in spacing[:2]]
    along = point_spread(scan.psf_sigma_mm[1] / step[2], 0.0)
    moving = motion.moves(scan)
    reach = motion.WEDGE_REACH_MM if moving else 0.0
    pad = np.array([t.size // 2 + int(np.ceil(reach / d)) for t, d in zip(in_plane, spacing[:2], strict=True)] + [along.size // 2])
    start = np.asarray(origin, np.float64) - pad * step
    padded = ((shape[0] - 1) * thin + 1 + 2 * int(pad[2]), shape[1] + 2 * int(pad[1]), shape[2] + 2 * int(pad[0]))
    hu = np.empty(padded, np.float32)
    structures = np.empty(padded, np.uint8)
    vessels = np.zeros(padded, np.uint8)
    compose(patient, scan, start, step, hu, structures, vessels)
    kernels.blur_slices(hu, in_plane[0], in_plane[1])
    out = np.empty(shape, np.int16)
    _finish(
        patient, scan, np.asarray(origin, np.float64), np.asarray(spacing), hu, along, pad, thin, seed, scan.noise_hu if noise else 0.0, out
    )
    crop = tuple(slice(int(p), int(p) + (n - 1) * t + 1, t) for p, n, t in zip(pad[::-1], shape, (thin, 1, 1), strict=True))
    rendered = Rendered(out, np.ascontiguousarray(structures[crop]), np.ascontiguousarray(vessels[crop]))
    if scan.round_field and scan.fov_mm > 0.0:
        _cut_round(patient, scan, origin, spacing, rendered)
    return rendered


def thin_slices(spacing: Vector) -> int:
    """How many thin slices make up one slice."""
    if spacing[2] <= max(FINE_MM, 1.5 * max(spacing[0], spacing[1])):
        return 1
    return int(np.ceil(spacing[2] / FINE_MM))


def point_spread(sigma: float, edge_enhancement: float) -> FloatArray:
    """Taps of the point spread along one axis, `sigma` in voxels; an edge-enhancing kernel is a Gaussian minus a wider one."""
    wide = 1.7 * sigma if edge_enhancement > 0.0 else sigma
    radius = max(1, int(np.ceil(2.6 * wide)))
    x = np.arange(-radius, radius + 1)
    k = np.exp(-0.5 * (x / max(sigma, 1e-3)) ** 2)
    k /= k.sum()
    if edge_enhancement > 0.0:
        broad = np.exp(-0.5 * (x / wide) ** 2)
        k = (1.0 + edge_enhancement) * k - edge_enhancement * broad / broad.sum()
    return np.asarray(k, np.float32)


@lru_cache(maxsize=1)
def texture_block() -> FloatArray:
    """Two periodic blocks (2, z, y, x) of unit variance: grainy tissue, skewed towards bright strands, and smoothly mixed blood."""
    rng = np.random.default_rng(20260102)
    n = 96

    def cloud(sigma: float) -> FloatArray:
        part = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (n, n, n)).astype(np.float32), sigma, mode="wrap")
        return np.asarray(part / part.std())

    grain = 0.6 * cloud(1.0) + cloud(2.2) + 0.8 * cloud(5.0)
    strands = np.exp(-((cloud(4.0) / 0.12) ** 2))
    grain = grain / grain.std() + 2.2 * (strands - strands.mean())
    mixed = cloud(9.0) + 0.5 * cloud(4.0)
    return np.stack([grain / grain.std(), mixed / mixed.std()]).astype(np.float32)


def compose(
    patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray, vessels: FloatArray
) -> None:
    """What lies at each voxel before any blur, slab by slab; arrays (z, y, x) with voxel (0, 0, 0) at `start`, mm, LPS."""
    for slab in motion.slabs(patient, scan, float(start[2]), float(step[2]), hu.shape[0]):
        part = slice(slab.first, slab.last)
        corner = start + np.array((0.0, 0.0, slab.first * step[2])) - slab.shift
        _compose_slab(patient, scan, corner, step, hu[part], structures[part], vessels[part])
    if scan.ghost is not None:
        _mix_ghost(patient, scan, scan.ghost, start, step, hu)


def _compose_slab(
    patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray, vessels: FloatArray
) -> None:
    _organs(patient, scan, start, step, hu, structures)
    _tubes(patient, scan, start, step, hu, structures, vessels)
    if motion.moves(scan):
        motion.paint_moving(patient, scan, start, step, hu, vessels)
    else:
        paint_tree(patient, scan, start, step, hu, vessels)


def _mix_ghost(patient: Patient, scan: Scan, ghost: Ghost, start: FloatArray, step: FloatArray, hu: FloatArray) -> None:
    """Mix the displaced image of a ghost into the slices it covers."""
    heights = start[2] + step[2] * np.arange(hu.shape[0]) - motion.middle_z(patient)
    rows = np.flatnonzero((heights >= ghost.bottom_mm) & (heights < ghost.top_mm))
    if not rows.size:
        return
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    other = np.empty_like(hu[part])
    labels = np.zeros(other.shape, np.uint8)
    corner = start + np.array((0.0, 0.0, part.start * step[2])) - np.asarray(ghost.shift_mm)
    _compose_slab(patient, scan, corner, step, other, np.empty_like(labels), labels)
    hu[part] += np.float32(ghost.share) * (other - hu[part])


def _finish(
    patient: Patient, scan: Scan, origin: FloatArray, spacing: FloatArray, hu: FloatArray, along: FloatArray, pad: FloatArray, thin: int,
    seed: int, noise_hu: float, out: FloatArray,
) -> None:  # fmt: skip
    """Blur along z, add artefacts and noise, round."""
    corners = np.repeat(origin[None], len(out), axis=0)
    corners[:, 2] += spacing[2] * np.arange(len(out))
    for slab in motion.slabs(patient, scan, float(origin[2]), float(spacing[2]), len(out)):
        corners[slab.first : slab.last] -= slab.shift
    extent = np.array([spacing[0] * (out.shape[2] - 1), spacing[1] * (out.shape[1] - 1), 0.0])
    field = artefacts.fields(patient, scan, corners.min(axis=0), corners.max(axis=0) + extent)
    place = (corners - field.origin) / field.spacing
    shifts = np.random.default_rng((scan.seed, seed, 77)).integers(0, 4096, 6)
    kernels.finish(
        hu, along, (int(pad[2]), int(pad[1]), int(pad[0])), thin, block_of(scan, (spacing[0], spacing[1], spacing[2])), shifts, noise_hu,
        field.added_hu, field.noise_gain, place, spacing[:2] / field.spacing[:2], out,
    )  # fmt: skip


def _cut_round(patient: Patient, scan: Scan, origin: Vector, spacing: Vector, rendered: Rendered) -> None:
    """Blank what lies outside the circle that the scanner reconstructed."""
    middle = np.asarray(patient.grid.origin[:2]) + 0.5 * patient.grid.spacing * (np.array(patient.grid.shape[:0:-1]) - 1)
    y = origin[1] + spacing[1] * np.arange(rendered.hu.shape[1]) - middle[1]
    x = origin[0] + spacing[0] * np.arange(rendered.hu.shape[2]) - middle[0]
    outside = np.hypot(x[None, :], y[:, None]) > 0.5 * scan.fov_mm
    rendered.hu[:, outside] = AIR_HU
    rendered.structures[:, outside] = 0
    rendered.vessels[:, outside] = 0


def _organs(patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray) -> None:
    border = np.array([BEATING.get(name, 0.0) * scan.heart_motion_mm for name in CHANNELS], np.float32)
    near, inside = _masks(patient, max(75, 30 + int(50.0 * border.max() + 0.5)))
    table = tissue_table(scan)
    value, amplitude, scale = (np.array([table[name][c] for name in CHANNELS], np.float32) for c in range(3))
    classes = np.array([STRUCTURE_CLASS.get(name, 0) for name in CHANNELS], np.uint8)
    kernels.compose(
        patient.channels, near, inside, np.asarray(patient.grid.origin), patient.grid.spacing, start, step, value, amplitude, scale, border,
        np.array([-1000.0], np.float32), classes, CHANNELS.index("pericardium"), texture_block(), hu, structures,
    )  # fmt: skip


def _masks(patient: Patient, reach: int) -> tuple[FloatArray, FloatArray]:
    """The cell masks for surfaces within `reach` (hundredths of a millimetre), rounded up so that few are kept."""
    key = f"masks-{-(-reach // 75) * 75}"
    if key not in patient.cache:
        patient.cache[key] = kernels.cell_masks(patient.channels, -(-reach // 75) * 75)
    masks: tuple[FloatArray, FloatArray] = patient.cache[key]
    return masks


def tube_rows(patient: Patient, scan: Scan) -> list[tuple[FloatArray, int, bool]]:
    """Plain tubes in the order they are painted: rows for `painting.paint_tubes`, their label, and whether they go over everything."""
    value = {"lung": 0.75 * scan.vessel_hu, "vein": scan.vein_hu, "calcification": 900.0 * calcium_factor(scan.kvp)}
    groups = []
    for kind, label in (("lung", 0), ("vein", VEIN), ("calcification", 0)):
        rows = [_tube_rows(t.points_mm, t.radius_mm, value[kind]) for t in patient.tubes if t.kind == kind]
        groups.append((rows, label, kind == "calcification"))
    groups.append(([_tube_rows(p, r, hu) for p, r, hu in artefacts.metal_tubes(patient, scan)] if scan.metal else [], 0, True))
    return [(np.concatenate(rows), label, everywhere) for rows, label, everywhere in groups if rows]


def _tubes(
    patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, structures: FloatArray, vessels: FloatArray
) -> None:
    for s, label, everywhere in tube_rows(patient, scan):
        reach = np.maximum(s[:, 6], s[:, 7])[:, None] + float(step.max())
        lo, hi = np.minimum(s[:, :3], s[:, 3:6]) - reach, np.maximum(s[:, :3], s[:, 3:6]) + reach
        lists = painting.brick_lists(lo, hi, start, step, hu.shape)
        painting.paint_tubes(hu, structures, vessels, start, step, s, lists, label, everywhere)


def _tube_rows(points: FloatArray, radius: FloatArray, value: float) -> FloatArray:
    n = len(points) - 1
    return np.concatenate([points[:-1], points[1:], radius[:-1, None], radius[1:, None], np.full((n, 1), value)], axis=1)
