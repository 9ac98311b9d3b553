"""What moves during the scan: coronaries within the acquisition window, and whole slabs between heart beats.

A half scan sees each instant of the window from its own range of directions. So a moving vessel is painted at several places along its
path, and each of them goes through the filter of one wedge of view angles; the wedges add up to the unfiltered picture. A vessel that
rests comes out unchanged, one that moves as the crescent or the doubled vessel that readers know (Kim et al., motion estimation from
partial angle reconstruction, show the same decomposition the other way round).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numba as nb
import numpy as np

from models.phantom.physics import calcium_factor
from models.phantom.types import Branch, FloatArray, Lesion, Patient, Scan, Vector
from models.phantom.vessels import Rows, moved, paint, paint_tree, tree_rows

#: Motion below this cannot be seen and is not painted (mm).
SMALLEST_MM = 0.2
#: How far the filter of a wedge reaches (mm).
WEDGE_REACH_MM = 4.0
#: A branch takes on its own vessel's motion within this length from where it leaves its parent (mm).
BLEND_MM = 25.0


@dataclass(frozen=True)
class Slab:
    """Slices `first` to `last` (half-open) that show the patient displaced by `shift` (mm, LPS)."""

    first: int
    last: int
    shift: FloatArray


def slabs(patient: Patient, scan: Scan, bottom_mm: float, spacing_mm: float, slices: int) -> list[Slab]:
    """The slabs of a volume whose lowest slice lies at `bottom_mm` (LPS)."""
    middle = middle_z(patient)
    steps = sorted(scan.steps, key=lambda s: s.z_mm)
    edges = [0, *(int(np.clip(np.ceil((middle + s.z_mm - bottom_mm) / spacing_mm - 1e-6), 0, slices)) for s in steps), slices]
    shifts = [np.zeros(3), *(np.asarray(s.shift_mm, np.float64) for s in steps)]
    return [Slab(a, b, shift) for a, b, shift in zip(edges[:-1], edges[1:], shifts, strict=True) if b > a]


def middle_z(patient: Patient) -> float:
    """Height (LPS, mm) of the middle of the patient's grid; steps and ghosts are given relative to it."""
    return patient.grid.origin[2] + 0.5 * patient.grid.spacing * (patient.grid.shape[0] - 1)


def seen(points_mm: FloatArray, patient: Patient, scan: Scan) -> FloatArray:
    """Where points of the patient (n, 3) appear in the image; the identity for a scan without steps.

    Between two steps that move apart a point may be shown twice (the lower place is returned) or not at all (where it would be nearest).
    """
    p = np.asarray(points_mm, np.float64)
    if not scan.steps:
        return p.copy()
    steps = sorted(scan.steps, key=lambda s: s.z_mm)
    z = np.array([-np.inf, *(middle_z(patient) + s.z_mm for s in steps), np.inf])
    shifts = np.array([(0.0, 0.0, 0.0), *(s.shift_mm for s in steps)])
    candidates = p[:, None, :] + shifts[None]
    height = candidates[..., 2]
    outside = np.maximum(np.maximum(z[:-1] - height, height - z[1:] + 1e-9), 0.0)
    return np.asarray(candidates[np.arange(len(p)), outside.argmin(axis=1)])


def as_seen(patient: Patient, scan: Scan) -> Patient:
    """The patient with branches, calcium and ostia where the image shows them; the patient itself for a scan without steps."""
    if not scan.steps:
        return patient

    def place(point: Vector) -> Vector:
        x, y, z = seen(np.asarray(point)[None], patient, scan)[0]
        return float(x), float(y), float(z)

    def lesion(x: Lesion) -> Lesion:
        return replace(x, blobs=tuple(replace(b, centre=seen(b.centre[None], patient, scan)[0]) for b in x.blobs))

    return replace(
        patient,
        branches=tuple(replace(b, points_mm=seen(b.points_mm, patient, scan)) for b in patient.branches),
        lesions=tuple(lesion(x) for x in patient.lesions),
        stents=tuple(replace(s, struts=_seen_struts(s.struts, patient, scan)) for s in patient.stents),
        ostia={name: place(p) for name, p in patient.ostia.items()},
        cache={},
    )


def _seen_struts(struts: FloatArray, patient: Patient, scan: Scan) -> FloatArray:
    return np.column_stack([seen(struts[:, 0:3], patient, scan), seen(struts[:, 3:6], patient, scan), struts[:, 6:]])


def moves(scan: Scan) -> bool:
    """Whether any vessel moves visibly."""
    return max(scan.motion_mm.values(), default=0.0) > SMALLEST_MM


def paths(patient: Patient, scan: Scan) -> dict[int, FloatArray]:
    """For each branch the vector (n, 3, mm) from the beginning to the end of each point's path.

    The ostia hardly move; the motion of a vessel grows over its first 45 mm to `motion_mm`, and a branch begins with its parent's.
    """
    own = {v: scan.motion_mm[v] * np.asarray(scan.motion_direction[v], np.float64) for v in scan.motion_mm}
    left = 0.5 * (own.get("LAD", np.zeros(3)) + own.get("LCX", np.zeros(3)))
    result: dict[int, FloatArray] = {}
    distance: dict[int, FloatArray] = {}
    for b in sorted(patient.branches, key=lambda b: _depth(patient, b)):
        s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(b.points_mm, axis=0), axis=1))])
        target = own.get(b.vessel, left if b.vessel == "LM" else np.zeros(3))
        if b.parent is None or b.parent not in result:
            start, begun = 0.25 * target, np.zeros(3)
        else:
            begun = result[b.parent][b.parent_index or 0]
            start = begun
            s = s + distance[b.parent][b.parent_index or 0]
        along = s - s[0]
        ramp = _smooth(s / 45.0)
        wanted = (0.25 + 0.75 * ramp)[:, None] * target
        blend = _smooth(along / BLEND_MM)[:, None]
        result[b.id] = start + blend * (wanted - start) if b.parent is not None else wanted
        distance[b.id] = s
    return result


