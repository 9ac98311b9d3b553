"""Exact truth of a virtual patient in the terms of the findings file."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.phantom.types import Branch, Lesion, Patient, Stent

#: Names of the high-risk features in the findings file.
HIGH_RISK = {
    "low_attenuation": "low_attenuation", "positive_remodeling": "positive_remodeling", "spotty": "spotty_calcification",
    "napkin_ring": "napkin_ring",
}  # fmt: skip
GRADES = ((0.0, "none"), (25.0, "minimal"), (50.0, "mild"), (70.0, "moderate"), (100.0, "severe"))


def grade(percent: float) -> str:
    """SCCT degree of narrowing from the unrounded diameter stenosis."""
    if percent <= 0.0:
        return "none"
    for bound, name in GRADES[1:]:
        if percent < bound:
            return name
    return "occluded"


def truth(patient: Patient) -> dict[str, Any]:
    """Branches, lesions and dominance as plain data; lengths mm, volumes mm3, positions LPS."""
    return {
        "schema": 1,
        "seed": patient.seed,
        "dominance": patient.dominance,
        "ostia_mm": {side: list(p) for side, p in patient.ostia.items()},
        "heart_box_mm": [list(p) for p in patient.heart_box],
        "branches": [_branch(b) for b in patient.branches],
        "lesions": [_lesion(i, patient.branches[x.branch], x) for i, x in enumerate(patient.lesions)],
        "stents": [_stent(i, patient.branches[x.branch], x) for i, x in enumerate(patient.stents)],
        "plaque_total_mm3": {
            key: round(sum(x.volume_mm3[key] for x in patient.lesions), 3)
            for key in ("total", "calcified", "noncalcified", "low_attenuation")
        },
    }


def _round(values: Any, digits: int = 4) -> Any:
    return np.round(values, digits).tolist()


def _branch(b: Branch) -> dict[str, Any]:
    return {
        "id": b.id,
        "parent": b.parent,
        "parent_index": b.parent_index,
        "name": b.name,
        "vessel": b.vessel,
        "points_mm": _round(b.points_mm),
        "segments": [list(s) for s in b.segments],
        "lumen_diameter_mm": _round(2.0 * b.lumen_radius_mm),
        "vessel_diameter_mm": _round(2.0 * b.outer_radius_mm),
        "healthy_diameter_mm": _round(2.0 * b.healthy_radius_mm),
    }


def _lesion(number: int, b: Branch, x: Lesion) -> dict[str, Any]:
    lumen = 2.0 * float(b.lumen_radius_mm[x.minimum])
    reference = 2.0 * float(b.healthy_radius_mm[x.minimum])
    segment = next(name for i, j, name in b.segments if i <= x.minimum < j)
    s = np.linalg.norm(np.diff(b.points_mm[x.start : x.end + 1], axis=0), axis=1).sum()
    return {
        "id": number,
        "branch": x.branch,
        "vessel": b.vessel,
        "segment": segment,
        "start": x.start,
        "minimum": x.minimum,
        "end": x.end,
        "length_mm": round(float(s), 3),
        "minimum_lumen_diameter_mm": round(lumen, 4),
        "reference_diameter_mm": round(reference, 4),
        "diameter_stenosis_percent": round(x.diameter_stenosis_percent, 3),
        "area_stenosis_percent": round(100.0 * (1.0 - (lumen / reference) ** 2), 3),
        "grade": grade(x.diameter_stenosis_percent),
        "plaque_type": x.plaque_type,
        "volume_mm3": {k: round(v, 3) for k, v in x.volume_mm3.items()},
        "remodeling_index": round(x.remodeling_index, 4),
        "plaque_burden_percent": round(x.plaque_burden_percent, 3),
        "calcium_share": round(x.calcium_share, 4),
        "high_risk": [name for feature, name in HIGH_RISK.items() if feature in x.features],
        "site": x.site,
    }


def _stent(number: int, b: Branch, x: Stent) -> dict[str, Any]:
    return {
        "id": number,
        "branch": x.branch,
        "vessel": b.vessel,
        "segment": next(name for i, j, name in b.segments if i <= (x.start + x.end) // 2 < j),
        "start": x.start,
        "end": x.end,
        "diameter_mm": round(x.diameter_mm, 3),
        "in_stent_stenosis_percent": round(x.in_stent_stenosis_percent, 3),
    }
