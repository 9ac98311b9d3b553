"""Masks against label maps: a tube found, missed, shifted and invented."""

from __future__ import annotations

import numpy as np
import pytest

morphology = pytest.importorskip("skimage.morphology")

from appliance.volume import Geometry  # noqa: E402
from models.evaluation.hospital import mask_against_label  # noqa: E402

GRID = Geometry((60, 40, 40), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0))


def tube(y: float, x: float, *, radius: float = 4.0, first: int = 5, last: int = 55) -> np.ndarray:
    k, j, i = np.mgrid[:60, :40, :40]
    return (np.hypot(j - y, i - x) < radius) & (k >= first) & (k < last)


def measured(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    return mask_against_label(predicted, truth, GRID, skeletonize=morphology.skeletonize)


def test_the_label_itself_is_perfect() -> None:
    assert measured(tube(20, 20), tube(20, 20)) == {"dice": 1.0, "cl_dice": 1.0, "found_1_5mm": 1.0, "false_mm": 0.0}


def test_half_of_a_tube_is_half_found_and_invents_nothing() -> None:
    values = measured(tube(20, 20, last=30), tube(20, 20))
    assert values["dice"] == pytest.approx(2 * 25 / 75, abs=1e-3)
    assert values["found_1_5mm"] == pytest.approx(0.5, abs=0.1)
    assert values["false_mm"] == 0.0


def test_a_second_tube_is_false_length() -> None:
    values = measured(tube(12, 12) | tube(28, 28), tube(12, 12))
    assert values["found_1_5mm"] == 1.0
    # a skeleton ends about a radius short of a tube's end
    assert values["false_mm"] == pytest.approx(25.0, abs=5.0)


def test_nothing_finds_nothing() -> None:
    assert measured(np.zeros((60, 40, 40), np.bool_), tube(20, 20)) == {"dice": 0.0, "cl_dice": 0.0, "found_1_5mm": 0.0, "false_mm": 0.0}
