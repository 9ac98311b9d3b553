"""Organs of a virtual patient as signed distance fields on a 2 mm grid.

Two real hearts (data/README.md) are scaled, turned, bent by a smooth random displacement and inflated chamber by chamber; the structures
around them (arch, lungs, ribs, spine, liver, oesophagus, veins) are drawn in the same bent coordinates, so that they follow the heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy import ndimage

from models.phantom.kernels import capsule_field
from models.phantom.types import FloatArray, Grid, Vector

HEART = ("lv_epi", "la", "lv", "ra", "rv", "ao", "pa")
#: Painter's order, back to front; the renderer relies on it.
CHANNELS = (
    "body", "muscle", "lung", "liver", "gas", "bone", "pericardium", "soft", "wall", "myocardium",
    "pa", "ra", "rv", "la", "lv", "ao",
)  # fmt: skip
CLIP_MM = 30.0


@dataclass(frozen=True)
class Shape:
    """One real heart: signed distances (7, z, y, x) in mm, and the grid they lie on."""

    distance: FloatArray
    origin: Vector
    spacing: float


@lru_cache(maxsize=4)
def load_shape(name: str) -> Shape:
    """The real heart `name` ('mmwhs' or 'wh')."""
    with (resources.files("models.phantom") / "data" / "hearts.npz").open("rb") as stream:
        data = np.load(stream)
        origin = data["origin_mm"]
        return Shape(
            distance=data[name].astype(np.float32) / 8.0,
            origin=(float(origin[0]), float(origin[1]), float(origin[2])),
            spacing=float(data["spacing_mm"]),
        )


def smooth_min(a: FloatArray, b: FloatArray, k: float) -> FloatArray:
    """Union of two signed distances with a fillet of about `k` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.asarray(np.minimum(a, b) - h * h * (k * 0.25))


def capsules(q: FloatArray, shape: tuple[int, int, int], *chains: tuple[list[Vector], list[float]]) -> FloatArray:
    """Signed distance to chains of capsules: each chain is a list of points and a list of radii."""
    rows = []
    for points, radii in chains:
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
            rows.append([*a, *b, ra, rb])
    return np.asarray(capsule_field(q, np.asarray(rows, np.float32), 60.0)).reshape(shape)


def ellipsoid(q: FloatArray, shape: tuple[int, int, int], centre: Vector, radii: Vector) -> FloatArray:
    """Approximate signed distance to an ellipsoid."""
    d = (q - np.asarray(centre, np.float32)) / np.asarray(radii, np.float32)
    k0 = np.sqrt((d * d).sum(1))
    k1 = np.sqrt(((d / np.asarray(radii, np.float32)) ** 2).sum(1)) + 1e-6
    return np.asarray(k0 * (k0 - 1.0) / k1, np.float32).reshape(shape)


def spline_weights(n: int, cells: int) -> FloatArray:
    """Weights (n, cells + 3) of a uniform cubic B-spline over `cells` intervals, at `n` even places."""
    u = np.linspace(0.0, cells - 1e-6, n)
    k = u.astype(int)
    t = u - k
    w = np.zeros((n, cells + 3), np.float32)
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for c, value in enumerate(basis):
        w[np.arange(n), k + c] = value / 6.0
    return w


def lumps(rng: np.random.Generator, shape: tuple[int, int, int], cells: int, amplitude: float) -> FloatArray:
    """A smooth random field (z, y, x) in mm, of standard deviation `amplitude`, with `cells` lattice cells a side."""
    coarse = rng.normal(0.0, 2.4 * amplitude, (cells + 3,) * 3).astype(np.float32)
    wz, wy, wx = (spline_weights(n, cells) for n in shape)
    rows = np.tensordot(coarse, wx, axes=(2, 1))
    plane = np.einsum("zyx,jy->zjx", rows, wy, optimize=True)
    return np.asarray(np.tensordot(wz, plane, axes=(1, 0)), np.float32)


def displacement(rng: np.random.Generator, shape: tuple[int, int, int], cells: int, amplitude: float) -> FloatArray:
    """A smooth random displacement (n, 3) in mm."""
    return np.stack([lumps(rng, shape, cells, amplitude).ravel() for _ in range(3)], 1)


def unit_slope(d: FloatArray, spacing: float = 2.0) -> FloatArray:
    """A level-set function rescaled so that it grows by about 1 per mm near its zero."""
    g = np.gradient(d, spacing)
    return np.asarray(d / np.clip(np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2), 0.3, 3.0), np.float32)


def draw_grid(rng: np.random.Generator) -> Grid:
    """The patient's grid: 236 x 236 x 180 mm around the heart, at a random place of the scanner."""
    centre = (float(rng.uniform(-20, 20)), float(rng.uniform(-180, -120)), float(np.round(rng.uniform(-900, 300), 1)))
    return Grid((centre[0] - 118.0, centre[1] - 118.0, centre[2] - 90.0), 2.0, (91, 119, 119))


