"""The calcium scan of a virtual patient, and the score that the rule gives on that very image where the deposits are known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from appliance.analysis.calcium_score import agatston, category, find_deposits
from appliance.analysis.reading import SeriesImages, SeriesSource
from appliance.findings import Findings
from appliance.study import StudyHeader
from appliance.volume import Geometry, Volume
from models.evaluation.measures import Mask
from models.evaluation.scans import ROWS
from models.phantom import Patient, Scan, render
from models.phantom.scan import calcium_scan

FIELD_MM = 220.0
BELOW_MM, ABOVE_MM = 6.0, 8.0
THIN = 3
"""Labels are taken on so many planes within each slice: a slice of 3 mm shows what lies anywhere in it."""
CALCIUM = 3
MARGIN_MM = 6.0
LEAST_SCORE = 10.0
"""A smaller score is one deposit of a few pixels: its relative error says nothing."""


@dataclass(frozen=True)
class RenderedSeries(SeriesSource):
    """A series that is in memory already."""

    images: SeriesImages | None = None

    def read(self) -> SeriesImages:
        """The volume."""
        assert self.images is not None  # noqa: S101 - made with one
        return self.images


def calcium_series(patient: Patient, scan: Scan, *, seed: int | None = None, offset_mm: float = 0.0) -> RenderedSeries:
    """The scan without contrast medium that goes before ``scan``.

    Args:
        patient: whom to scan.
        scan: the angiogram.
        seed: of the noise; the patient's by default.
        offset_mm: how much higher the slices lie.
    """
    plain = calcium_scan(scan)
    geometry = calcium_geometry(patient, plain, offset_mm)
    hu = render(
        patient, plain, origin=geometry.origin, spacing=geometry.spacing, shape=geometry.shape, seed=patient.seed if seed is None else seed
    ).hu
    header = StudyHeader(study_uid=f"2.25.{patient.seed + 1}", series_uid=f"2.25.{patient.seed + 1}.2", kvp=plain.kvp, phase_percent=None)
    return RenderedSeries(header, (), images=SeriesImages(Volume(hu, geometry), header, ()))


def calcium_geometry(patient: Patient, plain: Scan, offset_mm: float = 0.0) -> Geometry:
    """512 x 512 around the heart, from below to above it."""
    points = np.concatenate([np.asarray(patient.heart_box), *(b.points_mm for b in patient.branches if b.kind == "native")])
    low, high = points.min(axis=0), points.max(axis=0)
    pixel, increment = FIELD_MM / ROWS, plain.increment_mm
    corner = 0.5 * (low + high)[:2] - 0.5 * pixel * (ROWS - 1)
    bottom = float(low[2]) - BELOW_MM + offset_mm
    slices = max(int((float(high[2]) + ABOVE_MM - bottom) / increment) + 1, 2)
    return Geometry((slices, ROWS, ROWS), (pixel, pixel, increment), (float(corner[0]), float(corner[1]), bottom))


def exact_mask(patient: Patient, scan: Scan, geometry: Geometry) -> Mask:
    """Where the slices hold coronary calcium: any of the planes within a slice does; only around the plaques is looked."""
    mask = np.zeros(geometry.shape, np.bool_)
    calcified = [lesion for lesion in patient.lesions if lesion.volume_mm3["calcified"] > 0.0]
    if not calcified:
        return mask
    points = np.concatenate([patient.branches[lesion.branch].points_mm[lesion.start : lesion.end + 1] for lesion in calcified])
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    first = np.clip(np.floor(geometry.to_index(low)), 0, np.asarray(geometry.shape) - 1).astype(int)
    last = np.clip(np.ceil(geometry.to_index(high)), 0, np.asarray(geometry.shape) - 1).astype(int) + 1
    (nz, ny, nx), (x, y, z) = last - first, geometry.spacing
    origin = geometry.to_points(first) - np.array([0.0, 0.0, z * (THIN - 1) / (2 * THIN)])
    labels = render(
        patient, calcium_scan(scan), origin=(float(origin[0]), float(origin[1]), float(origin[2])), spacing=(x, y, z / THIN),
        shape=(int(nz) * THIN, int(ny), int(nx)), noise=False,
    ).vessels  # fmt: skip
    part = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    mask[part] = (labels.reshape(int(nz), THIN, int(ny), int(nx)) == CALCIUM).any(axis=1)
    return mask


def rule_score(volume: Volume, mask: Mask) -> float:
    """The Agatston score of the deposits that hold true coronary calcium."""
    true = [deposit for deposit in find_deposits(volume) if mask[tuple(deposit.voxels.T)].any()]
    return agatston(true, increment_mm=volume.geometry.spacing[2])


def calcium_measures(patient: Patient, scan: Scan, series: RenderedSeries, findings: Findings | None) -> dict[str, float | None]:
    """Relative error of the score and whether the category is right; a product that gives no score has the category wrong."""
    volume = series.read().volume
    truth = rule_score(volume, exact_mask(patient, scan, volume.geometry))
    found = findings.calcium if findings is not None else None
    given = 0.0 if found is None else found.agatston
    return {
        "agatston_relative_error": abs(given - truth) / truth if truth >= LEAST_SCORE else None,
        "agatston_error": given - truth,
        "agatston_true": truth,
        "calcium_category": float(found is not None and category(given) == category(truth)),
    }
