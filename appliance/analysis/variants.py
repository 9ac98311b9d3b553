"""Variants of origin and course, named when the traced tree shows them.

Terms: SCCT 2014 (JCCT 2014;8:342) and the Chinese reporting standard (Chin J Radiol 2020;54:1044). A course between aorta and pulmonary
artery is the one that matters: CAD-RADS 2.0 (JCCT 2022;16:536) adds the modifier E for it. The sinus follows from where an ostium lies
about the aortic root. A take-off is high from 20 mm above the annulus on, above the sinuses of all but the largest roots, or from 10 mm
above the other artery's: both lie about 13 mm above the annulus with a spread of 3 mm (Cavalcanti et al., Arq Bras Cardiol 2003;81:359, not
re-read), so such a difference lies beyond two of its own spreads, however the annulus was found. The sinuses lie a third of a turn apart,
and so do the ostia in their middles: a right artery less than ``SAME_SINUS_DEGREES`` from the left one comes from the left sinus, also
where that lies on the right half of the root; a circumflex of its own lies within ``SAME_SINUS_MM`` of the left anterior descending
artery, or comes from elsewhere. No artery but an anomalous circumflex
comes from the right and runs on behind the aorta: a tree that does is one, whatever it was named. Two left ostia lie so near to each other
that both arteries may be traced from one of them; then a short branch leads from their beginning back to the aorta, beside that ostium.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from appliance.analysis.ostia import side_of
from appliance.analysis.stages import Float, Heart, Side, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import Vessel
from appliance.findings import Branch, Variant, VariantName

PROXIMAL_MM = 40.0
"""The course of an artery that matters for where it passes the great vessels."""
BETWEEN_MM = 5.0
"""Farthest from each of two walls that an artery passes between."""
OPPOSITE = -0.3
"""Cosine between the ways to the two walls: on opposite sides, not both on one."""
SHORTEST_MM = 4.0
HIGH_MM = 20.0
ABOVE_OTHER_MM = 10.0
LONG_MM = 50.0
"""The branch to the sinus node, which may pass behind the aorta too, is shorter."""
BACK_MM = 25.0
"""A way back to the aorta is no longer than this, and leaves the tree no farther from its ostium."""
SAME_SINUS_DEGREES = 100.0
"""Between a third of a turn and the quarter that an ostium near the commissure is away. In 57 virtual trees of the train family those of
two sinuses at one height lay 114 degrees apart and more, those of one sinus 91 at most."""
SAME_SINUS_MM = 12.0
"""Ostia of both left arteries lie some millimetres apart; a sinus is about 20 mm wide."""
AT_WALL_MM, APART_MM = 3.0, 4.0
"""It ends at the aorta's wall, as well as the coarse map shows that, and so far from the ostium that it is another one."""
ANNULUS_MM = 4.5
"""Aorta so near to the left ventricle is its root's lower end."""
ASCENDING_MM = (25.0, 45.0)
LEAST_POINTS = 10
SLICE_MM, WIDEST_AORTA_MM = 3.0, 40.0
"""Half the height of the slice of aorta that an ostium's direction is told by; farther aorta is the descending one."""
TRUNKS: tuple[Vessel, ...] = ("LM", "LAD", "LCX", "RCA")
AT_AORTA_MM = 6.0
"""A tree that begins farther from the aorta was not traced to its origin: nothing follows about it."""


@dataclass(frozen=True)
class _Origin:
    """Where a main artery begins: the branch at the ostium, the side of the root, and the artery's course from there."""

    root: int
    side: Side
    course: Float
    ostium: Float


def find_variants(heart: Heart, branches: Sequence[Branch]) -> tuple[Variant, ...]:
    """What the tree shows, each with the branch that shows it; nothing is said of an artery that was not traced."""
    around = Surroundings(heart)
    origins: dict[Vessel, _Origin] = {}
    for vessel in TRUNKS:
        origin = _origin(vessel, heart, branches)
        if origin is not None and float(around.distance(origin.ostium[None], Structure.AORTA)[0]) <= AT_AORTA_MM:
            origins[vessel] = origin
    own = {vessel: next(branch.id for branch in branches if branch.vessel == vessel) for vessel in origins}
    behind = "LCX" in origins and _passes(origins["LCX"].course, around, heart, Structure.LEFT_ATRIUM)
    found = {**_of_right(origins, own, heart), **_of_left(origins, own), **_of_circumflex(origins, own, behind=behind)}
    if "lcx_from_right" in found and behind:
        found["retroaortic_course"] = own["LCX"]
    unnamed = None if "lcx_from_right" in found else _behind_aorta(branches, around, heart)
    if unnamed is not None:
        found |= {"lcx_from_right": unnamed, "retroaortic_course": unnamed}
    second = None if {"lcx_from_right", "separate_left_ostia"} & found.keys() else _back_to_aorta(branches, origins, around, heart)
    if second is not None:
        found["separate_left_ostia"] = second
    courses: tuple[tuple[VariantName, Vessel], ...] = (("rca_from_left", "RCA"), ("left_from_right", "LAD"), ("single_coronary", "RCA"))
    for name, vessel in courses:
        if name in found and _passes(origins[vessel].course, around, heart, Structure.PULMONARY_ARTERY):
            found.setdefault("interarterial_course", own[vessel])
    found.update(_high(heart, origins))
    return tuple(Variant(name=name, branch=branch) for name, branch in found.items())


