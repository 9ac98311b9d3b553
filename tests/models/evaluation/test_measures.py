"""The measures on answers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.measures import Share, TrueBranch, cl_dice, dice, false_length_mm, found_length, found_share, summary


def line(length_mm: float, *, y: float = 0.0, radius: float = 1.0, outer: float = 1.5, step: float = 0.5) -> TrueBranch:
    """A straight branch along x."""
    x = np.arange(0.0, length_mm + step / 2, step)
    points = np.stack([x, np.full_like(x, y), np.zeros_like(x)], axis=1)
    return TrueBranch(points=points, healthy_radius=np.full(len(x), radius), outer_radius=np.full(len(x), outer))


def test_dice_by_hand() -> None:
    a, b = np.zeros((2, 2, 2), np.bool_), np.zeros((2, 2, 2), np.bool_)
    a[0] = True
    b[0, 0] = True
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, np.zeros_like(a)) is None
    assert dice(np.zeros_like(a), a) == 0.0


def test_cl_dice_by_hand() -> None:
    truth = np.zeros((1, 5, 20), np.bool_)
    truth[0, 1:4] = True
    centreline = np.zeros_like(truth)
    centreline[0, 2] = True
    predicted = np.zeros_like(truth)
    predicted[0, 1:4, :10] = True  # half of the length
    skeleton = np.zeros_like(truth)
    skeleton[0, 2, :10] = True
    skeleton[0, 4, :10] = True  # and as much beside the vessel
    assert cl_dice(skeleton=skeleton, predicted=predicted, centreline=centreline, truth=truth) == pytest.approx(0.5)
    assert cl_dice(skeleton=np.zeros_like(truth), predicted=predicted, centreline=centreline, truth=truth) == 0.0
    assert cl_dice(skeleton=skeleton, predicted=predicted, centreline=np.zeros_like(truth), truth=truth) is None


def test_found_counts_length_and_only_of_large_vessels() -> None:
    large, small = line(40.0), line(40.0, y=30.0, radius=0.7)
    half = large.points[: len(large.points) // 2]
    assert found_share([large, small], half) == pytest.approx(0.5, abs=0.03)
    assert found_share([large, small], np.add(large.points, [0.0, 0.99, 0.0])) == 1.0
    assert found_share([large, small], np.add(large.points, [0.0, 1.01, 0.0])) == 0.0
    assert found_share([large], np.zeros((0, 3))) == 0.0
    assert found_share([small], large.points) is None


def test_a_thin_vessel_is_found_within_three_quarters_of_a_millimetre() -> None:
    thin = line(20.0, radius=0.75)
    assert found_share([thin], np.add(thin.points, [0.0, 0.74, 0.0])) == 1.0
    assert found_share([thin], np.add(thin.points, [0.0, 0.76, 0.0])) == 0.0


def test_false_length_spares_small_true_vessels_and_reach_of_the_wall() -> None:
    large, small = line(40.0, outer=2.0), line(40.0, y=30.0, radius=0.5, outer=0.6)
    assert false_length_mm([large, small], [np.add(large.points, [0.0, 1.9, 0.0]), small.points]) == 0.0
    assert false_length_mm([large, small], [np.add(large.points, [0.0, 2.6, 0.0])]) == pytest.approx(40.0)
    assert false_length_mm([large, small], [np.add(small.points, [0.0, 1.5, 0.0])]) == pytest.approx(40.0)
    assert false_length_mm([large], [np.zeros((1, 3))]) == 0.0


def test_summary_says_what_is_worst() -> None:
    table = summary([0.9, None, 0.5, 0.7])
    assert (table["median"], table["mean"], table["worst"], table["n"]) == (0.7, 0.7, 0.5, 3)
    assert 0.5 <= float(table["low"] or 0) <= 0.7 <= float(table["high"] or 0) <= 0.9
    assert summary([3.0, 8.0], worst_is_low=False)["worst"] == 8.0
    assert summary([None])["n"] == 0
    assert summary([None])["mean"] is None


def test_grafts_need_not_be_found_and_are_not_false() -> None:
    native, graft = line(40.0), replace(line(60.0, y=30.0), native=False)
    assert found_length([native, graft], native.points).value == 1.0
    assert false_length_mm([native, graft], [graft.points]) == 0.0


def test_a_share_of_nothing_is_unknown() -> None:
    assert Share(0.0, 0.0).value is None
    assert Share(1.0, 4.0).value == 0.25


def test_names_follow_the_half_open_segments() -> None:
    branch = replace(line(2.0), segments=((0, 2, "pLAD"), (2, 5, "mLAD")))
    assert branch.names.tolist() == ["pLAD", "pLAD", "mLAD", "mLAD", "mLAD"]
