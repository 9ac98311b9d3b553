"""Reformations along vessels: straightened and curved reformation, perpendicular sections, thin-slab MIP.

Curved reformation is the *stretched* kind of Kanitsar et al., 'CPR - Curved planar reformation', IEEE Visualization 2002: the surface is
swept by lines of one direction through the centreline and is unrolled without distortion, so that lengths on it can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from appliance.geometry import frames, smooth_curve
from appliance.imaging.on_card import VolumeOnCard
from appliance.imaging.paths import VesselPath
from appliance.volume import Volume

Float = NDArray[np.float64]
Projection = Literal["mean", "max"]

CTA_WINDOW = (800.0, 300.0)
MIP_WINDOW = (600.0, 200.0)
OUTSIDE_HU = -1024.0


@dataclass(frozen=True)
class Reformation:
    """A grey picture cut from the volume.

    Attributes:
        hu: float32, shape (rows, columns).
        spacing_mm: edge of the square pixels.
        curve: (row, column) of path points in the picture, shape (n, 2); empty where the picture shows no path.
        curve_mm: distance of those points from the ostium, shape (n,).
        across: LPS unit vector of increasing column, None where it changes over the picture.
        down: LPS unit vector of increasing row, None where it changes over the picture.
    """

    hu: NDArray[np.float32]
    spacing_mm: float
    curve: Float
    curve_mm: Float
    across: Float | None = None
    down: Float | None = None

    def place(self, position_mm: float) -> tuple[float, float]:
        """(row, column) of the path point at ``position_mm`` from the ostium."""
        return tuple(float(np.interp(position_mm, self.curve_mm, self.curve[:, axis])) for axis in (0, 1))  # type: ignore[return-value]


def to_grey(hu: NDArray[np.floating], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Display values 0..255 of a window (width, level), linear (PS3.3 C.11.2.1.2)."""
    width, level = window
    return np.asarray(np.clip((hu - (level - width / 2)) / width * 255.0 + 0.5, 0, 255), np.uint8)


def _extended(path: VesselPath, before_mm: float, after_mm: float) -> tuple[Float, Float]:
    """The path drawn on in a straight line at both ends: points (n, 3) and their distance from the ostium (n,)."""
    step = path.step_mm
    reach = min(max(round(3.0 / step), 1), len(path.points) - 1)
    head = path.points[0] - path.points[reach]
    tail = path.points[-1] - path.points[-1 - reach]
    before, after = round(before_mm / step), round(after_mm / step)
    lead = path.points[0] + np.arange(before, 0, -1)[:, None] * step * (head / np.linalg.norm(head))
    trail = path.points[-1] + np.arange(1, after + 1)[:, None] * step * (tail / np.linalg.norm(tail))
    points = np.concatenate([lead, path.points, trail])
    position: Float = (np.arange(len(points), dtype=np.float64) - before) * step
    return points, position


def _at(points: Float, place: Float) -> Float:
    """Rows of ``points`` at fractional indices ``place``."""
    index = np.arange(len(points))
    return np.stack([np.interp(place, index, points[:, axis]) for axis in range(points.shape[1])], axis=1)