def rotation(rng: np.random.Generator, degrees: Vector) -> FloatArray:
    """A random rotation by normally distributed angles about x, y and z."""
    a, b, c = np.deg2rad(rng.normal(0.0, degrees))
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    rx = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    ry = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    rz = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def draw_organs(rng: np.random.Generator, grid: Grid, *, size: float) -> dict[str, FloatArray]:
    """Signed distances (mm, float32, (z, y, x)) of all `CHANNELS`, and of the left atrium without appendage and veins (`la_core`)."""
    shape = load_shape("wh" if rng.random() < 0.5 else "mmwhs")
    p = grid.points()
    centre = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1)
    scale = size * rng.normal(1.0, 0.05, 3).clip(0.88, 1.12)
    linear = rotation(rng, (7.0, 7.0, 7.0)) @ np.diag(1.0 / scale)
    local = (p - centre.astype(np.float32)) @ linear.T.astype(np.float32)
    bend = displacement(rng, grid.shape, 3, 3.2) + displacement(rng, grid.shape, 6, 1.3)
    q_heart = local + np.asarray((8.0, 8.0, -88.0), np.float32) + bend
    q_body = (p - centre.astype(np.float32)) / np.float32(size) + np.asarray((8.0, 8.0, -88.0), np.float32) + 0.5 * bend
    mean_scale = float(scale.mean())
    index = (q_heart - np.asarray(shape.origin, np.float32)) / np.float32(shape.spacing)
    index = index[:, ::-1].T
    heart = {
        name: ndimage.map_coordinates(shape.distance[c], index, order=1, mode="nearest").reshape(grid.shape) * mean_scale
        for c, name in enumerate(HEART)
    }
    core = {name: heart[name].copy() for name in ("la", "ra", "ao", "pa")}
    _extend_heart(rng, heart, q_heart, grid.shape)
    _inflate(rng, heart, grid.shape)
    _separate(heart)
    return _compose(rng, heart, core, q_body, grid.shape)


def _extend_heart(rng: np.random.Generator, heart: dict[str, FloatArray], q: FloatArray, shape: tuple[int, int, int]) -> None:
    """Add arch and descending aorta, venae cavae, left atrial appendage and pulmonary vein stumps."""
    r = float(rng.uniform(12.5, 16.0))
    jx, jy = rng.normal(0, 3, 2)
    arch = capsules(
        q, shape,
        ([(-12, -6, -58), (-12, -8, -32), (-4, 4, -8), (11, 34, 2), (25 + jx, 62, -10), (29 + jx, 80 + jy, -36),
          (30 + jx, 82 + jy, -110), (24 + jx, 82 + jy, -200)],
         [r, r, r * 0.95, r * 0.88, r * 0.85, r * 0.82, r * 0.78, r * 0.74]),
    )  # fmt: skip
    heart["ao"] = smooth_min(heart["ao"], arch, 3.0)
    svc = float(rng.uniform(7.5, 10.0))
    veins = capsules(
        q, shape,
        ([(-28, 9, -80), (-34, 7, -50), (-37, 2, 10)], [svc, svc, svc]),
        ([(-24, 14, -126), (-21, 26, -150), (-20, 30, -200)], [11.0, 12.0, 13.0]),
    )  # fmt: skip
    heart["ra"] = smooth_min(heart["ra"], veins, 5.0)
    a = rng.normal(0, 2.5, 9)
    length = float(rng.uniform(0.75, 1.1))
    appendage = capsules(
        q, shape,
        ([(24, 26, -88), (36 + a[0], 17 + a[1], -80 + a[2]), (41 + a[3] * length, 4 + a[4], -76 + a[5]),
          (38 + a[6], -8 * length + a[7], -74 + a[8])],
         [8.0, 7.0, 6.5, 4.0]),
    )  # fmt: skip
    b = rng.normal(0, 3.0, (4, 3))
    pulmonary = capsules(
        q, shape,
        ([(-14, 30, -85), (-56 + b[0, 0], 38 + b[0, 1], -68 + b[0, 2])], [8.0, 5.5]),
        ([(-14, 38, -98), (-54 + b[1, 0], 60 + b[1, 1], -106 + b[1, 2])], [7.5, 5.0]),
        ([(22, 35, -84), (56 + b[2, 0], 46 + b[2, 1], -68 + b[2, 2])], [7.5, 5.0]),
        ([(20, 40, -94), (52 + b[3, 0], 66 + b[3, 1], -98 + b[3, 2])], [7.0, 4.5]),
    )  # fmt: skip
    heart["la"] = smooth_min(heart["la"], np.minimum(appendage, pulmonary), 4.0)
    trunk = capsules(
        q, shape,
        ([(4, 18, -54), (-50, 34, -62), (-75, 45, -75)], [9.0, 8.0, 5.0]),
        ([(24, 30, -52), (46, 58, -60), (60, 70, -80)], [9.5, 8.5, 5.5]),
    )  # fmt: skip
    heart["pa"] = smooth_min(heart["pa"], trunk, 4.0)


