"""Rules and network together: score, warnings, and how they reach findings and report."""

from __future__ import annotations

import msgspec

from appliance.analysis.quality import better_elsewhere, warnings, with_network
from appliance.analysis.quality_network import Rated
from appliance.findings import Findings, Quality, VesselQuality
from appliance.report.text import write_report
from tests.appliance.report.studies import HEADER, NORMAL

RULES = Quality(
    score=5, aorta_mean_hu=420.0, aorta_noise_hu=22.0, cnr=20.0, motion=None, coverage_complete=True, not_assessable=(),
    motion_reason="not_measured",
)  # fmt: skip


def vessel(name: str, grade: int, motion_mm: float) -> VesselQuality:
    return VesselQuality(vessel=name, grade=grade, motion_mm=motion_mm, contrast_hu=450.0, noise_hu=22.0)  # type: ignore[arg-type]


def seen(*vessels: VesselQuality, steps: float = 0.0, streaks: float = 0.0) -> Rated:
    return Rated(vessels=vessels, value=3.0, psf_sigma_mm=0.36, steps=steps, streaks=streaks)


def test_without_a_network_motion_is_unknown() -> None:
    quality = with_network(RULES, None)
    assert (quality.motion, quality.motion_reason, quality.vessels, quality.warnings) == (None, "not_measured", (), ())


def test_the_worst_artery_bounds_the_score() -> None:
    for grades, score in (((4, 4, 4), 5), ((4, 3, 4), 4), ((2, 3, 4), 3), ((4, 4, 1), 2), ((1, 1, 1), 1)):
        rated = seen(*(vessel(name, grade, 1.5) for name, grade in zip(("LAD", "LCX", "RCA"), grades, strict=True)))
        quality = with_network(RULES, rated)
        assert quality.score == score
        assert (quality.motion, quality.motion_reason, quality.psf_sigma_mm) == (0.5, None, 0.36)
    assert with_network(msgspec.structs.replace(RULES, score=2), seen(vessel("LAD", 4, 0.1))).score == 2
    assert with_network(RULES, seen()).motion_reason == "no_vessel_seen"


def test_each_trouble_has_its_warning() -> None:
    rated = seen(vessel("LAD", 2, 1.0), vessel("RCA", 1, 4.2), steps=0.5, streaks=0.3)
    poor = msgspec.structs.replace(RULES, aorta_noise_hu=41.0, aorta_mean_hu=230.0, coverage_complete=False)
    quality = with_network(poor, rated)
    assert [warning.code for warning in quality.warnings] == ["DEC-151", "DEC-152", "DEC-153", "DEC-154", "DEC-155", "DEC-156"]
    assert "RCA" in quality.warnings[0].en
    assert "4.2 mm" in quality.warnings[0].zh
    assert quality.motion == 1.0
    assert warnings(RULES) == ()


def test_a_better_phase_is_hinted_at() -> None:
    other = msgspec.structs.replace(vessel("RCA", 2, 2.0), better_series_uid="1.2.3", better_phase_percent=40.0)
    hint = better_elsewhere(msgspec.structs.replace(RULES, vessels=(vessel("LAD", 4, 0.2), other)))
    assert [(each.code, each.zh) for each in hint] == [("DEC-157", "右冠状动脉在另一期相 40%显示更好")]


def test_warnings_and_arteries_reach_file_and_report() -> None:
    quality = with_network(RULES, seen(vessel("LAD", 4, 0.2), vessel("RCA", 1, 4.2)))
    quality = msgspec.structs.replace(quality, phase_choice="network")
    findings = Findings.from_json(msgspec.structs.replace(NORMAL, quality=quality).to_json())
    assert findings.quality == quality
    report = write_report(HEADER, findings)
    zh, en = ("".join(sentence for section in sections for sentence in section.sentences) for sections in (report.zh, report.en))
    assert "右冠状动脉图像质量不足以诊断" in zh
    assert "期相由图像质量分析自动选择" in zh
    assert "LAD excellent, RCA non-diagnostic" in en
    assert "motion blur about 4.2 mm" in en


def test_a_file_of_before_is_still_read() -> None:
    """Additive: findings written without the new fields mean the same as ever."""
    content = msgspec.json.decode(NORMAL.to_json())
    assert {"vessels", "warnings", "phase_choice", "psf_sigma_mm"}.isdisjoint(content["quality"])
    assert Findings.from_json(NORMAL.to_json()).quality == NORMAL.quality
