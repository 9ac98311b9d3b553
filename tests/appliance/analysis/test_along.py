"""The blur along the vessel, undone on areas whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from appliance.analysis.along import unblurred_areas

ALONG = 0.4 * np.arange(101)
SIGMA_MM = 0.4


def blurred(area: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter1d(area, SIGMA_MM / 0.4, mode="nearest"))


def unblurred(area: np.ndarray) -> np.ndarray:
    return np.asarray(unblurred_areas(area, ALONG, np.full(len(ALONG), SIGMA_MM)))


def test_an_even_vessel_stays_as_it_is() -> None:
    assert unblurred(np.full(101, 7.0)) == pytest.approx(np.full(101, 7.0), abs=1e-6)


def test_a_short_tight_narrowing_is_restored() -> None:
    true = 7.0 * (1.0 - 0.95 * np.exp(-0.5 * ((ALONG - 20.0) / 0.9) ** 2))
    seen = blurred(true)
    found = unblurred(seen)
    assert seen.min() > 0.9
    assert found.min() == pytest.approx(true.min(), abs=0.25)
    assert np.abs(found - true)[5:-5].max() < 0.3


def test_no_area_is_negative() -> None:
    true = np.where(np.abs(ALONG - 20.0) < 3.0, 0.0, 7.0)
    assert unblurred(blurred(true)).min() >= 0.0


def test_noise_is_not_blown_up() -> None:
    noise = np.random.default_rng(3).normal(0.0, 0.35, 101)
    assert unblurred(7.0 + noise).std() < 1.1 * noise.std()


def test_a_stump_is_left_alone() -> None:
    area = np.array([3.0, 2.0, 3.0])
    assert np.array_equal(unblurred_areas(area, np.arange(3) * 0.4, np.full(3, 0.4)), area)
