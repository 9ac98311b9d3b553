"""Bypass grafts: a mammary artery from above to the LAD, vein grafts from the ascending aorta to other arteries."""

from __future__ import annotations

import numpy as np

from models.phantom.corridors import Corridors
from models.phantom.growth import STEP_MM, Draft, Growth, before_fold
from models.phantom.surface import arc, resample, smooth
from models.phantom.types import FloatArray

#: Share of the target's length where a graft is sewn on.
LANDING = (0.45, 0.75)


def grow_grafts(growth: Growth, corridors: Corridors) -> None:
    """Add the grafts of the plan that find room, named G1, G2 ...; called when the native diameters are known.

    A graft begins at its own place in `ostia` and ends in the middle of the vessel it feeds.
    """
    for target in growth.plan.grafts:
        number = growth.find(target)
        if number is None:
            continue
        goal = growth.drafts[number]
        index = round(float(growth.rng.uniform(*LANDING)) * (len(goal.points) - 1))
        p = _mammary(growth, goal.points[index]) if target == "LAD" else _vein_graft(growth, corridors, goal.points[index], target)
        if p is None or arc(p)[-1] < 40.0 or before_fold(p) < len(p):
            continue
        n = 1 + sum(d.kind == "graft" for d in growth.drafts)
        wide = float(growth.rng.uniform(2.0, 2.8) if target == "LAD" else growth.rng.uniform(3.0, 4.6))
        end = max(1.2, min(wide, 1.15 * float(goal.diameter[index])))
        u = np.linspace(0.0, 1.0, len(p))
        diameter = wide + (end - wide) * np.clip((u - 0.8) / 0.2, 0.0, 1.0)
        growth.drafts.append(Draft(f"G{n}", "other", p, diameter=diameter, kind="graft"))
        growth.ostia[f"graft-{n}"] = p[0]


def _vein_graft(growth: Growth, corridors: Corridors, goal: FloatArray, target: str) -> FloatArray | None:
    """From the front of the ascending aorta through the fat."""
    s, rng = growth.surface, growth.rng
    toward = np.array([-0.5, -0.85, 0.0]) if target == "RCA" else np.array([0.55, -0.8, 0.0])
    height = float(rng.uniform(26.0, 36.0))
    start, lead = corridors.ostium(height, toward + rng.normal(0.0, 0.15, 3))
    inside = corridors.centre + height * corridors.axis + 4.0 * lead
    if s.sample(s.organs["ao"], inside[None])[0] > -2.0:
        return None
    return _between(growth, start, start + 5.0 * lead, goal)


def _mammary(growth: Growth, goal: FloatArray) -> FloatArray | None:
    """From the top of the volume beside the breastbone, down through the fat in front of the heart."""
    s, rng, grid = growth.surface, growth.rng, growth.surface.grid
    middle = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1)
    top = grid.origin[2] + grid.spacing * (grid.shape[0] - 3)
    front = s.points[((s.great < 0.0) & (np.abs(s.points[:, 2].reshape(grid.shape) - top) < 2.0)).ravel()]
    y = float(front[:, 1].min()) if len(front) else float(middle[1] - 40.0)
    start = np.array([middle[0] + rng.uniform(14.0, 26.0), min(y - 12.0, middle[1] - 34.0), top])
    return _between(growth, start, start + np.array([2.0, -1.0, -8.0]), goal)


def _between(growth: Growth, start: FloatArray, out: FloatArray, goal: FloatArray) -> FloatArray | None:
    """A settled path from `start` past `out` to `goal`, off every artery but at its end."""
    s = growth.surface
    others = np.concatenate([d.points for d in growth.drafts])
    others = others[np.linalg.norm(others - goal, axis=1) > 9.0]
    path = s.route(goal, out, height=4.5, margin=24.0)
    p = smooth(resample(np.concatenate([path, start[None]])), 5.0)
    p[0] = goal
    p = s.settle(p, 3.0, hug=0.0, avoid=others, apart=4.4)
    # Settling holds the first point only; the last 20 mm lead back to the start.
    ramp = np.clip(1.0 - (arc(p)[-1] - arc(p)) / 20.0, 0.0, 1.0)[:, None]
    p = p + ramp * ramp * (3.0 - 2.0 * ramp) * (start - p[-1])
    p = resample(smooth(p, 1.5), step=STEP_MM * 0.98)[::-1]
    away = p[int(8.0 / STEP_MM) :]
    if len(away) == 0 or s.sample(s.organs["ao"], away).min() < 2.0:
        return None
    return np.ascontiguousarray(p)
