"""The rate and the time of second looks, counted from findings."""

from __future__ import annotations

import msgspec

from appliance.analysis.quality import with_not_taken
from appliance.findings import OtherSeries
from models.evaluation.phases import Look, line, look_of, summary
from tests.appliance.report.studies import DECLINED, GOOD, NORMAL, TREE


def test_a_study_is_told_by_its_findings() -> None:
    series = OtherSeries(series_uid="1.9", role="phase", phase_percent=40.0, read=True)
    branches = tuple(msgspec.structs.replace(each, series_uid="1.9") if each.vessel == "LAD" else each for each in TREE)
    found = msgspec.structs.replace(
        NORMAL,
        branches=branches,
        other_series=(series,),
        quality=with_not_taken(GOOD, (("RCA", "names"),), 40.0),
        timing_s={"locate": 2.0, "segment": 8.0, "second_phase": 9.0, "calcium": 1.0, "total": 20.0},
    )
    look = look_of(7, found)
    assert look == Look(7, analysed=True, read=True, taken=("LAD",), refused=1, first_s=10.0, second_s=9.0)
    assert line(look) == "7 first 10.0 s, second 9.0 s, taken LAD, refused 1"
    assert not look_of(8, NORMAL).read
    assert line(look_of(9, DECLINED)) == "9 not analysed"


def test_the_rate_counts_what_was_analysed() -> None:
    looks = [
        Look(1, analysed=True, first_s=10.0),
        Look(2, analysed=False),
        Look(3, analysed=True, read=True, taken=("LM", "LAD"), first_s=10.0, second_s=8.0),
        Look(4, analysed=True, read=True, refused=1, first_s=10.0, second_s=10.0),
    ]
    assert summary(looks) == [
        "4 studies of two phases, 3 analysed; another phase was read in 2 of them",
        "taken from it: LM 1, LAD 1, in 1 studies; 1 refused",
        "time of a second look to that of the first: 0.90 in the median",
    ]
    assert summary(looks[:2])[1:] == ["taken from it: nothing, in 0 studies; 0 refused"]
