"""Side branches: diagonals, marginals, ramus, inferior and right ventricular branches, septals, and their own branches."""

from __future__ import annotations

import numpy as np

from models.phantom.corridors import Corridors
from models.phantom.growth import STEP_MM, Draft, Growth, before_fold
from models.phantom.surface import arc, resample, smooth
from models.phantom.types import FloatArray

#: Branches that may branch again.
PARENTS = ("D1", "D2", "D3", "OM1", "OM2", "OM3", "RI", "R-PLB", "L-PLB", "R-PDA", "L-PDA")


def grow_side_branches(growth: Growth, corridors: Corridors) -> None:
    """Add every side branch for which there is room, numbered in order along its parent."""
    grower = _SideBranches(growth, corridors)
    grower.ramus()
    grower.diagonals()
    grower.marginals()
    grower.inferior()
    grower.right_ventricle()
    grower.sinus_node()
    grower.septals()
    for stem in ("D", "OM", "S"):
        number(growth.drafts, stem)
    grower.second_order()


def number(drafts: list[Draft], stem: str) -> None:
    """Number the branches of a family in the order in which they leave their parent."""
    family = [d for d in drafts if d.name.startswith(stem) and d.name[len(stem) :].isdigit()]
    for k, draft in enumerate(sorted(family, key=lambda d: d.parent_index or 0)):
        draft.name = f"{stem}{k + 1}"


