"""The choice of the phase by the headers, and of the other one for an artery that moved."""

from __future__ import annotations

import pytest

from appliance.analysis.phases import best_phase, distance_to_rest, other_rest


@pytest.mark.parametrize(
    ("percents", "best"),
    [((40.0, 75.0), 1), ((60.0, 40.0), 1), ((None, 45.0), 1), ((70.0, 80.0), 0), ((None, None), 0), ((66.0, 40.0), 0)],
)
def test_the_phase_nearest_to_a_rest_is_taken(percents: tuple[float | None, ...], best: int) -> None:
    assert best_phase(percents) == best


def test_there_must_be_a_phase() -> None:
    with pytest.raises(ValueError, match="no phase"):
        best_phase([])


def test_end_systole_is_a_rest_but_the_second_choice() -> None:
    assert [distance_to_rest(percent) for percent in (75.0, 70.0, 40.0, 45.0, None)] == [0.0, 5.0, 10.0, 15.0, 100.0]


def test_for_an_artery_that_moved_the_other_rest_is_looked_at() -> None:
    others = [70.0, 45.0, None]
    assert other_rest(75.0, others) == 1
    assert other_rest(40.0, others) == 0
    assert other_rest(None, others) == 0
    assert other_rest(75.0, []) is None
