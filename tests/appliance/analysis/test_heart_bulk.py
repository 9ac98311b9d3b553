"""The heart's bulk among the locator's structures, on shapes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.heart_bulk import field_round, limit_to_heart, nothing_beyond
from appliance.analysis.stages import Structure

SPACING_MM = 3.0


def _ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius_mm: float) -> np.ndarray:
    squares = [(SPACING_MM * (np.arange(n) - c)) ** 2 for n, c in zip(shape, centre, strict=True)]
    return np.asarray(squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= radius_mm**2)


@pytest.fixture
def chest() -> np.ndarray:
    """A ventricle of 4 cm in a chest of 36 cm, a vein that leaves it, and an aorta."""
    labels = np.zeros((120, 120, 120), np.uint8)
    labels[40:118, 60, 60] = Structure.RIGHT_ATRIUM
    labels[30:110, 60:64, 80:84] = Structure.AORTA
    labels[_ball(labels.shape, (40, 60, 60), 40.0)] = Structure.LV
    return labels


def test_a_vein_ends_near_the_heart_and_the_aorta_does_not(chest: np.ndarray) -> None:
    limited = limit_to_heart(chest, spacing_mm=SPACING_MM)
    vein = np.flatnonzero(limited[:, 60, 60] == Structure.RIGHT_ATRIUM)
    # the ball ends 40 mm from its middle, and near it is 18 mm more
    assert (vein.max() - 40) * SPACING_MM == pytest.approx(58.0, abs=SPACING_MM)
    assert (limited == Structure.AORTA).sum() == (chest == Structure.AORTA).sum()


def test_structures_without_a_heart_are_no_heart(chest: np.ndarray) -> None:
    chest[chest == Structure.LV] = 0
    limited = limit_to_heart(chest, spacing_mm=SPACING_MM)
    assert set(np.unique(limited)) == {0, int(Structure.AORTA)}


def test_the_field_is_that_of_a_cardiac_scan_round_the_heart(chest: np.ndarray) -> None:
    field = field_round(chest, spacing_mm=SPACING_MM)
    assert field is not None
    assert [s.stop - s.start for s in field] == [60, 79, 79]
    middles = [(s.stop + s.start) / 2 for s in field]
    assert middles == pytest.approx([40.5, 60.5, 60.5], abs=1.0)


def test_a_cardiac_scan_is_looked_at_once(chest: np.ndarray) -> None:
    assert field_round(chest[20:80, 25:100, 25:100], spacing_mm=SPACING_MM) is None


def test_a_liver_taken_for_a_chamber_beyond_the_field_is_no_heart(chest: np.ndarray) -> None:
    chest[_ball(chest.shape, (100, 90, 40), 25.0)] = Structure.RV
    field = field_round(chest, spacing_mm=SPACING_MM)
    assert field is not None
    left = nothing_beyond(chest, field)
    assert (left == Structure.LV).sum() == (chest == Structure.LV).sum()
    assert (left == Structure.AORTA).sum() == (chest == Structure.AORTA).sum()
    assert not (left == Structure.RV).any()
