"""Compiled composition of a volume from distance fields, vessels, blur and noise."""

# ruff: noqa: C901 - each kernel is one loop nest; splitting it would cost the speed it exists for.
from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray

BRICK = 8
#: Structure class of tissue inside the pericardium that is nothing else; outside the sac such tissue is background.
INSIDE_SAC = 8
#: Columns of a vessel segment row.
SEGMENT_COLUMNS = 19


@nb.njit(parallel=True, cache=True)
def cell_masks(field: FloatArray, reach: int) -> tuple[FloatArray, FloatArray]:
    """Per grid cell two bit masks: channels whose surface is near, and channels the cell lies wholly inside.

    `field` is (z, y, x, c) int16; `reach` is in its units.
    """
    nz, ny, nx, nc = field.shape
    near = np.zeros((nz - 1, ny - 1, nx - 1), np.uint32)
    inside = np.zeros((nz - 1, ny - 1, nx - 1), np.uint32)
    for k in nb.prange(nz - 1):
        for j in range(ny - 1):
            for i in range(nx - 1):
                for c in range(nc):
                    lo, hi = 32767, -32768
                    for dk in range(2):
                        for dj in range(2):
                            for di in range(2):
                                v = field[k + dk, j + dj, i + di, c]
                                lo = min(lo, v)
                                hi = max(hi, v)
                    if hi < -reach:
                        inside[k, j, i] |= np.uint32(1 << c)
                    elif lo <= reach:
                        near[k, j, i] |= np.uint32(1 << c)
    return near, inside


@nb.njit(parallel=True, cache=True, fastmath=True)
def compose(
    field: FloatArray,
    near: FloatArray,
    inside: FloatArray,
    grid_origin: FloatArray,
    grid_spacing: float,
    origin: FloatArray,
    spacing: FloatArray,
    hu_of: FloatArray,
    texture_of: FloatArray,
    scale_of: FloatArray,
    background: FloatArray,
    class_of: FloatArray,
    sac: int,
    texture: FloatArray,
    hu: FloatArray,
    structures: FloatArray,
) -> None:
    """Paint all organs, back to front, into `hu` (float32) and `structures`; both (z, y, x).

    Each surface gets the linear partial volume of one voxel. Tissue texture is a periodic noise block with a period of
    `texture.shape[0]` voxels, magnified by `scale_of` (voxels per mm).
    """
    nz, ny, nx = hu.shape
    gz, gy, gx, nc = field.shape
    h = (spacing[0] * spacing[1] * spacing[2]) ** (1.0 / 3.0) * 100.0
    inv = 1.0 / h
    period = texture.shape[0]
    for k in nb.prange(nz):
        z = origin[2] + k * spacing[2]
        fz = min(max((z - grid_origin[2]) / grid_spacing, 0.0), gz - 1.001)
        kz = int(fz)
        wz = np.float32(fz - kz)
        for j in range(ny):
            y = origin[1] + j * spacing[1]
            fy = min(max((y - grid_origin[1]) / grid_spacing, 0.0), gy - 1.001)
            jy = int(fy)
            wy = np.float32(fy - jy)
            w00 = (1 - wz) * (1 - wy)
            w01 = (1 - wz) * wy
            w10 = wz * (1 - wy)
            w11 = wz * wy
            for i in range(nx):
                x = origin[0] + i * spacing[0]
                fx = min(max((x - grid_origin[0]) / grid_spacing, 0.0), gx - 1.001)
                ix = int(fx)
                wx = np.float32(fx - ix)
                full = inside[kz, jy, ix]
                edge = near[kz, jy, ix]
                value = background[0]
                kind = 0
                first = 0
                if full:
                    top = nc - 1
                    while not (full >> np.uint32(top)) & np.uint32(1):
                        top -= 1
                    first = top + 1
                    value = hu_of[top]
                    if texture_of[top] > 0.0:
                        s = scale_of[top]
                        a = math.floor(z * s) + 17 * top
                        b = math.floor(y * s) + 5 * top
                        c = math.floor(x * s)
                        value += texture_of[top] * texture[a % period, b % period, c % period]
                    kind = class_of[top]
                rest = edge >> np.uint32(first)
                ch = first
                while rest:
                    if rest & np.uint32(1):
                        d0 = w00 * field[kz, jy, ix, ch] + w01 * field[kz, jy + 1, ix, ch]
                        d0 += w10 * field[kz + 1, jy, ix, ch] + w11 * field[kz + 1, jy + 1, ix, ch]
                        d1 = w00 * field[kz, jy, ix + 1, ch] + w01 * field[kz, jy + 1, ix + 1, ch]
                        d1 += w10 * field[kz + 1, jy, ix + 1, ch] + w11 * field[kz + 1, jy + 1, ix + 1, ch]
                        d = d0 + wx * (d1 - d0)
                        alpha = 0.5 - d * inv
                        if alpha > 0.0:
                            alpha = min(alpha, 1.0)
                            v = hu_of[ch]
                            if texture_of[ch] > 0.0:
                                s = scale_of[ch]
                                a = math.floor(z * s) + 17 * ch
                                b = math.floor(y * s) + 5 * ch
                                c = math.floor(x * s)
                                v += texture_of[ch] * texture[a % period, b % period, c % period]
                            value += alpha * (v - value)
                            if d < 0.0:
                                kind = class_of[ch]
                    rest >>= np.uint32(1)
                    ch += 1
                if kind == INSIDE_SAC:
                    d0 = w00 * field[kz, jy, ix, sac] + w01 * field[kz, jy + 1, ix, sac]
                    d0 += w10 * field[kz + 1, jy, ix, sac] + w11 * field[kz + 1, jy + 1, ix, sac]
                    d1 = w00 * field[kz, jy, ix + 1, sac] + w01 * field[kz, jy + 1, ix + 1, sac]
                    d1 += w10 * field[kz + 1, jy, ix + 1, sac] + w11 * field[kz + 1, jy + 1, ix + 1, sac]
                    kind = INSIDE_SAC if d0 + wx * (d1 - d0) < 0.0 else 0
                hu[k, j, i] = value
                structures[k, j, i] = kind


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


