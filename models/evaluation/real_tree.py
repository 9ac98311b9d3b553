"""A real coronary tree in a virtual heart: read its centrelines, place it at the aortic root, and make the heart yield to it.

The tree is moved as a whole and the heart is scaled to it, then two small bends make it fit the other heart: its beginning is led to the
aortic wall, and what would run through a chamber is pushed to its surface, smoothly. Course, taper and tortuosity stay the patient's own.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from appliance.geometry import arc_length, resample_curve, sample, smooth_curve
from appliance.volume import Geometry
from models.evaluation.measures import Float, Points
from models.phantom import Patient
from models.phantom.kernels import tube_grid
from models.phantom.types import Branch

STEP_MM = 0.4
WIDEST_RADIUS_MM = 3.0
"""Where a path is wider than this it is still in the aorta."""
APART_MM = 1.0
"""A path has left another one where it stays farther from it than this."""
SHORTEST_MM = 5.0
LED_MM = 10.0
CLEAR_MM = 0.8
SCALES = (0.65, 1.1)
"""Of the tree in the heart as drawn. It is then the heart that is scaled: the real patient's is larger than most drawn ones."""
LYING_MM = 3.5
"""How far a coronary's line usually lies above the heart's surface."""
WALL_MM = 0.5
CHAMBERS = ("myocardium", "pa", "ra", "rv", "la", "lv", "ao")


@dataclass(frozen=True)
class Path3D:
    """A centreline from the aorta to an end: points LPS mm (n, 3) and radius (n,) mm."""

    points: Points
    radius: Float


def read_paths(path: Path) -> list[Path3D]:
    """The lines of a VTK PolyData file in XML with ASCII arrays and the point array ``MaximumInscribedSphereRadius``.

    Raises:
        ValueError: it is not such a file.
    """
    piece = ET.parse(path).getroot().find(".//Piece")  # noqa: S314 - a file that the operator names, no entity is expanded
    if piece is None:
        raise ValueError(f"{path} holds no PolyData")
    points = _numbers(piece, "Points/DataArray", path).reshape(-1, 3)
    radius = _numbers(piece, "PointData/DataArray[@Name='MaximumInscribedSphereRadius']", path)
    order = _numbers(piece, "Lines/DataArray[@Name='connectivity']", path).astype(np.int64)
    ends = _numbers(piece, "Lines/DataArray[@Name='offsets']", path).astype(np.int64)
    return [Path3D(points[line], radius[line]) for line in np.split(order, ends[:-1])]


def _numbers(piece: ET.Element, where: str, path: Path) -> Float:
    array = piece.find(where)
    if array is None or array.get("format") != "ascii" or not array.text:
        raise ValueError(f"{path} has no ASCII array {where}")
    return np.array(array.text.split(), np.float64)


def branches_of(paths: Sequence[Path3D], *, side: str, first_id: int = 0) -> list[Branch]:
    """Paths from one ostium as branches: the longest is the main one, each other begins where it leaves those before it."""
    lines = sorted((_from_ostium(path) for path in paths), key=lambda each: -arc_length(each.points)[-1])
    branches: list[Branch] = []
    for line in lines:
        parent, parent_index, start = None, None, 0
        if branches:
            places = np.concatenate([b.points_mm for b in branches])
            owner = np.concatenate([np.full(len(b.points_mm), k) for k, b in enumerate(branches)])
            index = np.concatenate([np.arange(len(b.points_mm)) for b in branches])
            distance, nearest = cKDTree(places).query(line.points)
            start = int(np.flatnonzero(distance <= APART_MM)[-1])
            parent, parent_index = int(owner[nearest[start]]), int(index[nearest[start]])
        points, radius = line.points[start:], line.radius[start:]
        if len(points) * STEP_MM < SHORTEST_MM:
            continue
        if parent is not None and parent_index is not None:
            points = np.concatenate([branches[parent].points_mm[parent_index][None], points[1:]])
        branches.append(_branch(points, radius, first_id + len(branches), parent, parent_index, first_id, side))
    return branches


def _from_ostium(path: Path3D) -> Path3D:
    """The path beyond the aorta, at even steps and without the jitter of its reconstruction."""
    inside = np.flatnonzero(path.radius > WIDEST_RADIUS_MM)
    points, radius = path.points[inside[-1] + 1 if len(inside) else 0 :], path.radius[inside[-1] + 1 if len(inside) else 0 :]
    even = resample_curve(points, STEP_MM)
    along = np.interp(arc_length(even), arc_length(points), radius)
    return Path3D(smooth_curve(even, 0.8, STEP_MM), np.asarray(ndimage.gaussian_filter1d(along, 1.2 / STEP_MM)))


def _branch(points: Points, radius: Float, number: int, parent: int | None, parent_index: int | None, first_id: int, side: str) -> Branch:
    return Branch(
        id=number,
        parent=None if parent is None else first_id + parent,
        parent_index=parent_index,
        name=f"{side}-{number - first_id}",
        vessel="RCA" if side == "right" else "LAD",
        points_mm=np.ascontiguousarray(points),
        lumen_radius_mm=radius,
        outer_radius_mm=radius + WALL_MM,
        outer_offset_mm=np.zeros_like(points),
        healthy_radius_mm=radius,
        segments=((0, len(points), "other"),),
    )


