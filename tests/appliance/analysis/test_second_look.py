"""Which further phase is looked at for an artery that moves, and what is taken from it: whole arteries, with all that lies on them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.analysis.describe import Described
from appliance.analysis.locate import Located
from appliance.analysis.phase_reading import PhaseReading
from appliance.analysis.reading import SeriesImages
from appliance.analysis.second_look import SecondLook, take_over, with_deposits
from appliance.analysis.stages import Heart, Measured, Segmentation
from appliance.findings import Bridge, Calcium, CalciumDeposit, NotAssessable, SegmentQuality, Stent, VesselQuality
from appliance.study import StudyHeader
from appliance.volume import Geometry, LabelMap, Volume
from tests.appliance.report.studies import GOOD, NORMAL, TREE, lesion

GRID = Geometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
NOWHERE = np.zeros(GRID.shape, np.uint8)
HEART = Heart(LabelMap(NOWHERE, GRID), GRID)
RIGHT = frozenset({"RCA"})
MOVED = {
    "mRCA": NotAssessable(segment="mRCA", reason="motion", branch=3, start=80, end=160),
    "dRCA": NotAssessable(segment="dRCA", reason="motion", branch=3, start=160, end=220),
    "LCx": NotAssessable(segment="LCx", reason="motion", branch=2, start=40, end=120),
    "mLAD": NotAssessable(segment="mLAD", reason="motion", branch=1, start=50, end=120),
    "LM": NotAssessable(segment="LM", reason="blooming", branch=0, start=0, end=20),
    "pLAD": NotAssessable(segment="pLAD", reason="noise", branch=1, start=0, end=50),
}


def shown(**grades: int) -> tuple[VesselQuality, ...]:
    return tuple(
        VesselQuality(vessel=vessel, grade=grade, motion_mm=1.0, contrast_hu=400.0, noise_hu=20.0)  # type: ignore[arg-type]
        for vessel, grade in grades.items()
    )


def segment(name: str, branch: int, start: int, end: int, motion_mm: float) -> SegmentQuality:
    return SegmentQuality(
        segment=name,
        branch=branch,
        start=start,
        end=end,
        motion_mm=motion_mm,
        cnr=20.0,
        blooming_mm=0.0,
        truncated=False,  # type: ignore[arg-type]
    )


def reading(uid: str, *unread: str, branches: tuple[int, ...] = tuple(range(8)), **seen: object) -> PhaseReading:
    """A phase that shows the branches of the written tree with these numbers, some segments of which cannot be read."""
    tree = tuple(branch for branch in TREE if branch.id in branches)
    images = SeriesImages(Volume(NOWHERE.astype(np.int16), GRID), StudyHeader(study_uid="1.2", series_uid=uid), ())
    assert NORMAL.plaque_total_mm3 is not None
    described = Described(
        **{"stents": (), "bridges": (), "variants": (), "lesions": (), **seen},  # type: ignore[arg-type]
        not_assessable=tuple(MOVED[name] for name in unread),
    )
    return PhaseReading(
        images=images,
        located=Located(HEART, NOWHERE, NOWHERE),
        segmentation=Segmentation(GRID, NOWHERE.astype(np.int16), NOWHERE, NOWHERE),
        measured=Measured(tree, described.lesions, "right", NORMAL.plaque_total_mm3),
        seen=described,
    )


def test_the_moving_artery_is_taken_whole_from_the_phase_that_shows_it() -> None:
    main = reading(
        "75", "mRCA", "dRCA", "pLAD",
        lesions=(lesion(0, 1, "mLAD", (60, 70, 80), 30.0, "mild", "mixed"), lesion(1, 3, "mRCA", (90, 100, 110), 80.0, "severe", "mixed")),
        stents=(Stent(branch=3, start=170, end=200, assessable=False),),
        bridges=(Bridge(branch=1, start=60, end=90, depth_mm=1.0),),
    )  # fmt: skip
    other = reading(
        "40", "pLAD",
        lesions=(lesion(0, 1, "pLAD", (10, 20, 30), 60.0, "moderate", "mixed"), lesion(1, 3, "mRCA", (90, 101, 112), 40, "mild", "mixed")),
        stents=(Stent(branch=3, start=171, end=201, assessable=True),),
    )  # fmt: skip
    second = take_over(main, other)
    got = second.reading
    assert (second.taken, second.other) == (RIGHT, other.images)
    assert [(b.id, b.name, b.series_uid, b.parent) for b in got.measured.branches] == [
        (0, "LM", None, None), (1, "pLAD", None, 0), (2, "pLCx", None, 0), (3, "D1", None, 1), (4, "OM1", None, 2),
        (5, "pRCA", "40", None), (6, "R-PDA", "40", 5), (7, "R-PLB", "40", 5),
    ]  # fmt: skip
    assert [(each.id, each.branch, each.segment, each.diameter_stenosis_percent) for each in got.seen.lesions] == [
        (0, 1, "mLAD", 30.0),
        (1, 5, "mRCA", 40.0),
    ]
    assert got.measured.lesions == got.seen.lesions
    assert got.seen.stents == (Stent(branch=5, start=171, end=201, assessable=True),)
    assert got.seen.bridges == main.seen.bridges
    assert [entry.segment for entry in got.seen.not_assessable] == ["pLAD"], "noise of the left tree stays as it was"


def test_the_anterior_descending_comes_alone_and_hangs_on_the_left_main_that_stays() -> None:
    main = reading(
        "75", "mLAD",
        lesions=(lesion(0, 1, "mLAD", (60, 70, 80), 80.0, "severe", "mixed"), lesion(1, 2, "LCx", (50, 55, 60), 30.0, "mild", "mixed")),
    )  # fmt: skip
    other = reading("40", "LCx", lesions=(lesion(0, 4, "D1", (10, 20, 30), 60.0, "moderate", "mixed"),))
    second = take_over(main, other)
    assert second.taken == frozenset({"LAD"})
    assert [(b.id, b.name, b.series_uid, b.parent, b.parent_index) for b in second.reading.measured.branches] == [
        (0, "LM", None, None, None), (1, "pLCx", None, 0, 19), (2, "pRCA", None, None, None), (3, "OM1", None, 1, 40),
        (4, "R-PDA", None, 2, 219), (5, "R-PLB", None, 2, 219), (6, "pLAD", "40", 0, 19), (7, "D1", "40", 6, 50),
    ]  # fmt: skip
    assert [(each.id, each.branch, each.segment) for each in second.reading.seen.lesions] == [(0, 1, "LCx"), (1, 7, "D1")]
    assert second.reading.seen.not_assessable == ()
    assert second.rate(GOOD).warnings == GOOD.warnings


def test_the_left_main_comes_from_the_phase_that_shows_it_better_and_what_stays_hangs_on_it() -> None:
    second = take_over(reading("75", "LM", "mLAD"), reading("40", "LCx"))
    assert second.taken == frozenset({"LAD"})
    assert {b.name: (b.series_uid, b.parent, b.parent_index) for b in second.reading.measured.branches if b.vessel != "RCA"} == {
        "LM": ("40", None, None), "pLAD": ("40", 3, 19), "D1": ("40", 6, 50), "pLCx": (None, 3, 19), "OM1": (None, 4, 40),
    }  # fmt: skip
    parents = [branch.parent for branch in second.reading.measured.branches]
    assert all(parent is None or parent < number for number, parent in enumerate(parents))


def test_where_both_come_the_whole_left_tree_does() -> None:
    second = take_over(reading("75", "LCx", "mLAD"), reading("40"))
    assert second.taken == frozenset({"LAD", "LCX"})
    assert {b.name: b.series_uid for b in second.reading.measured.branches} == dict.fromkeys(("pRCA", "R-PDA", "R-PLB")) | dict.fromkeys(
        ("LM", "pLAD", "D1", "pLCx", "OM1"), "40"
    )


@pytest.mark.parametrize(("moved", "lacking", "vessel"), [("mLAD", 4, "LAD"), ("mRCA", 7, "RCA"), ("LCx", 5, "LCX")])
def test_an_artery_that_the_other_phase_does_not_follow_as_far_stays_and_it_is_said(moved: str, lacking: int, vessel: str) -> None:
    main = reading("75", moved, arteries=shown(**{vessel: 1}))
    second = take_over(main, reading("40", branches=tuple(number for number in range(8) if number != lacking)))
    assert second.reading is main
    assert second.refused == ((vessel, "shorter"),)
    assert [each.code for each in second.rate(GOOD).warnings] == ["DEC-151", "DEC-158"]


def test_a_phase_that_shows_no_more_changes_nothing() -> None:
    main = reading("75", "mRCA")
    for other in (reading("40", "dRCA", "mRCA"), reading("40", branches=(0, 1, 2, 4, 5)), reading("40", branches=(0, 1, 2, 3))):
        second = take_over(main, other)
        assert second.reading is main
        assert second.taken == frozenset()
        assert second.other is other.images, "that it was read is told all the same"


def test_an_artery_that_does_not_move_stays_even_where_the_other_phase_shows_more() -> None:
    main = reading("75", "mRCA", "pLAD")
    assert take_over(main, reading("40")).taken == RIGHT


def test_the_quality_of_an_artery_is_that_of_the_phase_it_was_taken_from() -> None:
    main = reading(
        "75", "mRCA", arteries=shown(LAD=3, LCX=2, RCA=1), segments=(segment("pLAD", 1, 0, 50, 0.4), segment("mRCA", 3, 80, 160, 4.0))
    )
    other = reading("40", arteries=shown(LAD=2, LCX=3, RCA=4), segments=(segment("mRCA", 3, 82, 158, 0.3),))
    second = take_over(main, other)
    told = second.rate(GOOD)
    assert [(each.vessel, each.grade) for each in told.vessels] == [("LAD", 3), ("LCX", 2), ("RCA", 4)]
    assert [(each.segment, each.branch, each.motion_mm) for each in told.segments] == [("mRCA", 5, 0.3), ("pLAD", 1, 0.4)]
    assert told.not_assessable == ()
    assert [(each.code, each.en) for each in told.warnings] == [("DEC-157", "the LCx is shown better by another phase")]
    better = {each.vessel: each.better_series_uid for each in told.vessels}
    assert better == {"LAD": None, "LCX": "40", "RCA": None}


def test_an_artery_that_no_other_phase_shows_better_is_warned_of() -> None:
    main = reading("75", "mRCA", arteries=shown(LAD=4, RCA=1))
    for second in (SecondLook(main), take_over(main, reading("40", "mRCA", arteries=shown(LAD=3, RCA=1)))):
        told = second.rate(GOOD)
        assert [each.code for each in told.warnings] == ["DEC-151"]
        assert told.not_assessable == main.seen.not_assessable


def test_deposits_follow_their_branch_into_the_other_phase() -> None:
    moved = tuple(msgspec.structs.replace(branch, id=branch.id + 2, points_mm=branch.points_mm[:-9]) for branch in TREE if branch.id == 3)
    shorter = msgspec.structs.replace(moved[0], segments=((0, 40, "pRCA"), (40, 80, "mRCA"), (80, 211, "dRCA")), series_uid="40")
    after = (*TREE[:3], shorter)
    deposits = (
        CalciumDeposit(branch=1, point=30, agatston=10.0),
        CalciumDeposit(branch=3, point=159, agatston=20.0),
        CalciumDeposit(branch=6, point=5, agatston=30.0),
    )
    score = Calcium(series_uid="9", agatston=60.0, volume_mm3=1.0, mass_mg=None, vessels={"LAD": 10.0, "RCA": 50.0}, deposits=deposits)
    told = with_deposits(score, TREE, after)
    assert told.deposits == (deposits[0], CalciumDeposit(branch=5, point=79, agatston=20.0))
    assert told.vessels == score.vessels


def test_a_plaque_without_a_degree_is_a_reason_to_look_again_too() -> None:
    vague = msgspec.structs.replace(
        lesion(0, 3, "mRCA", (90, 100, 110), None, "none", "mixed"), diameter_stenosis_percent_reason="not_assessable"
    )
    main = reading("75", lesions=(vague,))
    clear = reading("40", lesions=(lesion(0, 3, "mRCA", (90, 100, 110), 40.0, "mild", "mixed"),))
    assert take_over(main, clear).taken == RIGHT
    assert take_over(main, reading("40", lesions=(vague,))).taken == frozenset()
