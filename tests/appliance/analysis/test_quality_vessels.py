"""From segments to grades of arteries: the written rules, exactly."""

from __future__ import annotations

import msgspec
import pytest

from appliance.analysis.quality_vessels import grade_arteries, likert
from appliance.findings import SegmentQuality
from tests.appliance.report.studies import TREE


@pytest.mark.parametrize(
    ("motion", "diameter", "contrast", "grade"),
    [
        (0.0, 3.0, 15.0, 4),
        (0.75, 3.0, 15.0, 4),  # a quarter of the diameter is still excellent
        (0.76, 3.0, 15.0, 3),
        (1.5, 3.0, 15.0, 3),
        (1.51, 3.0, 15.0, 2),
        (3.01, 3.0, 15.0, 1),
        (1.0, 1.5, 15.0, 2),  # the same motion is worse in a thin vessel
        (0.0, 3.0, 14.9, 3),
        (0.0, 3.0, 9.9, 2),
        (0.0, 3.0, 5.9, 1),
        (9.0, 3.0, 5.9, 1),
    ],
)
def test_the_grade_follows_motion_and_contrast(motion: float, diameter: float, contrast: float, grade: int) -> None:
    assert likert(motion_mm=motion, diameter_mm=diameter, contrast_to_noise=contrast) == grade


def segment(name: str, branch: int, start: int, end: int, motion_mm: float | None, cnr: float | None = 20.0) -> SegmentQuality:
    return SegmentQuality(
        segment=name,
        branch=branch,
        start=start,
        end=end,
        motion_mm=motion_mm,
        cnr=cnr,
        blooming_mm=0.0,
        truncated=False,  # type: ignore[arg-type]
    )


WIDE = tuple(msgspec.structs.replace(branch, lumen_diameter_mm=(4.0,) * len(branch.points_mm)) for branch in TREE)


def test_an_artery_is_the_mean_of_its_segments_by_their_length() -> None:
    segments = [segment("pRCA", 3, 0, 30, 1.0), segment("mRCA", 3, 30, 130, 3.6, 10.0), segment("pLAD", 1, 0, 50, 0.4)]
    lad, rca = grade_arteries(WIDE, segments, 25.0)
    assert (lad.vessel, lad.grade, lad.motion_mm, lad.contrast_hu, lad.noise_hu) == ("LAD", 4, 0.4, 500.0, 25.0)
    assert (rca.vessel, rca.grade, rca.motion_mm) == ("RCA", 2, 3.0)
    assert rca.contrast_hu == pytest.approx((30 * 20 + 100 * 10) / 130 * 25, abs=0.1)


def test_what_is_too_thin_or_not_known_says_nothing() -> None:
    thin = tuple(msgspec.structs.replace(branch, lumen_diameter_mm=(1.9,) * len(branch.points_mm)) for branch in TREE)
    assert grade_arteries(thin, [segment("mRCA", 3, 30, 130, 3.6)], 25.0) == ()
    assert grade_arteries(WIDE, [segment("mRCA", 3, 30, 130, None), segment("LM", 0, 0, 10, 1.0)], 25.0) == ()
    assert grade_arteries(WIDE, [segment("mRCA", 3, 30, 130, 3.6)], None) == ()
