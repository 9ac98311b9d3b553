"""Each segment that cannot be read has its own picture, which shows the place and says why."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.findings import NotAssessable, Quality
from appliance.imaging.unread_views import unread_views
from tests.appliance.imaging.made_study import MadeStudy


def quality(*entries: NotAssessable) -> Quality:
    return Quality(
        score=3, aorta_mean_hu=None, aorta_noise_hu=None, cnr=None, motion=None, coverage_complete=True, not_assessable=entries,
        aorta_mean_hu_reason="not_measured", aorta_noise_hu_reason="not_measured", cnr_reason="not_measured", motion_reason="not_measured",
    )  # fmt: skip


@pytest.mark.parametrize("part", [0, -1])
def test_a_segment_that_cannot_be_read_is_shown(made_study: MadeStudy, part: int) -> None:
    branch = made_study.findings.branches[-1]
    start, end, name = branch.segments[part]
    entry = NotAssessable(segment=name, reason="motion", branch=branch.id, start=start, end=end)
    (view,) = unread_views(made_study.volume, msgspec.structs.replace(made_study.findings, quality=quality(entry)))
    assert (view.segment, view.vessel, view.lesion) == (name, branch.vessel, None)
    assert view.id == f"unread-{name.lower()}-{branch.id}"
    assert "运动伪影" in view.title_zh
    assert "motion" in view.title_en
    assert view.image.dtype == np.uint8
    assert view.image.shape[2] == 3
    middle = view.image[view.image.shape[0] // 4 - 6 : view.image.shape[0] // 4 + 6].mean()
    edge = view.image[view.image.shape[0] // 2 - 60 : view.image.shape[0] // 2 - 20].mean()
    assert middle > edge + 40, "the vessel runs bright along the middle of a strip"


def test_without_a_place_there_is_no_picture(made_study: MadeStudy) -> None:
    entry = NotAssessable(segment="mRCA", reason="noise")
    assert list(unread_views(made_study.volume, msgspec.structs.replace(made_study.findings, quality=quality(entry)))) == []
