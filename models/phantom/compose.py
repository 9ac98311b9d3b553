"""Compiled composition of a volume from distance fields, blur and noise."""

# ruff: noqa: C901 - each kernel is one loop nest; splitting it would cost the speed it exists for.
from __future__ import annotations

import math

import numba as nb
import numpy as np

from models.phantom.types import FloatArray

#: Structure class of tissue inside the pericardium that is nothing else; outside the sac such tissue is background.
INSIDE_SAC = 8


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
    border_of: FloatArray,
    background: FloatArray,
    class_of: FloatArray,
    sac: int,
    texture: FloatArray,
    hu: FloatArray,
    structures: FloatArray,
) -> None:
    """Paint all organs, back to front, into `hu` (float32) and `structures`; both (z, y, x).

    Each surface gets the linear partial volume of one voxel, widened by `border_of` (mm) where its organ moves. Tissue texture is a
    periodic noise block with a period of `texture.shape[1]` voxels, magnified by `scale_of` (voxels per mm); `texture` (2, z, y, x)
    holds a grainy block, and a smooth one that organs with a negative scale take.
    """
    nz, ny, nx = hu.shape
    gz, gy, gx, nc = field.shape
    h = (spacing[0] * spacing[1] * spacing[2]) ** (1.0 / 3.0)
    inv = (0.01 / (h + border_of)).astype(np.float32)
    period = texture.shape[1]
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
                        s = abs(scale_of[top])
                        block = texture[1 if scale_of[top] < 0.0 else 0]
                        a = math.floor(z * s) + 17 * top
                        b = math.floor(y * s) + 5 * top
                        c = math.floor(x * s)
                        value += texture_of[top] * block[a % period, b % period, c % period]
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
                        alpha = 0.5 - d * inv[ch]
                        if alpha > 0.0:
                            alpha = min(alpha, 1.0)
                            v = hu_of[ch]
                            if texture_of[ch] > 0.0:
                                s = abs(scale_of[ch])
                                block = texture[1 if scale_of[ch] < 0.0 else 0]
                                a = math.floor(z * s) + 17 * ch
                                b = math.floor(y * s) + 5 * ch
                                c = math.floor(x * s)
                                v += texture_of[ch] * block[a % period, b % period, c % period]
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
    corner: tuple[int, int, int],
    stride: int,
    noise: FloatArray,
    shifts: FloatArray,
    sd: float,
    added: FloatArray,
    gain: FloatArray,
    place: FloatArray,
    pitch: FloatArray,
    out: FloatArray,
) -> None:
    """Blur along z, crop the padding, add artefacts and noise, and round to int16.

    Slice k of `out` (z, y, x) lies at slice `corner[0] + stride * k` of `volume`. `added` (HU) and `gain` (factor of the noise) are
    coarse (z, y, x) fields; `place` (n, 3) is where in them (index x, y, z) voxel (k, 0, 0) lies, `pitch` (x, y) how far one voxel
    goes. `noise` is a periodic block of unit variance, `sd` its size (HU), `shifts` six offsets.
    """
    nz, ny, nx = out.shape
    z0, y0, x0 = corner
    rz = kz.size // 2
    mz, my, mx = noise.shape
    sz = volume.shape[0]
    cz, cy, cx = gain.shape
    size = sd / math.sqrt(2.0)
    for k in nb.prange(nz):
        line = np.empty(nx, np.float32)
        art = np.empty(cx, np.float32)
        fac = np.empty(cx, np.float32)
        na = noise[(k + shifts[0]) % mz]
        nb_ = noise[(k + shifts[3]) % mz]
        pz = min(max(place[k, 2], 0.0), cz - 1.001)
        c = int(pz)
        wz = pz - c
        for j in range(ny):
            for i in range(nx):
                line[i] = 0.0
            for t in range(kz.size):
                source = volume[min(sz - 1, max(0, k * stride + z0 + t - rz)), j + y0]
                w = kz[t]
                for i in range(nx):
                    line[i] += w * source[i + x0]
            py = min(max(place[k, 1] + j * pitch[1], 0.0), cy - 1.001)
            b = int(py)
            wy = py - b
            w00, w01, w10, w11 = (1.0 - wz) * (1.0 - wy), (1.0 - wz) * wy, wz * (1.0 - wy), wz * wy
            for i in range(cx):
                art[i] = w00 * added[c, b, i] + w01 * added[c, b + 1, i] + w10 * added[c + 1, b, i] + w11 * added[c + 1, b + 1, i]
                fac[i] = w00 * gain[c, b, i] + w01 * gain[c, b + 1, i] + w10 * gain[c + 1, b, i] + w11 * gain[c + 1, b + 1, i]
            ra = na[(j + shifts[1]) % my]
            rb = nb_[(shifts[4] - j) % my]
            for i in range(nx):
                px = min(max(place[k, 0] + i * pitch[0], 0.0), cx - 1.001)
                a = int(px)
                wx = px - a
                v = line[i] + art[a] + wx * (art[a + 1] - art[a])
                g = size * (fac[a] + wx * (fac[a + 1] - fac[a]))
                v += g * (ra[(i + shifts[2]) % mx] + rb[(shifts[5] - i) % mx])
                out[k, j, i] = np.int16(min(3071.0, max(-1024.0, round(v))))
