"""Names, ostia and centreline overlaps on trees of straight lines, worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from models.evaluation.lines import ResultLine, centreline_measures, named_length, ostia_found, ostium_distances, result_lines
from models.evaluation.measures import TrueBranch


def points(length_mm: float, *, y: float = 0.0, start: float = 0.0) -> np.ndarray:
    x = np.arange(start, start + length_mm + 0.25, 0.5)
    return np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=1)


def vessel(length_mm: float, name: str = "LAD", *, y: float = 0.0, radius: float = 1.0) -> TrueBranch:
    """A straight branch along x whose first half is proximal."""
    line = points(length_mm, y=y)
    half, n = len(line) // 2, len(line)
    segments = ((0, half, f"p{name}"), (half, n, f"m{name}"))
    return TrueBranch(line, np.full(n, radius), np.full(n, radius + 0.5), segments, name=name, vessel=name)


@dataclass(frozen=True)
class Named:
    """A branch as the findings hold it."""

    points_mm: np.ndarray
    segments: tuple[tuple[int, int, str], ...]
    parent: int | None = None


def result(branch: TrueBranch, *, shift: float = 0.0) -> ResultLine:
    return result_lines([Named(np.add(branch.points, [0.0, shift, 0.0]), branch.segments)])[0]


def test_the_right_names_in_the_right_place_are_all_right() -> None:
    branch = vessel(40.0)
    shares = named_length([branch], [result(branch, shift=0.9)])
    assert {name: share.value for name, share in shares.items()} == {
        "name_accuracy": 1.0,
        "name_accuracy_of_found": 1.0,
        "name_accuracy_18": 1.0,
    }
    assert shares["name_accuracy"].whole == pytest.approx(40.0)


def test_missing_length_is_wrong_and_a_shifted_border_costs_its_length() -> None:
    branch = vessel(40.0)
    none = named_length([branch], [])
    assert none["name_accuracy"].value == 0.0
    assert none["name_accuracy_of_found"].value is None
    moved = replace(branch, segments=((0, 60, "pLAD"), (60, 81, "mLAD")))  # 10 mm further on
    assert named_length([branch], [result(moved)])["name_accuracy"].value == pytest.approx(0.75, abs=0.01)
    half = result_lines([Named(branch.points[:41], ((0, 41, "pLAD"),))])
    shares = named_length([branch], half)
    assert shares["name_accuracy"].value == pytest.approx(0.5, abs=0.02)
    # what lies within the radius (1 mm) beyond the end is found as well, and carries the name of the last point
    assert shares["name_accuracy_of_found"].value == pytest.approx(19.75 / 21.25)


def test_side_branches_count_as_other_and_small_ones_not_at_all() -> None:
    large, side = vessel(40.0), replace(vessel(20.0, y=20.0), segments=((0, 41, "other"),))
    small = vessel(30.0, "RCA", y=40.0, radius=0.5)
    shares = named_length([large, side, small], [result(large)])
    assert shares["name_accuracy"].value == pytest.approx(40 / 60)
    assert shares["name_accuracy_18"].value == 1.0
    assert named_length([large, side, small], [result(large), result(side)])["name_accuracy"].value == 1.0


def test_the_first_point_of_a_side_branch_belongs_to_its_parent() -> None:
    parent = vessel(40.0)
    child = Named(np.concatenate([parent.points[30:31], points(10.0, y=5.0, start=15.0)]), ((0, 22, "D1"),), parent=0)
    lines = [result(parent), *result_lines([child])]
    assert named_length([parent], lines)["name_accuracy"].value == 1.0


def test_ostia_are_found_by_the_start_of_a_tree_only() -> None:
    branch = vessel(40.0)
    lines = result_lines([Named(branch.points, branch.segments), Named(branch.points[20:], ((0, 61, "D1"),), parent=0)])
    ostia = [(0.0, 1.9, 0.0), (10.0, 0.0, 0.0)]
    assert ostium_distances(ostia, lines) == pytest.approx([1.9, 10.0])
    assert ostia_found(ostia, lines).value == 0.5
    assert ostia_found(ostia, []).value == 0.0
    assert ostia_found([], lines).value is None


def test_a_perfect_line_overlaps_wholly() -> None:
    branch = vessel(40.0)
    measures = centreline_measures([branch], [result(branch)])
    assert measures["centreline_ot"] == 1.0
    assert measures["centreline_of"] == 1.0
    assert measures["centreline_ai_mm"] == pytest.approx(0.0, abs=0.06)
    assert measures["main_vessels_missed"] == 0.0


def test_overlap_counts_misses_and_inventions() -> None:
    branch = vessel(40.0)
    half = ResultLine(branch.points[:41], branch.names[:41], root=True)
    wrong = result_lines([Named(points(20.0, y=30.0), ((0, 41, "D1"),))])
    measures = centreline_measures([branch], [half, *wrong])
    # 20 of 40 mm are found: 20 true right, 20 missed, 20 result right, 20 result wrong
    assert measures["centreline_ot"] == pytest.approx(0.5, abs=0.02)
    assert measures["centreline_of"] == pytest.approx((21.25 - 5.0) / 35.0), "with the radius (1 mm) beyond the end"
    assert measures["main_vessels_missed"] == 0.0
    nothing = centreline_measures([branch], [])
    assert nothing["centreline_ot"] == nothing["centreline_of"] == 0.0
    assert nothing["centreline_ai_mm"] is None
    assert nothing["main_vessels_missed"] == 1.0


def test_what_comes_before_the_first_miss_starts_at_the_ostium() -> None:
    trunk = replace(vessel(20.0, "LM"), segments=((0, 41, "LM"),))
    lad = replace(vessel(40.0), points=points(40.0, start=20.0), parent=0, parent_index=40)
    later = ResultLine(lad.points, lad.names, root=True)  # the left main is missing
    assert centreline_measures([trunk, lad], [later])["centreline_of"] == 0.0
    both = centreline_measures([trunk, lad], [ResultLine(trunk.points, trunk.names, root=True), later])
    assert both["centreline_of"] == 1.0


def test_result_on_a_small_true_vessel_counts_neither_way() -> None:
    large, small = vessel(40.0), vessel(30.0, "D1", y=20.0, radius=0.5)
    measures = centreline_measures([large, small], [result(large), result(small, shift=0.9)])
    assert measures["centreline_ot"] == 1.0
