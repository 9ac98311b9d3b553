"""Cardiac veins: great vein with coronary sinus, middle and small vein, veins of the left ventricle's back, anterior veins.

They run in the same furrows as the arteries, a little aside, and cross over them; how bright they are is the scan's matter.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.phantom.corridors import Corridors
from models.phantom.growth import Draft
from models.phantom.kernels import sample_stack
from models.phantom.surface import Surface, resample, smooth
from models.phantom.types import FloatArray, Tube


def draw_veins(rng: np.random.Generator, surface: Surface, drafts: list[Draft]) -> tuple[Tube, ...]:
    """The veins of one heart, none of them inside an artery."""
    tubes = _Veins(rng, surface, drafts).draw()
    return tuple(tube for tube in (_beside_arteries(t, surface, drafts) for t in tubes) if tube is not None)


def _beside_arteries(tube: Tube, surface: Surface, drafts: list[Draft]) -> Tube | None:
    """Push a vein off every artery, towards the fat, and keep it smooth; None where there is no room."""
    points = np.concatenate([d.points for d in drafts])
    radius = np.concatenate([0.5 * d.diameter + 0.55 for d in drafts])
    tree = cKDTree(points)
    p = tube.points_mm.copy()
    for k in range(36):
        distance, nearest = tree.query(p)
        need = np.clip(radius[nearest] + tube.radius_mm + 0.4 - distance, 0.0, 1.0)
        away = p - points[nearest]
        away += 0.6 * sample_stack(p, surface.guide[2:5], surface.origin, surface.grid.spacing).T
        away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
        p += need[:, None] * away
        if k < 28:
            p[1:-1] = 0.7 * p[1:-1] + 0.15 * (p[:-2] + p[2:])
    distance, nearest = tree.query(p)
    free = distance > radius[nearest] - 0.5 + tube.radius_mm
    if free.all():
        return Tube(tube.kind, p, tube.radius_mm)
    # The longest free stretch; a vein that loses more than a third of its length is left out.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(int), [0]])))
    starts, ends = edges[::2], edges[1::2]
    best = int(np.argmax(ends - starts)) if len(starts) else 0
    if len(starts) == 0 or ends[best] - starts[best] < max(8, 2 * len(p) // 3):
        return None
    keep = slice(int(starts[best]), int(ends[best]))
    return Tube(tube.kind, p[keep], tube.radius_mm[keep])


class _Veins:
    """Lays the veins of one heart, each from its beginning towards the right atrium."""

    def __init__(self, rng: np.random.Generator, surface: Surface, drafts: list[Draft]) -> None:
        self.rng, self.s = rng, surface
        self.by_name = {d.name: d.points for d in drafts}
        self.corridors = Corridors(surface)
        self.size = float(rng.uniform(0.75, 1.25))

    def draw(self) -> list[Tube]:
        rng = self.rng
        sinus, great = self._great()
        out = [great]
        for share, vein in ((0.9, self._middle), (0.75, self._back), (0.4, self._back), (0.5, self._small)):
            if rng.random() < share:
                tube = vein(sinus)
                out += [tube] if tube is not None else []
        out += [t for t in (self._anterior() for _ in range(int(rng.integers(0, 3)))) if t is not None]
        return out

    def _tube(self, p: FloatArray, first: float, last: float) -> Tube:
        u = np.linspace(0.0, 1.0, len(p))
        return Tube("vein", p, (first + (last - first) * u**1.3) * self.size)

    def _into_atrium(self, p: FloatArray, reach: float) -> FloatArray:
        """A path with a tail of ten points into the right atrium."""
        s = self.s
        deep = s.points[(s.organs["ra"] < -4.0).ravel()]
        end = deep[np.argmin(((deep - p[-1]) ** 2).sum(1))]
        way = end - p[-1]
        share = min(1.0, reach / max(float(np.linalg.norm(way)), 1e-6))
        return np.concatenate([p, p[-1] + np.linspace(0, share, 11)[1:, None] * way])

    def _great(self) -> tuple[FloatArray, Tube]:
        """The vein beside the LAD, round the left atrioventricular groove, and the coronary sinus; its last half is returned first."""
        s, rng = self.s, self.rng
        ring = self.corridors.left_ring()
        lad = self.by_name["LAD"]
        n = min(len(lad), 260)
        front = lad[int(0.12 * n) : int(rng.uniform(0.5, 0.9) * n) : 6][::-1]
        front = front + float(rng.uniform(3.0, 4.5)) * s.left_frame.side + float(rng.uniform(0.3, 1.2)) * s.left_frame.up
        _, angle = s.left_frame.cylindrical(ring)
        p = np.concatenate([front, ring[angle < 1.3]])
        p = s.settle(smooth(resample(p), 4.0), float(rng.uniform(2.6, 3.6)), rounds=40, hug=0.05)
        sinus = p[len(p) // 2 :]
        p = self._into_atrium(p, 16.0)
        u = np.linspace(0, 1, len(p))
        wide = float(rng.uniform(1.6, 3.2))
        radius = (0.8 + 1.1 * u + wide * np.clip((u - 0.6) / 0.3, 0, 1)) * self.size
        return sinus, Tube("vein", p, radius)

    def _join(self, p: FloatArray, sinus: FloatArray, height: float) -> FloatArray:
        """A path carried on to the nearest point of the coronary sinus."""
        s = self.s
        goal = sinus[int(np.argmin(((sinus - p[-1]) ** 2).sum(1)))]
        p = np.concatenate([p, s.route(p[-1], goal, height=height)[1:]])
        return s.settle(smooth(resample(p), 3.0), height, rounds=25)

    def _middle(self, sinus: FloatArray) -> Tube | None:
        """Beside the posterior descending artery."""
        groove = self.corridors.posterior_groove(0.08, float(self.rng.uniform(0.6, 0.95)))[::-1]
        if len(groove) < 4:
            return None
        aside = 2.6 * self.s.left_frame.side * float(self.rng.choice([-1.0, 1.0]))
        return self._tube(self._join(groove + aside, sinus[len(sinus) // 2 :], 2.0), 0.6, 1.7)

    def _back(self, sinus: FloatArray) -> Tube | None:
        """A vein of the lateral or inferior wall of the left ventricle."""
        rng, s = self.rng, self.s
        frame, a = s.left_frame, float(rng.uniform(-1.5, 0.3))
        rows = [
            s.ray(frame.base + t * frame.length * frame.axis, frame.direction(a + 0.3 * (t - 0.3)), 1.8)
            for t in np.linspace(float(rng.uniform(0.5, 0.8)), 0.12, 8)
        ]
        return self._tube(self._join(np.asarray(rows), sinus, 1.8), 0.5, float(rng.uniform(0.9, 1.4)))

    def _small(self, sinus: FloatArray) -> Tube | None:
        """In the right atrioventricular groove, from the acute margin to the coronary sinus."""
        s, rng = self.s, self.rng
        ring = self.corridors.right_ring()
        _, angle = s.right_frame.cylindrical(ring)
        ring = ring[angle < float(rng.uniform(-1.0, 0.4))]
        if len(ring) < 6:
            return None
        return self._tube(self._join(ring, sinus[-8:], 2.6), 0.5, 1.1)

    def _anterior(self) -> Tube | None:
        """From the front of the right ventricle across the groove into the right atrium."""
        s, rng = self.s, self.rng
        frame, a = s.right_frame, float(rng.uniform(-0.2, 1.3))
        heights = np.linspace(float(rng.uniform(0.35, 0.6)), 0.08, 7)
        rows = [s.ray(frame.base + t * frame.length * frame.axis, frame.direction(a), 1.6) for t in heights]
        p = np.asarray(rows)
        over = s.points[((s.ra < 2.5) & (s.ra > 1.0) & (s.rv > 4.0)).ravel()]
        if len(over) == 0:
            return None
        goal = over[int(np.argmin(((over - p[-1]) ** 2).sum(1)))]
        p = np.concatenate([p, s.route(p[-1], goal, height=3.5)[1:]])
        p = s.settle(smooth(resample(p), 3.0), 2.4, rounds=25)
        return self._tube(self._into_atrium(p, 6.0), 0.45, 1.0)
