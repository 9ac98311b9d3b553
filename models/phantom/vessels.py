"""The coronary tree as rows for the rasteriser: lumen, wall, plaque and calcium."""

from __future__ import annotations

import numpy as np

from models.phantom import painting
from models.phantom.types import FloatArray, Patient, Scan

LUMEN, WALL, CALCIUM, VEIN = 1, 2, 3, 4
CALCIUM_KIND = "calcium"
AORTA_REACH_MM = 9.0


def coronary_rows(patient: Patient) -> FloatArray:
    """Segment rows of the whole tree for the rasteriser, one per step of a centreline."""
    rows = []
    wall = wall_attenuation(patient)
    ao = patient.ostia.values()
    for b in patient.branches:
        p, q = b.points_mm, b.points_mm + b.outer_offset_mm
        inner = np.where(b.lumen_radius_mm > 0.02, b.lumen_radius_mm, -1.0)
        r = b.outer_radius_mm
        w = wall[b.id]
        near = np.zeros(len(p))
        for ostium in ao:
            near = np.maximum(near, np.linalg.norm(p - np.asarray(ostium), axis=1) < AORTA_REACH_MM)
        rows.append(
            np.column_stack([
                p[:-1], p[1:], inner[:-1], inner[1:], q[:-1], q[1:], r[:-1], r[1:],
                0.5 * (w[:-1] + w[1:]), np.linspace(1.0, 0.93, len(p) - 1), near[:-1],
            ])
        )  # fmt: skip
    return np.concatenate(rows)


def wall_attenuation(patient: Patient) -> dict[int, FloatArray]:
    """HU of wall and non-calcified plaque along each branch."""
    wall = {b.id: np.full(len(b.points_mm), 45.0) for b in patient.branches}
    for k, lesion in enumerate(patient.lesions):
        rng = np.random.default_rng((patient.seed, 31, k))
        wall[lesion.branch][lesion.start : lesion.end + 1] = float(rng.uniform(45.0, 125.0))
    return wall


def blob_rows(patient: Patient) -> FloatArray:
    """Rows of all calcium and soft-core ellipsoids."""
    rows = [[*b.centre, *b.axes.ravel(), *b.radii, b.hu, float(b.kind == CALCIUM_KIND)] for lesion in patient.lesions for b in lesion.blobs]
    return np.asarray(rows, np.float64).reshape(-1, 17)


def paint_tree(patient: Patient, scan: Scan, start: FloatArray, step: FloatArray, hu: FloatArray, vessels: FloatArray) -> None:
    """Paint the coronary tree with its disease into `hu` and `vessels`, both (z, y, x) with voxel (0, 0, 0) at `start`, mm, LPS."""
    if "coronaries" not in patient.cache:
        aorta = np.ascontiguousarray(patient.channels[..., patient.channel_names.index("ao")])
        patient.cache["coronaries"] = (coronary_rows(patient), blob_rows(patient), aorta)
    segments, blobs, aorta = patient.cache["coronaries"]
    paint(hu, vessels, start, step, segments, blobs, aorta, patient, scan.vessel_hu)


def paint(
    hu: FloatArray, vessels: FloatArray, start: FloatArray, step: FloatArray, segments: FloatArray, blobs: FloatArray, aorta: FloatArray,
    patient: Patient, lumen_hu: float,
) -> None:  # fmt: skip
    """Rasterise coronary segments and blobs into a volume."""
    reach = np.maximum(segments[:, 14:16].max(1), segments[:, 6:8].max(1))[:, None] + float(step.max())
    ends = np.stack([segments[:, 0:3], segments[:, 3:6], segments[:, 8:11], segments[:, 11:14]])
    lists = painting.brick_lists(ends.min(0) - reach, ends.max(0) + reach, start, step, hu.shape)
    size = blobs[:, 12:15].max(1)[:, None] + float(step.max()) if len(blobs) else np.zeros((0, 1))
    blob_lists = painting.brick_lists(blobs[:, :3] - size, blobs[:, :3] + size, start, step, hu.shape)
    painting.paint_coronaries(
        hu, vessels, start, step, segments, lists, blobs, blob_lists, aorta, np.asarray(patient.grid.origin), patient.grid.spacing, lumen_hu
    )