@nb.njit(parallel=True, cache=True, fastmath=True)
def blur_slices(volume: FloatArray, kx: FloatArray, ky: FloatArray) -> None:
    """Separable blur within each slice, in place; edges repeat."""
    nz, ny, nx = volume.shape
    rx, ry = kx.size // 2, ky.size // 2
    for k in nb.prange(nz):
        work = np.empty((ny, nx), np.float32)
        line = np.empty(nx + 2 * rx, np.float32)
        for j in range(ny):
            for i in range(nx):
                line[i + rx] = volume[k, j, i]
            for i in range(rx):
                line[i] = volume[k, j, 0]
                line[nx + rx + i] = volume[k, j, nx - 1]
            for i in range(nx):
                a = np.float32(0.0)
                for t in range(kx.size):
                    a += kx[t] * line[i + t]
                work[j, i] = a
        for j in range(ny):
            row = volume[k, j]
            for i in range(nx):
                row[i] = np.float32(0.0)
            for t in range(ky.size):
                source = work[min(ny - 1, max(0, j + t - ry))]
                w = ky[t]
                for i in range(nx):
                    row[i] += w * source[i]


@nb.njit(parallel=True, cache=True, fastmath=True)
def finish(
    volume: FloatArray,
    kz: FloatArray,
    z0: int,
    y0: int,
    x0: int,
    noise: FloatArray,
    shifts: FloatArray,
    gain: FloatArray,
    out: FloatArray,
) -> None:
    """Blur along z, crop the padding, add noise and round to int16.

    `gain` rows: the noise's scale per slice is constant, across the slice it is gain[0] + gain[1]*exp(-((x-cx)^2+(y-cy)^2)/r2) with
    gain[2], gain[3] = cx, cy and gain[4] = r2 in voxels.
    """
    nz, ny, nx = out.shape
    rz = kz.size // 2
    mz, my, mx = noise.shape
    sz = volume.shape[0]
    for k in nb.prange(nz):
        line = np.empty(nx, np.float32)
        na = noise[(k + shifts[0]) % mz]
        nb_ = noise[(k + shifts[3]) % mz]
        for j in range(ny):
            for i in range(nx):
                line[i] = 0.0
            for t in range(kz.size):
                source = volume[min(sz - 1, max(0, k + z0 + t - rz)), j + y0]
                w = kz[t]
                for i in range(nx):
                    line[i] += w * source[i + x0]
            if gain[0] > 0.0:
                ra = na[(j + shifts[1]) % my]
                rb = nb_[(shifts[4] - j) % my]
                ey = gain[1] * math.exp(-((j - gain[3]) ** 2) / gain[4])
                for i in range(nx):
                    g = gain[0] + ey * math.exp(-((i - gain[2]) ** 2) / gain[4])
                    line[i] += g * (ra[(i + shifts[2]) % mx] + rb[(shifts[5] - i) % mx])
            for i in range(nx):
                out[k, j, i] = np.int16(min(3071.0, max(-1024.0, round(line[i]))))
