"""Which lesions are the same, and what follows, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.lesions import Plaque, lesion_measures, match, may_match
from models.evaluation.measures import Share


def plaque(
    start: float = 0.0,
    length: float = 10.0,
    *,
    minimum: float = 5.0,
    y: float = 0.0,
    vessel: str = "LAD",
    kind: str = "mixed",
    percent: float | None = 60.0,
    size: float = 3.0,
) -> Plaque:
    x = np.arange(start, start + length + 0.25, 0.5)
    points = np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=1)
    grade = "none" if percent is None else "moderate" if percent >= 50 else "mild"
    return Plaque(points, round(minimum / 0.5), vessel, kind, percent, grade, size)


def test_lesions_match_by_their_minima_or_by_half_of_the_shorter_stretch() -> None:
    true = plaque()
    assert may_match(true, plaque(start=4.9))
    assert not may_match(true, plaque(start=40.0))
    assert not may_match(true, plaque(start=4.9, vessel="RCA"))
    assert may_match(true, plaque(start=4.9, vessel="RCA"), same_vessel=False)
    long = plaque(length=40.0, minimum=38.0)
    assert may_match(true, long), "the true one lies wholly on it"
    assert not may_match(true, plaque(start=8.0, length=12.0, minimum=11.0)), "a fifth overlaps, minima 14 mm apart"
    assert not may_match(true, plaque(start=9.0, minimum=8.0, y=9.0))


def test_pairs_are_one_to_one_and_as_many_as_can_be() -> None:
    first, second = plaque(), plaque(start=8.0, minimum=1.0)  # minima at 5 and 9 mm
    near_both, near_first = plaque(start=0.0, minimum=6.0), plaque(start=0.0, minimum=2.0)
    assert sorted(match([first, second], [near_both, near_first])) == [(0, 1), (1, 0)]
    assert match([first], []) == []
    assert match([], [first]) == []


def test_figures_of_a_patient() -> None:
    true = [
        plaque(),
        plaque(start=40.0, kind="calcified", percent=30.0),
        plaque(start=80.0, percent=80.0),
        plaque(start=120.0, percent=10.0, size=1.2),
    ]
    result = [
        plaque(percent=50.0),
        plaque(start=41.0, kind="noncalcified", percent=42.0),
        plaque(start=121.0, percent=None),
        plaque(start=160.0),
    ]
    numbers, shares = lesion_measures(true, result)
    assert {name: (share.part, share.whole) for name, share in shares.items() if "accuracy" in name or "sensitivity" in name} == {
        "plaque_type_accuracy": (2, 3),
        "lesion_sensitivity": (2, 3),
        "lesion_sensitivity_any_vessel": (2, 3),
        "lesion_sensitivity_50": (1, 2),
        "grade_accuracy": (2, 3),
    }
    assert numbers["false_lesions_per_case"] == 1.0
    assert numbers["stenosis_error_points"] == pytest.approx(11.0)
    assert numbers["stenosis_bias_points"] == pytest.approx(1.0)


def test_a_second_result_on_one_lesion_is_false() -> None:
    numbers, _ = lesion_measures([plaque()], [plaque(), plaque(start=1.0)])
    assert numbers["false_lesions_per_case"] == 1.0


def test_no_lesions_leave_shares_unknown_and_every_result_false() -> None:
    numbers, shares = lesion_measures([], [plaque()])
    assert shares["plaque_type_accuracy"].value is None
    assert shares["lesion_sensitivity"].value is None
    assert numbers == {"false_lesions_per_case": 1.0, "stenosis_error_points": None, "stenosis_bias_points": None}


def test_high_risk_features_are_told_of_matched_lesions_alone() -> None:
    soft, grown, ring = "low_attenuation", "positive_remodeling", "napkin_ring"
    true = [
        replace(plaque(), features=frozenset({soft, grown}), remodeling_index=1.2),
        replace(plaque(start=40.0), features=frozenset({soft}), remodeling_index=1.0),
        replace(plaque(start=80.0), features=frozenset({ring})),
        replace(plaque(start=120.0, size=1.2), features=frozenset({soft, ring})),
    ]
    result = [
        replace(plaque(length=8.0), features=frozenset({soft, grown}), remodeling_index=1.1),
        replace(plaque(start=40.0), features=frozenset({grown, ring}), remodeling_index=None),
        plaque(start=120.0),
    ]
    _, shares = lesion_measures(true, result)
    assert (shares["low_attenuation_found"], shares["low_attenuation_false"]) == (Share(1, 2), Share(0, 0))
    assert (shares["positive_remodeling_found"], shares["positive_remodeling_false"]) == (Share(1, 1), Share(1, 1))
    assert (shares["napkin_ring_found"], shares["napkin_ring_false"]) == (Share(0, 0), Share(1, 2)), "the missed one is no reading of it"
    assert (shares["high_risk_found"], shares["high_risk_false"]) == (Share(1, 1), Share(1, 1))
    assert shares["remodeling_index_error"].value == pytest.approx(0.1)
    assert shares["remodeling_index_error"].whole == 1
    assert shares["lesion_length_error_mm"] == Share(2.0, 2)