def _slab(
    volume: Volume, grid: Float, normal: Float, thickness_mm: float, projection: Projection, step_mm: float = 0.4
) -> NDArray[np.float32]:
    """Mean or maximum over ``thickness_mm`` along ``normal`` for each point of ``grid`` (rows, columns, 3)."""
    count = max(round(thickness_mm / step_mm), 0) + 1
    offsets = np.linspace(-thickness_mm / 2, thickness_mm / 2, count) if count > 1 else np.zeros(1)
    index = volume.geometry.to_index(grid).reshape(-1, 3)
    origin = volume.geometry.to_index(np.zeros(3))
    if isinstance(volume, VolumeOnCard):
        steps = volume.geometry.to_index(normal) - origin
        which = np.broadcast_to(np.arange(steps.size // 3).reshape(steps.shape[:-1]), grid.shape[:-1]).reshape(-1)
        return volume.slab(index, steps.reshape(-1, 3), which, offsets, maximum=projection == "max", outside=OUTSIDE_HU).reshape(
            grid.shape[:-1]
        )
    direction = np.ascontiguousarray(np.broadcast_to(volume.geometry.to_index(normal) - origin, grid.shape)).reshape(-1, 3)
    out = _slab_kernel(volume.voxels, np.ascontiguousarray(index), direction, offsets, projection == "max")
    return np.asarray(out).reshape(grid.shape[:-1])


@njit(parallel=True, cache=True, fastmath=True)
def _slab_kernel(voxels, index, direction, offsets, maximum):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = voxels.shape
    out = np.empty(index.shape[0], np.float32)
    for n in prange(index.shape[0]):
        total, best = np.float32(0), np.float32(OUTSIDE_HU)
        for k in range(offsets.shape[0]):
            z = index[n, 0] + offsets[k] * direction[n, 0]
            y = index[n, 1] + offsets[k] * direction[n, 1]
            x = index[n, 2] + offsets[k] * direction[n, 2]
            value = np.float32(OUTSIDE_HU)
            if z >= 0 and y >= 0 and x >= 0 and z <= nz - 1 and y <= ny - 1 and x <= nx - 1:
                i, j, m = np.uint32(z), np.uint32(y), np.uint32(x)
                i1 = min(i + np.uint32(1), np.uint32(nz - 1))
                j1 = min(j + np.uint32(1), np.uint32(ny - 1))
                m1 = min(m + np.uint32(1), np.uint32(nx - 1))
                dz, dy, dx = np.float32(z - np.float64(i)), np.float32(y - np.float64(j)), np.float32(x - np.float64(m))
                one = np.float32(1)
                a = np.float32(voxels[i, j, m]) * (one - dx) + np.float32(voxels[i, j, m1]) * dx
                b = np.float32(voxels[i, j1, m]) * (one - dx) + np.float32(voxels[i, j1, m1]) * dx
                c = np.float32(voxels[i1, j, m]) * (one - dx) + np.float32(voxels[i1, j, m1]) * dx
                d = np.float32(voxels[i1, j1, m]) * (one - dx) + np.float32(voxels[i1, j1, m1]) * dx
                value = (a * (one - dy) + b * dy) * (one - dz) + (c * (one - dy) + d * dy) * dz
            total += value
            best = max(best, value)
        out[n] = best if maximum else total / np.float32(offsets.shape[0])
    return out


def straighten(
    volume: Volume,
    path: VesselPath,
    *,
    angle_degrees: float,
    half_width_mm: float,
    spacing_mm: float,
    before_mm: float = 6.0,
    after_mm: float = 4.0,
    thickness_mm: float = 0.6,
) -> Reformation:
    """Straightened reformation: distance from the ostium runs to the right, the centreline lies on the middle row.

    The cut turns with the vessel's rotation-minimising frame; ``angle_degrees`` turns it about the centreline; ``thickness_mm`` is a mean.
    Column ``c`` is ``c * spacing_mm - before_mm`` from the ostium, to the nearest step of the path.
    """
    points, position = _extended(path, before_mm, after_mm)
    # at a kink neighbouring sections would cross each other, so their planes follow a smoother curve than their centres
    _, normal, binormal = frames(smooth_curve(points, 2.5, path.step_mm))
    columns = round((position[-1] - position[0]) / spacing_mm) + 1
    wanted = position[0] + np.arange(columns) * spacing_mm
    place = (wanted - position[0]) / path.step_mm
    angle = np.radians(angle_degrees)
    across = _at(np.cos(angle) * normal + np.sin(angle) * binormal, place)
    through = _at(-np.sin(angle) * normal + np.cos(angle) * binormal, place)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    through /= np.linalg.norm(through, axis=1, keepdims=True)
    half = round(half_width_mm / spacing_mm)
    offset = np.arange(-half, half + 1) * spacing_mm
    grid = _at(points, place)[None, :, :] + offset[:, None, None] * across[None, :, :]
    hu = _slab(volume, grid, through[None, :, :], thickness_mm, "mean", 0.3)
    curve = np.stack([np.full(columns, float(half)), np.arange(columns, dtype=np.float64)], axis=1)
    return Reformation(hu, spacing_mm, curve, wanted)


def plane_of(path: VesselPath) -> tuple[Float, Float]:
    """The directions (LPS unit vectors) of the lines of the 0 and the 90 degree curved reformation.

    The first is the side to which the vessel bends most, at right angles to its chord, turned and tilted by up to 40 degrees where that
    spares the unrolled surface sharp folds, which would show the vessel's surroundings twice.
    """
    chord = path.points[-1] - path.points[0]
    along = chord / np.linalg.norm(chord)
    offset = path.points - path.points.mean(axis=0)
    offset = offset - (offset @ along)[:, None] * along
    _, _, axes = np.linalg.svd(offset, full_matrices=False)
    side = axes[0] - (axes[0] @ along) * along
    side /= np.linalg.norm(side)
    # the sign is free: let the picture's right be the patient's left or back, as on films
    if side @ np.array([1.0, 0.45, -0.2]) < 0:
        side = -side
    through = np.cross(along, side)
    best, best_cost = (side, through), np.inf
    for tilt in np.radians(np.arange(-40, 41, 10)):
        axis = np.cos(tilt) * along - np.sin(tilt) * side
        tilted = np.cos(tilt) * side + np.sin(tilt) * along
        for turn in np.radians(np.arange(-40, 41, 10)):
            first = np.cos(turn) * tilted + np.sin(turn) * through
            second = np.cross(axis, first)
            cost = _folding(path, first) + 0.6 * _folding(path, second) + 6.0 * (abs(tilt) + abs(turn))
            if cost < best_cost:
                best, best_cost = (first, second), cost
    return best


def _folding(path: VesselPath, line: Float) -> float:
    """How much the surface of lines along ``line`` folds: mm of the path times turn beyond 60 degrees within 12 mm (radians)."""
    stride = max(round(1.0 / path.step_mm), 1)
    flat = path.points - (path.points @ line)[:, None] * line
    flat = flat[::stride]
    reach = min(6, (len(flat) - 1) // 2)
    if reach < 1:
        return 0.0
    back, ahead = flat[reach:-reach] - flat[: -2 * reach], flat[2 * reach :] - flat[reach:-reach]
    size = np.linalg.norm(back, axis=1) * np.linalg.norm(ahead, axis=1)
    turn = np.arccos(np.clip((back * ahead).sum(axis=1) / np.maximum(size, 1e-9), -1, 1))
    return float(np.maximum(turn - np.pi / 3, 0).sum())


def curve(
    volume: Volume,
    path: VesselPath,
    *,
    angle_degrees: float,
    size: tuple[int, int],
    margin_mm: tuple[float, float] = (14.0, 10.0),
    thickness_mm: float = 0.8,
    projection: Projection = "mean",
) -> Reformation:
    """Stretched curved reformation of the whole path, proximal end at the top, scaled to fill ``size`` (rows, columns) in height.

    At 0 degrees the lines of the surface run to the side where the vessel bends most, so the picture shows its bends (``plane_of``);
    ``angle_degrees`` turns them. ``margin_mm`` is shown before the ostium and after the end.
    """
    side, through = plane_of(path)
    angle = np.radians(angle_degrees)
    line = np.cos(angle) * side + np.sin(angle) * through
    flat, column_mm, position = _unrolled(path, line, margin_mm)
    flat = smooth_curve(flat, 1.5, path.step_mm)
    row_mm = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(flat, axis=0), axis=1))])
    row_mm += np.arange(len(row_mm)) * 1e-6  # strictly rising, for the inverse below
    rows, columns = size
    inside = (position >= 0) & (position <= path.length_mm)
    width_mm = float(np.ptp(column_mm[inside])) + 24.0
    spacing = max(float(row_mm[-1]) / (rows - 1), width_mm / (columns - 1))
    middle = (column_mm[inside].max() + column_mm[inside].min()) / 2
    top = (row_mm[-1] - (rows - 1) * spacing) / 2
    wanted = np.clip(top + np.arange(rows) * spacing, 0, row_mm[-1])
    place = np.interp(wanted, row_mm, np.arange(len(row_mm)))
    beyond = top + np.arange(rows) * spacing - wanted
    base = _at(flat, place) + beyond[:, None] * _direction(flat, place)
    offset = middle + (np.arange(columns) - (columns - 1) / 2) * spacing
    normal = np.cross(_direction(flat, place), line)
    grid = base[:, None, :] + offset[None, :, None] * line
    hu = _slab(volume, grid, normal[:, None, :], thickness_mm, projection)
    where = np.stack([(row_mm - top) / spacing, (column_mm - offset[0]) / spacing], axis=1)
    return Reformation(hu, spacing, where, position, across=line)