def _of_right(origins: dict[Vessel, _Origin], own: dict[Vessel, int], heart: Heart) -> dict[VariantName, int]:
    """The right coronary artery from the left: from the left artery's own ostium, or from one of its own on that side."""
    left, right = origins.get("LAD"), origins.get("RCA")
    if right is None:
        return {}
    if left is not None and right.root == left.root:
        return {"single_coronary": right.root}
    beside = left is not None and _in_one_sinus(left.ostium, right.ostium, heart)
    return {"rca_from_left": own["RCA"]} if right.side == "left" or beside else {}


def _in_one_sinus(one: Float, other: Float, heart: Heart) -> bool:
    """Whether two ostia at about the same height lie less than ``SAME_SINUS_DEGREES`` apart about the aortic root."""
    root = root_axis(heart)
    if root is None:
        return False
    annulus, axis = root
    heights = [float((ostium - annulus) @ axis) for ostium in (one, other)]
    if abs(heights[0] - heights[1]) >= ABOVE_OTHER_MM:
        return False
    aorta = heart.points(Structure.AORTA)
    ways = []
    for ostium, height in zip((one, other), heights, strict=True):
        near = (np.abs((aorta - annulus) @ axis - height) < SLICE_MM) & (np.linalg.norm(aorta - ostium, axis=1) < WIDEST_AORTA_MM)
        if near.sum() < LEAST_POINTS:
            return False
        way = ostium - aorta[near].mean(axis=0)
        way -= (way @ axis) * axis
        ways.append(way / max(float(np.linalg.norm(way)), 1e-6))
    return bool(ways[0] @ ways[1] > np.cos(np.deg2rad(SAME_SINUS_DEGREES)))


def _of_left(origins: dict[Vessel, _Origin], own: dict[Vessel, int]) -> dict[VariantName, int]:
    """The left anterior descending artery from an ostium of its own on the right."""
    left, right = origins.get("LAD"), origins.get("RCA")
    single = left is not None and right is not None and left.root == right.root
    return {"left_from_right": own["LAD"]} if left is not None and left.side == "right" and not single else {}


def _of_circumflex(origins: dict[Vessel, _Origin], own: dict[Vessel, int], *, behind: bool) -> dict[VariantName, int]:
    """The circumflex from the right, or from an ostium of its own beside that of the left anterior descending artery.

    One that was traced from ``behind`` the aorta only, where it passes, comes from the right as well.
    """
    left, circumflex, right = origins.get("LAD"), origins.get("LCX"), origins.get("RCA")
    if circumflex is None or left is None or circumflex.root == left.root:
        return {}
    if circumflex.side == "right" or (right is not None and circumflex.root == right.root):
        return {"lcx_from_right": own["LCX"]}
    if float(np.linalg.norm(circumflex.ostium - left.ostium)) > SAME_SINUS_MM:
        return {"lcx_from_right": own["LCX"]} if behind else {}
    return {} if "LM" in origins else {"separate_left_ostia": own["LCX"]}


def _behind_aorta(branches: Sequence[Branch], around: Surroundings, heart: Heart) -> int | None:
    """A long branch without a name that begins on the right side of the aorta and runs behind it."""
    for branch in branches:
        if branch.parent is not None or branch.name != "other":
            continue
        course = np.asarray(branch.points_mm, np.float64)
        long = float(np.linalg.norm(np.diff(course, axis=0), axis=1).sum()) >= LONG_MM
        begins = float(around.distance(course[:1], Structure.AORTA)[0]) <= AT_AORTA_MM and side_of(course[0], heart) == "right"
        if long and begins and _passes(course, around, heart, Structure.LEFT_ATRIUM):
            return branch.id
    return None


