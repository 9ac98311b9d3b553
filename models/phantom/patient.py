"""Draw a virtual patient: organs, coronary tree, disease, veins and lung vessels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.phantom import bridges, naming
from models.phantom.disease import draw_disease
from models.phantom.kernels import capsule_field, tube_grid
from models.phantom.lesions import measured
from models.phantom.organs import CHANNELS, CLIP_MM, draw_grid, draw_organs
from models.phantom.profiles import Profile
from models.phantom.shapes import unit_slope
from models.phantom.surface import Surface
from models.phantom.tree import Draft, NoRoomError, Tree, draw_plan, grow_tree
from models.phantom.tubes import draw_calcifications, draw_lung_vessels, draw_stent_graft, papillary_muscles
from models.phantom.types import Branch, FloatArray, Grid, Patient, Tube, Vector
from models.phantom.variants import plain
from models.phantom.veins import draw_veins

#: Hearts to try for one patient, and trees to try on each.
HEARTS, TREES = 10, 3


def draw_patient(seed: int) -> Patient:
    """The virtual patient of a seed: the same seed always gives the same patient, everything in mm and LPS."""
    rng = np.random.default_rng((seed, 1))
    sex = str(rng.choice(["M", "F"]))
    age = int(rng.integers(34, 86))
    name = _name(rng, sex)
    grid = draw_grid(rng)
    size = float(np.clip(rng.normal(1.04 if sex == "M" else 0.95, 0.07), 0.8, 1.22))
    organs, heart_model, surface, tree = _heart_with_tree(seed, grid, size)
    drafts = tree.drafts
    disease = draw_disease(seed, drafts, age=age)
    profiles = disease.profiles
    veins = draw_veins(rng, surface, drafts)
    _carve(organs, grid, drafts, profiles, veins)
    bridges.cover(organs, grid, drafts, [p.outer for p in profiles])
    lung = draw_lung_vessels(rng, grid, organs["lung"], organs["pericardium"])
    extra = np.random.default_rng((seed, 3))
    papillary = capsule_field(surface.points, papillary_muscles(extra, surface), 30.0).reshape(grid.shape)
    organs["lv"] = np.maximum(organs["lv"], -papillary)
    calcium = draw_calcifications(extra, grid, organs, drafts, age) + draw_stent_graft(extra, grid, organs)
    branches = _branches(surface, drafts, profiles)
    channels = np.stack([np.clip(organs[n], -CLIP_MM, CLIP_MM) * 100.0 for n in CHANNELS], axis=-1).astype(np.int16)
    ostia = {side: _vector(p) for side, p in tree.ostia.items()}
    variants = (*tree.variants, *(("bridge",) if any(d.bridges for d in drafts) else ()))
    patient = Patient(
        seed=seed, sex=sex, age=age, name=name, grid=grid, channels=channels, channel_names=CHANNELS,
        branches=branches, lesions=(), dominance=tree.dominance, ostia=ostia,
        tubes=(*veins, *lung, *calcium), heart_box=_heart_box(surface), variants=variants, heart_model=heart_model,
    )  # fmt: skip
    return measured(patient, disease)


def _heart_with_tree(seed: int, grid: Grid, size: float) -> tuple[dict[str, FloatArray], str, Surface, Tree]:
    """A heart and a tree that fits it; where none does, the tree is drawn again, and after three trees the heart too.

    The plan of the tree stays, so that a rare variant is not drawn away; only after half of the tries does it give way to a plain one.
    """
    plan = draw_plan(np.random.default_rng((seed, 4)))
    plan.size *= size
    for heart in range(HEARTS):
        if heart == HEARTS // 2:
            plan = plain(plan)
        rng = np.random.default_rng((seed, 5, heart))
        organs, model = draw_organs(rng, grid, size=size, aortic_gap=plan.aortic_gap())
        surface = Surface(grid, organs)
        for _ in range(TREES):
            try:
                return organs, model, surface, grow_tree(surface, plan, rng)
            except NoRoomError:
                plan.tortuosity *= 0.8
    raise RuntimeError(f"no heart has room for the tree of patient {seed}")


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

    def field(keep: list[int], reach: float, in_muscle: bool = True) -> FloatArray:
        shown = {i: slice(None) if in_muscle else _outside_bridges(drafts[i]) for i in keep}
        p = [(drafts[i].points + profiles[i].offset)[m][::2] for i, m in shown.items()] + [v.points_mm[:-10] for v in veins]
        r = [profiles[i].outer[m][::2] for i, m in shown.items()] + [v.radius_mm[:-10] - 0.8 for v in veins]
        return np.asarray(tube_grid(grid.shape, origin, grid.spacing, np.concatenate(p), np.concatenate(r), reach))

    everything = field(list(range(len(drafts))), 4.0)
    septal = {i for i, d in enumerate(drafts) if d.name.startswith("S") and d.name[1:].isdigit()}
    epicardial = field([i for i in range(len(drafts)) if i not in septal], 4.0, in_muscle=False)
    for name in ("pa", "ra", "rv", "la", "lv", "svc", "ivc"):
        organs[name] = _yield_to(organs[name], everything, 1.3)
    aorta = np.minimum(organs["ao"] - 1.6, organs["pa"] - 1.1)
    organs["wall"] = np.minimum(_yield_to(organs["wall"], epicardial, 0.5), aorta)
    organs["myocardium"] = _yield_to(organs["myocardium"], epicardial, 0.3)
    organs["pericardium"] = np.where(epicardial < 3.9, np.minimum(organs["pericardium"], epicardial - 2.0), organs["pericardium"])
    line = np.abs(unit_slope(ndimage.gaussian_filter(organs["pericardium"], 0.7))) - 0.6
    organs["soft"] = np.maximum(np.minimum(organs["soft"], line), np.maximum(1.0 - organs["wall"], 0.8 - epicardial))
    grafts = [i for i, d in enumerate(drafts) if d.kind == "graft"]
    around = 1.0 - organs["pericardium"]
    if grafts:
        around = np.maximum(around, 3.0 - field(grafts, 4.0))
    organs["lung"] = np.where(around > organs["lung"], around, organs["lung"])


def _outside_bridges(draft: Draft) -> FloatArray:
    """Which points of a branch lie under no muscle."""
    free = np.ones(len(draft.points), bool)
    for start, end, _ in draft.bridges:
        free[start:end] = False
    return free


def _yield_to(field: FloatArray, vessel: FloatArray, gap: float, reach: float = 4.0) -> FloatArray:
    """A signed distance kept at least `gap` mm away from vessels; `vessel` is cut off at `reach` mm."""
    return np.asarray(np.where(vessel < reach - 0.01, np.maximum(field, gap - vessel), field))


def _branches(surface: Surface, drafts: list[Draft], profiles: list[Profile]) -> tuple[Branch, ...]:
    segments = naming.segments(surface, drafts)
    return tuple(
        Branch(
            id=i, parent=d.parent, parent_index=d.parent_index, name=d.name, vessel=d.vessel,
            points_mm=np.ascontiguousarray(d.points, np.float64), lumen_radius_mm=p.lumen, outer_radius_mm=p.outer,
            outer_offset_mm=p.offset, healthy_radius_mm=p.healthy, segments=segments[i], kind=d.kind, bridges=d.bridges,
        )
        for i, (d, p) in enumerate(zip(drafts, profiles, strict=True))
    )  # fmt: skip
