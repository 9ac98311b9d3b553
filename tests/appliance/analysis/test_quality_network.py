"""From scores at places to grades of arteries: the written rules, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.quality_network import SCORES, likert, summarise
from appliance.analysis.quality_places import MainVessel, Place


@pytest.mark.parametrize(
    ("motion", "diameter", "contrast", "noise", "artefact", "grade"),
    [
        (0.0, 3.0, 450.0, 30.0, False, 4),
        (0.75, 3.0, 450.0, 30.0, False, 4),  # a quarter of the diameter is still excellent
        (0.76, 3.0, 450.0, 30.0, False, 3),
        (1.5, 3.0, 450.0, 30.0, False, 3),
        (1.51, 3.0, 450.0, 30.0, False, 2),
        (3.01, 3.0, 450.0, 30.0, False, 1),
        (1.0, 1.5, 450.0, 30.0, False, 2),  # the same motion is worse in a thin vessel
        (0.0, 3.0, 449.0, 30.0, False, 3),
        (0.0, 3.0, 299.0, 30.0, False, 2),
        (0.0, 3.0, 179.0, 30.0, False, 1),
        (0.0, 3.0, 450.0, 30.0, True, 3),
        (9.0, 3.0, 450.0, 30.0, True, 1),
    ],
)
def test_the_grade_follows_motion_contrast_and_artefacts(
    motion: float, diameter: float, contrast: float, noise: float, artefact: bool, grade: int
) -> None:
    assert likert(motion_mm=motion, diameter_mm=diameter, contrast_hu=contrast, noise_hu=noise, artefact=artefact) == grade


def answers(vessel: MainVessel, *rows: tuple[float, ...]) -> tuple[tuple[Place, ...], np.ndarray]:
    return tuple(Place(vessel, (0.0, 0.0, 0.0)) for _ in rows), np.array(rows, np.float32).reshape(-1, len(SCORES))


def test_an_artery_is_the_weighted_mean_of_the_places_that_show_it() -> None:
    # motion, noise, psf, contrast, grade, vessel, step, streak
    places, scores = answers(
        "RCA", (1.0, 20, 0.30, 400, 4.0, 1.0, 0, 1), (4.0, 50, 0.40, 100, 1.0, 0.5, 0, 0), (9, 9, 0.5, 9, 1, 0.4, 1, 0)
    )
    rated = summarise(places, scores)
    assert [each.vessel for each in rated.vessels] == ["RCA"]
    vessel = rated.vessels[0]
    assert (vessel.motion_mm, vessel.noise_hu, vessel.contrast_hu) == (2.0, 30.0, 300.0)
    assert vessel.grade == 3
    assert rated.psf_sigma_mm == pytest.approx(0.4)
    assert rated.steps == pytest.approx(1 / 3, abs=1e-3)
    assert rated.streaks == pytest.approx(1 / 3, abs=1e-3)
    assert rated.value == pytest.approx(
        0.5 * (3.0 + 1 + 1) / 3 + 0.5 * 1, abs=1e-4
    )  # the two arteries that no place shows count as unreadable
    assert rated.worst_motion_mm == 2.0


def test_one_place_is_not_enough() -> None:
    places, scores = answers("LAD", (1.0, 20, 0.3, 400, 4.0, 0.9, 0, 0), (1.0, 20, 0.3, 400, 4.0, 0.3, 0, 0))
    rated = summarise(places, scores)
    assert rated.vessels == ()
    assert rated.worst_motion_mm is None


def test_grades_are_rounded_and_kept_on_the_scale() -> None:
    for answer, grade in ((0.2, 1), (2.49, 2), (2.5, 3), (4.7, 4)):
        places, scores = answers("LCX", *[(1.0, 20, 0.3, 400, answer, 0.9, 0, 0)] * 2)
        assert summarise(places, scores).vessels[0].grade == grade