def _unrolled(path: VesselPath, line: Float, margin_mm: tuple[float, float]) -> tuple[Float, Float, Float]:
    """The path without its part along ``line`` (n, 3), that part (n,), and the distance from the ostium (n,), drawn on at both ends.

    The ends go on in the mean direction of their last 15 mm, not in that of their last point: a vessel that leaves the aorta along ``line``
    would otherwise turn back on itself there and show twice.
    """
    along = path.points @ line
    flat = path.points - along[:, None] * line
    step = path.step_mm
    reach = min(round(15.0 / step), len(flat) - 1)
    head, tail = flat[0] - flat[reach], flat[-1] - flat[-1 - reach]
    before, after = (round(margin / step) for margin in margin_mm)
    lead = flat[0] + np.arange(before, 0, -1)[:, None] * step * head / max(float(np.linalg.norm(head)), 1e-6)
    trail = flat[-1] + np.arange(1, after + 1)[:, None] * step * tail / max(float(np.linalg.norm(tail)), 1e-6)
    columns = np.concatenate([np.full(before, along[0]), along, np.full(after, along[-1])])
    position: Float = (np.arange(before + len(flat) + after, dtype=np.float64) - before) * step
    return np.asarray(np.concatenate([lead, flat, trail])), columns, position


def _direction(flat: Float, place: Float) -> Float:
    """Unit direction of the unrolled curve at fractional indices; smooth, so that it exists where the curve stands still."""
    step = np.gradient(smooth_curve(flat, 12.0, 1.0), axis=0)
    direction = _at(step, place)
    unit: Float = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    return unit


