"""Where a virtual scan shows the arteries and how each point of them moved, and small parts of the scan rendered about a place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from appliance.analysis.grids import interpolate_to
from appliance.volume import Geometry
from models.phantom import Patient, Scan, motion, render
from models.phantom.scan import VESSELS, with_motion

Float = npt.NDArray[np.float64]

LARGEST_MOTION_MM = 5.0
THIN_MM = 1.5
"""Healthy diameter below which an artery is not judged."""


@dataclass(frozen=True)
class ArteryPoints:
    """Points of all arteries of a scan that are thick enough to judge, one row per point.

    Attributes:
        points_mm: where the image shows them.
        diameter_mm: healthy diameter.
        motion_mm: length of the point's path.
    """

    points_mm: Float
    diameter_mm: Float
    motion_mm: Float


def artery_points(patient: Patient, scan: Scan) -> ArteryPoints:
    """Where the scan shows the arteries, and how each point of them moved."""
    paths = motion.paths(patient, scan)
    columns: list[tuple[Float, Float, Float]] = []
    for branch in patient.branches:
        keep = (2 * branch.healthy_radius_mm >= THIN_MM) & (2 * branch.lumen_radius_mm >= 0.6 * THIN_MM)
        moved = np.linalg.norm(paths[branch.id], axis=1) if motion.moves(scan) else np.zeros(len(branch.points_mm))
        columns.append((branch.points_mm[keep], 2 * branch.healthy_radius_mm[keep], moved[keep]))
    points, diameter, moved = (np.concatenate(column).astype(np.float64) for column in zip(*columns, strict=True))
    return ArteryPoints(motion.seen(points, patient, scan), diameter, moved)


def vary(scan: Scan, rng: np.random.Generator, *, even: float, wide: float) -> Scan:
    """The scan, often (``wide``) with motion of any extent, often (``even``) without artefacts; never cut to a circle."""
    scan = replace(scan, round_field=False)
    if rng.random() < even:
        scan = replace(scan, beam_hardening=0.0, streaks=0.0, metal=(), body_mm=(0.0, 0.0), arms_down=False)
    if rng.random() >= wide:
        return scan
    return with_motion(scan, {vessel: float(rng.uniform(0.0, LARGEST_MOTION_MM)) for vessel in VESSELS})


def render_box(
    patient: Patient, scan: Scan, centre: Float, rng: np.random.Generator, *, shape: tuple[int, int, int], spacing_mm: float
) -> npt.NDArray[np.int16]:
    """The scan about a place (LPS mm), ``shape`` (z, y, x) voxels: rendered at the scan's own voxels, resampled as the product does."""
    x, y, z = (float(value) for value in centre - 0.5 * spacing_mm * (np.array(shape[::-1]) - 1))
    grid = Geometry(shape, (spacing_mm,) * 3, (x, y, z))
    pixel = (scan.fov_mm or 200.0) / 512
    spacing = (pixel, pixel, scan.increment_mm)
    start = np.asarray(grid.origin) - np.asarray(spacing) * rng.uniform(1.0, 2.0, 3)
    nx, ny, nz = (int(np.ceil((n - 1) * spacing_mm / step)) + 4 for n, step in zip(shape[::-1], spacing, strict=True))
    own = Geometry((nz, ny, nx), spacing, (float(start[0]), float(start[1]), float(start[2])))
    rendered = render(patient, scan, origin=own.origin, spacing=own.spacing, shape=own.shape, seed=int(rng.integers(2**31)))
    return interpolate_to(rendered.hu, own, grid)
