"""The coronary tree of a virtual patient: anatomical corridors on the epicardial surface, then sizes by measured anatomy."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.phantom import bridges
from models.phantom.calibre import set_diameters
from models.phantom.corridors import Corridors
from models.phantom.grafts import grow_grafts
from models.phantom.growth import STEP_MM, WALL_MM, Draft, Growth, NoRoomError, before_fold
from models.phantom.sidebranches import grow_side_branches
from models.phantom.surface import Surface, arc
from models.phantom.trunks import grow_trunks
from models.phantom.types import FloatArray
from models.phantom.variants import Plan, draw_plan

__all__ = ["STEP_MM", "WALL_MM", "Draft", "NoRoomError", "Plan", "Tree", "draw_plan", "grow_tree"]

#: Shortest believable main arteries, mm.
SHORTEST = {"LAD": 55.0, "LCX": 14.0, "RCA": 30.0}


class Tree:
    """A grown tree: its branches (parents before children), its ostia (mm) and its dominance."""

    def __init__(self, drafts: list[Draft], ostia: dict[str, FloatArray], dominance: str, variants: tuple[str, ...]) -> None:
        self.drafts, self.ostia, self.dominance, self.variants = drafts, ostia, dominance, variants


def grow_tree(surface: Surface, plan: Plan, rng: np.random.Generator) -> Tree:
    """A whole tree on one heart. Raises NoRoomError where the heart has no room for the plan."""
    growth = Growth(surface, plan, rng)
    corridors = Corridors(surface)
    grow_trunks(growth, corridors)
    bridges.sink(growth)
    _check_trunks(growth)
    grow_side_branches(growth, corridors)
    drafts = growth.drafts
    dominance = _dominance(drafts)
    if dominance != plan.dominance:
        raise NoRoomError
    set_diameters(drafts, plan, rng)
    _check_sizes(drafts)
    grow_grafts(growth, corridors)
    grown = {"ramus": growth.find("RI") is not None, "graft": any(d.kind == "graft" for d in drafts)}
    return Tree(drafts, growth.ostia, dominance, (*plan.variants(), *(name for name, present in grown.items() if present)))


def _dominance(drafts: list[Draft]) -> str:
    """Dominance by the branches that grew: posterior descending and posterolateral from which side."""
    names = {d.name for d in drafts}
    if "R-PDA" in names:
        return "right" if "R-PLB" in names else "codominant"
    return "left" if "L-PDA" in names else "unknown"


def _check_trunks(growth: Growth) -> None:
    """Refuse trunks that are too short, fold back, or run into the aorta or each other."""
    s, drafts = growth.surface, growth.drafts
    aorta = s.organs["ao"]
    for i, d in enumerate(drafts):
        if arc(d.points)[-1] < SHORTEST.get(d.name, 0.0) or before_fold(d.points) < len(d.points):
            raise NoRoomError
        away = d.points[12:] if d.parent is None else d.points
        if len(away) and s.sample(aorta, away).min() < 1.7:
            raise NoRoomError
        for j, other in enumerate(drafts[:i]):
            begin = 24 if other.parent == d.parent or j == d.parent else 8
            if len(d.points) > begin and cKDTree(other.points).query(d.points[begin:])[0].min() < 3.4:
                raise NoRoomError


def _check_sizes(drafts: list[Draft]) -> None:
    """Refuse a tree whose branches overlap away from their junctions."""
    for i, d in enumerate(drafts):
        for other in drafts[:i]:
            if len(d.points) <= 30:
                continue
            distance, nearest = cKDTree(other.points).query(d.points[30:])
            if (distance < 0.5 * other.diameter[nearest] + 0.8).any():
                raise NoRoomError