class _SideBranches:
    def __init__(self, growth: Growth, corridors: Corridors) -> None:
        self.g, self.c = growth, corridors
        self.s, self.rng, self.plan = growth.surface, growth.rng, growth.plan
        self.left, self.right = growth.surface.left_frame, growth.surface.right_frame

    def _where(self, branch: int, index: int) -> tuple[float, float]:
        """Height and angle of a point in the left ventricle's frame."""
        t, angle = self.left.cylindrical(self.g.drafts[branch].points[index][None])
        return float(t[0]), float(angle[0])

    def ramus(self) -> None:
        """Between LAD and LCX, from the end of the left main."""
        main = self.g.find("LM")
        if self.plan.ramus and main is not None:
            end = float(self.rng.uniform(0.45, 0.8))
            turn = float(self.rng.normal(0.0, 0.12))
            way = self.g.on_ventricle(self.left, [(0.12, 0.95 + turn), (0.35, 0.75 + turn), (end, 0.6 + turn)])
            self.g.child("RI", "RI", main, len(self.g.drafts[main].points) - 1, way)

    def diagonals(self) -> None:
        """One to four branches of the LAD towards the free wall."""
        rng, plan = self.rng, self.plan
        lad = self.g.find("LAD")
        if lad is None:
            return
        n = plan.diagonals
        spots = np.sort(rng.uniform(0.10, 0.6, n)) + np.array([0.0, 0.05, 0.09, 0.13])[:n]
        indices = [self.g.at(lad, float(spot) / max(plan.lad_reach, 0.9)) for spot in spots]
        if plan.early_bifurcation:
            indices[0] = round(float(rng.uniform(3.0, 8.0)) / STEP_MM)
        for k, index in enumerate(indices):
            t0, a0 = self._where(lad, index)
            turn = float(rng.uniform(0.5, 1.1))
            end = float(min(t0 + rng.uniform(0.25, 0.6), 0.92))
            mid = 0.5 * (t0 + end)
            way = self.g.on_ventricle(self.left, [(t0 + 0.10, a0 - 0.35 * turn), (mid, a0 - 0.7 * turn), (end, a0 - 1.1 * turn)])
            self.g.child(f"D{k + 1}", "LAD", lad, index, way)

    def marginals(self) -> None:
        """Up to four branches of the LCX over the lateral wall."""
        rng = self.rng
        lcx = self.g.find("LCX")
        if lcx is None:
            return
        n = self.plan.marginals
        spots = np.sort(rng.uniform(0.22, 0.9, n)) * (0.62 if self.plan.dominance == "left" else 0.95)
        retro = self.plan.origin == "anomalous_lcx_from_right"
        for k, spot in enumerate(spots):
            index = self.g.at(lcx, float(np.clip(0.45 + 0.5 * spot if retro else spot, 0.16, 0.93)))
            t0, a0 = self._where(lcx, index)
            end = float(rng.uniform(0.5, 0.88))
            drift = float(rng.uniform(-0.5, 0.15))
            way = self.g.on_ventricle(self.left, [(max(t0, 0.0) + 0.14, a0 + 0.3 * drift), (0.4, a0 + 0.6 * drift), (end, a0 + drift)])
            self.g.child(f"OM{k + 1}", "LCX", lcx, index, way)

    def inferior(self) -> None:
        """Posterior descending and posterolateral branches from the vessels that reach the crux."""
        rca, lcx, dominance = self.g.find("RCA"), self.g.find("LCX"), self.plan.dominance
        if dominance != "left" and rca is not None:
            self._descending(rca, "R-PDA")
            if dominance == "right":
                self._right_posterolateral(rca)
        if dominance != "right" and lcx is not None:
            if dominance == "left":
                self._descending(lcx, "L-PDA")
            self._posterolateral(lcx, "L-PLB", 12, 16)

    def _descending(self, parent: int, name: str) -> None:
        line = self.c.posterior_groove(0.12, float(self.rng.uniform(0.5, 0.88)))
        if len(line) > 2:
            self.g.child(name, self.g.drafts[parent].vessel, parent, len(self.g.drafts[parent].points) - 1, line)

    def _right_posterolateral(self, rca: int) -> None:
        """Posterolateral branches of the RCA; a super-dominant one goes on in the left atrioventricular groove."""
        if self.plan.rca_super:
            ring = self.c.left_ring()[::-1]
            _, angle = self.left.cylindrical(ring)
            way = ring[(angle > -2.5) & (angle < float(self.rng.uniform(-1.1, -0.6)))]
            if len(way) > 4 and self.g.child("R-PLB", "RCA", rca, len(self.g.drafts[rca].points) - 1, way):
                return
        self._posterolateral(rca, "R-PLB", 0, 12)

    def _posterolateral(self, parent: int, stem: str, back: int, step: int) -> None:
        rng = self.rng
        end = len(self.g.drafts[parent].points) - 1
        wanted, grown = int(rng.choice([1, 2, 3], p=[0.5, 0.38, 0.12])), 0
        for k in range(wanted + 3):
            if grown == wanted:
                break
            a = float(rng.uniform(-1.85, -1.25)) + 0.4 * grown
            way = self.g.on_ventricle(self.left, [(0.08, a - 0.25), (0.25, a), (float(rng.uniform(0.4, 0.75)), a + 0.15)])
            name = stem if grown == 0 else f"{stem}{grown + 1}"
            root = end - back - step * (grown if back == 0 else k)
            grown += self.g.child(name, self.g.drafts[parent].vessel, parent, max(0, root), way)

    def right_ventricle(self) -> None:
        """Conus branch and up to three acute marginals of the RCA."""
        rng = self.rng
        rca = self.g.find("RCA")
        if rca is None:
            return
        if self.plan.conus and self.plan.origin != "single_coronary":
            index = int(rng.uniform(5.0, 16.0) / STEP_MM)
            way = self.g.on_ventricle(self.right, [(0.15, 1.5), (0.35, 1.55), (0.5, 1.6)])
            self.g.child("CB", "RCA", rca, index, way, height=1.3)
        grown = 0
        for spot in np.sort(rng.uniform(0.22, 0.7, self.plan.acute_marginals))[::-1]:
            index = self.g.at(rca, float(spot))
            _, angle = self.right.cylindrical(self.g.drafts[rca].points[index][None])
            a0, turn = float(angle[0]), float(rng.uniform(-0.3, 0.1))
            way = self.g.on_ventricle(
                self.right, [(0.18, a0 + 0.2 * turn), (0.4, a0 + 0.6 * turn), (float(rng.uniform(0.45, 0.85)), a0 + turn)]
            )
            grown += self.g.child("AM" if grown == 0 else f"AM{grown + 1}", "RCA", rca, index, way, height=1.3)

    def sinus_node(self) -> None:
        """A thin branch of the first part of the RCA or LCX to the mouth of the superior vena cava."""
        s, rng = self.s, self.rng
        parent = self.g.find(self.plan.sinus_node) if self.plan.sinus_node else None
        if parent is None or self.plan.origin != "normal":
            return
        index = int(rng.uniform(8.0, 18.0) / STEP_MM)
        if index > len(self.g.drafts[parent].points) // 3:
            return
        mouth = s.points[((s.organs["svc"] < 5.0) & (s.organs["svc"] > 2.0) & (s.ra < 4.0) & (s.ra > 1.5)).ravel()]
        if len(mouth) == 0:
            return
        root = self.g.drafts[parent].points[index]
        goal = mouth[int(np.argmin(((mouth - root) ** 2).sum(1)))]
        self.g.child("SN", self.g.drafts[parent].vessel, parent, index, s.route(root, goal, height=1.5)[4:], height=1.3)

    def second_order(self) -> None:
        """Branches of the larger side branches; they carry their parent's name with a letter."""
        rng = self.rng
        for i in range(len(self.g.drafts)):
            draft = self.g.drafts[i]
            length = arc(draft.points)[-1]
            if draft.name not in PARENTS or length < 26.0 or rng.random() > self.plan.second_order:
                continue
            index = self.g.at(i, float(rng.uniform(0.2, 0.6)))
            t0, a0 = self._where(i, index)
            turn = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.25, 0.55))
            end = min(t0 + float(rng.uniform(0.2, 0.45)), 0.92)
            way = self.g.on_ventricle(self.left, [(t0 + 0.06, a0 + 0.4 * turn), (0.5 * (t0 + end), a0 + 0.8 * turn), (end, a0 + turn)])
            self.g.child(f"{draft.name}a", draft.vessel, i, index, way)

    def septals(self) -> None:
        """Septal perforators: from the LAD straight down into the septal muscle."""
        rng, s = self.rng, self.s
        lad = self.g.find("LAD")
        if lad is None:
            return
        septum = np.minimum(-s.lv, np.minimum(s.organs["lv"], s.organs["rv"]))
        spots = np.sort(rng.uniform(0.08, 0.5, self.plan.septals)) / max(self.plan.lad_reach, 0.9)
        roots: list[int] = []
        for k, spot in enumerate(spots):
            index = self.g.at(lad, float(spot))
            if any(abs(index - other) < 14 for other in roots):
                continue
            line = self._perforator(self.g.drafts[lad].points[index], septum, int(rng.uniform(12, 34)))
            line = line[: before_fold(line)]
            if arc(line)[-1] > 8.0:
                roots.append(index)
                self.g.drafts.append(Draft(f"S{k + 1}", "LAD", line, lad, index))

    def _perforator(self, root: FloatArray, septum: FloatArray, steps: int) -> FloatArray:
        rng, s = self.rng, self.s
        inward = s.left_frame.base + 0.5 * s.left_frame.length * s.left_frame.axis - root
        p = [root]
        heading = inward / np.linalg.norm(inward)
        for _ in range(steps):
            options = p[-1] + 1.0 * _cone(heading, rng)
            value = np.minimum(s.sample(septum, options), 3.0)
            best = int(np.argmax(value))
            if len(p) > 8 and value[best] < 1.5:
                break
            heading = 0.7 * heading + 0.3 * (options[best] - p[-1])
            heading /= np.linalg.norm(heading)
            p.append(options[best])
        return resample(smooth(np.asarray(p), 2.0), step=STEP_MM * 0.98)


def _cone(heading: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Unit directions within about 25 degrees of a heading."""
    d = heading + 0.22 * rng.normal(0, 1, (12, 3))
    d[0] = heading
    return np.asarray(d / np.linalg.norm(d, axis=1, keepdims=True))
