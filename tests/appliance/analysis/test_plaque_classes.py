"""Boundaries between the classes of plaque at every tube voltage, and what they make of the volumes."""

from __future__ import annotations

import pytest

from appliance.analysis.plaque_classes import KVP, boundaries

# kV, blood HU, noise HU -> fibro-fatty from, fibrous from, calcium from
TABLE = [
    (120.0, 350.0, 20.0, 30.0, 130.0, 410.0),
    (120.0, 250.0, 20.0, 30.0, 120.0, 350.0),
    (140.0, 250.0, 20.0, 30.0, 120.0, 318.5),
    (100.0, 350.0, 10.0, 30.0, 130.0, 399.0),
    (100.0, 450.0, 25.0, 30.0, 140.0, 525.0),
    (80.0, 350.0, 20.0, 30.0, 130.0, 493.5),
    (80.0, 600.0, 30.0, 30.0, 155.0, 690.0),
    (70.0, 350.0, 20.0, 30.0, 130.0, 556.5),
    (70.0, 900.0, 30.0, 30.0, 185.0, 990.0),
    (None, 250.0, 20.0, 30.0, 120.0, 350.0),
]


@pytest.mark.parametrize(("kvp", "blood", "noise", "fatty", "fibrous", "calcium"), TABLE)
def test_boundaries_by_voltage_and_blood(
    kvp: float | None, blood: float, noise: float, fatty: float, fibrous: float, calcium: float
) -> None:
    found = boundaries(kvp=kvp, blood_hu=blood, noise_hu=noise)
    assert (found.fatty, found.fibrous, found.calcium) == pytest.approx((fatty, fibrous, calcium))


def test_the_lower_the_voltage_the_higher_the_boundary_of_calcium() -> None:
    cuts = [boundaries(kvp=kvp, blood_hu=300.0).calcium for kvp in KVP]
    assert cuts == sorted(cuts, reverse=True)


@pytest.mark.parametrize("kvp", KVP)
def test_calcium_of_one_density_is_calcium_at_every_voltage(kvp: float) -> None:
    """A deposit of 500 HU at 120 kV, and fibrous tissue of 90 HU, as they look at another voltage, beside blood of 300 HU at 120 kV."""
    factor = boundaries(kvp=kvp, blood_hu=0.0).calcium / boundaries(kvp=120.0, blood_hu=0.0).calcium
    found = boundaries(kvp=kvp, blood_hu=300.0, noise_hu=20.0)
    assert 500.0 * factor > found.calcium
    assert found.fatty < 90.0 < found.fibrous


@pytest.mark.parametrize("blood", [150.0, 300.0, 450.0, 600.0, 900.0])
def test_classes_stand_in_their_order(blood: float) -> None:
    for kvp in KVP:
        found = boundaries(kvp=kvp, blood_hu=blood, noise_hu=30.0)
        assert found.fatty < found.fibrous < found.calcium
        assert blood < found.calcium, "blood is never calcium"