def _inflate(rng: np.random.Generator, heart: dict[str, FloatArray], shape: tuple[int, int, int]) -> None:
    """Grow or shrink each chamber and roughen its inner surface (trabeculae)."""
    for name, spread in (("la", 1.6), ("ra", 1.6), ("rv", 1.4), ("pa", 0.9), ("ao", 0.8)):
        heart[name] = heart[name] - np.float32(np.clip(rng.normal(0.0, spread), -1.5 * spread, 2 * spread))
    heart["lv_epi"] = np.minimum(heart["lv_epi"], heart["lv"]) + lumps(rng, shape, 9, 0.3)
    wall = float(np.clip(rng.normal(0.0, 1.2), -2.0, 2.5))
    heart["lv"] = heart["lv"] + wall + lumps(rng, shape, 30, 0.9)
    heart["rv"] = heart["rv"] + lumps(rng, shape, 30, 0.7)
    heart["ra"] = heart["ra"] + lumps(rng, shape, 24, 0.5)


def _separate(heart: dict[str, FloatArray]) -> None:
    """Keep a wall between structures that do not communicate."""
    for weak, strong, wall in (
        ("la", "ao", 2.0), ("ra", "ao", 2.0), ("rv", "ao", 1.8), ("pa", "ao", 2.5), ("la", "pa", 2.0), ("ra", "la", 1.8),
        ("ra", "pa", 2.0), ("rv", "lv_epi", 0.0), ("ra", "lv_epi", 2.0), ("la", "rv", 2.0),
    ):  # fmt: skip
        heart[weak] = np.maximum(heart[weak], np.float32(wall) - heart[strong])


def _compose(
    rng: np.random.Generator, heart: dict[str, FloatArray], core: dict[str, FloatArray], q: FloatArray, shape: tuple[int, int, int]
) -> dict[str, FloatArray]:
    """Myocardium, walls, pericardium and everything around the heart."""
    rv_wall = float(rng.uniform(2.2, 3.5))
    atrial_wall = float(rng.uniform(1.2, 1.8))
    myocardium = heart["lv_epi"]
    wall = np.minimum(heart["rv"] - rv_wall, np.minimum(heart["la"], heart["ra"]) - atrial_wall)
    wall = np.minimum(wall, np.minimum(heart["ao"] - 1.6, heart["pa"] - 1.1))
    x, y, z = (q[:, c].reshape(shape) for c in range(3))
    chambers = np.minimum(np.minimum(myocardium, heart["rv"] - rv_wall), np.minimum(heart["la"], heart["ra"]))
    fat = float(np.clip(rng.gamma(2.2, 1.6) + 2.5, 2.5, 12.0))
    sac = np.minimum(np.minimum(myocardium, heart["rv"] - rv_wall), np.minimum(core["la"], core["ra"]))
    sac = sac - fat * (1.0 + 0.35 * np.clip(lumps(rng, shape, 6, 1.0), -1.5, 1.5))
    great = np.minimum(np.maximum(core["ao"], y - 20.0), np.maximum(core["pa"], np.maximum(np.abs(x - 5.0) - 34.0, y - 25.0)))
    sac = smooth_min(sac, great - 3.5 + np.maximum(z + 48.0, 0.0) * 0.6, 12.0)
    pericardium = ndimage.gaussian_filter(sac, 2.0)
    pericardium = unit_slope(np.maximum(pericardium, y - 62.0))
    thorax = (np.abs((x - 5.0) / 128.0) ** 2.5 + np.abs((y - 33.0) / 92.0) ** 2.5) ** 0.4
    thorax = (thorax - 1.0) * 98.0
    thorax = smooth_min(np.maximum(thorax, -62.0 - y), chambers - 6.0, 14.0)
    pericardium = np.maximum(pericardium, thorax + 2.5)
    spine = _spine(q, shape)
    domes = np.minimum(
        ellipsoid(q, shape, (-58.0, 34.0, -212.0 + rng.normal(0, 6)), (92.0, 88.0, 84.0)),
        ellipsoid(q, shape, (72.0, 40.0, -226.0 + rng.normal(0, 6)), (80.0, 82.0, 82.0)),
    )
    column = np.abs(x - 4.0 - 0.1 * (y - 30.0)) - (26.0 + 0.10 * np.maximum(z + 60.0, 0.0) - 12.0 * np.exp(-(((y + 48.0) / 16.0) ** 2)))
    column = smooth_min(column, spine - 4.0, 8.0)
    column = smooth_min(column, np.minimum(heart["ao"], np.minimum(heart["ra"], heart["pa"])) - 3.0, 10.0)
    lung = np.maximum(thorax + 2.0, np.maximum(-smooth_min(column, pericardium - 1.0, 10.0), 2.0 - domes))
    gas = ellipsoid(q, shape, (68.0, 20.0, -205.0), (38.0, 30.0, 30.0)) + lumps(rng, shape, 8, 3.0)
    gullet = capsules(q, shape, ([(8.0, 70.0, 10.0), (9.0, 68.0, -80.0), (18.0, 66.0, -190.0)], [6.5, 6.5, 7.5]))
    azygos = capsules(q, shape, ([(-9.0, 80.0, 10.0), (-8.0, 80.0, -190.0)], [3.5, 4.0]))
    nodes = [([tuple(c), tuple(c + rng.normal(0, 4, 3))], [1.5, float(rng.uniform(2, 4))]) for c in _node_centres(rng)]
    soft = np.minimum(np.minimum(gullet, azygos), capsules(q, shape, *nodes))
    out = {
        "body": smooth_min(thorax - float(rng.uniform(24, 45)), spine - 40.0, 30.0),
        "muscle": np.maximum(thorax - 12.0 - lumps(rng, shape, 6, 2.5), 2.0 - thorax),
        "lung": lung,
        "liver": np.maximum(domes, thorax + 1.0),
        "gas": np.maximum(gas, domes + 6.0),
        "bone": np.minimum(_ribs(rng, thorax, x, y, z), np.minimum(spine, _sternum(x, y, z))),
        "pericardium": pericardium,
        "soft": np.maximum(soft, 2.0 - wall),
        "wall": wall,
        "myocardium": myocardium,
        **{name: heart[name] for name in ("pa", "ra", "rv", "la", "lv", "ao")},
    }
    out["liver"] = np.maximum(out["liver"], 1.5 - pericardium)
    out["soft"] = np.asarray(out["soft"])
    out["la_core"] = core["la"]
    return {name: np.asarray(field, np.float32) for name, field in out.items()}


