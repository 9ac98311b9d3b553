"""Truth of the lesions, counted on what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.phantom.disease import Disease, LesionDraft
from models.phantom.types import FloatArray, Lesion, Patient
from models.phantom.vessels import CALCIUM, WALL, coronary_rows, paint

LABEL_STEP_MM = 0.25


def measured(patient: Patient, disease: Disease) -> Patient:
    """The patient with its lesions, their volumes counted on the renderer's own labels."""
    patient = replace(patient, lesions=tuple(_lesion(d, {}) for d in disease.lesions), cache={})
    return replace(patient, lesions=tuple(_lesion(d, _volumes(patient, d)) for d in disease.lesions), cache={})


def _lesion(d: LesionDraft, volumes: dict[str, float]) -> Lesion:
    return Lesion(
        branch=d.branch, start=d.start, minimum=d.minimum, end=d.end, diameter_stenosis_percent=d.stenosis_percent,
        plaque_type=d.plaque_type, remodeling_index=d.remodeling_index, volume_mm3=volumes, blobs=d.blobs,
    )  # fmt: skip


def _volumes(patient: Patient, d: LesionDraft) -> dict[str, float]:
    """Plaque volumes (mm3) counted on the renderer's own labels at a fine step: wall and plaque between the lesion's shoulders."""
    branch = patient.branches[d.branch]
    rows = coronary_rows(patient)
    first = sum(len(b.points_mm) - 1 for b in patient.branches[: d.branch])
    rows = rows[first + d.start : first + d.end]
    p = branch.points_mm[d.start : d.end + 1]
    reach = (
        float((branch.outer_radius_mm[d.start : d.end + 1] + np.linalg.norm(branch.outer_offset_mm[d.start : d.end + 1], axis=1)).max())
        + 0.5
    )
    lo, hi = p.min(0) - reach, p.max(0) + reach
    shape = tuple(int(n) for n in np.ceil((hi - lo) / LABEL_STEP_MM)[::-1] + 1)
    step = np.full(3, LABEL_STEP_MM)
    aorta = np.ascontiguousarray(patient.channels[..., patient.channel_names.index("ao")])

    def labels(blobs: FloatArray) -> FloatArray:
        vessels = np.zeros(shape, np.uint8)
        paint(np.zeros(shape, np.float32), vessels, lo, step, rows, blobs, aorta, patient, 400.0)
        return vessels

    own = [b for b in d.blobs if b.kind == "calcium"]
    soft = [b for b in d.blobs if b.kind == "soft"]
    marked = labels(np.asarray([[*b.centre, *b.axes.ravel(), *b.radii, b.hu, 1.0] for b in own]).reshape(-1, 17))
    voxel = LABEL_STEP_MM**3
    calcified, other = float((marked == CALCIUM).sum() * voxel), float((marked == WALL).sum() * voxel)
    low = 0.0
    if soft:
        core = labels(np.asarray([[*b.centre, *b.axes.ravel(), *b.radii, b.hu, 1.0] for b in soft]).reshape(-1, 17))
        low = float(((core == CALCIUM) & (marked == WALL)).sum() * voxel)
    return {"total": calcified + other, "calcified": calcified, "noncalcified": other, "low_attenuation": low}
