"""The vessel network on a hospital's own labelled scans: ``python -m models.evaluation --hospital FOLDER``.

The label maps say where coronary arteries are and no more, so overlap, length found and length invented are measured, and nothing else.
Cases of the family 'test' by the digest of their names are taken (`models.training.hospital`): those were never trained on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from appliance.analysis.grids import interpolate_to
from appliance.analysis.locate import locate
from appliance.analysis.segment import segment
from appliance.errors import CoronetError
from appliance.inference.engine import Session
from appliance.volume import Geometry
from models.evaluation.cases import Skeletonize, cropped_skeleton, skeleton_lines
from models.evaluation.measures import LARGE_MM, LEAST_FALSE_MM, LEAST_FOUND_MM, Mask, cl_dice, dice, summary
from models.training.hospital import HospitalCase, HospitalDataError, Kind, find_cases, read_label, read_volume

LUMEN_AND_CALCIUM = (1, 3)
HIGH_IS_BAD = ("false_mm",)


def evaluate_hospital(
    folder: Path, *, kind: Kind, heart: Session, coronary: Session, skeletonize: Skeletonize, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all cases of a family below ``folder`` and write ``out``; cases are numbered there, their names stay in the log.

    Raises:
        HospitalDataError: the folder holds no case of that family that can be used.
    """
    rows: list[dict[str, float | None]] = []
    cases = [case for case in find_cases(folder) if case.kind == kind]
    for case in cases:
        try:
            rows.append(evaluate_hospital_case(case, heart=heart, coronary=coronary, skeletonize=skeletonize))
        except (HospitalDataError, CoronetError) as error:
            say(f"left out: {case.name}: {error}")
            continue
        say(f"{case.name} " + " ".join(f"{name} {'-' if value is None else format(value, '.3f')}" for name, value in rows[-1].items()))
    if not rows:
        raise HospitalDataError(f"{folder}: none of its {len(cases)} cases of the family '{kind}' can be used")
    result = {
        "synthetic": False,
        "kind": kind,
        "cases": len(rows),
        "left_out": len(cases) - len(rows),
        "overall": {name: summary([row[name] for row in rows], worst_is_low=name not in HIGH_IS_BAD) for name in rows[0]},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def evaluate_hospital_case(case: HospitalCase, *, heart: Session, coronary: Session, skeletonize: Skeletonize) -> dict[str, float | None]:
    """Locate, segment and compare one case with its label map."""
    volume = read_volume(case.image)
    label = read_label(case.label, volume.geometry)
    segmentation = segment(volume, locate(volume, session=heart), session=coronary)
    truth = np.asarray(interpolate_to(label, volume.geometry, segmentation.geometry) > 127)
    return mask_against_label(np.isin(segmentation.classes, LUMEN_AND_CALCIUM), truth, segmentation.geometry, skeletonize=skeletonize)


def mask_against_label(predicted: Mask, truth: Mask, geometry: Geometry, *, skeletonize: Skeletonize) -> dict[str, float | None]:
    """Overlap of two masks on one isotropic grid, and the length found and invented along their skeletons, found as in the definitions.

    The healthy radius is not known: the label's own depth at its skeleton stands for it.
    """
    spacing = geometry.spacing[0]
    lines, marks = cropped_skeleton(predicted, skeletonize), cropped_skeleton(truth, skeletonize)
    depth = ndimage.distance_transform_edt(truth) * spacing
    true_points, radius = geometry.to_points(np.argwhere(marks)), depth[marks]
    return {
        "dice": dice(predicted, truth),
        "cl_dice": cl_dice(skeleton=lines, predicted=predicted, centreline=marks, truth=truth),
        "found_1_5mm": _found(true_points, radius, geometry.to_points(np.argwhere(lines))),
        "false_mm": _false_mm(true_points, radius, skeleton_lines(lines, geometry)),
    }


def _found(true_points: np.ndarray, radius: np.ndarray, result: np.ndarray) -> float | None:
    large = 2.0 * radius >= LARGE_MM
    if not large.any():
        return None
    if not len(result):
        return 0.0
    distance, _ = cKDTree(result).query(true_points[large])
    return float((distance <= np.maximum(radius[large], LEAST_FOUND_MM)).mean())


def _false_mm(true_points: np.ndarray, radius: np.ndarray, lines: Sequence[np.ndarray]) -> float:
    if not lines:
        return 0.0
    middles = np.array([line.mean(axis=0) for line in lines])
    length = np.array([np.linalg.norm(line[1] - line[0]) for line in lines])
    distance, nearest = cKDTree(true_points).query(middles)
    return float(length[distance > np.maximum(radius[nearest], LEAST_FALSE_MM)].sum())
