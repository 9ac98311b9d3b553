"""Compiled painting of vessels: plain tubes, and coronary arteries with wall, plaque and calcium."""

# ruff: noqa: C901 - each kernel is one loop nest; splitting it would cost the speed it exists for.
from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray

BRICK = 8
#: Reach of oedema in the fat beside a plaque (mm).
HALO_MM = 2.5
#: Width (sigma, voxels) over which a wire thinner than a voxel is spread.
STRUT_SPREAD = 0.45
SEGMENT_COLUMNS = 43
#: Blood without contrast medium.
BLOOD_HU = 42.0


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


@nb.njit(cache=True, inline="always")
def _off_axis(
    x: float, y: float, z: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> tuple[float, float, float, float, float, float]:
    """Distance from a line piece, place along it (0 to 1), distance from the endless line, and the vector from the start."""
    ux, uy, uz = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    length2 = ux * ux + uy * uy + uz * uz
    t = (px * ux + py * uy + pz * uz) / length2 if length2 > 0.0 else 0.0
    beside2 = max(px * px + py * py + pz * pz - t * t * length2, 1e-12)
    beyond = t - min(1.0, max(0.0, t))
    return math.sqrt(beside2 + beyond * beyond * length2), t - beyond, math.sqrt(beside2), px, py, pz


@nb.njit(cache=True, inline="always")
def _inside_aorta(x: float, y: float, z: float, aorta: FloatArray, origin: FloatArray, spacing: float) -> bool:
    gz, gy, gx = aorta.shape
    fz = min(max((z - origin[2]) / spacing, 0.0), gz - 1.001)
    fy = min(max((y - origin[1]) / spacing, 0.0), gy - 1.001)
    fx = min(max((x - origin[0]) / spacing, 0.0), gx - 1.001)
    a, b, c = int(fz), int(fy), int(fx)
    wz, wy, wx = fz - a, fy - b, fx - c
    v = 0.0
    for da in range(2):
        for db in range(2):
            for dc in range(2):
                w = (wz if da else 1 - wz) * (wy if db else 1 - wy) * (wx if dc else 1 - wx)
                v += w * aorta[a + da, b + db, c + dc]
    return v < 0.0


@nb.njit(cache=True, inline="always")
def _ellipsoid(x: float, y: float, z: float, q: FloatArray) -> float:
    px, py, pz = x - q[0], y - q[1], z - q[2]
    u = (px * q[3] + py * q[4] + pz * q[5]) / q[12]
    v = (px * q[6] + py * q[7] + pz * q[8]) / q[13]
    w = (px * q[9] + py * q[10] + pz * q[11]) / q[14]
    k_0 = math.sqrt(u * u + v * v + w * w)
    if k_0 <= 1e-3:
        return float(-min(q[12], min(q[13], q[14])))
    k_1 = math.sqrt((u / q[12]) ** 2 + (v / q[13]) ** 2 + (w / q[14]) ** 2) + 1e-6
    return float(k_0 * (k_0 - 1.0) / k_1)


@nb.njit(cache=True, inline="always")
def _sheet(s: FloatArray, at: int, x: float, y: float, z: float, inner: float, outer: float) -> float:
    """Signed distance to the sheet in columns `at`... of segment `s`: an arc of the wall between two depths (shares of its thickness)."""
    d, t, beside, px, py, pz = _off_axis(x, y, z, s[0], s[1], s[2], s[3], s[4], s[5])
    half = s[at + 3] + t * (s[at + 4] - s[at + 3])
    if half <= 0.0:
        return 1e9
    thick = max(inner - outer, 1e-3)
    depth = max(s[at + 5] * thick - inner, inner - s[at + 6] * thick)
    if half >= math.pi:
        return float(depth)
    c = (px * s[at] + py * s[at + 1] + pz * s[at + 2]) / beside
    return float(max(depth, (math.acos(min(1.0, max(-1.0, c))) - half) * d))


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
    calcium_scale: float,
    owner: FloatArray,
    material: FloatArray,
) -> None:
    """Paint lumen, wall with plaque, and calcium; nothing is painted inside the aortic lumen (`aorta`: distance, int16, 0.01 mm).

    Segment rows (columns): 0-2 lumen start, 3-5 lumen end, 6-7 lumen radii, 8-10 outer start, 11-13 outer end, 14-15 outer radii,
    16 wall HU, 17 lumen factor, 18 flag 'near the aorta', 19-21 direction of the lumen's shape, 22-23 its second and third harmonic,
    24 skew of the lumen's HU along that direction, 25 HU added to fat beside the wall, and two calcium sheets from 26 and from 34:
    direction (3), half arc at start and end (rad), inner and outer depth (shares of the wall), HU (0: none); 42 the greatest distance
    from the lumen's axis at which anything is painted.
    The lumen's section is r(a)^2 = r^2 (1 + e2 cos 2a + e3 cos 3a), whose area is exactly that of the circle of radius r.
    Blob rows: centre, three axes, three half-axes, HU, calcium (1) or soft (0; later ones lie over earlier ones).
    `lumen_hu` is what the contrast medium makes of blood at the aorta; calcium is `calcium_scale` times as dense as its rows say.
    `owner` gets the row of the nearest outer wall and `material` the unblurred HU of wall and plaque, where they are not empty arrays.
    """
    active, starts, members = lists
    blob_active, blob_starts, blob_members = blob_lists
    nz, ny, nx = hu.shape
    by, bx = (ny + 7) // BRICK, (nx + 7) // BRICK
    h = (spacing[0] * spacing[1] * spacing[2]) ** (1.0 / 3.0)
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
                    factor, halo = 1.0, 0.0
                    nearest = -1
                    root = False
                    for m in range(starts[r], starts[r + 1]):
                        s = segments[members[m]]
                        d, t, beside, px, py, pz = _off_axis(x, y, z, s[0], s[1], s[2], s[3], s[4], s[5])
                        if d > s[42] + h:
                            continue
                        radius = s[6] + t * (s[7] - s[6])
                        # no shape reaches farther than 1.5 radii
                        if d - 1.5 * max(radius, 0.0) < inner:
                            along = px * s[19] + py * s[20] + pz * s[21]
                            if radius > 0.0:
                                c = min(1.0, max(-1.0, along / beside))
                                radius *= math.sqrt(1.0 + s[22] * (2.0 * c * c - 1.0) + s[23] * c * (4.0 * c * c - 3.0))
                            if d - radius < inner:
                                inner = d - radius
                                factor = s[17] * (1.0 + s[24] * along / max(radius, 0.3))
                        d, t = _to_axis(x, y, z, s[8], s[9], s[10], s[11], s[12], s[13])
                        d -= s[14] + t * (s[15] - s[14])
                        if d < outer:
                            outer = d
                            nearest = members[m]
                        if s[25] > 0.0 and d < HALO_MM:
                            halo = max(halo, s[25] * (1.0 - max(d, 0.0) / HALO_MM) ** 2)
                        if s[18] > 0.0:
                            root = True
                    lumen = min(1.0, max(0.0, 0.5 - inner / h))
                    whole = max(lumen, min(1.0, max(0.0, 0.5 - outer / h)))
                    if whole <= 0.0 and halo <= 0.0:
                        continue
                    if root and _inside_aorta(x, y, z, aorta, grid_origin, grid_spacing):
                        continue
                    value = hu[k, j, i]
                    # only fat takes up oedema
                    value += halo * min(1.0, max(0.0, -value / 60.0))
                    if whole <= 0.0:
                        hu[k, j, i] = value
                        continue
                    calcium, calcium_hu = 0.0, 0.0
                    deepest = 1e9
                    hard = 0.0
                    s = segments[nearest]
                    wall = s[16]
                    soft = wall
                    for at in (26, 34):
                        if s[at + 7] > 0.0:
                            d = _sheet(s, at, x, y, z, inner, outer)
                            f = min(1.0, max(0.0, 0.5 - d / h))
                            if d < deepest:
                                deepest = d
                                hard = s[at + 7]
                            if f > calcium:
                                calcium = f
                                calcium_hu = s[at + 7]
                    if has_blobs >= 0:
                        for m in range(blob_starts[has_blobs], blob_starts[has_blobs + 1]):
                            q = blobs[blob_members[m]]
                            d = _ellipsoid(x, y, z, q)
                            f = min(1.0, max(0.0, 0.5 - d / h))
                            if q[16] > 0.5:
                                if d < deepest:
                                    deepest = d
                                    hard = q[15]
                                if f > calcium:
                                    calcium = f
                                    calcium_hu = q[15]
                            else:
                                wall += f * (q[15] - wall)
                                if d < 0.0:
                                    soft = q[15]
                    ring = whole - lumen
                    part = min(calcium, ring)
                    hu[k, j, i] = value * (1.0 - whole) + (ring - part) * wall + part * calcium_hu * calcium_scale
                    hu[k, j, i] += lumen * (BLOOD_HU + (lumen_hu - BLOOD_HU) * factor)
                    if inner < 0.0:
                        labels[k, j, i] = 1
                    elif outer < 0.0:
                        labels[k, j, i] = 3 if deepest < 0.0 else 2
                    if owner.size > 0 and min(inner, outer) < 0.0:
                        owner[k, j, i] = nearest
                        material[k, j, i] = hard if deepest < 0.0 else soft


