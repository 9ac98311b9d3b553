"""The choice of the phase, by what the network said and by the headers."""

from __future__ import annotations

import pytest

from appliance.analysis.phases import Phase, best_phase, distance_to_rest, with_better, worth_rating
from appliance.analysis.quality_network import Rated
from appliance.findings import VesselQuality


def rated(value: float, **grades: int) -> Rated:
    vessels = tuple(
        VesselQuality(vessel=vessel, grade=grade, motion_mm=1.0, contrast_hu=400.0, noise_hu=20.0)  # type: ignore[arg-type]
        for vessel, grade in grades.items()
    )
    return Rated(vessels=vessels, value=value, psf_sigma_mm=0.35, steps=0.0, streaks=0.0)


def test_the_phase_of_the_highest_value_is_taken_whatever_its_header_says() -> None:
    phases = [Phase("a", 75.0, rated(2.1, LAD=2)), Phase("b", 40.0, rated(3.6, LAD=4)), Phase("c", 60.0, rated(3.0, LAD=3))]
    assert best_phase(phases) == 1


def test_of_phases_that_are_as_good_the_header_decides() -> None:
    phases = [Phase("a", 45.0, rated(3.60, LAD=4)), Phase("b", 75.0, rated(3.55, LAD=4)), Phase("c", None, rated(3.58, LAD=4))]
    assert best_phase(phases) == 1


@pytest.mark.parametrize(
    ("percents", "best"),
    [((40.0, 75.0), 1), ((60.0, 40.0), 1), ((None, 45.0), 1), ((70.0, 80.0), 0), ((None, None), 0), ((66.0, 40.0), 0)],
)
def test_without_a_network_the_header_decides(percents: tuple[float | None, ...], best: int) -> None:
    assert best_phase([Phase(str(index), percent, None) for index, percent in enumerate(percents)]) == best


def test_a_phase_that_was_rated_goes_before_one_that_was_not() -> None:
    assert best_phase([Phase("a", 75.0, None), Phase("b", 40.0, rated(1.5, RCA=1)), Phase("c", 75.0, rated(1.0))]) == 1


def test_there_must_be_a_phase() -> None:
    with pytest.raises(ValueError, match="no phase"):
        best_phase([])


def test_end_systole_is_a_rest_but_the_second_choice() -> None:
    assert [distance_to_rest(percent) for percent in (75.0, 70.0, 40.0, 45.0, None)] == [0.0, 5.0, 10.0, 15.0, 100.0]


def test_the_phases_nearest_to_a_rest_are_looked_at() -> None:
    percents = [float(percent) for percent in range(0, 100, 10)]
    assert worth_rating(percents, most=4) == (4, 6, 7, 8)
    assert worth_rating([None, 75.0], most=4) == (0, 1)


def test_another_phase_that_shows_an_artery_better_is_named() -> None:
    main = rated(3.0, LAD=4, LCX=3, RCA=2).vessels
    others = [Phase("b", 40.0, rated(2.0, LAD=4, RCA=3)), Phase("c", None, rated(2.0, LCX=3, RCA=4)), Phase("d", 60.0, None)]
    lad, lcx, rca = with_better(main, others)
    assert lad.better_series_uid is None
    assert lcx.better_series_uid is None
    assert (rca.better_series_uid, rca.better_phase_percent) == ("c", None)
