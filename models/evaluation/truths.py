"""The truth of a virtual patient as the measures take it, at the places where the scan shows it, and what kind of patient it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from appliance.volume import Geometry
from models.evaluation.lesions import Plaque
from models.evaluation.measures import Mask, Points, TrueBranch
from models.evaluation.scans import is_native
from models.phantom import Patient, Scan
from models.phantom.motion import seen
from models.phantom.truth import HIGH_RISK, grade

MOVING_MM = 1.0
NOISY_HU = 32.0
FAINT_HU = 300.0
HEAVY_CALCIUM_MM3 = 60.0
TIGHT_PERCENT = 70.0


@dataclass(frozen=True)
class Truth:
    """What is true of one scan.

    Attributes:
        branches: the coronaries (and grafts), a list that ``parent`` counts in.
        ostia: LPS mm, of the native coronaries.
        lesions: all plaques.
        dominance: as in the findings file.
        conditions: labels of patient and scan, to tell where the product fails.
    """

    branches: tuple[TrueBranch, ...]
    ostia: tuple[tuple[float, float, float], ...]
    lesions: tuple[Plaque, ...]
    dominance: str
    conditions: tuple[str, ...]

    @property
    def native_points(self) -> Points:
        """All points of the native coronaries, and their ostia, (n, 3)."""
        return np.concatenate([np.asarray(self.ostia).reshape(-1, 3), *(b.points for b in self.branches if b.native)])


def truth_of(patient: Patient, scan: Scan) -> Truth:
    """The truth of a patient in a scan."""
    branches = true_branches(patient, scan)
    ostia = np.asarray([place for name, place in patient.ostia.items() if not name.startswith("graft")])
    shown = [(float(x), float(y), float(z)) for x, y, z in seen(ostia, patient, scan)]
    lesions = [
        Plaque(
            points=branches[lesion.branch].points[lesion.start : lesion.end + 1],
            minimum=lesion.minimum - lesion.start,
            vessel=branches[lesion.branch].vessel,
            plaque_type=lesion.plaque_type,
            stenosis_percent=lesion.diameter_stenosis_percent,
            grade=grade(lesion.diameter_stenosis_percent),
            size_mm=2.0 * float(branches[lesion.branch].healthy_radius[lesion.minimum]),
            segment=str(branches[lesion.branch].names[lesion.minimum]),
            volume_mm3=float(lesion.volume_mm3["total"]),
            features=frozenset(HIGH_RISK[name] for name in lesion.features),
            remodeling_index=lesion.remodeling_index,
        )
        for lesion in patient.lesions
    ]
    return Truth(branches, tuple(shown), tuple(lesions), patient.dominance, conditions_of(patient, scan))


def true_branches(patient: Patient, scan: Scan) -> tuple[TrueBranch, ...]:
    """The patient's coronaries where the scan shows them."""
    return tuple(
        TrueBranch(
            points=np.asarray(seen(branch.points_mm, patient, scan), np.float64),
            healthy_radius=np.asarray(branch.healthy_radius_mm, np.float64),
            outer_radius=np.asarray(branch.outer_radius_mm, np.float64),
            segments=branch.segments,
            name=branch.name,
            vessel=branch.vessel,
            parent=branch.parent,
            parent_index=branch.parent_index,
            native=is_native(branch),
            lumen_radius=np.asarray(branch.lumen_radius_mm, np.float64),
        )
        for branch in patient.branches
    )


def stented_points(patient: Patient) -> tuple[Mask, ...]:
    """For each branch, which of its points lie in a stent."""
    masks = tuple(np.zeros(len(branch.points_mm), np.bool_) for branch in patient.branches)
    for stent in patient.stents:
        masks[stent.branch][stent.start : stent.end + 1] = True
    return masks


def inside(points: Points, region: Geometry) -> Mask:
    """True for the points (n, 3) that lie in a voxel of a grid."""
    index = region.to_index(points)
    return np.asarray(((index >= -0.5) & (index <= np.array(region.shape) - 0.5)).all(axis=-1))


def clipped(truth: Truth, scanned: Geometry) -> Truth:
    """The truth without what the scan does not cover: points beyond it have no size, so that nobody must find or name them.

    Lesions and ostia out of the scan are left out.
    """
    branches = tuple(
        replace(branch, healthy_radius=np.where(inside(branch.points, scanned), branch.healthy_radius, 0.0)) for branch in truth.branches
    )
    ostia = tuple(ostium for ostium in truth.ostia if inside(np.asarray(ostium), scanned))
    lesions = tuple(lesion for lesion in truth.lesions if inside(lesion.points[lesion.minimum], scanned))
    return replace(truth, branches=branches, ostia=ostia, lesions=lesions)


def conditions_of(patient: Patient, scan: Scan) -> tuple[str, ...]:
    """Labels of what may make a case hard; a case has several."""
    calcium = sum(lesion.volume_mm3["calcified"] for lesion in patient.lesions)
    degrees = [lesion.diameter_stenosis_percent for lesion in patient.lesions]
    moving = max(scan.motion_mm.values(), default=0.0)
    labels = {
        f"heart {getattr(patient, 'heart_model', '')}": True,
        f"dominance {patient.dominance}": True,
        "no lesion": not patient.lesions,
        f"calcium over {HEAVY_CALCIUM_MM3:.0f} mm3": calcium > HEAVY_CALCIUM_MM3,
        f"stenosis of {TIGHT_PERCENT:.0f} % and more": any(degree >= TIGHT_PERCENT for degree in degrees),
        "occlusion": any(degree >= 100.0 for degree in degrees),
        "no variant": not patient.variants,
        f"motion of {MOVING_MM:.0f} mm and more": moving >= MOVING_MM,
        "steps or ghost": bool(scan.steps) or scan.ghost is not None,
        f"noise of {NOISY_HU:.0f} HU and more": scan.noise_hu >= NOISY_HU,
        f"contrast under {FAINT_HU:.0f} HU": scan.vessel_hu < FAINT_HU,
        f"kernel {scan.kernel}": True,
        "metal": bool(scan.metal),
        "stent": bool(patient.stents),
        "cut off": max(scan.cut_mm) > 0.0 or scan.round_field,
        "clean scan": moving < MOVING_MM and not scan.steps and scan.noise_hu < NOISY_HU and scan.vessel_hu >= FAINT_HU,
        **{f"variant {name}": True for name in patient.variants},
    }
    return tuple(name for name, present in labels.items() if present)
