"""The made-up heart of the warm-up goes through every stage: a warm-up that ends early would compile nothing."""

from __future__ import annotations

import logging

import pytest

from appliance.analysis.measure import measure
from appliance.workflow.warmup import made_up_case, warm_up


def test_the_made_up_heart_has_two_vessels_and_one_narrowing_of_half() -> None:
    measured = measure(*made_up_case())
    assert {branch.vessel for branch in measured.branches} == {"LAD", "RCA"}
    assert [lesion.vessel for lesion in measured.lesions] == ["LAD"]
    assert measured.lesions[0].diameter_stenosis_percent == pytest.approx(50, abs=6)


def test_the_warm_up_does_not_end_early(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warm_up()
    assert caplog.records == []
