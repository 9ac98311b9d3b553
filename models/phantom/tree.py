"""The coronary tree of a virtual patient: anatomical corridors on the epicardial surface, then sizes by measured anatomy.

Sizes follow CT norms (LM 4.5, LAD 3.5, LCx 3.1, RCA 3.4 mm at the origin; LAD tapers about 0.25 mm per 10 mm).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from models.phantom.surface import Frame, Surface, arc, resample, smooth
from models.phantom.types import FloatArray

STEP_MM = 0.5
WALL_MM = 0.5


@dataclass
class Draft:
    """A branch while the tree grows. `points` step 0.5 mm; `diameter` in mm."""

    name: str
    vessel: str
    points: FloatArray
    parent: int | None = None
    parent_index: int | None = None
    diameter: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass
class Plan:
    """What this patient's tree looks like, drawn before any geometry."""

    dominance: str
    lm_length: float
    diagonals: int
    marginals: int
    ramus: bool
    size: float
    tortuosity: float


def draw_plan(rng: np.random.Generator) -> Plan:
    """Variants of the tree, more diverse than a clinic's (left dominance 15 %, co-dominance 10 %)."""
    return Plan(
        dominance=str(rng.choice(["right", "left", "codominant"], p=[0.75, 0.15, 0.10])),
        lm_length=float(np.clip(rng.normal(10.5, 4.0), 4.0, 20.0)),
        diagonals=int(rng.choice([1, 2, 3], p=[0.2, 0.55, 0.25])),
        marginals=int(rng.choice([1, 2, 3], p=[0.3, 0.55, 0.15])),
        ramus=bool(rng.random() < 0.25),
        size=float(np.clip(rng.normal(1.0, 0.12), 0.75, 1.3)),
        tortuosity=float(rng.gamma(2.0, 0.35)),
    )


