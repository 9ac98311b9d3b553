"""Cutting cross-sections: at every point of every branch, rays perpendicular to the line, and the scanner's blur along each ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES, label_rays, sample_rays
from appliance.analysis.stages import Float, NamedTree, Segmentation
from appliance.geometry import arc_length, frames
from appliance.volume import Geometry, Volume


@dataclass(frozen=True)
class Blur:
    """Standard deviation of the scanner's point spread in the slice plane and across slices, mm, the voxel's own size included."""

    in_plane_mm: float
    across_mm: float

    def along(self, directions: Float) -> Float:
        """The blur along unit vectors (..., 3)."""
        z2 = directions[..., 2] ** 2
        return np.asarray(np.sqrt(self.in_plane_mm**2 * (1.0 - z2) + self.across_mm**2 * z2))


@dataclass(frozen=True)
class Sections:
    """The polar samples of every point of every branch, one after the other.

    Attributes:
        points: (n, 3). directions: unit vectors of the rays (n, RAYS, 3). rays: HU (n, RAYS, SAMPLES).
        labels: the network's classes, as ``rays``.
        branch: branch of each point (n,). along: distance from the branch's first point (n,).
    """

    points: Float
    directions: Float
    rays: Float
    labels: NDArray[np.uint8]
    branch: NDArray[np.intp]
    along: Float

    def take(self, rows: NDArray[np.intp]) -> Sections:
        """Some of the sections."""
        return Sections(self.points[rows], self.directions[rows], self.rays[rows], self.labels[rows], self.branch[rows], self.along[rows])


def cut_sections(named: NamedTree, volume: Volume, segmentation: Segmentation, *, lines: Sequence[Float] | None = None) -> Sections:
    """Sample the volume and the classes along the rays of every section.

    Args:
        named: the tree.
        volume: the original series.
        segmentation: for the network's classes.
        lines: better centre lines than the tree's own, point for point; distances along stay the tree's.
    """
    points, directions, branch, along = [], [], [], []
    angle = 2 * np.pi * np.arange(RAYS) / RAYS
    for number, one in enumerate(named.branches):
        line = one.points_mm if lines is None else lines[number]
        _, normal, binormal = frames(line)
        points.append(line)
        directions.append(np.cos(angle)[None, :, None] * normal[:, None, :] + np.sin(angle)[None, :, None] * binormal[:, None, :])
        branch.append(np.full(len(line), number))
        along.append(arc_length(one.points_mm))
    where, rays_along = np.concatenate(points), np.concatenate(directions)
    rays = np.empty((len(where), RAYS, SAMPLES))
    labels = np.empty(rays.shape, np.uint8)
    sample_rays(volume.voxels, *_index_frames(volume.geometry, where, rays_along), rays)
    label_rays(segmentation.classes, *_index_frames(segmentation.geometry, where, rays_along), labels)
    return Sections(
        points=where, directions=rays_along, rays=rays, labels=labels, branch=np.concatenate(branch), along=np.concatenate(along)
    )


def _index_frames(geometry: Geometry, points: Float, directions: Float) -> tuple[Float, Float, Float]:
    """Centres, and index steps per mm along the rays at 0 and 90 degrees."""
    centre = geometry.to_index(points)
    across = geometry.to_index(points + directions[:, 0]) - centre
    up = geometry.to_index(points + directions[:, RAYS // 4]) - centre
    return centre, across, up


def cell_areas() -> Float:
    """Area in mm2 of a cell at each sample of a ray, (SAMPLES,)."""
    return np.asarray(np.arange(SAMPLES) * SAMPLE_MM**2 * 2 * np.pi / RAYS)
