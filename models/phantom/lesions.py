"""Truth of the lesions, counted on the renderer's own labels at a fine step.

| truth | rule | source |
|---|---|---|
| diameter stenosis | area-equivalent lumen against the healthy radius at the same point | SCCT 2014 |
| volumes | voxels of wall and calcium between the shoulders that lie nearest to the lesion's own stretch | own labels |
| type | calcium / plaque less healthy wall: from 0.5 calcified; under 0.5 mm3 of calcium non-calcified; else mixed | JCCT 2024;18:429 |
| remodelling index | outer diameter at the minimum against the healthy one there; positive from 1.1 | CAD-RADS 2.0 |
| low attenuation | 0.5 mm3 and more of wall below 30 HU before blur | CAD-RADS 2.0 |
| spotty calcium | each piece under 3 mm in every direction, in a plaque that is mostly not calcified | CAD-RADS 2.0 |
| napkin ring | a core of low attenuation of 0.5 mm3 and more within a denser, non-calcified rim of at most 130 HU | CAD-RADS 2.0 |
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from models.phantom.disease import Disease, LesionDraft
from models.phantom.profiles import Profile
from models.phantom.types import Branch, FloatArray, Lesion, Patient
from models.phantom.vessels import CALCIUM, WALL, Rows, paint, tree_rows

LABEL_STEP_MM = 0.25
#: Points of a branch whose surroundings are counted at once.
CHUNK = 40
CALCIFIED_SHARE, LEAST_CALCIUM_MM3 = 0.5, 0.5
LOW_HU, LEAST_LOW_MM3 = 30.0, 0.5
SPOT_MM = 3.0
POSITIVE_REMODELING = 1.1


@dataclass(frozen=True)
class Counts:
    """What was counted of a lesion: volumes (mm3) and the positions of its calcium voxels (n, 3)."""

    calcified: float
    soft: float
    low: float
    calcium: FloatArray


def measured(patient: Patient, disease: Disease) -> Patient:
    """The patient with the looks of its branches, its stents, and its lesions as counted on the drawn labels."""
    branches = tuple(replace(b, look=p.look()) for b, p in zip(patient.branches, disease.profiles, strict=True))
    bare = tuple(_bare(d) for d in disease.lesions)
    patient = replace(patient, branches=branches, stents=tuple(disease.stents), lesions=bare, cache={})
    rows = tree_rows(patient)
    first = np.cumsum([0, *(len(b.points_mm) - 1 for b in branches)])
    lesions = []
    for draft, lesion in zip(disease.lesions, bare, strict=True):
        counts = count(rows, branches[draft.branch], int(first[draft.branch]), draft.start, draft.end)
        lesions.append(_lesion(lesion, branches[draft.branch], disease.profiles[draft.branch], counts))
    return replace(patient, lesions=tuple(lesions), cache={})


def _bare(d: LesionDraft) -> Lesion:
    return Lesion(
        branch=d.branch, start=d.start, minimum=d.minimum, end=d.end, diameter_stenosis_percent=0.0, plaque_type="", remodeling_index=1.0,
        volume_mm3={}, blobs=d.blobs, sheets=d.sheets, site=d.site,
    )  # fmt: skip


def count(rows: Rows, branch: Branch, first: int, start: int, end: int) -> Counts:
    """Count wall and calcium that lie nearest to the points `start`...`end` of a branch whose segment rows begin at `first`."""
    totals = np.zeros(3)
    calcium = [np.zeros((0, 3), np.int64)]
    step = np.full(3, LABEL_STEP_MM)
    for a in range(start, end, CHUNK):
        b = min(a + CHUNK, end)
        p = branch.points_mm[a : b + 1]
        shift = np.linalg.norm(branch.outer_offset_mm[a : b + 1], axis=1)
        reach = float((branch.outer_radius_mm[a : b + 1] + shift).max()) + 2 * LABEL_STEP_MM
        # all boxes share one lattice, so that no voxel is counted twice
        low = np.floor((p.min(0) - reach) / LABEL_STEP_MM).astype(np.int64)
        high = np.ceil((p.max(0) + reach) / LABEL_STEP_MM).astype(np.int64)
        nx, ny, nz = (int(n) for n in high - low + 1)
        labels, owner = np.zeros((nz, ny, nx), np.uint8), np.full((nz, ny, nx), -1, np.int32)
        material = np.zeros((nz, ny, nx), np.float32)
        paint(rows, np.zeros_like(material), labels, low * LABEL_STEP_MM, step, lumen_hu=400.0, owner=owner, material=material, metal=False)
        own = (owner >= first + a) & (owner < first + b)
        hard, soft = own & (labels == CALCIUM), own & (labels == WALL)
        totals += hard.sum(), soft.sum(), (soft & (material < LOW_HU)).sum()
        calcium.append(np.argwhere(hard)[:, ::-1] + low)
    calcified, wall, attenuated = (float(n) * LABEL_STEP_MM**3 for n in totals)
    return Counts(calcified, wall, attenuated, np.concatenate(calcium))


def _lesion(lesion: Lesion, branch: Branch, profile: Profile, counts: Counts) -> Lesion:
    span = slice(lesion.start, lesion.end + 1)
    healthy_wall = np.pi * (profile.healthy_outer[span] ** 2 - profile.healthy[span] ** 2)
    steps = np.gradient(np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(branch.points_mm[span], axis=0), axis=1))]))
    plaque = max(counts.calcified + counts.soft - float((healthy_wall * steps).sum()), counts.calcified, 1e-6)
    share = counts.calcified / plaque
    kind = "noncalcified" if counts.calcified < LEAST_CALCIUM_MM3 else "calcified" if share >= CALCIFIED_SHARE else "mixed"
    i = lesion.minimum
    lumen, healthy = float(branch.lumen_radius_mm[i]), float(branch.healthy_radius_mm[i])
    index = float(profile.outer[i] / profile.healthy_outer[i])
    low = counts.low if counts.low >= LEAST_LOW_MM3 else 0.0
    features = set()
    if index >= POSITIVE_REMODELING:
        features.add("positive_remodeling")
    if low > 0.0:
        features.add("low_attenuation")
        if any(b.kind == "rim" for b in lesion.blobs):
            features.add("napkin_ring")
    if kind == "mixed" and spotty(counts.calcium):
        features.add("spotty")
    return replace(
        lesion, diameter_stenosis_percent=max(0.0, 100.0 * (1.0 - lumen / healthy)), plaque_type=kind, remodeling_index=index,
        volume_mm3={
            "total": counts.calcified + counts.soft,
            "calcified": counts.calcified,
            "noncalcified": counts.soft,
            "low_attenuation": counts.low,
        },
        features=frozenset(features), calcium_share=share,
        plaque_burden_percent=100.0 * (1.0 - (lumen / float(branch.outer_radius_mm[i])) ** 2),
    )  # fmt: skip


def spotty(voxels: FloatArray) -> bool:
    """Whether calcium voxels (n, 3) form pieces that are all under 3 mm in every direction of the grid."""
    if len(voxels) == 0:
        return False
    low = voxels.min(0)
    mask = np.zeros(voxels.max(0) - low + 1, bool)
    mask[tuple((voxels - low).T)] = True
    pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    return all(max(s.stop - s.start for s in box) * LABEL_STEP_MM < SPOT_MM for box in ndimage.find_objects(pieces))
