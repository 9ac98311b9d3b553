"""The evaluation of naming by itself: what is confused with what, and one made-up tree through it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

from appliance.analysis.naming_network import LABELS
from models.evaluation.lines import ResultLine
from models.evaluation.measures import Share, TrueBranch
from models.evaluation.naming import confusion, damaged_tree, evaluate, pooled
from models.training.naming_cases import Line, NamingCase
from tests.appliance.analysis.hearts import heart, plain_tree

pytestmark = pytest.mark.train


def straight(length: float, x: float = 0.0) -> np.ndarray:
    z = np.arange(0.0, length + 0.25, 0.5)
    return np.stack([np.full_like(z, x), np.zeros_like(z), z], axis=1)


def test_confusion_counts_millimetres_of_large_vessels_that_were_found() -> None:
    points = straight(20.0)
    radius = np.where(points[:, 2] < 15.0, 1.0, 0.5)
    truth = [TrueBranch(points=points, healthy_radius=radius, outer_radius=radius, segments=((0, 41, "pLAD"),))]
    names = np.array(["pLAD"] * 21 + ["mLAD"] * 20)
    found = confusion(truth, [ResultLine(points, names, root=True)])
    # wrong from 10.5 mm on, large up to 14.5 mm: nine points of half a millimetre
    assert found == {("pLAD", "mLAD"): pytest.approx(4.5)}
    assert confusion(truth, [ResultLine(straight(20.0, x=5.0), names, root=True)]) == {}
    assert confusion(truth, []) == {}


def test_shares_are_pooled_by_length() -> None:
    assert pooled([Share(9.0, 10.0), Share(0.0, 30.0)]) == pytest.approx(9.0 / 40.0)


def test_a_plain_tree_is_named_right_by_the_rules() -> None:
    left, around, diagonal, marginal, _ = plain_tree().branches
    fork, middle = around.parent_index or 0, len(around.points_mm) // 2

    def line(points: np.ndarray, label: str, parent: int | None, at: int | None, segments: list[tuple[int, int, str]]) -> Line:
        return Line(points, np.full(len(points), 1.2), LABELS.index(label), parent, at, tuple(segments))

    at, last, size = (diagonal.parent_index or 0) - fork, len(left.points_mm) - fork, len(around.points_mm)
    lines = (
        line(left.points_mm[: fork + 1], "LM", None, None, [(0, fork + 1, "LM")]),
        line(left.points_mm[fork:], "LAD", 0, fork, [(0, at, "pLAD"), (at, (at + last) // 2, "mLAD"), ((at + last) // 2, last, "dLAD")]),
        line(around.points_mm, "LCX", 0, fork, [(0, middle, "pLCx"), (middle, size, "LCx")]),
        line(diagonal.points_mm, "D", 1, at, [(0, len(diagonal.points_mm), "D1")]),
        line(marginal.points_mm, "OM", 2, middle, [(0, len(marginal.points_mm), "OM1")]),
    )
    whole = heart().structures
    case = NamingCase(5, lines, (), whole.labels, np.asarray(whole.geometry.origin), ("ramus",))
    tallies = evaluate([case, replace(case, seed=6)], partial(damaged_tree, damage=0.0), session=None)
    assert list(tallies) == ["rules"]
    assert pooled(tallies["rules"].segments) > 0.9
    assert len(tallies["rules"].by_variant["ramus"]) == 2