class TreeGrower:
    """Grows one patient's tree on one heart."""

    def __init__(self, surface: Surface, plan: Plan, rng: np.random.Generator) -> None:
        self.surface = surface
        self.plan = plan
        self.rng = rng
        self.drafts: list[Draft] = []
        self.ostia: dict[str, FloatArray] = {}

    # -- corridors -----------------------------------------------------------------------------------------------

    def grow(self) -> list[Draft]:
        """The whole tree; the first drafts are LM, LAD, LCX and RCA."""
        self._left()
        self._right()
        self._side_branches()
        self._number("D")
        self._number("OM")
        self._number("S")
        self._sizes()
        return self.drafts

    @property
    def dominance(self) -> str:
        """Dominance by the branches that grew: posterior descending and posterolateral from which side."""
        names = {d.name for d in self.drafts}
        if "L-PDA" in names and "R-PDA" not in names:
            return "left"
        if "R-PDA" in names:
            return "right" if "R-PLB" in names else "codominant"
        return self.plan.dominance

    def _number(self, stem: str) -> None:
        """Number the branches of a family in the order in which they leave their parent."""
        family = [d for d in self.drafts if d.name.startswith(stem) and d.name[len(stem) :].isdigit()]
        for k, draft in enumerate(sorted(family, key=lambda d: d.parent_index or 0)):
            draft.name = f"{stem}{k + 1}"

    def _band(self, p: FloatArray, frame: Frame, low: float, high: float, *, by: str, steps: int) -> FloatArray:
        """Mean position per bin of angle or height: the middle line of a furrow."""
        t, angle = frame.cylindrical(p)
        key = angle if by == "angle" else t
        edges = np.linspace(low, high, steps + 1)
        rows = []
        for a, b in itertools.pairwise(edges):
            lower, upper = min(a, b), max(a, b)
            here = (key >= lower) & (key < upper)
            if here.sum() >= 2:
                rows.append(np.median(p[here], axis=0))
        return np.asarray(rows).reshape(-1, 3)

    def _aortic_root(self) -> tuple[FloatArray, FloatArray]:
        """Centre of the sinuses and the root's upward axis."""
        s = self.surface
        ao, lv = s.organs["ao"], s.organs["lv"]
        reach = 3.0
        while ((ao < reach) & (lv < reach)).sum() < 12:
            reach += 1.0
        annulus = s.mean_point((ao < reach) & (lv < reach))
        near = s.points[(ao < -4.0).ravel()]
        d = np.linalg.norm(near - annulus, axis=1)
        higher = near[(d > 18.0) & (d < 34.0) & (near[:, 2] > annulus[2] + 4.0)]
        axis = higher.mean(0) - annulus
        axis /= np.linalg.norm(axis)
        ring = near[(np.abs((near - annulus) @ axis - 13.0) < 3.0) & (d < 26.0)]
        return ring.mean(0), axis

    def _ostium(self, centre: FloatArray, axis: FloatArray, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where a ray from the root's centre leaves the aortic lumen, and its direction."""
        direction = direction - axis * (direction @ axis)
        direction /= np.linalg.norm(direction)
        t = np.arange(4.0, 30.0, 0.1)
        p = centre + t[:, None] * direction
        value = self.surface.sample(self.surface.organs["ao"], p)
        out = np.flatnonzero(value > 0.0)
        return p[out[0] if out.size else -1], direction

    def _open_direction(self, centre: FloatArray, axis: FloatArray, guess: FloatArray, spread: float) -> FloatArray:
        """The direction near a guess with the widest fat outside the aorta."""
        s = self.surface
        best, score = guess, -1e9
        side = np.cross(axis, guess)
        for angle in np.linspace(-spread, spread, 17):
            d = np.cos(angle) * guess + np.sin(angle) * side
            ostium, d = self._ostium(centre, axis, d)
            probe = ostium + np.array([3.0, 5.0, 7.0])[:, None] * d
            space = np.minimum(s.heart, s.organs["pa"] - 1.1)
            value = float(np.minimum(s.sample(space, probe), 4.0).sum()) - 3.0 * abs(angle)
            if value > score:
                best, score = d, value
        return best

    def _leg(self, start: FloatArray, lead: FloatArray, line: FloatArray, height: float) -> FloatArray:
        """From an ostium along its lead-out direction, through the fat, onto a corridor line."""
        out = start + 4.0 * lead
        line = entered(out, line)
        path = self.surface.route(out, line[0], height=height)
        p = np.concatenate([start[None], out[None], path[1:-1], line])
        p = smooth(resample(p), 3.0)
        p[0] = start
        return p

    def _finish(self, p: FloatArray, height: float, *, avoid: FloatArray | None = None, apart: float = 3.8) -> FloatArray:
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
        fade = np.clip(u / 14.0, 0.0, 1.0)[:, None]
        return np.asarray(self.plan.tortuosity * shift * fade)

    def _left(self) -> None:
        s, rng, plan = self.surface, self.rng, self.plan
        frame = s.left_frame
        centre, axis = self._aortic_root()
        guess = np.array([0.92, 0.38, 0.0])
        lead = self._open_direction(centre + axis * rng.uniform(-2, 3), axis, guess / np.linalg.norm(guess), 0.6)
        ostium, lead = self._ostium(centre + axis * rng.uniform(-2.0, 3.0), axis, lead)
        self.ostia["left"] = ostium
        line = self._anterior_groove(float(rng.uniform(0.93, 1.02)))
        whole = self._finish(self._leg(ostium, lead, line, 3.2), 2.2)
        split = int(np.clip(round(plan.lm_length / STEP_MM), 8, len(whole) // 4))
        self.drafts.append(Draft("LM", "LM", whole[: split + 1]))
        self.drafts.append(Draft("LAD", "LAD", whole[split:], 0, split))
        ring = self._left_ring()
        last = {"right": float(rng.uniform(-1.3, -0.5)), "left": -2.6, "codominant": -2.1}[plan.dominance]
        _, angle = frame.cylindrical(ring)
        ring = ring[angle > last]
        start = whole[split]
        ring = entered(start, ring)
        path = s.route(start, ring[0], height=3.0, avoid=whole[split + 12 :: 2])
        p = smooth(resample(np.concatenate([start[None], path[1:-1], ring])), 3.0)
        p[0] = start
        self.drafts.append(Draft("LCX", "LCX", self._finish(p, 2.0, avoid=whole, apart=5.5), 0, split))

    def _anterior_groove(self, stop: float) -> FloatArray:
        s = self.surface
        frame = s.left_frame
        p = s.groove(s.lv, s.rv)
        _t, angle = frame.cylindrical(p)
        up = (angle > 0.3) & (angle < 3.1)
        line = self._band(p[up], frame, 0.02, min(stop, 0.97), by="height", steps=20)
        if stop > 0.97:
            tip = s.ray(frame.base + 0.9 * frame.length * frame.axis, frame.axis, 2.0)
            line = np.concatenate([line, tip[None]])
        return line

    def _posterior_groove(self, start: float, stop: float) -> FloatArray:
        s = self.surface
        frame = s.left_frame
        p = s.groove(s.lv, s.rv)
        _, angle = frame.cylindrical(p)
        down = (angle < -0.3) & (angle > -3.1)
        return self._band(p[down], frame, start, stop, by="height", steps=14)

    def _left_ring(self) -> FloatArray:
        s = self.surface
        p = s.groove(s.lv, s.la)
        return self._band(p, s.left_frame, 1.5, -2.8, by="angle", steps=36)

    def _right_ring(self) -> FloatArray:
        s = self.surface
        p = s.groove(s.rv, s.ra, height=(0.8, 6.0))
        return self._band(p, s.right_frame, 1.9, -2.6, by="angle", steps=36)

    def _right(self) -> None:
        s, rng, plan = self.surface, self.rng, self.plan
        centre, axis = self._aortic_root()
        guess = np.array([-0.25, -0.97, 0.0])
        lead = self._open_direction(centre + axis * rng.uniform(-2, 3), axis, guess, 0.55)
        ostium, lead = self._ostium(centre + axis * rng.uniform(-2.0, 3.0), axis, lead)
        self.ostia["right"] = ostium
        ring = self._right_ring()
        _, angle = s.right_frame.cylindrical(ring)
        if plan.dominance == "left":
            ring = ring[angle > rng.uniform(-0.9, -0.2)]
        self.drafts.append(Draft("RCA", "RCA", self._finish(self._leg(ostium, lead, ring, 3.0), 2.2)))

    # -- side branches -------------------------------------------------------------------------------------------

    def _at(self, parent: int, fraction: float) -> int:
        return round(fraction * (len(self.drafts[parent].points) - 1))

    def _child(self, name: str, vessel: str, parent: int, index: int, way: FloatArray, *, height: float = 1.6) -> bool:
        """Attach a branch that leaves its parent at `index` and follows waypoints; dropped if it cannot grow 10 mm."""
        root = self.drafts[parent].points[index]
        p = smooth(resample(np.concatenate([root[None], way])), 2.5)
        p[0] = root
        p = self._finish(p, height, avoid=np.concatenate([d.points for d in self.drafts]))
        p = self._before_collision(p, parent)
        if arc(p)[-1] < 10.0:
            return False
        self.drafts.append(Draft(name, vessel, p, parent, index))
        return True

    def _before_collision(self, p: FloatArray, parent: int) -> FloatArray:
        """Cut a branch where it would run into another one."""
        for i, other in enumerate(self.drafts):
            distance, _ = cKDTree(other.points).query(p)
            siblings = other.parent == parent or i == self.drafts[parent].parent or other.parent == self.drafts[parent].parent
            limit = 2.4 if i == parent else 3.6
            begin = 24 if i == parent or siblings else 8
            close = np.flatnonzero(distance[begin:] < limit)
            if close.size:
                p = p[: max(2, begin + close[0] - 3)]
        return p

    def _on_ventricle(self, frame: Frame, path: list[tuple[float, float]], height: float = 1.6) -> FloatArray:
        """Waypoints on the epicardium from (height, angle) pairs, filled in between."""
        t = np.array([a for a, _ in path])
        angle = np.array([b for _, b in path])
        u = np.linspace(0, 1, 10)
        k = np.linspace(0, 1, len(path))
        rows = []
        for tt, aa in zip(np.interp(u, k, t), np.interp(u, k, angle), strict=True):
            rows.append(self.surface.ray(frame.base + min(tt, 0.93) * frame.length * frame.axis, frame.direction(aa), height))
        return np.asarray(rows)

    def _side_branches(self) -> None:
        rng, s, plan = self.rng, self.surface, self.plan
        left, right = s.left_frame, s.right_frame
        lm, lad, lcx, rca = 0, 1, 2, 3
        if plan.ramus:
            self._child(
                "RI", "RI", lm, len(self.drafts[lm].points) - 1,
                self._on_ventricle(left, [(0.12, 0.95), (0.35, 0.75), (rng.uniform(0.5, 0.75), 0.6)]),
            )  # fmt: skip
        spots = np.sort(rng.uniform(0.12, 0.6, plan.diagonals)) + np.array([0.0, 0.06, 0.1])[: plan.diagonals]
        for k, spot in enumerate(spots):
            index = self._at(lad, spot)
            t, angle = left.cylindrical(self.drafts[lad].points[index][None])
            t0, a0 = float(t[0]), float(angle[0])
            turn = float(rng.uniform(0.55, 1.0))
            end = float(min(t0 + rng.uniform(0.35, 0.55), 0.92))
            mid = 0.5 * (t0 + end)
            way = self._on_ventricle(left, [(t0 + 0.10, a0 - 0.35 * turn), (mid, a0 - 0.7 * turn), (end, a0 - 1.1 * turn)])
            self._child(f"D{k + 1}", "LAD", lad, index, way)
        self._marginals(left, lcx)
        if plan.dominance != "left":
            self._inferior(rca, "R", right_pda=True)
        if plan.dominance != "right":
            self._inferior(lcx, "L", right_pda=plan.dominance == "left")
        self._right_branches(right, rca)
        self._septals(lad)

    def _marginals(self, left: Frame, lcx: int) -> None:
        rng = self.rng
        n = self.plan.marginals
        spots = np.sort(rng.uniform(0.25, 0.9, n)) * (0.62 if self.plan.dominance == "left" else 0.95)
        for k, spot in enumerate(spots):
            index = self._at(lcx, float(np.clip(spot, 0.18, 0.93)))
            t, angle = left.cylindrical(self.drafts[lcx].points[index][None])
            t0, a0 = float(t[0]), float(angle[0])
            end = float(rng.uniform(0.55, 0.85))
            drift = float(rng.uniform(-0.5, 0.1))
            way = self._on_ventricle(left, [(max(t0, 0.0) + 0.14, a0 + 0.3 * drift), (0.4, a0 + 0.6 * drift), (end, a0 + drift)])
            self._child(f"OM{k + 1}", "LCX", lcx, index, way)

    def _inferior(self, parent: int, letter: str, *, right_pda: bool) -> None:
        """Posterior descending and posterolateral branches from the vessel that reaches the crux."""
        rng, s, plan = self.rng, self.surface, self.plan
        left = s.left_frame
        vessel = self.drafts[parent].vessel
        end = len(self.drafts[parent].points) - 1
        if right_pda:
            line = self._posterior_groove(0.12, float(rng.uniform(0.6, 0.85)))
            if len(line):
                self._child(f"{letter}-PDA", vessel, parent, end, line)
        if letter == "R" and plan.dominance == "codominant":
            return
        wanted, grown = int(rng.choice([1, 2], p=[0.65, 0.35])), 0
        for k in range(wanted + 3):
            if grown == wanted:
                break
            a = float(rng.uniform(-1.85, -1.25)) + 0.4 * grown
            way = self._on_ventricle(left, [(0.08, a - 0.25), (0.25, a), (float(rng.uniform(0.45, 0.7)), a + 0.15)])
            name = f"{letter}-PLB" if grown == 0 else f"{letter}-PLB{grown + 1}"
            root = end - (12 * grown if letter == "R" else 12 + 16 * k)
            grown += self._child(name, vessel, parent, max(0, root), way)

    def _right_branches(self, right: Frame, rca: int) -> None:
        rng = self.rng
        if rng.random() < 0.6:
            index = self._at(rca, 0.07)
            way = self._on_ventricle(right, [(0.15, 1.5), (0.35, 1.55), (0.5, 1.6)])
            self._child("conus", "RCA", rca, index, way, height=1.3)
        for k in range(int(rng.choice([1, 2]))):
            spot = self._at(rca, float(rng.uniform(0.38, 0.55)) - 0.15 * k)
            _, angle = right.cylindrical(self.drafts[rca].points[spot][None])
            a0 = float(angle[0])
            way = self._on_ventricle(right, [(0.18, a0 - 0.05), (0.4, a0 - 0.1), (float(rng.uniform(0.5, 0.8)), a0 - 0.2)])
            self._child("AM" if k == 0 else "RVB", "RCA", rca, spot, way, height=1.3)

    def _septals(self, lad: int) -> None:
        """Septal perforators: from the LAD straight down into the septal muscle."""
        rng, s = self.rng, self.surface
        spots = np.sort(rng.uniform(0.1, 0.45, int(rng.choice([1, 2, 3]))))
        for k, spot in enumerate(spots):
            index = self._at(lad, float(spot))
            root = self.drafts[lad].points[index]
            inward = s.left_frame.base + 0.5 * s.left_frame.length * s.left_frame.axis - root
            septum = np.minimum(-s.lv, np.minimum(s.organs["lv"], s.organs["rv"]))
            p = [root]
            heading = inward / np.linalg.norm(inward)
            for _ in range(int(rng.uniform(14, 30))):
                options = p[-1] + 1.0 * _cone(heading, rng)
                value = np.minimum(s.sample(septum, options), 3.0)
                best = int(np.argmax(value))
                if len(p) > 8 and value[best] < 1.0:
                    break
                heading = 0.7 * heading + 0.3 * (options[best] - p[-1])
                heading /= np.linalg.norm(heading)
                p.append(options[best])
            line = resample(smooth(np.asarray(p), 2.0), step=STEP_MM * 0.98)
            if arc(line)[-1] > 8.0:
                self.drafts.append(Draft(f"S{k + 1}", "LAD", line, lad, index))

    # -- sizes ---------------------------------------------------------------------------------------------------

    def _sizes(self) -> None:
        rng, plan = self.rng, self.plan
        first = {"LM": 4.5, "LAD": 3.6, "LCX": 3.1, "RCA": 3.5, "RI": 2.3, "AM": 1.5, "RVB": 1.3, "conus": 1.4}
        last = {"LM": 4.3, "LAD": 1.3, "LCX": 1.6, "RCA": 2.4, "RI": 1.1}
        if plan.dominance == "left":
            first |= {"LCX": 3.8, "RCA": 2.4}
            last |= {"LCX": 2.3, "RCA": 1.1}
        for draft in self.drafts:
            stem = draft.name.split("-")[-1].rstrip("0123456789")
            d0 = first.get(draft.name, {"D": 2.1, "OM": 2.3, "PDA": 2.0, "PLB": 2.0, "S": 1.2}.get(stem, 1.5))
            d1 = last.get(draft.name, {"S": 0.7}.get(stem, 0.95))
            noise = float(np.clip(rng.normal(1.0, 0.10), 0.75, 1.25))
            d0, d1 = d0 * plan.size * noise, max(0.7, d1 * plan.size * noise)
            if draft.parent is not None:
                above = self.drafts[draft.parent]
                d0 = min(d0, 0.95 * float(above.diameter[draft.parent_index or 0]))
                d1 = min(d1, d0 * 0.9)
            u = np.linspace(0, 1, len(draft.points))
            diameter = d0 + (d1 - d0) * u**0.9
            draft.diameter = diameter * (1.0 + 0.02 * np.sin(u * rng.uniform(10, 40) + rng.uniform(0, 6)))
        self._steps()

    def _steps(self) -> None:
        """A parent is a little wider above a branch than below it."""
        for draft in self.drafts:
            if draft.parent is None or draft.parent_index is None:
                continue
            parent = self.drafts[draft.parent]
            share = 0.10 * float(np.clip(draft.diameter[0] / parent.diameter[draft.parent_index], 0, 1)) ** 2
            x = (np.arange(len(parent.points)) - draft.parent_index) * STEP_MM / 3.0
            parent.diameter = parent.diameter * (1.0 + share * (0.5 - 1.0 / (1.0 + np.exp(-x))))


def entered(start: FloatArray, line: FloatArray, beyond: float = 6.0) -> FloatArray:
    """The rest of a corridor from a little beyond the place nearest to `start` (looked for in its first half)."""
    half = line[: max(2, len(line) // 2)]
    nearest = int(np.argmin(((half - start) ** 2).sum(1)))
    s = arc(line)
    first = int(np.searchsorted(s, s[nearest] + beyond))
    return line[min(first, len(line) - 2) :]


def _cone(heading: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Unit directions within about 25 degrees of a heading."""
    d = heading + 0.22 * rng.normal(0, 1, (12, 3))
    d[0] = heading
    return np.asarray(d / np.linalg.norm(d, axis=1, keepdims=True))
