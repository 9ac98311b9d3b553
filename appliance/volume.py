"""A CT volume and a label map: voxels with the geometry that places them in the patient.

Coordinates: ``points`` are DICOM patient coordinates (LPS, mm), last axis (x, y, z). ``index`` is the fractional voxel index, last axis
(z, y, x), the order of the array axes. Source: PS3.3 C.7.6.2 (Image Plane Module).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """Where a voxel grid lies.

    Attributes:
        shape: voxels (z, y, x).
        spacing: mm (x, y, z), all positive.
        origin: LPS position (x, y, z) in mm of the centre of voxel (0, 0, 0).
        direction: 3x3, columns are the LPS unit vectors of increasing x, y and z index.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: Float = field(default_factory=lambda: np.eye(3))

    def to_index(self, points: ArrayLike) -> Float:
        """LPS points (..., 3) in mm to fractional indices (..., 3) in (z, y, x) order."""
        offset = np.asarray(points, np.float64) - np.asarray(self.origin)
        index: Float = offset @ self.direction / np.asarray(self.spacing)
        return index[..., ::-1]

    def to_points(self, index: ArrayLike) -> Float:
        """Fractional indices (..., 3) in (z, y, x) order to LPS points (..., 3) in mm."""
        xyz = np.asarray(index, np.float64)[..., ::-1] * np.asarray(self.spacing)
        points: Float = xyz @ self.direction.T + np.asarray(self.origin)
        return points

    @property
    def centre(self) -> Float:
        """LPS position of the middle of the grid."""
        return self.to_points((np.asarray(self.shape) - 1) / 2)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Side lengths (x, y, z) of the grid, voxel edges included."""
        nz, ny, nx = self.shape
        return nx * self.spacing[0], ny * self.spacing[1], nz * self.spacing[2]

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """True if both grids have the same shape and place every corner within ``tolerance_mm``."""
        corner = (np.asarray(self.shape) - 1)[None] * np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]])
        same = self.shape == other.shape
        return bool(same and np.abs(self.to_points(corner) - other.to_points(corner)).max() <= tolerance_mm)


@dataclass(frozen=True)
class Volume:
    """A CT volume: ``voxels`` are HU, int16, shape (z, y, x), C-contiguous, z index running from feet to head."""

    voxels: NDArray[np.int16]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.voxels.shape} do not fit the grid {self.geometry.shape}")


@dataclass(frozen=True)
class LabelMap:
    """A label per voxel, uint8, shape (z, y, x), on a grid of its own."""

    labels: NDArray[np.uint8]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.labels.shape != self.geometry.shape:
            raise ValueError(f"labels {self.labels.shape} do not fit the grid {self.geometry.shape}")