@nb.njit(parallel=True, cache=True, fastmath=True)
def paint_struts(
    hu: FloatArray,
    origin: FloatArray,
    spacing: FloatArray,
    struts: FloatArray,
    lists: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    """Paint thin metal wires (rows: start, end, radius, HU), each with its true cross-section spread over about a voxel.

    A wire is thinner than a voxel, so that linear partial volume would make it several times too heavy.
    """
    active, starts, members = lists
    nz, ny, nx = hu.shape
    by, bx = (ny + 7) // BRICK, (nx + 7) // BRICK
    width2 = (STRUT_SPREAD * max(spacing[0], max(spacing[1], spacing[2]))) ** 2
    for r in nb.prange(active.size):
        brick = active[r]
        k0, j0, i0 = brick // (by * bx) * BRICK, brick // bx % by * BRICK, brick % bx * BRICK
        for k in range(k0, min(nz, k0 + BRICK)):
            z = origin[2] + k * spacing[2]
            for j in range(j0, min(ny, j0 + BRICK)):
                y = origin[1] + j * spacing[1]
                for i in range(i0, min(nx, i0 + BRICK)):
                    x = origin[0] + i * spacing[0]
                    metal, most = 0.0, 0.0
                    for m in range(starts[r], starts[r + 1]):
                        s = struts[members[m]]
                        d, _t = _to_axis(x, y, z, s[0], s[1], s[2], s[3], s[4], s[5])
                        share = min(1.0, 0.5 * s[6] * s[6] / width2 * math.exp(-0.5 * d * d / width2))
                        if share * s[7] > most:
                            most = share * s[7]
                            metal = share
                    hu[k, j, i] += most - metal * hu[k, j, i]