def _node_centres(rng: np.random.Generator) -> FloatArray:
    """Places of mediastinal lymph nodes and thymic remnants."""
    n = int(rng.integers(6, 14))
    return rng.uniform((-25.0, -45.0, -75.0), (35.0, 70.0, -5.0), (n, 3))


def _spine(q: FloatArray, shape: tuple[int, int, int]) -> FloatArray:
    """Vertebral bodies, arch and spinous process, without the canal."""
    x, y, z = (q[:, c].reshape(shape) for c in range(3))
    level = np.abs((z / 24.0) % 1.0 - 0.5) * 24.0
    waist = 2.0 * (level / 12.0)
    body = np.hypot((x - 4.0) / 1.15, y - 108.0) - (16.0 - 2.0 + waist)
    disc = 10.6 - level
    body = np.maximum(body, -np.maximum(disc, -3.0) - 1.0)
    canal = np.hypot(x - 4.0, y - 132.0)
    ring = np.abs(canal - 12.0) - 3.0
    process = np.hypot(np.maximum(np.abs(x - 4.0) - 1.5, 0.0), np.maximum(np.abs(y - 152.0) - 12.0, 0.0)) - 2.0
    wings = np.hypot(np.maximum(np.abs(x - 4.0) - 30.0, 0.0), y - 128.0) - 5.0
    wings = np.maximum(wings, 11.0 - canal)
    return np.asarray(np.minimum(np.minimum(body, ring), np.minimum(process, np.maximum(wings, level - 7.0))))


def _ribs(rng: np.random.Generator, thorax: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Ribs: sloping bands in the chest wall."""
    slope = float(rng.uniform(0.45, 0.7))
    phase = (z - slope * y + float(rng.uniform(0, 30))) / 30.0
    band = np.abs(phase % 1.0 - 0.5) * 30.0
    rib = np.hypot(band * 0.85, np.maximum(np.abs(thorax - 5.5) - 1.0, 0.0) * 1.3) - 5.0
    return np.asarray(np.maximum(rib, 30.0 - np.abs(x - 4.0)))


def _sternum(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Sternum: a flat plate in front."""
    dx = np.maximum(np.abs(x - 4.0) - 12.0, 0.0)
    dy = np.maximum(np.abs(y + 70.0) - 1.5, 0.0)
    return np.asarray(np.maximum(np.hypot(dx, dy) - 4.5, -150.0 - z))
