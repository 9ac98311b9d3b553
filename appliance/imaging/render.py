"""Volume rendering on the processor: orthographic ray casting with gradient shading and empty-space skipping.

Classification after Levoy, 'Display of surfaces from volume data', IEEE CG&A 8 (1988): colour and opacity are functions of attenuation,
gradients give the shading. Two functions are mixed per voxel (``tone``), so that a vessel can look unlike its surroundings. A coarse
opacity map darkens grooves and casts one soft shadow per ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_cdt, gaussian_filter, maximum_filter

from appliance.inference.cuda.arrays import CardArrays
from appliance.volume import Geometry

Float = NDArray[np.float64]

BLOCK = 8
COARSE = 4
TABLE_FROM = -256
TABLE_SIZE = 2304
HAZE = 0.012
"""Extinction per mm below which a sample is haze."""


@dataclass(frozen=True)
class Stop:
    """A point of a transfer function: at ``hu`` the colour is ``rgb`` (0..1) and the opacity of 1 mm is ``opacity`` (0..1)."""

    hu: float
    rgb: tuple[float, float, float]
    opacity: float


def transfer_table(stops: Sequence[Stop]) -> NDArray[np.float32]:
    """Red, green, blue (0..1) and extinction per mm for each HU from ``TABLE_FROM`` on, shape (TABLE_SIZE, 4); linear between stops."""
    hu = np.arange(TABLE_SIZE) + TABLE_FROM
    at = [stop.hu for stop in stops]
    colour = [np.interp(hu, at, [stop.rgb[channel] for stop in stops]) for channel in range(3)]
    opacity = np.interp(hu, at, [min(stop.opacity, 0.999) for stop in stops])
    return np.stack([*colour, -np.log1p(-opacity)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Camera:
    """An orthographic view named as an angiography projection: degrees LAO (negative: RAO) and cranial (negative: caudal)."""

    lao: float
    cranial: float

    def axes(self) -> tuple[Float, Float, Float]:
        """LPS unit vectors (right, up, towards the viewer) of the picture."""
        a, c = np.radians(self.lao), np.radians(self.cranial)
        toward = np.array([np.sin(a) * np.cos(c), -np.cos(a) * np.cos(c), np.sin(c)])
        right = np.array([np.cos(a), np.sin(a), 0.0])
        return right, np.cross(toward, right), toward


@dataclass(frozen=True)
class Scene:
    """What is rendered, on a grid that is isotropic and aligned with LPS.

    Attributes:
        field: HU, int16, (z, y, x); what is cut away is -256 or less.
        tone: 0..255 per voxel, how much of ``tables[1]`` is mixed into ``tables[0]``.
        tables: two transfer tables.
        geometry: the grid.
        blocks: per 8-voxel block, how many blocks away (any direction) the next one is that can be seen or touches one; 0: here.
        coarse: blurred opacity (0..1) per 4-voxel cell, for grooves and shadows.
    """

    field: NDArray[np.int16]
    tone: NDArray[np.uint8]
    tables: tuple[NDArray[np.float32], NDArray[np.float32]]
    geometry: Geometry
    blocks: NDArray[np.uint8]
    coarse: NDArray[np.float32]


def make_scene(
    field: NDArray[np.int16], tone: NDArray[np.uint8], tables: tuple[NDArray[np.float32], NDArray[np.float32]], geometry: Geometry
) -> Scene:
    """Add the maps that make rendering fast and give it depth."""
    visible = [np.flatnonzero(table[:, 3] > 1e-4) for table in tables]
    lowest = [float(hit[0] + TABLE_FROM) if hit.size else np.inf for hit in visible]
    seen = maximum_filter(_visible_blocks(field, tone, np.array(lowest, np.float64), BLOCK), 3)
    blocks = np.minimum(distance_transform_cdt(~seen, metric="chessboard"), 255) if seen.any() else np.full(seen.shape, 255)
    coarse = gaussian_filter(_coarse_opacity(field, tone, tables[0], tables[1], COARSE), 1.2)
    return Scene(field, tone, tables, geometry, np.asarray(blocks, np.uint8), np.asarray(coarse, np.float32))


def framed(camera: Camera, points: Float) -> tuple[Float, float]:
    """The LPS place that a picture of ``points`` is centred on, and the width of the square (mm) that holds them."""
    right, up, toward = camera.axes()
    seen = points @ np.stack([right, up, toward], axis=1)
    low, high = seen.min(axis=0), seen.max(axis=0)
    centre: Float = np.stack([right, up, toward], axis=1) @ ((low + high) / 2)
    return centre, float((high - low)[:2].max())


def project(camera: Camera, points: Float, *, size: int, width_mm: float, centre: Float) -> Float:
    """(row, column, depth in mm towards the viewer) of LPS ``points`` in the picture that ``render`` makes, shape (n, 3)."""
    right, up, toward = camera.axes()
    offset = points - centre
    scale = size / width_mm
    middle = (size - 1) / 2
    return np.stack([middle - offset @ up * scale, middle + offset @ right * scale, offset @ toward], axis=-1)


def render(
    scene: Scene, camera: Camera, *, size: int, width_mm: float, centre: Float, caster: CardArrays | None = None
) -> NDArray[np.uint8]:
    """Picture of the scene, uint8 RGB, shape (size, size, 3), black background; ``width_mm`` fits across it.

    ``centre`` (LPS) lies in the middle of the picture; ``caster``: a graphics card that draws it in the processor's place.
    """
    right, up, toward = camera.axes()
    spacing = scene.geometry.spacing[0]
    middle = scene.geometry.to_index(centre)[::-1].copy()
    reach = float(np.linalg.norm(scene.geometry.shape)) / 2 + float(np.linalg.norm(middle - (np.array(scene.geometry.shape[::-1]) - 1) / 2))
    if caster is not None:
        return caster.cast(
            scene.field, scene.tone, scene.tables, scene.blocks, scene.coarse, middle=middle, axes=(right, up, toward),
            scale=width_mm / size / spacing, size=size, reach=reach, spacing=spacing,
        )  # fmt: skip
    image = _cast(
        scene.field, scene.tone, scene.tables[0], scene.tables[1], scene.blocks, scene.coarse,
        middle, right, up, toward, width_mm / size / spacing, size, reach, spacing,
    )  # fmt: skip
    return np.asarray(image)


@njit(parallel=True, cache=True)
def _visible_blocks(field, tone, lowest, block):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = field.shape
    bz, by, bx = (nz + block - 1) // block, (ny + block - 1) // block, (nx + block - 1) // block
    out = np.zeros((bz, by, bx), np.bool_)
    low = min(lowest[0], lowest[1])
    for b in prange(bz):
        for c in range(by):
            for d in range(bx):
                hit = False
                for z in range(b * block, min((b + 1) * block, nz)):
                    for y in range(c * block, min((c + 1) * block, ny)):
                        for x in range(d * block, min((d + 1) * block, nx)):
                            value = field[z, y, x]
                            if value >= low and (
                                (value >= lowest[0] and tone[z, y, x] < 255) or (value >= lowest[1] and tone[z, y, x] > 0)
                            ):
                                hit = True
                                break
                        if hit:
                            break
                    if hit:
                        break
                out[b, c, d] = hit
    return out


@njit(parallel=True, cache=True)
def _coarse_opacity(field, tone, table0, table1, block):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = field.shape
    bz, by, bx = nz // block, ny // block, nx // block
    out = np.zeros((bz, by, bx), np.float32)
    half = block // 2
    for b in prange(bz):
        for c in range(by):
            for d in range(bx):
                total = 0.0
                for k in range(8):  # eight voxels stand for the cell
                    z = b * block + (k >> 2) * half + 1
                    y = c * block + ((k >> 1) & 1) * half + 1
                    x = d * block + (k & 1) * half + 1
                    at = min(max(int(field[z, y, x]) - TABLE_FROM, 0), TABLE_SIZE - 1)
                    mix = tone[z, y, x] / 255.0
                    total += 1 - np.exp(-2.0 * (table0[at, 3] * (1 - mix) + table1[at, 3] * mix))
                out[b, c, d] = total / 8
    return out


@njit(cache=True, fastmath=True)
def _fetch(array, z, y, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Trilinear value; the caller keeps (z, y, x) inside. Unsigned indices spare the compiler Python's negative indexing."""
    i, j, k = np.uint32(z), np.uint32(y), np.uint32(x)
    i1, j1, k1 = i + np.uint32(1), j + np.uint32(1), k + np.uint32(1)
    dz, dy, dx = np.float32(z - np.float64(i)), np.float32(y - np.float64(j)), np.float32(x - np.float64(k))
    a0, b0, c0, d0 = np.float32(array[i, j, k]), np.float32(array[i, j1, k]), np.float32(array[i1, j, k]), np.float32(array[i1, j1, k])
    a = a0 + (np.float32(array[i, j, k1]) - a0) * dx
    b = b0 + (np.float32(array[i, j1, k1]) - b0) * dx
    c = c0 + (np.float32(array[i1, j, k1]) - c0) * dx
    d = d0 + (np.float32(array[i1, j1, k1]) - d0) * dx
    e = a + (b - a) * dy
    f = c + (d - c) * dy
    return e + (f - e) * dz


