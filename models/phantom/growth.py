"""A coronary tree while it grows: its branches so far, and the ways to lay a path in the fat."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from models.phantom.surface import Frame, Surface, arc, resample, smooth
from models.phantom.types import FloatArray
from models.phantom.variants import Plan

STEP_MM = 0.5
WALL_MM = 0.5


class NoRoomError(Exception):
    """This heart offers no room for this tree; the caller draws again. Never leaves the package."""


@dataclass
class Draft:
    """A branch while the tree grows. `points` step 0.5 mm; `diameter` in mm; `bridges` as in `Branch`."""

    name: str
    vessel: str
    points: FloatArray
    parent: int | None = None
    parent_index: int | None = None
    diameter: FloatArray = field(default_factory=lambda: np.zeros(0))
    kind: str = "native"
    bridges: tuple[tuple[int, int, float], ...] = ()


class Growth:
    """The branches of one patient's tree so far, with the heart they grow on."""

    def __init__(self, surface: Surface, plan: Plan, rng: np.random.Generator) -> None:
        self.surface = surface
        self.plan = plan
        self.rng = rng
        self.drafts: list[Draft] = []
        self.ostia: dict[str, FloatArray] = {}

    def find(self, name: str) -> int | None:
        """The number of a branch, or None where it did not grow."""
        return next((i for i, d in enumerate(self.drafts) if d.name == name), None)

    def at(self, branch: int, share: float) -> int:
        """Index of a point at a share of a branch's length."""
        return round(share * (len(self.drafts[branch].points) - 1))

    def finish(self, p: FloatArray, height: float, *, avoid: FloatArray | None = None, apart: float = 3.8) -> FloatArray:
        """Wiggle, settle and resample a path."""
        p = resample(p)
        p = p + self._wiggle(len(p))
        p = self.surface.settle(p, height, hug=0.35, avoid=avoid, apart=apart)
        p = smooth(p, 1.5)
        return resample(p, step=STEP_MM * 0.98)

    def _wiggle(self, n: int) -> FloatArray:
        """Tortuosity: a smooth random sideways shift that fades in from the root."""
        u = np.arange(n)
        shift = np.zeros((n, 3))
        for length, weight in ((28.0, 1.0), (13.0, 0.6), (7.0, 0.22)):
            phase = self.rng.uniform(0, 2 * np.pi, 3)
            rate = length * self.rng.uniform(0.8, 1.25, 3)
            shift += weight * np.sin(2 * np.pi * u[:, None] / rate + phase) * self.rng.normal(0, 1.0, 3)
        shift *= self.plan.tortuosity
        if self.plan.corkscrew > 0.0:
            turn = float(self.rng.uniform(8.0, 14.0))
            phase = self.rng.uniform(0, 2 * np.pi, 3)
            shift += self.plan.corkscrew * np.sin(2 * np.pi * u[:, None] / turn + phase) * self.rng.uniform(0.6, 1.0, 3)
        fade = np.clip(u / 14.0, 0.0, 1.0)[:, None]
        return np.asarray(shift * fade)

    def child(
        self, name: str, vessel: str, parent: int, index: int, way: FloatArray, *, height: float = 1.6, shortest: float = 10.0
    ) -> bool:
        """Attach a branch that leaves its parent at `index` and follows waypoints; dropped if it cannot grow `shortest` mm."""
        root = self.drafts[parent].points[index]
        way = onward(root, way)
        if len(way) < 2:
            return False
        p = smooth(resample(np.concatenate([root[None], way])), 2.5)
        p[0] = root
        p = self.finish(p, height, avoid=np.concatenate([d.points for d in self.drafts]))
        p = self._before_collision(p, parent)
        p = p[: before_fold(p)]
        in_wall = np.flatnonzero(self.surface.sample(self.surface.organs["ao"], p) < 1.8)
        p = p[: in_wall[0]] if in_wall.size else p
        if len(p) < 2 or arc(p)[-1] < shortest:
            return False
        self.drafts.append(Draft(name, vessel, p, parent, index))
        return True

    def _before_collision(self, p: FloatArray, parent: int) -> FloatArray:
        """Cut a branch where it would run into another one."""
        for i, other in enumerate(self.drafts):
            distance, _ = cKDTree(other.points).query(p)
            siblings = other.parent == parent or i == self.drafts[parent].parent or other.parent == self.drafts[parent].parent
            limit = 2.6 if i == parent else 3.8
            begin = 24 if i == parent or siblings else 8
            close = np.flatnonzero(distance[begin:] < limit)
            if close.size:
                p = p[: max(2, begin + close[0] - 3)]
        return p

    def on_ventricle(self, frame: Frame, path: list[tuple[float, float]], height: float = 1.6) -> FloatArray:
        """Waypoints on the epicardium from (height, angle) pairs, filled in between."""
        t = np.array([a for a, _ in path])
        angle = np.array([b for _, b in path])
        u = np.linspace(0, 1, 10)
        k = np.linspace(0, 1, len(path))
        rows = []
        for tt, aa in zip(np.interp(u, k, t), np.interp(u, k, angle), strict=True):
            rows.append(self.surface.ray(frame.base + min(tt, 0.93) * frame.length * frame.axis, frame.direction(aa), height))
        return np.asarray(rows)


def onward(root: FloatArray, way: FloatArray) -> FloatArray:
    """Waypoints without those at the start that would send a branch back: the way never begins against its own direction."""
    while len(way) > 2 and (way[0] - root) @ (way[2] - way[0]) < 0.5 * np.linalg.norm(way[0] - root) * np.linalg.norm(way[2] - way[0]):
        way = way[1:]
    return way


def before_fold(p: FloatArray, span: int = 5) -> int:
    """How many points of a path (step 0.5 mm) lie before it first turns by more than 90 degrees within `span` points, else all."""
    chord = p[span:] - p[:-span]
    chord = chord / (np.linalg.norm(chord, axis=1, keepdims=True) + 1e-9)
    if len(chord) <= span:
        return len(p)
    turn = np.sum(chord[span:] * chord[:-span], axis=1)
    back = np.flatnonzero(turn < 0.0)
    return int(back[0]) if back.size else len(p)