def read_tree(left: Path, right: Path) -> list[Branch]:
    """Both coronaries as branches with consecutive numbers, left first."""
    branches = branches_of(read_paths(left), side="left")
    return branches + branches_of(read_paths(right), side="right", first_id=len(branches))


def planted(patient: Patient, tree: Sequence[Branch]) -> Patient:
    """The patient with the real tree instead of the drawn one: no lesions, no stents, and the heart yields to the vessels.

    The tree keeps its size; the heart is scaled to it.
    """
    placement = settle(patient, tree)
    patient = scaled(patient, 1.0 / placement.scale)
    grid = Geometry(patient.grid.shape, (patient.grid.spacing,) * 3, patient.grid.origin)
    shift = placement.shift / placement.scale
    placed = [replace(branch, points_mm=branch.points_mm @ placement.turn.T + shift) for branch in tree]
    fitted = _fitted(placed, patient, grid)
    roots = {side: next(b for b in fitted if b.parent is None and b.name.startswith(side)) for side in ("left", "right")}
    ostia = {side: _vector(root.points_mm[0]) for side, root in roots.items()}
    near = cKDTree(np.concatenate([branch.points_mm for branch in fitted]))
    tubes = tuple(t for t in patient.tubes if t.kind == "lung" or near.query(t.points_mm)[0].min() > 3.0)
    channels = _carved(patient, fitted)
    return replace(
        patient, branches=tuple(fitted), lesions=(), stents=(), ostia=ostia, tubes=tubes, channels=channels, variants=(), cache={}
    )


def scaled(patient: Patient, factor: float) -> Patient:
    """The patient without vessels of the heart, made larger by a factor about the origin of the coordinates."""
    grid = replace(patient.grid, origin=_vector(factor * np.asarray(patient.grid.origin)), spacing=factor * patient.grid.spacing)
    low, high = (_vector(factor * np.asarray(corner)) for corner in patient.heart_box)
    channels = np.clip(np.rint(patient.channels * factor), -32000, 32000).astype(np.int16)
    tubes = tuple(replace(t, points_mm=factor * t.points_mm, radius_mm=factor * t.radius_mm) for t in patient.tubes)
    return replace(patient, grid=grid, heart_box=(low, high), channels=channels, tubes=tubes, cache={})


def landmarks(branches: Sequence[Branch]) -> Points:
    """Both ostia (each twice, they must meet), the lowest front and the leftmost end of the left tree, the rearmost end of the right."""
    left, right = (_side(branches, vessels) for vessels in (("LM", "LAD", "LCX", "RI"), ("RCA",)))
    ends_left, ends_right = (np.array([b.points_mm[-1] for b in side]) for side in (left, right))
    roots = [next(b for b in side if b.parent is None).points_mm[0] for side in (left, right)]
    apex = ends_left[np.argmax(ends_left @ np.array([0.3, -0.5, -0.8]))]
    lateral = ends_left[np.argmax(ends_left @ np.array([0.8, 0.6, 0.0]))]
    rear = ends_right[np.argmax(ends_right @ np.array([0.3, 0.8, -0.5]))]
    return np.array([roots[0], roots[0], roots[1], roots[1], apex, lateral, rear])


def _side(branches: Sequence[Branch], vessels: tuple[str, ...]) -> list[Branch]:
    return [branch for branch in branches if branch.vessel in vessels and branch.kind == "native"]


def rigid_fit(source: Points, target: Points) -> tuple[Float, Float]:
    """Rotation (3, 3) and shift (3,) that bring ``source`` nearest to ``target`` (Kabsch, Acta Cryst. A32:922, 1976)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    sign = np.sign(np.linalg.det(vt.T @ u.T))
    turn: Float = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    return turn, b - turn @ a


@dataclass(frozen=True)
class Placement:
    """Where the tree goes in a heart: p -> scale * turn p + shift; ``misfit_mm`` is how far off the heart's surface it lies on average."""

    turn: Float
    shift: Float
    scale: float
    misfit_mm: float


def settle(patient: Patient, tree: Sequence[Branch]) -> Placement:
    """The placement that lays the tree best on the heart's surface with its ostia on the aortic wall, from that of a few landmarks on."""
    grid = Geometry(patient.grid.shape, (patient.grid.spacing,) * 3, patient.grid.origin)
    points = np.concatenate([branch.points_mm[::4] for branch in tree])
    ostia = np.array([branch.points_mm[0] for branch in tree if branch.parent is None])
    heart, aorta = _distance(patient, *CHAMBERS), _distance(patient, "ao")
    middle = points.mean(axis=0)
    turn0, shift0 = rigid_fit(landmarks(tree), landmarks(patient.branches))

    def placement(seven: Float) -> tuple[Float, Float, float]:
        turn = Rotation.from_rotvec(seven[:3] / 20.0).as_matrix() @ turn0
        scale = float(np.clip(np.exp(seven[6] / 40.0), *SCALES))
        return turn, turn0 @ middle + shift0 + seven[3:6] - scale * turn @ middle, scale

    def misfit(seven: Float) -> float:
        turn, shift, scale = placement(seven)
        off = sample(heart, grid, scale * points @ turn.T + shift, fill=60.0) - LYING_MM
        roots = sample(aorta, grid, scale * ostia @ turn.T + shift, fill=60.0)
        return float(np.abs(off).mean() + 0.5 * np.abs(roots).mean())

    best = minimize(misfit, np.zeros(7), method="Powell", options={"maxiter": 20})
    return Placement(*placement(np.asarray(best.x)), misfit_mm=float(best.fun))


