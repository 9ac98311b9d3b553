"""Rules and network together: score, warnings, and how they reach findings and report."""

from __future__ import annotations

import msgspec

from appliance.analysis.quality import warnings, with_arteries, with_segments
from appliance.findings import Findings, NotAssessable, Quality, VesselQuality
from appliance.report.text import write_report
from tests.appliance.report.studies import HEADER, NORMAL

RULES = Quality(
    score=5, aorta_mean_hu=420.0, aorta_noise_hu=22.0, cnr=20.0, motion=None, coverage_complete=True, not_assessable=(),
    motion_reason="not_measured",
)  # fmt: skip


def vessel(name: str, grade: int, motion_mm: float) -> VesselQuality:
    return VesselQuality(vessel=name, grade=grade, motion_mm=motion_mm, contrast_hu=450.0, noise_hu=22.0)  # type: ignore[arg-type]


def test_without_a_network_motion_is_unknown() -> None:
    quality = with_arteries(RULES, ())
    assert (quality.motion, quality.motion_reason, quality.vessels, quality.warnings) == (None, "not_measured", (), ())


def test_the_worst_artery_bounds_the_score() -> None:
    for grades, score in (((4, 4, 4), 5), ((4, 3, 4), 4), ((2, 3, 4), 3), ((4, 4, 1), 2), ((1, 1, 1), 1)):
        vessels = tuple(vessel(name, grade, 1.5) for name, grade in zip(("LAD", "LCX", "RCA"), grades, strict=True))
        quality = with_arteries(RULES, vessels)
        assert (quality.score, quality.motion, quality.motion_reason) == (score, 0.5, None)
    assert with_arteries(msgspec.structs.replace(RULES, score=2), (vessel("LAD", 4, 0.1),)).score == 2


def test_a_segment_that_cannot_be_read_makes_the_image_moderate() -> None:
    unread = (NotAssessable(segment="mRCA", reason="blooming", branch=3, start=80, end=160),)
    quality = with_segments(RULES, (), unread)
    assert (quality.score, quality.not_assessable) == (3, unread)
    assert with_segments(RULES, (), ()).score == 5


def test_each_trouble_has_its_warning() -> None:
    poor = msgspec.structs.replace(RULES, aorta_noise_hu=41.0, aorta_mean_hu=230.0, coverage_complete=False)
    poor = msgspec.structs.replace(poor, warnings=warnings(poor))
    other = msgspec.structs.replace(vessel("LAD", 2, 2.0), better_series_uid="1.2.3", better_phase_percent=40.0)
    quality = with_arteries(poor, (other, vessel("RCA", 1, 4.2)))
    assert [warning.code for warning in quality.warnings] == ["DEC-151", "DEC-154", "DEC-155", "DEC-156", "DEC-157"]
    assert "RCA" in quality.warnings[0].en
    assert "4.2 mm" in quality.warnings[0].zh
    assert quality.warnings[-1].zh == "前降支在另一期相 40%显示更好"
    assert quality.motion == 1.0
    assert warnings(RULES) == ()


def test_warnings_and_arteries_reach_file_and_report() -> None:
    quality = with_arteries(RULES, (vessel("LAD", 4, 0.2), vessel("RCA", 1, 4.2)))
    findings = Findings.from_json(msgspec.structs.replace(NORMAL, quality=quality).to_json())
    assert findings.quality == quality
    report = write_report(HEADER, findings)
    zh, en = ("".join(sentence for section in sections for sentence in section.sentences) for sections in (report.zh, report.en))
    assert "右冠状动脉图像质量不足以诊断" in zh
    assert "LAD excellent, RCA non-diagnostic" in en
    assert "motion blur about 4.2 mm" in en


def test_a_file_of_before_is_still_read() -> None:
    """Additive: findings written without the new fields mean the same as ever."""
    content = msgspec.json.decode(NORMAL.to_json())
    assert {"vessels", "warnings", "phase_choice", "segments"}.isdisjoint(content["quality"])
    assert Findings.from_json(NORMAL.to_json()).quality == NORMAL.quality
