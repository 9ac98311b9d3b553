"""Compiled painting of vessels: plain tubes, and coronary arteries with wall, plaque and calcium."""

# ruff: noqa: C901 - each kernel is one loop nest; splitting it would cost the speed it exists for.
from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray

BRICK = 8


@nb.njit(cache=True)
def brick_lists(
    lo: FloatArray, hi: FloatArray, origin: FloatArray, spacing: FloatArray, shape: tuple[int, int, int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Which boxes (rows of `lo`, `hi`, mm) touch which brick of 8x8x8 voxels.

    Returns the numbers of the touched bricks, the start of each one's list, and the lists one after another.
    """
    bz, by, bx = (shape[0] + 7) // BRICK, (shape[1] + 7) // BRICK, (shape[2] + 7) // BRICK
    count = np.zeros(bz * by * bx + 1, np.int64)
    n = lo.shape[0]
    span = np.zeros((n, 6), np.int64)
    for s in range(n):
        ok = True
        for a in range(3):
            size = shape[2 - a]
            first = math.ceil((lo[s, a] - origin[a]) / spacing[a])
            last = math.floor((hi[s, a] - origin[a]) / spacing[a])
            if last < 0 or first > size - 1 or last < first:
                ok = False
                break
            span[s, 2 * a] = max(first, 0) // BRICK
            span[s, 2 * a + 1] = min(last, size - 1) // BRICK
        if not ok:
            span[s, 0], span[s, 1] = 0, -1
            continue
        for c in range(span[s, 4], span[s, 5] + 1):
            for b in range(span[s, 2], span[s, 3] + 1):
                for a in range(span[s, 0], span[s, 1] + 1):
                    count[(c * by + b) * bx + a] += 1
    active = np.flatnonzero(count[:-1])
    starts = np.zeros(active.size + 1, np.int64)
    where = np.full(count.size, -1, np.int64)
    for r in range(active.size):
        where[active[r]] = r
        starts[r + 1] = starts[r] + count[active[r]]
    fill = starts[:-1].copy()
    members = np.zeros(starts[-1], np.int64)
    for s in range(n):
        if span[s, 1] < span[s, 0]:
            continue
        for c in range(span[s, 4], span[s, 5] + 1):
            for b in range(span[s, 2], span[s, 3] + 1):
                for a in range(span[s, 0], span[s, 1] + 1):
                    r = where[(c * by + b) * bx + a]
                    members[fill[r]] = s
                    fill[r] += 1
    return active, starts, members


@nb.njit(cache=True, inline="always")
def _to_axis(x: float, y: float, z: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> tuple[float, float]:
    ux, uy, uz = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    length2 = ux * ux + uy * uy + uz * uz
    t = (px * ux + py * uy + pz * uz) / length2 if length2 > 0.0 else 0.0
    t = min(1.0, max(0.0, t))
    px -= t * ux
    py -= t * uy
    pz -= t * uz
    return math.sqrt(px * px + py * py + pz * pz), t


@nb.njit(parallel=True, cache=True, fastmath=True)
def paint_tubes(
    hu: FloatArray,
    structures: FloatArray,
    labels: FloatArray,
    origin: FloatArray,
    spacing: FloatArray,
    segments: FloatArray,
    lists: tuple[FloatArray, FloatArray, FloatArray],
    label: int,
    everywhere: bool,
) -> None:
    """Paint plain tubes (rows: start, end, two radii, HU), if not `everywhere` then outside blood and left ventricular muscle."""
    active, starts, members = lists
    nz, ny, nx = hu.shape
    by, bx = (ny + 7) // BRICK, (nx + 7) // BRICK
    h = (spacing[0] * spacing[1] * spacing[2]) ** (1.0 / 3.0)
    for r in nb.prange(active.size):
        brick = active[r]
        k0, j0, i0 = brick // (by * bx) * BRICK, brick // bx % by * BRICK, brick % bx * BRICK
        for k in range(k0, min(nz, k0 + BRICK)):
            z = origin[2] + k * spacing[2]
            for j in range(j0, min(ny, j0 + BRICK)):
                y = origin[1] + j * spacing[1]
                for i in range(i0, min(nx, i0 + BRICK)):
                    x = origin[0] + i * spacing[0]
                    kind = structures[k, j, i]
                    if not everywhere and kind >= 1 and kind <= 7:
                        continue
                    best = 1e9
                    value = 0.0
                    for m in range(starts[r], starts[r + 1]):
                        s = segments[members[m]]
                        d, t = _to_axis(x, y, z, s[0], s[1], s[2], s[3], s[4], s[5])
                        d -= s[6] + t * (s[7] - s[6])
                        if d < best:
                            best = d
                            value = s[8]
                    alpha = min(1.0, 0.5 - best / h)
                    if alpha > 0.0:
                        hu[k, j, i] += alpha * (value - hu[k, j, i])
                        if best < 0.0 and label > 0:
                            labels[k, j, i] = label


@nb.njit(parallel=True, cache=True, fastmath=True)
def paint_coronaries(
    hu: FloatArray,
    labels: FloatArray,
    origin: FloatArray,
    spacing: FloatArray,
    segments: FloatArray,
    lists: tuple[FloatArray, FloatArray, FloatArray],
    blobs: FloatArray,
    blob_lists: tuple[FloatArray, FloatArray, FloatArray],
    aorta: FloatArray,
    grid_origin: FloatArray,
    grid_spacing: float,
    lumen_hu: float,
) -> None:
    """Paint lumen, wall with plaque, and calcium.

    Segment rows: lumen start, lumen end, two lumen radii, outer start, outer end, two outer radii, wall HU, lumen factor, flag
    'near the aorta'. Blob rows: centre, three axes, three half-axes, HU, calcium (1) or soft core (0). `aorta` is a distance field
    (int16, hundredths of a mm); nothing is painted inside the aortic lumen.
    """
    active, starts, members = lists
    blob_active, blob_starts, blob_members = blob_lists
    nz, ny, nx = hu.shape
    by, bx = (ny + 7) // BRICK, (nx + 7) // BRICK
    h = (spacing[0] * spacing[1] * spacing[2]) ** (1.0 / 3.0)
    gz, gy, gx = aorta.shape
    blob_of = np.full(by * bx * ((nz + 7) // BRICK), -1, np.int64)
    for r in range(blob_active.size):
        blob_of[blob_active[r]] = r
    for r in nb.prange(active.size):
        brick = active[r]
        k0, j0, i0 = brick // (by * bx) * BRICK, brick // bx % by * BRICK, brick % bx * BRICK
        has_blobs = blob_of[brick]
        for k in range(k0, min(nz, k0 + BRICK)):
            z = origin[2] + k * spacing[2]
            for j in range(j0, min(ny, j0 + BRICK)):
                y = origin[1] + j * spacing[1]
                for i in range(i0, min(nx, i0 + BRICK)):
                    x = origin[0] + i * spacing[0]
                    inner, outer = 1e9, 1e9
                    wall, factor = 0.0, 1.0
                    root = False
                    for m in range(starts[r], starts[r + 1]):
                        s = segments[members[m]]
                        d, t = _to_axis(x, y, z, s[0], s[1], s[2], s[3], s[4], s[5])
                        d -= s[6] + t * (s[7] - s[6])
                        if d < inner:
                            inner = d
                            factor = s[17]
                        d, t = _to_axis(x, y, z, s[8], s[9], s[10], s[11], s[12], s[13])
                        d -= s[14] + t * (s[15] - s[14])
                        if d < outer:
                            outer = d
                            wall = s[16]
                        if s[18] > 0.0:
                            root = True
                    whole = min(1.0, max(0.0, 0.5 - outer / h))
                    lumen = min(1.0, max(0.0, 0.5 - inner / h))
                    whole = max(whole, lumen)
                    if whole <= 0.0:
                        continue
                    if root:
                        fz = min(max((z - grid_origin[2]) / grid_spacing, 0.0), gz - 1.001)
                        fy = min(max((y - grid_origin[1]) / grid_spacing, 0.0), gy - 1.001)
                        fx = min(max((x - grid_origin[0]) / grid_spacing, 0.0), gx - 1.001)
                        a, b, c = int(fz), int(fy), int(fx)
                        wz, wy, wx = fz - a, fy - b, fx - c
                        v = 0.0
                        for da in range(2):
                            for db in range(2):
                                for dc in range(2):
                                    w = (wz if da else 1 - wz) * (wy if db else 1 - wy) * (wx if dc else 1 - wx)
                                    v += w * aorta[a + da, b + db, c + dc]
                        v *= 0.01
                        if v < 0.0:
                            continue
                    calcium = 0.0
                    deepest = 1e9
                    calcium_hu = 0.0
                    if has_blobs >= 0:
                        for m in range(blob_starts[has_blobs], blob_starts[has_blobs + 1]):
                            q = blobs[blob_members[m]]
                            px, py, pz = x - q[0], y - q[1], z - q[2]
                            u = (px * q[3] + py * q[4] + pz * q[5]) / q[12]
                            v = (px * q[6] + py * q[7] + pz * q[8]) / q[13]
                            w = (px * q[9] + py * q[10] + pz * q[11]) / q[14]
                            k_0 = math.sqrt(u * u + v * v + w * w)
                            k_1 = math.sqrt((u / q[12]) ** 2 + (v / q[13]) ** 2 + (w / q[14]) ** 2) + 1e-6
                            d = k_0 * (k_0 - 1.0) / k_1 if k_0 > 1e-3 else -min(q[12], min(q[13], q[14]))
                            f = min(1.0, max(0.0, 0.5 - d / h))
                            if q[16] > 0.5:
                                if d < deepest:
                                    deepest = d
                                if f > calcium:
                                    calcium = f
                                    calcium_hu = q[15]
                            else:
                                wall += f * (q[15] - wall)
                    ring = whole - lumen
                    part = min(calcium, ring)
                    value = hu[k, j, i] * (1.0 - whole) + lumen * lumen_hu * factor
                    hu[k, j, i] = value + (ring - part) * wall + part * calcium_hu
                    if inner < 0.0:
                        labels[k, j, i] = 1
                    elif outer < 0.0:
                        labels[k, j, i] = 3 if deepest < 0.0 else 2