def _distance(patient: Patient, *names: str) -> npt.NDArray[np.float32]:
    """Signed distance (mm) to a union of structures, also far away from it, where the patient's own channels are cut off."""
    inside = np.minimum.reduce([patient.channel(name) for name in names]) < 0.0
    spacing = patient.grid.spacing
    outside = ndimage.distance_transform_edt(~inside, sampling=spacing) - ndimage.distance_transform_edt(inside, sampling=spacing)
    return np.asarray(outside, np.float32)


def _fitted(branches: Sequence[Branch], patient: Patient, grid: Geometry) -> list[Branch]:
    """The first centimetre led to the aortic wall, and everything pushed out of the chambers; children begin on their parents."""
    heart, aorta = _distance(patient, *CHAMBERS), _distance(patient, "ao")
    fitted: list[Branch] = []
    for branch in branches:
        points = branch.points_mm
        if branch.parent is None:
            points = points + _lead(points, aorta, grid)
        free = np.clip((arc_length(points) - (3.0 if branch.parent is None else 0.0)) / 6.0, 0.0, 1.0) if branch.parent is None else None
        points = _pushed(points, branch.outer_radius_mm, heart, grid, free)
        if branch.parent is not None and branch.parent_index is not None:
            gap = fitted[branch.parent].points_mm[branch.parent_index] - points[0]
            points = points + gap * np.clip(1.0 - arc_length(points) / LED_MM, 0.0, 1.0)[:, None]
        fitted.append(replace(branch, points_mm=np.ascontiguousarray(points)))
    return fitted


def _lead(points: Points, aorta: npt.NDArray[np.float32], grid: Geometry) -> Float:
    """Displacement that brings the first point to the aortic wall and dies away over a centimetre."""
    first = points[0].copy()
    for _ in range(30):
        distance = float(sample(aorta, grid, first[None], fill=60.0)[0])
        first -= 0.7 * distance * _gradient(aorta, grid, first[None])[0]
    weight: Float = np.clip(1.0 - arc_length(points) / (2.0 * LED_MM), 0.0, 1.0)
    return np.asarray((first - points[0]) * weight[:, None])


def _pushed(points: Points, outer: Float, heart: npt.NDArray[np.float32], grid: Geometry, free: Float | None) -> Points:
    for _ in range(12):
        depth = np.maximum(outer + CLEAR_MM - sample(heart, grid, points, fill=60.0), 0.0)
        if free is not None:
            depth = depth * free
        step = depth[:, None] * _gradient(heart, grid, points)
        points = points + 0.6 * np.asarray(ndimage.gaussian_filter1d(step, 3.0 / STEP_MM, axis=0))
    return points


def _gradient(field: npt.NDArray[np.float32], grid: Geometry, points: Points) -> Float:
    shifts = grid.spacing[0] * np.eye(3)
    slope = np.stack([sample(field, grid, points + s, fill=60.0) - sample(field, grid, points - s, fill=60.0) for s in shifts], axis=1)
    return np.asarray(slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6))


def _carved(patient: Patient, branches: Sequence[Branch]) -> npt.NDArray[np.int16]:
    """The patient's channels with a little fat around the vessels: chambers, muscle and lung give way."""
    points = np.concatenate([branch.points_mm for branch in branches])
    radius = np.concatenate([branch.outer_radius_mm for branch in branches])
    grid = patient.grid
    vessel = tube_grid(grid.shape, np.asarray(grid.origin), grid.spacing, points, radius, 4.0)
    near = vessel < 3.99
    channels = np.array(patient.channels)

    def give_way(name: str, gap: float, *, grow: bool = False) -> None:
        index = patient.channel_names.index(name)
        own = channels[..., index] * 0.01
        wanted = np.minimum(own, vessel - gap) if grow else np.maximum(own, gap - vessel)
        channels[..., index] = np.where(near, np.rint(100.0 * wanted), channels[..., index])

    for name in ("pa", "ra", "rv", "la", "lv", "svc", "ivc"):
        give_way(name, 1.3)
    give_way("wall", 0.5)
    give_way("myocardium", 0.3)
    give_way("soft", 0.8)
    give_way("pericardium", 2.0, grow=True)
    give_way("lung", 3.0)
    return channels.astype(np.int16)


def _vector(p: Float) -> tuple[float, float, float]:
    return float(p[0]), float(p[1]), float(p[2])
