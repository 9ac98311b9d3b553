"""Vessels that are not coronary arteries: cardiac veins and the vessels of the lungs."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from models.phantom.surface import Surface, resample, smooth
from models.phantom.tree import Draft
from models.phantom.types import FloatArray, Grid, Tube


def draw_veins(rng: np.random.Generator, surface: Surface, drafts: list[Draft]) -> tuple[Tube, ...]:
    """Great cardiac vein with coronary sinus, and middle cardiac vein, beside the arteries."""
    return tuple(_beside_arteries(tube, surface, drafts) for tube in _veins(rng, surface, drafts))


def _beside_arteries(tube: Tube, surface: Surface, drafts: list[Draft]) -> Tube:
    """Push a vein off every artery, towards the fat, and keep it smooth."""
    points = np.concatenate([d.points for d in drafts])
    radius = np.concatenate([0.5 * d.diameter + 0.55 for d in drafts])
    tree = cKDTree(points)
    p = tube.points_mm.copy()
    for k in range(30):
        distance, nearest = tree.query(p)
        need = np.clip(radius[nearest] + tube.radius_mm + 0.4 - distance, 0.0, 1.0)
        away = p - points[nearest]
        index = surface.index(p)
        g = np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in surface.gradient], 1)
        away += 0.6 * g
        away /= np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
        p += need[:, None] * away
        if k < 24:
            p[1:-1] = 0.7 * p[1:-1] + 0.15 * (p[:-2] + p[2:])
    return Tube(tube.kind, p, tube.radius_mm)


def _veins(rng: np.random.Generator, surface: Surface, drafts: list[Draft]) -> list[Tube]:
    by_name = {d.name: d for d in drafts}
    s = surface
    out: list[Tube] = []
    ring = s.groove(s.lv, s.la, height=(2.0, 7.0))
    _, angle = s.left_frame.cylindrical(ring)
    edges = np.linspace(1.4, -2.9, 22)
    line = []
    for a, b in itertools.pairwise(edges):
        here = (angle < a) & (angle >= b)
        if here.sum() >= 2:
            line.append(np.median(ring[here], axis=0))
    lad = by_name["LAD"].points
    n = len(lad)
    front = lad[int(0.12 * n) : int(0.65 * n) : 6][::-1]
    lateral = s.left_frame.side
    front = front + 3.6 * lateral + 0.8 * s.left_frame.up
    if len(line) >= 4:
        p = np.concatenate([front, np.asarray(line)])
        p = s.settle(smooth(resample(p), 4.0), 3.2, rounds=40, hug=0.05)
        deep = s.points[(s.organs["ra"] < -4.0).ravel()]
        end = deep[np.argmin(((deep - p[-1]) ** 2).sum(1))]
        way = end - p[-1]
        share = min(1.0, 16.0 / max(float(np.linalg.norm(way)), 1e-6))
        tail = p[-1] + np.linspace(0, share, 10)[1:, None] * way
        p = np.concatenate([p, tail])
        u = np.linspace(0, 1, len(p))
        radius = (0.9 + 1.1 * u + 2.2 * np.clip((u - 0.62) / 0.3, 0, 1)) * float(rng.uniform(0.8, 1.15))
        out.append(Tube("vein", p, radius))
    for name in ("R-PDA", "L-PDA"):
        if name in by_name:
            q = by_name[name].points[6::4][::-1]
            q = q + 3.4 * s.left_frame.side * float(rng.choice([-1.0, 1.0]))
            q = s.settle(resample(q), 2.2, rounds=25)
            out.append(Tube("vein", q, np.linspace(0.7, 1.6, len(q))))
    return out


def draw_lung_vessels(rng: np.random.Generator, grid: Grid) -> tuple[Tube, ...]:
    """Vessels that branch from both hila into the lungs."""
    centre = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1)
    out: list[Tube] = []
    for side in (-1.0, 1.0):
        hilum = centre + np.array([-4.0 + side * 48.0, 38.0, 12.0])
        for _ in range(11):
            heading = np.array([side * rng.uniform(0.2, 1.0), rng.uniform(-1.0, 0.7), rng.uniform(-1.0, 0.8)])
            _sprout(rng, hilum + rng.normal(0, 7.0, 3), heading, float(rng.uniform(2.2, 3.8)), 0, out)
    return tuple(out)


def _sprout(rng: np.random.Generator, start: FloatArray, heading: FloatArray, radius: float, depth: int, out: list[Tube]) -> None:
    heading = heading / np.linalg.norm(heading)
    n = int(rng.uniform(7, 13))
    turn = rng.normal(0, 0.06, 3)
    p = [start]
    for _ in range(n):
        heading = heading + turn + rng.normal(0, 0.07, 3)
        heading = heading / np.linalg.norm(heading)
        p.append(p[-1] + (1.4 + 0.5 * radius) * heading)
    end = radius * 0.78
    out.append(Tube("lung", np.asarray(p), np.linspace(radius, end, n + 1)))
    if depth < 4 and end > 0.45:
        for share in (0.85, float(rng.uniform(0.5, 0.8))):
            way = heading + rng.normal(0, 0.5, 3)
            _sprout(rng, p[-1], way, end * share, depth + 1, out)
