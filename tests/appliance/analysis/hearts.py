"""A made-up heart of simple shapes and a coronary tree drawn on it, for tests of the naming."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Heart, Structure, Tree, TreeBranch
from appliance.geometry import resample_curve
from appliance.volume import Geometry, LabelMap

Float = NDArray[np.float64]
SPACING = 3.0
SHAPE = (50, 50, 50)
MIDDLE = 0.5 * SPACING * (np.array(SHAPE) - 1)
"""LPS of the middle of the made-up heart in its own frame."""

APEX = np.array([0.62, -0.55, -0.56])
APEX = APEX / np.linalg.norm(APEX)
RIGHT = np.array([-0.72, -0.65, -0.2])
RIGHT = RIGHT - (RIGHT @ APEX) * APEX
RIGHT = RIGHT / np.linalg.norm(RIGHT)
UP = np.cross(APEX, RIGHT) if np.cross(APEX, RIGHT)[2] > 0 else -np.cross(APEX, RIGHT)
LV_RADIUS, RV_RADIUS, RV_CENTRE, ROOT_RADIUS = 27.0, 25.0, 34.0, 14.0


def place(height: float, right: float, up: float) -> Float:
    """A position from millimetres along the left ventricle's axis from its base, towards the right ventricle, and upwards."""
    return np.asarray(MIDDLE + (height - 35.0) * APEX + right * RIGHT + up * UP)


ROOT = place(-8.0, 14.0, 24.0)


def heart(shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Heart:
    """Left ventricle 80 mm long, its atrium behind the base, right heart beside it, great vessels above."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    points = SPACING * np.stack([x, y, z], axis=-1)

    def ball(centre: Float, radii: tuple[float, float, float]) -> NDArray[np.bool_]:
        offset = points - centre
        along = np.stack([offset @ APEX, offset @ RIGHT, offset @ UP], axis=-1) / np.asarray(radii)
        return np.asarray((along**2).sum(axis=-1) < 1.0)

    labels = np.zeros(SHAPE, np.uint8)
    column = np.hypot(*np.moveaxis((points - ROOT)[..., :2], -1, 0)) < ROOT_RADIUS
    labels[ball(place(-18.0, 0.0, -2.0), (22.0, 28.0, 26.0))] = Structure.LEFT_ATRIUM
    labels[ball(place(-18.0, 38.0, 2.0), (22.0, 22.0, 24.0))] = Structure.RIGHT_ATRIUM
    labels[ball(place(28.0, RV_CENTRE, 0.0), (36.0, RV_RADIUS, RV_RADIUS))] = Structure.RV
    labels[ball(place(34.0, 0.0, 0.0), (42.0, LV_RADIUS, LV_RADIUS))] = Structure.LV_MYOCARDIUM
    labels[ball(place(32.0, 0.0, 0.0), (34.0, 18.0, 18.0))] = Structure.LV
    labels[column & (points[..., 2] > ROOT[2] - 12.0)] = Structure.AORTA
    grid = Geometry(SHAPE, (SPACING,) * 3, shift)
    return Heart(structures=LabelMap(labels, grid), roi=grid)


def branch(
    points: list[Float], *, parent: int | None = None, parent_index: int | None = None, side: str = "left", radius: float = 1.6
) -> TreeBranch:
    """A branch through way points, 0.5 mm steps."""
    line = resample_curve(np.asarray(points), 0.5)
    return TreeBranch(
        points_mm=line,
        parent=parent,
        parent_index=parent_index,
        side="left" if side == "left" else "right",
        radius_mm=np.full(len(line), radius),
        probability=np.ones(len(line)),
    )


def moved(tree: Tree, shift: tuple[float, float, float]) -> Tree:
    """The same tree elsewhere."""
    return Tree(tuple(replace(b, points_mm=b.points_mm + np.asarray(shift)) for b in tree.branches))


def _ball_radius(height: float, middle: float, half: float, radius: float) -> float:
    return float(radius * np.sqrt(max(1.0 - ((height - middle) / half) ** 2, 0.0)))


def in_the_anterior_groove(height: float) -> Float:
    """3 mm off the left ventricle, as near to the right one as that allows, in front."""
    distance = _ball_radius(height, 34.0, 42.0, LV_RADIUS) + 3.0
    right = _ball_radius(height, 28.0, 36.0, RV_RADIUS)
    angles = np.linspace(0.2, 1.5, 200)
    gap = np.hypot(distance * np.cos(angles) - RV_CENTRE, distance * np.sin(angles)) - right
    outside = np.flatnonzero(gap > 2.0)
    angle = angles[outside[0]] if len(outside) else angles[-1]
    return place(height, distance * np.cos(angle), distance * np.sin(angle))


def plain_tree() -> Tree:
    """LM with LAD in one run, the LCX, a diagonal, a marginal, and the RCA, all on the made-up heart."""
    aside = RIGHT * [1.0, 1.0, 0.0] / np.hypot(*RIGHT[:2])
    fork = place(2.0, 6.0, 26.0)
    lad = [ROOT - (ROOT_RADIUS + 0.5) * aside, fork, *(in_the_anterior_groove(height) for height in np.linspace(12.0, 66.0, 10))]
    left = branch(lad, radius=2.0)
    at_fork = int(np.argmin(np.linalg.norm(left.points_mm - fork, axis=1)))
    at_diagonal = int(np.argmin(np.linalg.norm(left.points_mm - lad[4], axis=1)))
    ring = [place(0.0, -21.0 * np.sin(a), 21.0 * np.cos(a)) for a in np.linspace(0.2, 2.4, 12)]
    circumflex = branch([left.points_mm[at_fork], *ring], parent=0, parent_index=at_fork)
    at_marginal = len(circumflex.points_mm) // 2
    wall = [place(h, -_ball_radius(h, 34.0, 42.0, LV_RADIUS) - 2.0, -2.0) for h in np.linspace(10.0, 55.0, 8)]
    angles = np.linspace(1.6, 2.3, 6)
    free = [(h, _ball_radius(h, 34.0, 42.0, LV_RADIUS) + 2.0) for h in np.linspace(36.0, 58.0, 6)]
    diagonal = [place(h, r * np.cos(a), r * np.sin(a)) for (h, r), a in zip(free, angles, strict=True)]
    right = [place(-2.0, 36.0 + 18.0 * np.sin(a), 18.0 * np.cos(a)) for a in np.linspace(0.1, 2.8, 12)]
    return Tree(
        (
            left,
            circumflex,
            branch([left.points_mm[at_diagonal], *diagonal], parent=0, parent_index=at_diagonal),
            branch([circumflex.points_mm[at_marginal], *wall], parent=1, parent_index=at_marginal),
            branch([ROOT + (ROOT_RADIUS + 0.5) * aside, *right], side="right"),
        )
    )
