"""The scan of an evaluated patient: the family's design, where the slices lie, and the study that the product gets."""

from __future__ import annotations

import numpy as np

from appliance.analysis.reading import SeriesImages, StudyInput
from appliance.study import StudyHeader
from appliance.volume import Geometry, Volume
from models.phantom import Patient, Rendered, Scan, render
from models.phantom.types import Branch
from models.training.designs import designed_scan

__all__ = ["designed_scan", "is_native", "render_on", "scan_geometry", "scanned_study"]

ROWS = 512
SMALLEST_INCREMENT_MM = 0.4
"""Slices nearer to each other than this cost time and show nothing more."""
MARGIN_MM = 12.0
"""A usual range begins and ends so far beyond the heart."""
FITTED_MARGIN_MM = 25.0


def is_native(branch: Branch) -> bool:
    """False for a bypass graft."""
    return branch.kind == "native"


def scan_geometry(patient: Patient, scan: Scan) -> Geometry:
    """Where the series lies: 512 x 512 with the scan's field of view around the heart, from below to above it less what was cut off."""
    points = np.concatenate([np.asarray(patient.heart_box), *(b.points_mm for b in patient.branches if b.kind == "native")])
    low, high = points.min(axis=0), points.max(axis=0)
    fitted = float((high - low)[:2].max()) + 2.0 * FITTED_MARGIN_MM
    pixel = (scan.fov_mm or fitted) / ROWS
    grid = patient.grid
    middle = np.asarray(grid.origin) + 0.5 * grid.spacing * (np.asarray(grid.shape[::-1]) - 1) if scan.round_field else 0.5 * (low + high)
    increment = max(scan.increment_mm, SMALLEST_INCREMENT_MM)
    below, above = ((-MARGIN_MM if cut <= 0.0 else cut) for cut in scan.cut_mm)
    bottom, top = float(low[2]) + below, float(high[2]) - above
    slices = max(int(np.ceil((top - bottom) / increment)), 1)
    corner = middle[:2] - 0.5 * pixel * (ROWS - 1)
    return Geometry((slices, ROWS, ROWS), (pixel, pixel, increment), (float(corner[0]), float(corner[1]), bottom))


def render_on(patient: Patient, scan: Scan, geometry: Geometry, *, seed: int = 0, noise: bool = True) -> Rendered:
    """The patient on a grid; labels are exact at the voxel centres of that grid."""
    return render(patient, scan, origin=geometry.origin, spacing=geometry.spacing, shape=geometry.shape, seed=seed, noise=noise)


def scanned_study(patient: Patient, scan: Scan) -> StudyInput:
    """The study as the product gets it: one series."""
    geometry = scan_geometry(patient, scan)
    header = StudyHeader(
        study_uid=f"2.25.{patient.seed + 1}", series_uid=f"2.25.{patient.seed + 1}.1", kvp=scan.kvp, phase_percent=scan.phase_percent
    )
    volume = Volume(render_on(patient, scan, geometry, seed=patient.seed).hu, geometry)
    return StudyInput(main=SeriesImages(volume, header, ()))
