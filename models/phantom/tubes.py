"""What is neither heart nor coronary: vessels of the lungs, calcium elsewhere, papillary muscles."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from models.phantom.growth import Draft
from models.phantom.surface import Surface
from models.phantom.types import FloatArray, Grid, Tube


class _Lung:
    """Where lung vessels may run: inside the lung, or near the hilum that they start from and outside the pericardium."""

    def __init__(self, grid: Grid, lung: FloatArray, sac: FloatArray, hilum: FloatArray) -> None:
        self.grid, self.lung, self.sac, self.hilum = grid, lung, sac, hilum

    def holds(self, p: FloatArray) -> bool:
        index = np.round((p - self.grid.origin) / self.grid.spacing).astype(int)
        if (index < 0).any() or (index[::-1] >= self.lung.shape).any():
            return False
        here = (index[2], index[1], index[0])
        near = float(((p - self.hilum) ** 2).sum()) < 24.0**2 and float(self.sac[here]) > 3.0
        return near or bool(self.lung[here] < -1.5)


def draw_lung_vessels(rng: np.random.Generator, grid: Grid, lung: FloatArray, sac: FloatArray) -> tuple[Tube, ...]:
    """Vessels that branch from both hila into the lungs; `lung` and `sac` are signed distances (mm) of lungs and pericardium."""
    centre = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1)
    points = grid.points()
    rim = points[((lung < -2.0) & (sac < 14.0)).ravel()] - centre
    out: list[Tube] = []
    for side in (-1.0, 1.0):
        hilum = np.array([side * 48.0, 34.0, 12.0])
        nearest = np.argsort(((rim - hilum) ** 2).sum(1) + 1e6 * (rim[:, 0] * side < 15.0))[:4000]
        if len(nearest) == 0:
            continue
        where = _Lung(grid, lung, sac, centre + hilum)
        for start in rim[rng.choice(nearest, 18)] + centre:
            heading = np.array([side * rng.uniform(0.1, 1.0), rng.uniform(-1.0, 0.7), rng.uniform(-1.0, 0.8)])
            _sprout(rng, where, start, heading, float(rng.uniform(1.5, 3.4)), out)
    return tuple(out)


def _sprout(rng: np.random.Generator, where: _Lung, start: FloatArray, heading: FloatArray, radius: float, out: list[Tube]) -> None:
    heading = heading / np.linalg.norm(heading)
    turn = rng.normal(0, 0.06, 3)
    p = [start]
    for _ in range(int(rng.uniform(7, 14))):
        heading = heading + turn + rng.normal(0, 0.07, 3)
        for attempt in range(6):
            way = heading + rng.normal(0, 0.3 * attempt, 3)
            way = way / np.linalg.norm(way)
            after = p[-1] + (1.5 + 0.6 * radius) * way
            if where.holds(after):
                break
        else:
            break
        heading = way
        p.append(after)
    end = radius * 0.8
    if len(p) < 3:
        return
    out.append(Tube("lung", np.asarray(p), np.linspace(radius, end, len(p))))
    if end > 0.5:
        for share in (0.9, float(rng.uniform(0.3, 0.75))):
            if end * share > 0.45:
                _sprout(rng, where, p[-1], heading + rng.normal(0, 0.45, 3), end * share, out)


def draw_calcifications(
    rng: np.random.Generator, grid: Grid, organs: dict[str, FloatArray], drafts: list[Draft], age: int
) -> tuple[Tube, ...]:
    """Calcium that is not coronary: in the wall of the aorta and in the mitral annulus, at least 8 mm off every coronary artery."""
    out: list[Tube] = []
    points = grid.points().astype(np.float64)
    coronary = cKDTree(np.concatenate([d.points for d in drafts]))
    chance = np.clip((age - 45) / 50.0, 0.05, 0.8)
    places = (np.abs(organs["ao"] - 0.6) < 0.8, np.maximum(np.abs(organs["lv"]), np.abs(organs["la"])) < 2.0)
    for mask, most, likely in zip(places, (10, 5), (chance, 0.4 * chance), strict=True):
        candidates = points[mask.ravel()]
        if rng.random() > likely or len(candidates) == 0:
            continue
        count = int(rng.integers(1, most)) * (4 if rng.random() < 0.2 else 1)
        for p in candidates[rng.integers(0, len(candidates), count)]:
            if coronary.query(p)[0] < 8.0:
                continue
            radius = float(rng.uniform(0.5, 1.7))
            q = p + rng.normal(0, 1.6, 3)
            out.append(Tube("calcification", np.stack([p, q]), np.array([radius, radius * float(rng.uniform(0.6, 1.0))])))
    return tuple(out)


def draw_stent_graft(rng: np.random.Generator, grid: Grid, organs: dict[str, FloatArray]) -> tuple[Tube, ...]:
    """Zigzag rings of wire in the descending aorta of about one patient in twenty-five: bright, round and no coronary artery."""
    if rng.random() > 0.04:
        return ()
    points, aorta = grid.points(), organs["ao"].ravel()
    behind = points[:, 1] > grid.origin[1] + 0.5 * grid.spacing * (grid.shape[1] - 1) + 40.0
    out: list[Tube] = []
    first, last = np.sort(rng.uniform(0.0, 1.0, 2)) * grid.shape[0] * grid.spacing
    for height in np.arange(grid.origin[2] + first, grid.origin[2] + max(last, first + 60.0), float(rng.uniform(11.0, 18.0))):
        here = (np.abs(points[:, 2] - height) < 1.1) & behind & (aorta < 0.0)
        if here.sum() < 30:
            continue
        middle, radius = points[here].mean(0), float(np.sqrt(here.sum() * grid.spacing**2 / np.pi))
        angle = np.linspace(0.0, 2.0 * np.pi, 73)
        wave = 4.0 * np.sin(float(rng.integers(5, 9)) * angle)
        ring = middle + np.stack([radius * np.cos(angle), radius * np.sin(angle), wave], axis=1)
        out.append(Tube("calcification", ring, np.full(len(ring), float(rng.uniform(0.3, 0.5)))))
    return tuple(out)


def papillary_muscles(rng: np.random.Generator, surface: Surface) -> FloatArray:
    """Two papillary muscles as capsules (rows: start, end, two radii) that stand on the inner wall of the left ventricle."""
    frame = surface.left_frame
    rows = []
    for angle in (float(rng.normal(0.75, 0.2)), float(rng.normal(-1.1, 0.2))):
        way = frame.direction(angle)
        ends = []
        for height, inset in ((0.72, 0.0), (0.38, float(rng.uniform(6.0, 9.0)))):
            root = frame.base + height * frame.length * frame.axis
            t = np.arange(0.0, 45.0, 0.5)
            inside = surface.sample(surface.organs["lv"], root + t[:, None] * way) < 0.0
            edge = float(t[np.flatnonzero(inside)[-1]]) if inside.any() else 10.0
            ends.append(root + max(edge - inset, 4.0) * way)
        rows.append([*ends[0], *ends[1], float(rng.uniform(3.5, 5.0)), float(rng.uniform(2.2, 3.4))])
    return np.asarray(rows, np.float32)
