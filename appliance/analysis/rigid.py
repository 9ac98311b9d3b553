"""Where the heart of one scan lies in another scan of the same patient: a rigid registration that does not mind contrast medium.

Both scans are compared as fat and soft tissue only (attenuation clipped between the two), on a coarse grid, by the method of least squares
from rough to fine (Gauss-Newton; Baker and Matthews, 'Lucas-Kanade 20 years on', IJCV 2004;56:221). The same input gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.grids import average_to, covering_grid
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.stages import Float, Heart
from appliance.volume import Geometry, Volume

GRID_MM = 3.0
CLIP_HU = (-150.0, 50.0)
"""Fat and below, and soft tissue and above: blood with contrast medium looks like blood without it."""
ROUGH_TO_FINE_MM = (12.0, 6.0, 3.0, 1.5)
"""Blur (Gaussian sigma) of both scans at each level; the first one bridges a shift of some 20 mm."""
STEPS = 25
STILL = 1e-3
REACH_MM = 15.0
"""The heart and so much around it are compared."""
FARTHEST_MM = 30.0
"""A patient is not expected to have moved more between two scans of one sitting."""
SIGNIFICANT = 0.75
"""Least correlation of the two scans over the heart for the place to be believed."""


@dataclass(frozen=True)
class Placement:
    """A rigid motion: a point p (LPS mm) of the first scan lies at ``rotation @ (p - centre) + centre + shift`` in the second.

    ``likeness`` is the correlation of the two scans over the heart, at most 1.
    """

    rotation: Float
    centre: Float
    shift: Float
    likeness: float

    def apply(self, points: Float) -> Float:
        """Points (n, 3) of the first scan in the second."""
        return np.asarray((points - self.centre) @ self.rotation.T + self.centre + self.shift)

    def invert(self, points: Float) -> Float:
        """Points (n, 3) of the second scan in the first."""
        return np.asarray((points - self.centre - self.shift) @ self.rotation + self.centre)

    @property
    def found(self) -> bool:
        """Whether the two scans agree well enough."""
        return self.likeness >= SIGNIFICANT


def place_heart(scan: Volume, reference: Volume, heart: Heart) -> Placement:
    """Where ``scan`` shows the heart that was located in ``reference``: the motion from ``scan`` to ``reference``."""
    fixed, fixed_grid = _tissue(scan)
    moving, moving_grid = _tissue(reference)
    mask = _around(heart, REACH_MM)
    everywhere = fixed_grid.to_points(np.argwhere(np.ones(fixed_grid.shape, np.bool_)))
    near = _is_in(everywhere, heart, _around(heart, REACH_MM + FARTHEST_MM))
    everywhere, fixed_near = everywhere[near], near.reshape(fixed.shape)
    centre = heart.structures.geometry.to_points(np.argwhere(mask)).mean(axis=0)
    turn, shift = np.zeros(3), np.zeros(3)
    likeness = 0.0
    for sigma in ROUGH_TO_FINE_MM:
        smooth_fixed = ndimage.gaussian_filter(fixed, sigma / GRID_MM, mode="nearest")[fixed_near]
        smooth_moving = ndimage.gaussian_filter(moving, sigma / GRID_MM, mode="nearest")
        slopes = [np.asarray(each) / GRID_MM for each in np.gradient(smooth_moving)]
        for _ in range(STEPS):
            rotation = _rotation(turn)
            moved = (everywhere - centre) @ rotation.T + centre + shift
            inside = _is_in(moved, heart, mask) & _is_within(moved, moving_grid)
            if inside.sum() < 200:
                return Placement(np.eye(3), centre, np.zeros(3), 0.0)
            at = moved[inside]
            index = moving_grid.to_index(at).T
            error = smooth_fixed[inside] - ndimage.map_coordinates(smooth_moving, index, order=1)
            along = np.stack([ndimage.map_coordinates(slope, index, order=1) for slope in slopes[::-1]], axis=1)
            slope_mm = along @ moving_grid.direction.T
            jacobian = np.concatenate([np.cross(at - centre - shift, slope_mm), slope_mm], axis=1)
            scale = np.array([1.0, 1.0, 1.0, 1e-2, 1e-2, 1e-2]) * len(at)
            step = np.linalg.solve(jacobian.T @ jacobian + np.diag(scale), jacobian.T @ error)
            turn, shift = _turn(_rotation(step[:3]) @ rotation), shift + step[3:]
            if np.abs(step[3:]).max() < STILL and np.abs(step[:3]).max() < STILL / 50.0:
                break
        likeness = _correlation(smooth_fixed[inside], smooth_fixed[inside] - error)
    return Placement(_rotation(turn), centre, shift, likeness)


def _tissue(volume: Volume) -> tuple[NDArray[np.float32], Geometry]:
    grid = covering_grid(volume.geometry, GRID_MM)
    return np.clip(average_to(volume, grid), *CLIP_HU).astype(np.float32), grid


def _around(heart: Heart, reach_mm: float) -> NDArray[np.bool_]:
    mask = heart.mask(*CARDIAC)
    spacing = heart.structures.geometry.spacing[::-1]
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask, sampling=spacing) <= reach_mm
    return near


def _is_in(points: Float, heart: Heart, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    geometry = heart.structures.geometry
    index = np.rint(geometry.to_index(points)).astype(np.int64)
    size = np.asarray(geometry.shape)
    within = ((index >= 0) & (index < size)).all(axis=1)
    return np.asarray(within & mask[tuple(np.clip(index, 0, size - 1).T)])


def _is_within(points: Float, grid: Geometry) -> NDArray[np.bool_]:
    index = grid.to_index(points)
    return np.asarray(((index >= 1.0) & (index <= np.asarray(grid.shape) - 2.0)).all(axis=1))


def _rotation(turn: Float) -> Float:
    """The rotation about a vector by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = turn / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)


def _turn(rotation: Float) -> Float:
    """The vector of a rotation of less than half a turn."""
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]) / 2.0
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.zeros(3)
    return np.asarray(axis / sine * np.arctan2(sine, (np.trace(rotation) - 1.0) / 2.0))


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    a, b = first - first.mean(), second - second.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0.0 else 0.0