def section(volume: Volume, path: VesselPath, position_mm: float, *, half_width_mm: float, size: int) -> Reformation:
    """Section perpendicular to the path at ``position_mm`` from the ostium, ``size`` (odd) pixels square; the centre lies on the curve.

    The patient's left is turned as far to the right as the section allows (feet down for a vessel that runs to the left).
    """
    index = path.index_at(position_mm)
    reach = max(round(1.5 / path.step_mm), 1)
    chord = path.points[min(index + reach, len(path.points) - 1)] - path.points[max(index - reach, 0)]
    normal = chord / np.linalg.norm(chord)
    across = _perpendicular(np.array([1.0, 0.0, 0.0]), normal, np.array([0.0, 1.0, 0.0]))
    down = np.cross(normal, across)
    if down @ np.array([0.0, 1.0, -1.0]) < 0:
        down = -down
    spacing = 2 * half_width_mm / (size - 1)
    offset = (np.arange(size) - size // 2) * spacing
    grid = path.points[index] + offset[None, :, None] * across + offset[:, None, None] * down
    hu = _slab(volume, grid, normal, 0.5, "mean", 0.25)
    middle = float(size // 2)
    return Reformation(hu, spacing, np.array([[middle, middle]]), np.array([position_mm]), across=across, down=down)


def _perpendicular(wanted: Float, normal: Float, otherwise: Float) -> Float:
    """``wanted`` made perpendicular to ``normal``; ``otherwise`` where the two are nearly parallel."""
    vector = wanted - (wanted @ normal) * normal
    if np.linalg.norm(vector) < 0.3:
        vector = otherwise - (otherwise @ normal) * normal
    unit: Float = vector / np.linalg.norm(vector)
    return unit


def slab_mip(
    volume: Volume,
    *,
    centre: Float,
    across: Float,
    down: Float,
    thickness_mm: float,
    size: tuple[int, int],
    spacing_mm: float,
    path: VesselPath | None = None,
) -> Reformation:
    """Thin-slab maximum intensity projection of a plane through ``centre`` spanned by ``across`` and ``down`` (LPS unit vectors).

    ``size`` is (rows, columns). Points of ``path`` inside the slab are located in the picture.
    """
    rows, columns = size
    normal = np.cross(across, down)
    u = (np.arange(columns) - (columns - 1) / 2) * spacing_mm
    v = (np.arange(rows) - (rows - 1) / 2) * spacing_mm
    grid = centre + u[None, :, None] * across + v[:, None, None] * down
    hu = _slab(volume, grid, normal, thickness_mm, "max", 0.5)
    where: Float = np.empty((0, 2))
    position: Float = np.empty(0)
    if path is not None:
        offset = path.points - centre
        inside = np.abs(offset @ normal) <= thickness_mm / 2
        where = np.stack([offset @ down / spacing_mm + (rows - 1) / 2, offset @ across / spacing_mm + (columns - 1) / 2], axis=1)[inside]
        position = np.arange(len(path.points), dtype=np.float64)[inside] * path.step_mm
    return Reformation(hu, spacing_mm, where, position, across=across, down=down)
