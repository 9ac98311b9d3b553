"""Lesions of the result against the true ones.

Two lesions can be the same if they lie on the same vessel and either their narrowest points are within 5 mm of each other, or their
stretches overlap by half of the shorter one. Pairs are one to one: as many as can be, and of those the nearest. A second result on one true
lesion is therefore a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from models.evaluation.measures import LARGE_MM, Points, Share, length_mm
from models.phantom.truth import HIGH_RISK

NEAR_MM = 5.0
ACROSS_MM = 2.0
"""A point of one stretch lies on the other if it is within this: about a vessel's radius and what the two lines may differ."""
OVERLAP = 0.5
SIGNIFICANT_PERCENT = 50.0
_NO_PAIR = 1e6


@dataclass(frozen=True)
class Plaque:
    """One lesion: its stretch of centreline (n, 3) with the number of its narrowest point, its vessel, type and narrowing.

    ``size_mm`` is the healthy diameter at the narrowest point; ``stenosis_percent`` None where it was not measured. ``features``: high-risk
    features by their names in the findings. ``remodeling_index`` by outer diameter, None where it was not measured.
    """

    points: Points
    minimum: int
    vessel: str
    plaque_type: str
    stenosis_percent: float | None
    grade: str
    size_mm: float = np.inf
    segment: str = "other"
    volume_mm3: float = 0.0
    features: frozenset[str] = frozenset()
    remodeling_index: float | None = None


def may_match(true: Plaque, result: Plaque, *, same_vessel: bool = True) -> bool:
    """Whether the two can be the same lesion."""
    if same_vessel and true.vessel != result.vessel:
        return False
    return _apart(true, result) <= NEAR_MM or _overlap(true.points, result.points) >= OVERLAP


def _apart(true: Plaque, result: Plaque) -> float:
    return float(np.linalg.norm(true.points[true.minimum] - result.points[result.minimum]))


def _overlap(first: Points, second: Points) -> float:
    """Share of the shorter stretch that runs along the other one."""
    return max(
        float((cKDTree(b).query(a)[0] <= ACROSS_MM).mean()) if length_mm(a) <= length_mm(b) else 0.0
        for a, b in ((first, second), (second, first))
    )


def match(true: Sequence[Plaque], result: Sequence[Plaque], *, same_vessel: bool = True) -> list[tuple[int, int]]:
    """Pairs (true, result), one to one."""
    if not true or not result:
        return []
    cost = np.full((len(true), len(result)), _NO_PAIR)
    for i, a in enumerate(true):
        for j, b in enumerate(result):
            if may_match(a, b, same_vessel=same_vessel):
                cost[i, j] = _apart(a, b)
    rows, columns = linear_sum_assignment(cost)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if cost[i, j] < _NO_PAIR]


def lesion_measures(true: Sequence[Plaque], result: Sequence[Plaque]) -> tuple[dict[str, float | None], dict[str, Share]]:
    """Detection, typing and degree over the lesions of one patient: plain numbers, and shares that can be pooled.

    Sensitivity counts true lesions on vessels of 1.5 mm and more; a result on a smaller true lesion is not false.
    """
    pairs = match(true, result)
    found = {i for i, _ in pairs}
    anywhere = {i for i, _ in match(true, result, same_vessel=False)}
    large = [i for i, lesion in enumerate(true) if lesion.size_mm >= LARGE_MM]
    tight = [i for i in large if (true[i].stenosis_percent or 0.0) >= SIGNIFICANT_PERCENT]
    errors = np.array([_error(true[i], result[j]) for i, j in pairs])
    errors = errors[np.isfinite(errors)]
    shares = {
        "plaque_type_accuracy": Share(sum(true[i].plaque_type == result[j].plaque_type for i, j in pairs), len(pairs)),
        "lesion_sensitivity": Share(len(found.intersection(large)), len(large)),
        "lesion_sensitivity_any_vessel": Share(len(anywhere.intersection(large)), len(large)),
        "lesion_sensitivity_50": Share(len(found.intersection(tight)), len(tight)),
        "grade_accuracy": Share(sum(true[i].grade == result[j].grade for i, j in pairs), len(pairs)),
        **_feature_shares([(true[i], result[j]) for i, j in pairs if i in large]),
    }
    numbers: dict[str, float | None] = {
        "false_lesions_per_case": float(len(result) - len(pairs)),
        "stenosis_error_points": float(np.abs(errors).mean()) if len(errors) else None,
        "stenosis_bias_points": float(errors.mean()) if len(errors) else None,
    }
    return numbers, shares


def _feature_shares(pairs: Sequence[tuple[Plaque, Plaque]]) -> dict[str, Share]:
    """High-risk features of matched lesions: of those that are there, how many are named; of those that are not, how many are named too.

    ``high_risk`` is two features or more in one plaque, the modifier HRP of CAD-RADS 2.0 (JCCT 2022;16:536). With them the error of the
    remodelling index that one of the features rests on, and of the plaque's length.
    """
    shares: dict[str, Share] = {}
    for name in (*HIGH_RISK.values(), "high_risk"):
        has = [(_has(true, name), _has(result, name)) for true, result in pairs]
        named = [said for there, said in has if there]
        shares[f"{name}_found"] = Share(sum(named), len(named))
        wrong = [said for there, said in has if not there]
        shares[f"{name}_false"] = Share(sum(wrong), len(wrong))
    indices = [
        abs(result.remodeling_index - true.remodeling_index)
        for true, result in pairs
        if true.remodeling_index is not None and result.remodeling_index is not None
    ]
    lengths = [abs(length_mm(result.points) - length_mm(true.points)) for true, result in pairs]
    shares["remodeling_index_error"] = Share(float(np.sum(indices)), len(indices))
    shares["lesion_length_error_mm"] = Share(float(np.sum(lengths)), len(lengths))
    return shares


def _has(lesion: Plaque, name: str) -> bool:
    return len(lesion.features) >= 2 if name == "high_risk" else name in lesion.features


def _error(true: Plaque, result: Plaque) -> float:
    if true.stenosis_percent is None or result.stenosis_percent is None:
        return float("nan")
    return result.stenosis_percent - true.stenosis_percent
