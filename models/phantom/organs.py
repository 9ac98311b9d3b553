"""Organs of a virtual patient as signed distance fields on a 2 mm grid.

Two real hearts (data/README.md) or an analytic one (procedural.py) are scaled, turned, bent by a smooth random displacement and inflated
chamber by chamber; the structures around them (arch, lungs, ribs, spine, liver, oesophagus, veins) are drawn in the same bent
coordinates, so that they follow the heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from models.phantom.chest import draw_chest
from models.phantom.kernels import sample_stack
from models.phantom.procedural import Landmarks, draw_heart, turned
from models.phantom.shapes import capsules, displacement, lumps, smooth_min
from models.phantom.types import FloatArray, Grid, Vector

HEART = ("lv_epi", "la", "lv", "ra", "rv", "ao", "pa")
#: Painter's order, back to front; the renderer relies on it.
CHANNELS = (
    "body", "muscle", "lung", "liver", "gas", "bone", "marrow", "pericardium", "soft", "wall", "myocardium",
    "ivc", "svc", "pa", "ra", "rv", "la", "lv", "ao",
)  # fmt: skip
CLIP_MM = 30.0
REAL_HEARTS = {"real-1": "mmwhs", "real-2": "wh"}
HEART_MODELS = ("real-1", "real-2", "procedural")
HEART_MODEL_CHANCE = (0.275, 0.275, 0.45)


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


def draw_organs(
    rng: np.random.Generator, grid: Grid, *, size: float, aortic_gap: dict[str, float] | None = None
) -> tuple[dict[str, FloatArray], str]:
    """Signed distances (mm, float32, (z, y, x)) of all `CHANNELS` and of the left atrium without appendage and veins (`la_core`).

    Also says which heart it is: 'real-1', 'real-2' or 'procedural'. `aortic_gap` keeps structures that many mm off the aorta, to make
    room for a vessel that runs along it.
    """
    model = str(rng.choice(HEART_MODELS, p=HEART_MODEL_CHANCE))
    p = grid.points()
    centre = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1)
    scale = size * rng.normal(1.0, 0.06, 3).clip(0.86, 1.14)
    # The procedural heart draws its own lie.
    spread = 8.0 if model.startswith("real") else 4.0
    turn = turned(tuple(float(v) for v in rng.normal(0.0, spread, 3).clip(-17.0, 17.0)))  # type: ignore[arg-type]
    linear = turn @ np.diag(1.0 / scale)
    local = (p - centre.astype(np.float32)) @ linear.T.astype(np.float32)
    bend = displacement(rng, grid.shape, 3, float(rng.uniform(2.2, 4.6))) + displacement(rng, grid.shape, 6, float(rng.uniform(0.7, 1.6)))
    middle = np.asarray((8.0, 8.0, -88.0), np.float32)
    q_heart = local + middle + bend
    q_body = (p - centre.astype(np.float32)) / np.float32(size) + middle + np.float32(0.5) * bend
    if model == "procedural":
        heart, marks = draw_heart(rng, q_heart, grid.shape)
    else:
        heart, marks = _real_heart(REAL_HEARTS[model], q_heart, grid.shape), Landmarks()
    mean_scale = np.float32(scale.mean())
    heart = {name: field * mean_scale for name, field in heart.items()}
    core = {name: heart[name].copy() for name in ("la", "ra", "ao", "pa")}
    _extend_heart(rng, heart, q_heart, grid.shape, marks)
    _inflate(rng, heart, grid.shape)
    _separate(heart, aortic_gap or {})
    for name, gap in (aortic_gap or {}).items():
        if name in core:
            core[name] = np.maximum(core[name], np.float32(gap) - heart["ao"])
    _walls(rng, heart)
    chest = draw_chest(rng, heart, core, q_body, grid.shape)
    organs = {**chest, **{name: heart[name] for name in ("wall", "myocardium", "ivc", "svc", "pa", "ra", "rv", "la", "lv", "ao")}}
    organs["la_core"] = core["la"]
    return {name: np.asarray(field, np.float32) for name, field in organs.items()}, model


def _real_heart(name: str, q: FloatArray, extent: tuple[int, int, int]) -> dict[str, FloatArray]:
    shape = load_shape(name)
    fields = sample_stack(q, shape.distance, np.asarray(shape.origin, np.float32), shape.spacing)
    return {label: np.asarray(field).reshape(extent) for label, field in zip(HEART, fields, strict=True)}


def _extend_heart(
    rng: np.random.Generator, heart: dict[str, FloatArray], q: FloatArray, shape: tuple[int, int, int], marks: Landmarks
) -> None:
    """Add arch and descending aorta, venae cavae, left atrial appendage and pulmonary vein stumps."""
    r = float(rng.uniform(12.5, 16.0))
    jx, jy = rng.normal(0, 3, 2)
    x, y, _ = marks.ascending
    arch = capsules(
        q, shape,
        ([marks.ascending, (x + 1, y - 2, -32), (-4, 4, -8), (11, 34, 2), (25 + jx, 62, -10), (29 + jx, 80 + jy, -36),
          (30 + jx, 82 + jy, -110), (24 + jx, 82 + jy, -200)],
         [r, r, r * 0.95, r * 0.88, r * 0.85, r * 0.82, r * 0.78, r * 0.74]),
    )  # fmt: skip
    heart["ao"] = smooth_min(heart["ao"], arch, 3.0)
    svc = float(rng.uniform(7.0, 11.0))
    heart["svc"] = capsules(q, shape, ([*marks.superior_cava, (-37, 2, 10)], [svc, svc, svc]))
    ivc = float(rng.uniform(9.5, 14.0))
    heart["ivc"] = capsules(q, shape, ([*marks.inferior_cava, (-20, 30, -200)], [ivc, ivc + 1.0, ivc + 2.0]))
    heart["la"] = smooth_min(heart["la"], _left_atrial_vessels(rng, q, shape, marks), 4.0)
    trunk = capsules(
        q, shape,
        ([(4, 18, -54), (-50, 34, -62), (-75, 45, -75)], [9.0, 8.0, 5.0]),
        ([(24, 30, -52), (46, 58, -60), (60, 70, -80)], [9.5, 8.5, 5.5]),
    )  # fmt: skip
    heart["pa"] = smooth_min(heart["pa"], trunk, 4.0)


def _left_atrial_vessels(rng: np.random.Generator, q: FloatArray, shape: tuple[int, int, int], marks: Landmarks) -> FloatArray:
    """The appendage, from a stump to one whose tip lies on the left main artery, and the stumps of four pulmonary veins."""
    tip = int(rng.choice([2, 3, 4], p=[0.12, 0.28, 0.60]))
    thick = float(rng.uniform(0.75, 1.2))
    way = [tuple(float(c) for c in np.asarray(p) + rng.normal(0, 2.5, 3) * (k > 0)) for k, p in enumerate(marks.appendage[:tip])]
    appendage = capsules(q, shape, (way, [thick * r for r in (8.0, 7.0, 6.0, 4.0)[:tip]]))  # type: ignore[arg-type]
    b = rng.normal(0, 3.5, (4, 3))
    size = float(rng.uniform(0.8, 1.2))
    ends = np.array([(-56, 38, -68), (-54, 60, -106), (56, 46, -68), (52, 66, -98)]) + b
    veins = [
        ([start, (float(end[0]), float(end[1]), float(end[2]))], [size * 7.5, size * 5.0])
        for start, end in zip(marks.pulmonary_veins, ends, strict=True)
    ]
    return np.minimum(appendage, capsules(q, shape, *veins))


def _inflate(rng: np.random.Generator, heart: dict[str, FloatArray], shape: tuple[int, int, int]) -> None:
    """Grow or shrink each chamber and roughen its inner surface (trabeculae)."""
    for name, spread in (("la", 1.6), ("ra", 1.6), ("rv", 1.4), ("pa", 0.9), ("ao", 0.8)):
        heart[name] = heart[name] - np.float32(np.clip(rng.normal(0.0, spread), -1.5 * spread, 2 * spread))
    heart["lv_epi"] = np.minimum(heart["lv_epi"], heart["lv"]) + lumps(rng, shape, 9, 0.3)
    wall = float(np.clip(rng.normal(0.0, 1.2), -2.0, 2.5))
    heart["lv"] = heart["lv"] + wall + lumps(rng, shape, 30, 0.9)
    heart["rv"] = heart["rv"] + lumps(rng, shape, 30, 0.7)
    heart["ra"] = heart["ra"] + lumps(rng, shape, 24, 0.5)


def _separate(heart: dict[str, FloatArray], aortic_gap: dict[str, float]) -> None:
    """Keep a wall between structures that do not communicate, and room beside the aorta for vessels that need it."""
    for weak, gap in aortic_gap.items():
        heart[weak] = np.maximum(heart[weak], np.float32(gap) - heart["ao"])
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
