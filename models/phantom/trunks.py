"""The main coronary arteries: left main, LAD, LCX and RCA, from normal and from anomalous origins."""

from __future__ import annotations

import numpy as np

from models.phantom.corridors import LEFT_SINUS, RIGHT_SINUS, Corridors, entered
from models.phantom.growth import STEP_MM, Draft, Growth, NoRoomError
from models.phantom.surface import resample, smooth
from models.phantom.types import FloatArray


def grow_trunks(growth: Growth, corridors: Corridors) -> None:
    """Add the main arteries that the plan asks for, left before right."""
    _Trunks(growth, corridors).grow()


class _Trunks:
    def __init__(self, growth: Growth, corridors: Corridors) -> None:
        self.g, self.c = growth, corridors
        self.rng, self.plan, self.drafts = growth.rng, growth.plan, growth.drafts

    def grow(self) -> None:
        origin = self.plan.origin
        whole = self._anterior()
        if origin == "separate_ostia":
            self.drafts.append(Draft("LAD", "LAD", whole))
            self._circumflex_from_aorta(whole)
            self._right()
        elif origin == "anomalous_lcx_from_right":
            self.drafts.append(Draft("LAD", "LAD", whole))
            self._right()
            self._retroaortic_circumflex()
        else:
            self._left_main(whole)
            if origin == "single_coronary":
                self._right_from_left()
            elif origin == "anomalous_rca_from_left":
                self._interarterial_right()
            else:
                self._right()

    def _anterior(self) -> FloatArray:
        """From the left sinus to the end of the LAD."""
        rng, plan, c = self.rng, self.plan, self.c
        height = float(rng.uniform(-2.0, 3.0)) + plan.high_left
        lead = c.open_direction(height, LEFT_SINUS, 0.6)
        ostium, lead = c.ostium(height, lead)
        self.g.ostia["left"] = ostium
        self.left_height, self.left_lead = height, lead
        line = c.anterior_groove(plan.lad_reach)
        return self.g.finish(c.leg(ostium, lead, line, 3.2), 2.2)

    def _left_main(self, whole: FloatArray) -> None:
        split = int(np.clip(round(self.plan.lm_length / STEP_MM), 4, len(whole) // 4))
        self.drafts.append(Draft("LM", "LM", whole[: split + 1]))
        self.drafts.append(Draft("LAD", "LAD", whole[split:], 0, split))
        start = whole[split]
        ring = entered(start, self._ring_of_circumflex())
        path = self.g.surface.route(start, ring[0], height=3.0, avoid=whole[split + 12 :: 2])
        p = smooth(resample(np.concatenate([start[None], path[1:-1], ring])), 3.0)
        p[0] = start
        self.drafts.append(Draft("LCX", "LCX", self.g.finish(p, 2.0, avoid=whole, apart=5.5), 0, split))

    def _ring_of_circumflex(self) -> FloatArray:
        """As much of the left atrioventricular groove as the circumflex supplies."""
        rng, plan = self.rng, self.plan
        ring = self.c.left_ring()
        last = {"right": float(rng.uniform(-1.3, -0.4)), "left": -2.6, "codominant": -2.1}[plan.dominance]
        if plan.lcx_small:
            last = float(rng.uniform(-0.1, 0.8))
        _, angle = self.g.surface.left_frame.cylindrical(ring)
        kept = ring[angle > last]
        return kept if len(kept) >= 6 else ring[:6]

    def _circumflex_from_aorta(self, whole: FloatArray) -> None:
        """A second left ostium, 4 to 7 mm behind the first."""
        c, rng = self.c, self.rng
        side = np.cross(c.axis, self.left_lead)
        side = side if side[1] > 0 else -side
        ostium, lead = c.ostium(self.left_height - float(rng.uniform(0.0, 2.0)), self.left_lead + float(rng.uniform(0.36, 0.55)) * side)
        self.g.ostia["circumflex"] = ostium
        p = self.g.finish(c.leg(ostium, lead, self._ring_of_circumflex(), 3.0), 2.0, avoid=whole, apart=4.6)
        self.drafts.append(Draft("LCX", "LCX", p))

    def _right(self) -> None:
        rng, plan, c = self.rng, self.plan, self.c
        height = float(rng.uniform(-2.0, 3.0)) + plan.high_right
        lead = c.open_direction(height, RIGHT_SINUS, 0.55)
        ostium, lead = c.ostium(height, lead)
        self.g.ostia["right"] = ostium
        self.right_height, self.right_lead = height, lead
        self.drafts.append(Draft("RCA", "RCA", self.g.finish(c.leg(ostium, lead, self._ring_of_right(), 3.0), 2.2)))

    def _ring_of_right(self) -> FloatArray:
        ring = self.c.right_ring()
        _, angle = self.g.surface.right_frame.cylindrical(ring)
        if self.plan.dominance == "left":
            ring = ring[angle > self.rng.uniform(-0.9, -0.2)]
        if len(ring) < 5:
            raise NoRoomError
        return ring

    def _retroaortic_circumflex(self) -> None:
        """A circumflex from the first part of the RCA, or beside it, that passes behind the aortic root."""
        rng, c = self.rng, self.c
        back = -c.open_direction(0.0, LEFT_SINUS, 0.1) - RIGHT_SINUS
        height = float(rng.uniform(-3.0, 1.0))
        first = self.right_lead + 0.6 * np.array([-1.0, 0.2, 0.0])
        way = np.concatenate([
            c.around_root(first, np.array([-1.0, 0.3, 0.0]), height, 3.4)[2:-1],
            c.around_root(np.array([-1.0, 0.3, 0.0]), back / np.linalg.norm(back), height, 3.4)[:-1],
            c.around_root(back / np.linalg.norm(back), np.array([0.5, 1.0, 0.0]), height, 3.4),
        ])  # fmt: skip
        ring = self._ring_of_circumflex()
        rca = self.g.find("RCA")
        others = np.concatenate([d.points for d in self.drafts])
        if rng.random() < 0.5 and rca is not None:
            index = int(rng.integers(8, 20))
            start = self.drafts[rca].points[index]
            p = self.g.finish(c.leg(start, self.right_lead, ring, 2.6, via=way), 1.9, avoid=others, apart=4.0)
            self.drafts.append(Draft("LCX", "LCX", p, rca, index))
            return
        ostium, _lead = c.ostium(self.right_height - 1.0, self.right_lead + 0.5 * np.array([-1.0, 0.1, 0.0]))
        self.g.ostia["circumflex"] = ostium
        p = self.g.finish(c.leg(ostium, self.right_lead, ring, 2.6, via=way), 1.9, avoid=others, apart=4.0)
        self.drafts.append(Draft("LCX", "LCX", p))

    def _interarterial_right(self) -> None:
        """An RCA from the left sinus that runs between aorta and pulmonary trunk."""
        c, rng = self.c, self.rng
        height = self.left_height + float(rng.uniform(1.0, 4.0))
        first = LEFT_SINUS + float(rng.uniform(0.7, 1.1)) * np.array([0.3, -1.0, 0.0])
        ostium, lead = c.ostium(height, first)
        self.g.ostia["right"] = ostium
        way = c.around_root(lead, RIGHT_SINUS + np.array([-0.3, 0.0, 0.0]), height, 3.2)[1:]
        others = np.concatenate([d.points for d in self.drafts])
        p = self.g.finish(c.leg(ostium, lead, self._ring_of_right(), 2.8, via=way), 2.0, avoid=others, apart=4.0)
        self.drafts.append(Draft("RCA", "RCA", p))

    def _right_from_left(self) -> None:
        """A single coronary artery: the RCA leaves the first part of the LAD and crosses in front of the right ventricular outlet."""
        s, rng = self.g.surface, self.rng
        lad = self.g.find("LAD")
        assert lad is not None  # noqa: S101 - the left main was grown just before
        index = int(rng.integers(10, 26))
        start = self.drafts[lad].points[index]
        outlet = s.mean_point((s.organs["rv"] < 3.0) & (s.organs["pa"] < 3.0))
        t = np.arange(0.0, 50.0, 0.5)
        ray = outlet - np.array([0.0, 0.0, 4.0]) + t[:, None] * np.array([-0.2, -0.98, 0.0])
        inside = np.flatnonzero(np.minimum(s.sample(s.clear, ray), s.sample(s.rv, ray)) < 2.0)
        front = ray[int(inside[-1]) if inside.size else 0]
        ring = entered(front, self._ring_of_right())
        way = [s.route(start, front, height=2.5, avoid=self.drafts[lad].points[index + 14 :: 2]), s.route(front, ring[0], height=2.5), ring]
        p = smooth(resample(np.concatenate([way[0], way[1][1:], way[2][1:]])), 3.0)
        p[0] = start
        others = np.concatenate([d.points for d in self.drafts])
        self.drafts.append(Draft("RCA", "RCA", self.g.finish(p, 2.0, avoid=others, apart=4.0), lad, index))