@njit(cache=True, fastmath=True)
def _coarse_at(coarse, z, y, x):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    cz, cy, cx = z / COARSE - 0.375, y / COARSE - 0.375, x / COARSE - 0.375
    if cz < 0 or cy < 0 or cx < 0 or cz >= coarse.shape[0] - 1 or cy >= coarse.shape[1] - 1 or cx >= coarse.shape[2] - 1:
        return np.float32(0.0)
    return _fetch(coarse, cz, cy, cx)


@njit(parallel=True, cache=True, fastmath=True)
def _cast(field, tone, table0, table1, blocks, coarse, middle, right, up, toward, scale, size, reach, spacing):  # type: ignore[no-untyped-def]  # noqa: C901 - one ray, one loop  # pragma: no cover - compiled
    nz, ny, nx = field.shape
    out = np.zeros((size, size, 3), np.uint8)
    step = 0.7
    step_mm = np.float32(step * spacing)
    # the key light stands to the upper left before the heart, a weak one at the viewer
    light = toward * 0.74 - right * 0.42 + up * 0.53
    light = light / np.sqrt((light * light).sum())
    half = light + toward
    half = half / np.sqrt((half * half).sum())
    for row in prange(size):
        for column in range(size):
            u = (column - (size - 1) / 2) * scale
            v = ((size - 1) / 2 - row) * scale
            ox = middle[0] + u * right[0] + v * up[0] + reach * toward[0]
            oy = middle[1] + u * right[1] + v * up[1] + reach * toward[1]
            oz = middle[2] + u * right[2] + v * up[2] + reach * toward[2]
            first, last = 0.0, 2 * reach
            inside = True
            for axis in range(3):
                o = ox if axis == 0 else (oy if axis == 1 else oz)
                d = -toward[axis]
                high = (nx if axis == 0 else (ny if axis == 1 else nz)) - 3.0
                if abs(d) < 1e-9:
                    inside = inside and 2.0 <= o <= high
                    continue
                a, b = (2.0 - o) / d, (high - o) / d
                first = max(first, min(a, b))
                last = min(last, max(a, b))
            if not inside or first >= last:
                continue
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            clear = np.float32(1)
            shadow = np.float32(-1)
            striding = False
            # a fixed pattern of starting points hides the rings that equal steps make
            t = first + step * (((row * 73 + column * 151 + row * column) % 64) / 64.0)
            while t < last and clear > 0.04:
                x, y, z = ox - t * toward[0], oy - t * toward[1], oz - t * toward[2]
                away = blocks[np.uint32(z) // np.uint32(BLOCK), np.uint32(y) // np.uint32(BLOCK), np.uint32(x) // np.uint32(BLOCK)]
                if away > 0:
                    leave = 1e9
                    for axis in range(3):
                        d = -toward[axis]
                        if abs(d) < 1e-9:
                            continue
                        p = x if axis == 0 else (y if axis == 1 else z)
                        wall = (int(p) // BLOCK) * BLOCK + (BLOCK if d > 0 else 0)
                        leave = min(leave, (wall - p) / d)
                    t += step * (int(max(leave, (away - 1.0) * BLOCK) / step) + 1)
                    striding = False
                    continue
                value = _fetch(field, z, y, x)
                at = min(max(int(value) - TABLE_FROM, 0), TABLE_SIZE - 1)
                if table0[at, 3] < HAZE and table1[at, 3] < HAZE:
                    # thin haze is not shaded, and is crossed in longer steps
                    t += 2 * step
                    striding = True
                    haze = table0[at, 3] * 2 * step_mm * clear * np.float32(0.55)
                    if haze > 0 and tone[np.uint32(z), np.uint32(y), np.uint32(x)] < 128:
                        red += haze * table0[at, 0]
                        green += haze * table0[at, 1]
                        blue += haze * table0[at, 2]
                        clear *= 1 - table0[at, 3] * 2 * step_mm
                    continue
                if striding:  # a surface lies within the last stride: halve the stride until its place is known
                    striding = False
                    back, hit = t - 2 * step, t
                    for _ in range(5):
                        half_way = (back + hit) / 2
                        value = _fetch(field, oz - half_way * toward[2], oy - half_way * toward[1], ox - half_way * toward[0])
                        place = min(max(int(value) - TABLE_FROM, 0), TABLE_SIZE - 1)
                        if table0[place, 3] < HAZE and table1[place, 3] < HAZE:
                            back = half_way
                        else:
                            hit = half_way
                    t = hit + 0.05
                    continue
                t += step
                mix = _fetch(tone, z, y, x) * np.float32(1 / 255.0)
                extinction = table0[at, 3] * (1 - mix) + table1[at, 3] * mix
                opacity = 1 - np.exp(-extinction * step_mm)
                if opacity < 0.002:
                    continue
                mix = table1[at, 3] * mix / extinction  # from here on the share in the colour
                gx = _fetch(field, z, y, x + 1.3) - _fetch(field, z, y, x - 1.3)
                gy = _fetch(field, z, y + 1.3, x) - _fetch(field, z, y - 1.3, x)
                gz = _fetch(field, z + 1.3, y, x) - _fetch(field, z - 1.3, y, x)
                size_g = np.sqrt(gx * gx + gy * gy + gz * gz) + np.float32(1e-3)
                mx, my, mz = -gx / size_g, -gy / size_g, -gz / size_g
                facing = mx * toward[0] + my * toward[1] + mz * toward[2]
                # where the attenuation hardly changes there is no surface to shade
                surface = min(size_g / np.float32(120.0), np.float32(1))
                groove = _coarse_at(coarse, z + 7 * mz, y + 7 * my, x + 7 * mx)
                if shadow < 0 and clear * opacity > 0.05:
                    dark = np.float32(0)
                    for k in range(1, 9):
                        reach_k = 5.0 + 6.0 * k
                        dark += _coarse_at(
                            coarse, z + reach_k * light[2] + 4 * mz, y + reach_k * light[1] + 4 * my, x + reach_k * light[0] + 4 * mx
                        )
                    shadow = np.exp(np.float32(-0.22) * dark)
                cast = shadow if shadow >= 0 else np.float32(1)
                diffuse = max(mx * light[0] + my * light[1] + mz * light[2], 0.0)
                gleam = max(mx * half[0] + my * half[1] + mz * half[2], 0.0)
                gleam = gleam * gleam
                gleam = gleam * gleam
                gleam = gleam * gleam
                gleam = gleam * gleam * gleam
                lit = 0.26 + 0.26 * max(facing, 0.0) + 0.86 * diffuse * (0.35 + 0.65 * cast)
                lit = lit * surface + 0.62 * (1 - surface)
                lit = lit * (1 - 0.62 * min(groove, np.float32(1)))
                shine = 0.26 * gleam * surface * cast
                weight = clear * opacity
                red += weight * ((table0[at, 0] * (1 - mix) + table1[at, 0] * mix) * lit + shine)
                green += weight * ((table0[at, 1] * (1 - mix) + table1[at, 1] * mix) * lit + shine)
                blue += weight * ((table0[at, 2] * (1 - mix) + table1[at, 2] * mix) * lit + shine)
                clear *= 1 - opacity
            out[row, column, 0] = np.uint8(min(red, np.float32(1)) ** np.float32(0.80) * 255)
            out[row, column, 1] = np.uint8(min(green, np.float32(1)) ** np.float32(0.80) * 255)
            out[row, column, 2] = np.uint8(min(blue, np.float32(1)) ** np.float32(0.80) * 255)
    return out
