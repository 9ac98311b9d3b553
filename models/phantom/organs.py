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

from models.phantom.chest import draw_chest
from models.phantom.shapes import capsules, displacement, lumps, smooth_min
from models.phantom.types import FloatArray, Grid, Vector

HEART = ("lv_epi", "la", "lv", "ra", "rv", "ao", "pa")
#: Painter's order, back to front; the renderer relies on it.
CHANNELS = (
    "body", "muscle", "lung", "liver", "gas", "bone", "marrow", "pericardium", "soft", "wall", "myocardium",
    "ivc", "svc", "pa", "ra", "rv", "la", "lv", "ao",
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
    _walls(rng, heart)
    chest = draw_chest(rng, heart, core, q_body, grid.shape)
    organs = {**chest, **{name: heart[name] for name in ("wall", "myocardium", "ivc", "svc", "pa", "ra", "rv", "la", "lv", "ao")}}
    organs["la_core"] = core["la"]
    return {name: np.asarray(field, np.float32) for name, field in organs.items()}


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
    heart["svc"] = capsules(q, shape, ([(-28, 9, -80), (-34, 7, -50), (-37, 2, 10)], [svc, svc, svc]))
    heart["ivc"] = capsules(q, shape, ([(-24, 14, -126), (-21, 26, -150), (-20, 30, -200)], [11.0, 12.0, 13.0]))
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
        ("ra", "pa", 2.0), ("rv", "lv_epi", 0.0), ("ra", "lv_epi", 2.0), ("la", "rv", 2.0), ("svc", "ao", 2.0), ("svc", "pa", 2.0),
        ("svc", "la", 2.0), ("svc", "rv", 2.0), ("ivc", "la", 2.0), ("ivc", "rv", 2.5), ("ivc", "lv_epi", 2.0),
    ):  # fmt: skip
        heart[weak] = np.maximum(heart[weak], np.float32(wall) - heart[strong])


def _walls(rng: np.random.Generator, heart: dict[str, FloatArray]) -> None:
    """Add the myocardium of the left ventricle (`myocardium`), the epicardium of all chambers (`chambers`) and all thin walls (`wall`)."""
    rv_wall = float(rng.uniform(2.2, 3.5))
    atrial_wall = float(rng.uniform(1.2, 1.8))
    heart["myocardium"] = heart["lv_epi"]
    ventricles = np.minimum(heart["lv_epi"], heart["rv"] - rv_wall)
    heart["chambers"] = np.minimum(ventricles, np.minimum(heart["la"], heart["ra"]))
    wall = np.minimum(heart["rv"] - rv_wall, np.minimum(heart["la"], heart["ra"]) - atrial_wall)
    wall = np.minimum(wall, np.minimum(heart["ao"] - 1.6, heart["pa"] - 1.1))
    heart["wall"] = np.minimum(wall, np.minimum(heart["svc"], heart["ivc"]) - 0.9)
    heart["rv_outer"] = heart["rv"] - rv_wall
