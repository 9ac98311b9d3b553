"""The heart of a naming case in another shape: turned, stretched and bent together with its vessels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.training.context import COARSE_MM
from models.training.naming_cases import Line, NamingCase, Points

_MARGIN_MM = 24.0
"""How far the structure map reaches beyond the tree."""


def warp(case: NamingCase, rng: np.random.Generator) -> NamingCase:
    """The same patient with another heart: turned up to 25 degrees, stretched, bent smoothly; the structure map gets rough borders."""
    centre = np.concatenate([line.points for line in case.lines]).mean(axis=0)
    turn = _rotation(rng, np.radians(25.0))
    stretch = rng.uniform(0.85, 1.18) * np.clip(rng.normal(1.0, 0.08, 3), 0.8, 1.2)
    matrix = turn @ np.diag(stretch)
    field = _smooth_field(rng, amplitude=float(rng.uniform(0.0, 5.0)))
    extent = COARSE_MM * np.array(case.structures.shape[::-1])

    def bend(points: Points) -> Points:
        index = ((points - case.origin) / extent * (len(field) - 1))[..., ::-1].reshape(-1, 3).T
        moved = np.stack([ndimage.map_coordinates(field[..., axis], index, order=1, mode="nearest") for axis in range(3)], axis=-1)
        return np.asarray(moved.reshape(points.shape))

    def forward(points: Points) -> Points:
        found = centre + (points - centre) @ matrix.T
        for _ in range(6):
            found = centre + (points - centre - bend(found)) @ matrix.T
        return np.asarray(found)

    tree = np.concatenate([forward(line.points[::8]) for line in case.lines])
    origin = tree.min(axis=0) - _MARGIN_MM
    x, y, z = (np.arange(n) for n in np.ceil((tree.max(axis=0) + _MARGIN_MM - origin) / COARSE_MM).astype(int))
    grid = origin + COARSE_MM * np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1)
    source = centre + (grid - centre) @ np.linalg.inv(matrix).T + bend(grid) + rng.normal(0.0, rng.uniform(0.0, 1.5), grid.shape)
    structures = _nearest(case, source)
    size = float(np.cbrt(np.prod(stretch)))

    def moved(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        return tuple(replace(line, points=forward(line.points), radius=line.radius * size) for line in lines)

    return replace(case, lines=moved(case.lines), veins=moved(case.veins), structures=structures, origin=origin)


def _smooth_field(rng: np.random.Generator, *, amplitude: float) -> Points:
    """A smooth random displacement (16, 16, 16, 3) in mm; components x, y, z."""
    return np.stack([ndimage.zoom(rng.normal(0.0, amplitude, (4, 4, 4)), 4, order=3) for _ in range(3)], axis=-1)


def _nearest(case: NamingCase, points: Points) -> npt.NDArray[np.uint8]:
    """The structure at positions (..., 3), background outside the map."""
    index = np.rint((points - case.origin) / COARSE_MM)[..., ::-1].astype(int)
    limit = np.array(case.structures.shape) - 1
    z, y, x = np.moveaxis(np.clip(index, 0, limit), -1, 0)
    outside = ((index < 0) | (index > limit)).any(axis=-1)
    return np.where(outside, 0, case.structures[z, y, x]).astype(np.uint8)


def _rotation(rng: np.random.Generator, largest: float) -> Points:
    """A turn about a random axis by at most ``largest`` radians."""
    axis = rng.normal(0.0, 1.0, 3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = rng.uniform(0.0, largest)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross)