def _depth(patient: Patient, branch: Branch) -> int:
    by_id = {b.id: b for b in patient.branches}
    depth, at = 0, branch
    while at.parent is not None and at.parent in by_id:
        at, depth = by_id[at.parent], depth + 1
    return depth


def _smooth(x: FloatArray) -> FloatArray:
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def places(scan: Scan) -> FloatArray:
    """Where along its path, from -0.5 to 0.5, a vessel is in the middle of each part of the window; the mean is 0."""
    largest = max(scan.motion_mm.values(), default=0.0)
    n = 5 if largest < 3.0 else 7
    u = (np.arange(n) + 0.5) / n - 0.5
    doubled = 0.5 * np.tanh(8.0 * u) / np.tanh(4.0)
    return np.asarray((1.0 - scan.motion_doubling) * u + scan.motion_doubling * doubled)


@lru_cache(maxsize=32)
def wedge_filters(parts: int, angle_deg: float, spacing: tuple[float, float]) -> FloatArray:
    """The filter (y, x) of each of `parts` wedges of view angles from `angle_deg` on; together they are the identity.

    A projection taken at angle a measures the spatial frequencies of direction a, so a wedge of views is a wedge of the spectrum.
    `spacing` is (x, y) in mm; the filters end smoothly at WEDGE_REACH_MM.
    """
    rx, ry = (max(2, int(np.ceil(WEDGE_REACH_MM / d))) for d in spacing)
    n = 128
    fx = np.fft.fftfreq(n)[None, :] / spacing[0]
    fy = np.fft.fftfreq(n)[:, None] / spacing[1]
    angle = np.rad2deg(np.arctan2(fy, fx)) - angle_deg
    width = 180.0 / parts
    y, x = np.mgrid[-ry : ry + 1, -rx : rx + 1]
    window = np.cos(0.5 * np.pi * np.minimum(1.0, np.hypot(x * spacing[0], y * spacing[1]) / (WEDGE_REACH_MM + 1e-9))) ** 2
    filters = np.empty((parts, 2 * ry + 1, 2 * rx + 1), np.float64)
    weight = np.empty((parts, n, n))
    for part in range(parts):
        off = np.abs((angle - (part + 0.5) * width + 90.0) % 180.0 - 90.0)
        weight[part] = np.clip((0.5 * width - off) / (0.35 * width) + 0.5, 0.0, 1.0)
    weight[:, 0, 0] = 1.0
    # the Nyquist rows have no opposite: without them the filters would not be real and symmetric
    weight[:, n // 2, :] = weight[:, :, n // 2] = 1.0
    weight /= weight.sum(axis=0)
    for part in range(parts):
        kernel = np.real(np.fft.ifft2(weight[part]))
        kernel = np.roll(kernel, (ry, rx), axis=(0, 1))[: 2 * ry + 1, : 2 * rx + 1]
        filters[part] = kernel * window
    rest = -filters.sum(axis=0)
    rest[ry, rx] += 1.0
    return np.asarray(filters + rest / parts, np.float32)


def paint_moving(patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, vessels: FloatArray) -> None:
    """Paint the coronary tree as a half scan sees it while it moves; labels are those of the mean position.

    Arguments as in `paint_tree`. Within WEDGE_REACH_MM of the volume's lateral edges vessels outside of it are missing, so the caller
    pads.
    """
    still = hu.copy()
    work, scratch = hu.copy(), vessels.copy()
    paint_tree(patient, scan, start, step, work, vessels)
    share = places(scan)
    filters = wedge_filters(len(share), scan.motion_angle_deg, (float(step[0]), float(step[1])))
    for kernel, rows in zip(filters, moved_rows(patient, scan), strict=True):
        work[...] = still
        paint(rows, work, scratch, start, step, lumen_hu=scan.vessel_hu, calcium_scale=calcium_factor(scan.kvp))
        add_filtered(hu, work, still, kernel)


def moved_rows(patient: Patient, scan: Scan) -> list[Rows]:
    """The tree at each of its places; the last scan's are kept in the patient's cache."""
    share = places(scan)
    key = (tuple(scan.motion_mm.items()), tuple(scan.motion_direction.items()), tuple(share))
    if patient.cache.get("moved_key") != key:
        path = paths(patient, scan)
        rows = tree_rows(patient)
        patient.cache["moved"] = [moved(rows, patient, {b: float(t) * path[b] for b in path}) for t in share]
        patient.cache["moved_key"] = key
    copies: list[Rows] = patient.cache["moved"]
    return copies


@nb.njit(parallel=True, cache=True, fastmath=True)
def add_filtered(total: FloatArray, painted: FloatArray, still: FloatArray, kernel: FloatArray) -> None:
    """Add the difference of two volumes, filtered within each slice, to `total`; only voxels that differ cost time."""
    nz, ny, nx = total.shape
    ry, rx = kernel.shape[0] // 2, kernel.shape[1] // 2
    for k in nb.prange(nz):
        for j in range(ny):
            for i in range(nx):
                d = painted[k, j, i] - still[k, j, i]
                if abs(d) < 0.05:
                    continue
                for b in range(max(0, j - ry), min(ny, j + ry + 1)):
                    row = kernel[b - j + ry]
                    for a in range(max(0, i - rx), min(nx, i + rx + 1)):
                        total[k, b, a] += d * row[a - i + rx]
