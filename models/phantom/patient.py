"""Draw a virtual patient: organs, coronary tree, disease, veins and lung vessels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.phantom import naming
from models.phantom.disease import Profile, draw_disease
from models.phantom.kernels import capsule_field, tube_grid
from models.phantom.lesions import measured
from models.phantom.organs import CHANNELS, CLIP_MM, draw_grid, draw_organs
from models.phantom.shapes import unit_slope
from models.phantom.surface import Surface
from models.phantom.tree import Draft, TreeGrower, draw_plan
from models.phantom.tubes import draw_calcifications, draw_lung_vessels, draw_veins, papillary_muscles
from models.phantom.types import Branch, FloatArray, Grid, Patient, Tube, Vector


def draw_patient(seed: int) -> Patient:
    """The virtual patient of a seed: the same seed always gives the same patient, everything in mm and LPS."""
    rng = np.random.default_rng((seed, 1))
    sex = str(rng.choice(["M", "F"]))
    age = int(rng.integers(34, 86))
    grid = draw_grid(rng)
    size = float(np.clip(rng.normal(1.04 if sex == "M" else 0.95, 0.07), 0.8, 1.22))
    organs = draw_organs(rng, grid, size=size)
    surface = Surface(grid, organs)
    plan = draw_plan(rng)
    plan.size *= size
    grower = TreeGrower(surface, plan, rng)
    drafts = grower.grow()
    disease = draw_disease(seed, drafts, age=age)
    profiles = disease.profiles
    veins = draw_veins(rng, surface, drafts)
    _carve(organs, grid, drafts, profiles, veins)
    lung = draw_lung_vessels(rng, grid, organs["lung"], organs["pericardium"])
    extra = np.random.default_rng((seed, 3))
    papillary = capsule_field(surface.points, papillary_muscles(extra, surface), 30.0).reshape(grid.shape)
    organs["lv"] = np.maximum(organs["lv"], -papillary)
    calcium = draw_calcifications(extra, grid, organs, drafts, age)
    branches = _branches(surface, drafts, profiles)
    channels = np.stack([np.clip(organs[n], -CLIP_MM, CLIP_MM) * 100.0 for n in CHANNELS], axis=-1).astype(np.int16)
    ostia = {side: _vector(p) for side, p in grower.ostia.items()}
    patient = Patient(
        seed=seed, sex=sex, age=age, name=_name(rng, sex), grid=grid, channels=channels, channel_names=CHANNELS,
        branches=branches, lesions=(), dominance=grower.dominance, ostia=ostia,
        tubes=(*veins, *lung, *calcium), heart_box=_heart_box(surface),
    )  # fmt: skip
    return measured(patient, disease)


def _vector(p: FloatArray) -> Vector:
    return (float(p[0]), float(p[1]), float(p[2]))


def _name(rng: np.random.Generator, sex: str) -> str:
    """An invented name in the form DICOM wants: romanised, then Chinese."""
    family = [("Ceshi", "测试"), ("Moni", "模拟"), ("Yangli", "样例"), ("Xuni", "虚拟")]
    given = {
        "M": [("Jiajun", "甲君"), ("Yilang", "乙郎"), ("Bingsheng", "丙生"), ("Dinghe", "丁禾")],
        "F": [("Jiamei", "甲梅"), ("Yilan", "乙兰"), ("Bingyun", "丙云"), ("Dingxue", "丁雪")],
    }[sex]
    f, g = family[int(rng.integers(4))], given[int(rng.integers(4))]
    return f"{f[0]}^{g[0]}={f[1]}^{g[1]}="


def _heart_box(surface: Surface) -> tuple[Vector, Vector]:
    inside = surface.points[((surface.heart < 0.0) & (surface.organs["pericardium"] < 0.0)).ravel()]
    return _vector(inside.min(0)), _vector(inside.max(0))


def _carve(organs: dict[str, FloatArray], grid: Grid, drafts: list[Draft], profiles: list[Profile], veins: tuple[Tube, ...]) -> None:
    """Make chambers and muscle yield to arteries and veins, so that no artery lies in blood and epicardial ones lie in fat."""
    origin = np.asarray(grid.origin)

    def field(keep: list[int], reach: float) -> FloatArray:
        p = [(drafts[i].points + profiles[i].offset)[::2] for i in keep] + [v.points_mm[:-10] for v in veins]
        r = [profiles[i].outer[::2] for i in keep] + [v.radius_mm[:-10] - 0.8 for v in veins]
        return np.asarray(tube_grid(grid.shape, origin, grid.spacing, np.concatenate(p), np.concatenate(r), reach))

    everything = field(list(range(len(drafts))), 4.0)
    septal = {i for i, d in enumerate(drafts) if d.name.startswith("S") and d.name[1:].isdigit()}
    epicardial = field([i for i in range(len(drafts)) if i not in septal], 4.0)
    for name in ("pa", "ra", "rv", "la", "lv", "svc", "ivc"):
        organs[name] = _yield_to(organs[name], everything, 1.3)
    aorta = np.minimum(organs["ao"] - 1.6, organs["pa"] - 1.1)
    organs["wall"] = np.minimum(_yield_to(organs["wall"], epicardial, 0.5), aorta)
    organs["myocardium"] = _yield_to(organs["myocardium"], epicardial, 0.3)
    organs["pericardium"] = np.where(epicardial < 3.9, np.minimum(organs["pericardium"], epicardial - 2.0), organs["pericardium"])
    line = np.abs(unit_slope(ndimage.gaussian_filter(organs["pericardium"], 0.7))) - 0.6
    organs["soft"] = np.maximum(np.minimum(organs["soft"], line), np.maximum(1.0 - organs["wall"], 0.8 - epicardial))
    organs["lung"] = np.maximum(organs["lung"], 1.0 - organs["pericardium"])


def _yield_to(field: FloatArray, vessel: FloatArray, gap: float, reach: float = 4.0) -> FloatArray:
    """A signed distance kept at least `gap` mm away from vessels; `vessel` is cut off at `reach` mm."""
    return np.asarray(np.where(vessel < reach - 0.01, np.maximum(field, gap - vessel), field))


def _branches(surface: Surface, drafts: list[Draft], profiles: list[Profile]) -> tuple[Branch, ...]:
    segments = naming.segments(surface, drafts)
    return tuple(
        Branch(
            id=i, parent=d.parent, parent_index=d.parent_index, name=d.name, vessel=d.vessel,
            points_mm=np.ascontiguousarray(d.points, np.float64), lumen_radius_mm=p.lumen, outer_radius_mm=p.outer,
            outer_offset_mm=p.offset, healthy_radius_mm=p.healthy, segments=segments[i],
        )
        for i, (d, p) in enumerate(zip(drafts, profiles, strict=True))
    )  # fmt: skip
