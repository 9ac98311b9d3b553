"""The epicardial surface of a virtual heart: frames, grooves, and paths that stay in the fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from models.phantom.kernels import cheapest_path, sample_stack, tube_grid
from models.phantom.types import FloatArray, Grid


@dataclass(frozen=True)
class Frame:
    """A ventricle's frame: base centre, apex, unit vectors along the axis, free-wall side and superior side."""

    base: FloatArray
    apex: FloatArray
    axis: FloatArray
    side: FloatArray
    up: FloatArray

    @property
    def length(self) -> float:
        """Distance from base to apex, mm."""
        return float(np.linalg.norm(self.apex - self.base))

    def cylindrical(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Relative height (0 base, 1 apex) and angle (rad; 0 free wall, positive superior) of positions (n, 3)."""
        d = p - self.base
        return (d @ self.axis) / self.length, np.arctan2(d @ self.up, d @ self.side)

    def direction(self, angle: float) -> FloatArray:
        """Unit vector away from the axis at an angle."""
        return np.asarray(np.cos(angle) * self.side + np.sin(angle) * self.up)


class Surface:
    """Fields that guide the coronary arteries, sampled in mm at LPS positions.

    `heart` is the distance to the epicardium of all chambers, `clear` the distance to anything a vessel may not enter.
    """

    def __init__(self, grid: Grid, organs: dict[str, FloatArray]) -> None:
        self.grid = grid
        self.origin = np.asarray(grid.origin)
        self.lv = organs["myocardium"]
        chambers = {name: organs[name] for name in ("rv", "ra")} | {"la": organs["la_core"]}
        self.rv, self.la, self.ra = (np.maximum(chambers[n] - g, -40.0) for n, g in (("rv", 2.8), ("la", 1.5), ("ra", 1.5)))
        self.great = np.minimum(np.minimum(organs["ao"] - 1.6, organs["pa"] - 1.1), np.minimum(organs["svc"], organs["ivc"]) - 1.0)
        self.heart = np.minimum(np.minimum(self.lv, self.rv), np.minimum(self.la, self.ra))
        self.ventricles = np.minimum(self.lv, self.rv)
        self.clear = np.minimum(self.heart, self.great)
        self.smooth = ndimage.gaussian_filter(self.clear, 0.8)
        self.gradient = np.stack([np.gradient(self.smooth, grid.spacing, axis=a) for a in (2, 1, 0)])
        self.rise = np.stack([np.gradient(ndimage.gaussian_filter(self.heart, 1.0), grid.spacing, axis=a) for a in (2, 1, 0)])
        self.guide = np.stack([self.smooth, self.heart, *self.gradient, *self.rise]).astype(np.float32)
        self.organs = organs
        self.points = grid.points()
        self.left_frame = self._frame(organs["lv"], organs["la"], self.lv, away_from=self.rv, up=np.array([0.0, -0.5, 1.0]))
        self.right_frame = self._frame(organs["rv"], organs["ra"], self.rv, away_from=self.lv, up=np.array([0.0, 0.0, 1.0]))

    def index(self, p: FloatArray) -> FloatArray:
        """Fractional (z, y, x) index, shape (3, n), of positions (n, 3)."""
        return np.asarray(((np.atleast_2d(p) - self.origin) / self.grid.spacing)[:, ::-1].T)

    def sample(self, field: FloatArray, p: FloatArray) -> FloatArray:
        """Trilinear samples of a field on the grid."""
        points = np.ascontiguousarray(np.atleast_2d(p), np.float64)
        return np.asarray(sample_stack(points, field[None], self.origin, self.grid.spacing)[0], np.float64)

    def mean_point(self, mask: FloatArray) -> FloatArray:
        """Centroid (mm) of a mask on the grid."""
        return np.asarray(self.points[mask.ravel()].mean(0, dtype=np.float64))

    def _frame(self, blood: FloatArray, atrium: FloatArray, outer: FloatArray, *, away_from: FloatArray, up: FloatArray) -> Frame:
        reach = 3.0
        contact = (blood < reach) & (atrium < reach)
        while contact.sum() < 30:
            reach += 1.5
            contact = (blood < reach) & (atrium < reach)
        base = self.mean_point(contact)
        inside = self.points[(outer < 0.0).ravel()]
        far = inside[np.argsort(((inside - base) ** 2).sum(1))[-40:]]
        apex = far.mean(0, dtype=np.float64)
        axis = (apex - base) / np.linalg.norm(apex - base)
        other = self.mean_point(away_from < 0.0)
        side = self.mean_point(outer < 0.0) - other
        side -= axis * (side @ axis)
        side /= np.linalg.norm(side)
        top = np.cross(axis, side)
        if top @ up < 0:
            top = -top
        return Frame(base, apex, axis, side, top)

    def groove(self, a: FloatArray, b: FloatArray, *, height: tuple[float, float] = (0.8, 5.0)) -> FloatArray:
        """Grid positions in the fat of the furrow between two chambers."""
        other = np.full(a.shape, 99.0, np.float32)
        for chamber in (self.lv, self.rv, self.la, self.ra):
            if chamber is not a and chamber is not b:
                other = np.minimum(other, chamber)
        near = np.minimum(a, b)
        mask = (np.abs(a - b) < 2.2) & (near > height[0]) & (near < height[1]) & (other > near - 0.5) & (self.great > 2.0)
        return np.asarray(self.points[mask.ravel()], np.float64)

    def ray(self, start: FloatArray, direction: FloatArray, height: float) -> FloatArray:
        """Where a ray leaves the ventricles for the last time within 75 mm, `height` mm above the epicardium."""
        t = np.arange(0.0, 75.0, 0.5)
        p = start + t[:, None] * direction
        value = self.sample(self.ventricles, p)
        inside = np.flatnonzero(value < height)
        return np.asarray(p[inside[-1] if inside.size else 0])

    def route(
        self, start: FloatArray, end: FloatArray, *, height: float, margin: float = 14.0, avoid: FloatArray | None = None
    ) -> FloatArray:
        """The cheapest path in the fat between two positions: off every structure, near `height` above the heart.

        The path keeps 7 mm off the points `avoid`, where it can.
        """
        lo = np.floor(self.index(np.minimum(start, end) - margin)[:, 0]).astype(int).clip(0)
        hi = np.ceil(self.index(np.maximum(start, end) + margin)[:, 0]).astype(int) + 1
        box = tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))
        clear, heart = self.clear[box], self.heart[box]
        cost = 1.0 + 0.06 * np.maximum(heart - height, 0.0) ** 1.5 + np.minimum(0.35 * np.maximum(height - clear, 0.0) ** 2, 40.0)
        if avoid is not None:
            first = np.asarray(self.grid.origin) + self.grid.spacing * lo[::-1]
            near = tube_grid(clear.shape, first, self.grid.spacing, avoid, np.zeros(len(avoid)), 7.0)
            cost += 0.5 * (7.0 - near) ** 1.5
        limit = np.array(clear.shape) - 1
        a, b = (np.clip(np.round(self.index(p)[:, 0]).astype(int) - lo, 0, limit) for p in (start, end))
        path = cheapest_path(np.ascontiguousarray(cost, np.float64), (a[0], a[1], a[2]), (b[0], b[1], b[2])) + lo
        p = path[:, ::-1] * self.grid.spacing + self.origin
        p[0], p[-1] = start, end
        return np.asarray(p)

    def settle(
        self, p: FloatArray, height: float, *, rounds: int = 60, hug: float = 0.0, avoid: FloatArray | None = None, apart: float = 3.8
    ) -> FloatArray:
        """Relax a path (step about 1 mm): at least `height` off everything, smooth, its first point kept.

        `hug` pulls a path that lies high in the fat down to the heart. The path leaves the points `avoid` at once and then stays
        `apart` mm off them.
        """
        p = p.copy()
        tree = cKDTree(avoid) if avoid is not None else None
        for _ in range(rounds):
            guide = sample_stack(p, self.guide, self.origin, self.grid.spacing)
            clear, heart, out, up = guide[0], guide[1], _unit(guide[2:5].T), _unit(guide[5:8].T)
            lift = 0.5 * np.clip(height - clear, 0.0, 1.2)[:, None] * out
            lift -= 0.5 * hug * np.clip(heart - height - 1.0, 0.0, 1.5)[:, None] * up
            if tree is not None and avoid is not None:
                distance, nearest = tree.query(p)
                need = np.minimum(apart, 0.9 * np.arange(len(p)))
                lift += 0.5 * np.clip(need - distance, 0.0, 1.0)[:, None] * _unit(p - avoid[nearest])
            move = np.zeros_like(p)
            move[1:-1] = 0.5 * (p[:-2] + p[2:]) - p[1:-1]
            p[1:] += 0.6 * move[1:] + lift[1:]
            p = resample(p, count=len(p))
        return p


def _unit(v: FloatArray) -> FloatArray:
    return np.asarray(v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-3))


def arc(p: FloatArray) -> FloatArray:
    """Arc length (mm) at each point of a polyline."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))])


def resample(p: FloatArray, *, step: float = 1.0, count: int | None = None) -> FloatArray:
    """A polyline with even steps."""
    s = arc(p)
    n = count or max(2, int(np.ceil(s[-1] / step)) + 1)
    u = np.linspace(0.0, s[-1], n)
    return np.stack([np.interp(u, s, p[:, c]) for c in range(3)], 1)


def smooth(p: FloatArray, sigma: float) -> FloatArray:
    """A polyline smoothed with a Gaussian of `sigma` points whose ends stay in place."""
    if len(p) < 4:
        return p
    line = np.linspace(0.0, 1.0, len(p))[:, None]
    chord = p[0] + (p[-1] - p[0]) * line
    # Odd reflection keeps both ends and their direction.
    return np.asarray(chord + _odd_filter(p - chord, sigma))


def _odd_filter(d: FloatArray, sigma: float) -> FloatArray:
    n = len(d)
    extended = np.concatenate([-d[:0:-1], d, -d[-2::-1]])
    return np.asarray(ndimage.gaussian_filter1d(extended, sigma, axis=0)[n - 1 : 2 * n - 1])