def _back_to_aorta(branches: Sequence[Branch], origins: dict[Vessel, _Origin], around: Surroundings, heart: Heart) -> int | None:
    """A short branch without a name that leads from the beginning of the left artery back to the aorta, beside its ostium."""
    left = origins.get("LAD")
    if left is None:
        return None
    trunk = {branch.id for branch in branches if branch.id == left.root or branch.parent == left.root}
    for branch in branches:
        if branch.parent not in trunk or branch.name != "other":
            continue
        course = np.asarray(branch.points_mm, np.float64)
        short = float(np.linalg.norm(np.diff(course, axis=0), axis=1).sum()) <= BACK_MM
        near = float(np.linalg.norm(course[0] - left.ostium)) <= BACK_MM
        apart = float(np.linalg.norm(course[-1] - left.ostium)) >= APART_MM and side_of(course[-1], heart) == "left"
        if short and near and apart and float(around.distance(course[-1:], Structure.AORTA)[0]) <= AT_WALL_MM:
            return branch.id
    return None


def _origin(vessel: Vessel, heart: Heart, branches: Sequence[Branch]) -> _Origin | None:
    """Where the first branch of an artery comes from; None where it was not traced."""
    by_id = {branch.id: branch for branch in branches}
    branch = next((each for each in branches if each.vessel == vessel), None)
    if branch is None:
        return None
    course = [np.asarray(branch.points_mm, np.float64)]
    while branch.parent is not None and branch.parent_index is not None:
        index = branch.parent_index
        branch = by_id[branch.parent]
        course.insert(0, np.asarray(branch.points_mm, np.float64)[: index + 1])
    whole = np.concatenate(course)
    return _Origin(root=branch.id, side=side_of(whole[0], heart), course=whole, ostium=whole[0])


def _passes(course: Float, around: Surroundings, heart: Heart, other: Structure) -> bool:
    """Whether the first part of a course runs between the aorta and another structure for some millimetres."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(course, axis=0), axis=1))])
    points = course[along <= PROXIMAL_MM]
    walls = [heart.points(Structure.AORTA), heart.points(other)]
    if min(len(wall) for wall in walls) < LEAST_POINTS or len(points) < 2:
        return False
    ways = []
    for wall in walls:
        way = wall[cKDTree(wall).query(points)[1]] - points
        ways.append(way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6))
    near = (around.distance(points, Structure.AORTA) <= BETWEEN_MM) & (around.distance(points, other) <= BETWEEN_MM)
    between = near & ((ways[0] * ways[1]).sum(axis=1) <= OPPOSITE)
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    return bool(between.sum() * step >= SHORTEST_MM)


def _high(heart: Heart, origins: dict[Vessel, _Origin]) -> dict[VariantName, int]:
    """High take-offs of the left artery and the right one."""
    root = root_axis(heart)
    if root is None:
        return {}
    annulus, axis = root
    found: dict[VariantName, int] = {}
    names: tuple[tuple[VariantName, tuple[Vessel, ...]], ...] = (
        ("high_takeoff_left", ("LM", "LAD")),
        ("high_takeoff_right", ("RCA",)),
    )
    first = {name: next((origins[vessel] for vessel in vessels if vessel in origins), None) for name, vessels in names}
    heights = {name: float((origin.ostium - annulus) @ axis) for name, origin in first.items() if origin is not None}
    for name, origin in first.items():
        if origin is None:
            continue
        others = [height for other, height in heights.items() if other != name]
        if heights[name] >= HIGH_MM or any(heights[name] >= height + ABOVE_OTHER_MM for height in others):
            found[name] = origin.root
    return found


def root_axis(heart: Heart) -> tuple[Float, Float] | None:
    """The middle of the aortic annulus and the direction of the ascending aorta from there."""
    aorta, ventricle = heart.points(Structure.AORTA), heart.points(Structure.LV)
    if min(len(aorta), len(ventricle)) < LEAST_POINTS:
        return None
    near = aorta[cKDTree(ventricle).query(aorta)[0] < ANNULUS_MM]
    if len(near) < LEAST_POINTS:
        return None
    annulus = near.mean(axis=0)
    off = np.linalg.norm(aorta - annulus, axis=1)
    above = aorta[(off > ASCENDING_MM[0]) & (off < ASCENDING_MM[1]) & (aorta[:, 2] > annulus[2])]
    if len(above) < LEAST_POINTS:
        return None
    axis = above.mean(axis=0) - annulus
    return annulus, axis / float(np.linalg.norm(axis))
