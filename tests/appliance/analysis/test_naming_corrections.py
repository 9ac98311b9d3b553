"""A person's names for segments, and what follows from them."""

from __future__ import annotations

import msgspec
import pytest

from appliance.analysis.cadrads import with_category
from appliance.analysis.naming_corrections import dominance_of, rename, set_dominance
from appliance.analysis.quality_vessels import grade_arteries
from appliance.anatomy import Dominance, SegmentName
from appliance.errors import AnalysisError
from appliance.findings import Branch, Calcium, CalciumDeposit, Findings, NotAssessable, Quality
from tests.appliance.analysis.test_cadrads import GRAFT, branch, case, findings, lesion
from tests.appliance.analysis.test_quality_vessels import segment

QUALITY = Quality(
    score=4,
    aorta_mean_hu=400.0,
    aorta_noise_hu=20.0,
    cnr=20.0,
    motion=None,
    coverage_complete=True,
    not_assessable=(NotAssessable(segment="OM1", reason="motion"),),
    motion_reason="not_measured",
)


def study() -> Findings:
    """A severe narrowing on a side branch called OM1, with a branch without a name below it, and a healthy rest."""
    side = msgspec.structs.replace(branch(1, "OM1"), parent=0, parent_index=20)
    below = msgspec.structs.replace(branch(2, "other"), parent=1, parent_index=10, vessel="LCX")
    trunks = [branch(0, "pLCx"), side, below, branch(3, "pLAD"), branch(4, "pRCA")]
    found = msgspec.structs.replace(lesion("OM1", 80.0), branch=1)
    return with_category(msgspec.structs.replace(findings([], trunks), lesions=(found,), quality=QUALITY))


def test_a_new_name_moves_the_lesion_its_artery_and_what_cannot_be_read() -> None:
    after = rename(study(), {(1, 0): "RI"})
    assert (after.lesions[0].segment, after.lesions[0].vessel) == ("RI", "RI")
    assert after.branches[1].vessel == after.branches[2].vessel == "RI"
    assert (after.branches[1].name_source, after.branches[1].name_confidence) == ("corrected", 1.0)
    assert after.branches[0] == study().branches[0]
    assert after.quality is not None
    assert [entry.segment for entry in after.quality.not_assessable] == ["RI"]
    assert after.lesions[0].diameter_stenosis_percent == 80.0


def test_how_well_an_artery_is_shown_follows_the_names_of_its_segments() -> None:
    """A blurred side branch counts for the artery that it is called after, and no longer for the other."""
    segments = (
        segment("pLCx", 0, 0, 60, 0.4),
        segment("OM1", 1, 0, 60, 2.4),
        segment("pLAD", 3, 0, 60, 0.4),
        segment("pRCA", 4, 0, 60, 0.4),
    )
    trunks = study().branches
    other_phase = msgspec.structs.replace(grade_arteries(trunks, segments, 20.0)[2], noise_hu=31.0)  # the RCA was taken from another series
    quality = msgspec.structs.replace(QUALITY, segments=segments, vessels=(*grade_arteries(trunks, segments, 20.0)[:2], other_phase))
    assert [(each.vessel, each.motion_mm, each.grade) for each in quality.vessels] == [("LAD", 0.4, 4), ("LCX", 1.4, 3), ("RCA", 0.4, 4)]
    after = rename(msgspec.structs.replace(study(), quality=quality), {(1, None): "D1"})
    assert after.quality is not None
    assert [(each.vessel, each.motion_mm, each.grade) for each in after.quality.vessels] == [
        ("LAD", 1.4, 3),
        ("LCX", 0.4, 4),
        ("RCA", 0.4, 4),
    ]
    assert after.quality.vessels[2] == other_phase


def test_a_graft_is_called_after_what_the_place_it_is_sewn_to_is_called_now() -> None:
    graft = msgspec.structs.replace(GRAFT, target="OM1", target_branch=1, target_index=10)
    before = msgspec.structs.replace(study(), grafts=(graft, msgspec.structs.replace(graft, target=None, target_branch=None)))
    after = rename(before, {(1, None): "D1"})
    assert [each.target for each in after.grafts] == ["D1", None]
    unnamed = rename(after, {(1, None): "other"}).grafts[0]
    assert (unnamed.target, unnamed.target_reason) == (None, "not_named")


def test_scores_and_category_follow() -> None:
    before = study()
    assert before.cad_rads is not None
    assert before.cad_rads.text == "CAD-RADS 4A/P1/N"
    after = rename(before, {(1, 0): "other"})
    assert after.cad_rads is not None
    assert (after.cad_rads.category, after.segment_stenosis_score) == ("N", 0)
    assert rename(after, {(1, 0): "OM1"}).cad_rads == before.cad_rads


def test_three_vessels_are_counted_by_the_new_names() -> None:
    found, trunks = case(("pLAD", 75.0), ("D1", 75.0), ("mRCA", 75.0))
    before = findings(found, trunks)
    assert before.cad_rads is not None
    assert before.cad_rads.category == "4A"
    after = rename(before, {(1, 0): "OM1"})
    assert after.cad_rads is not None
    assert after.cad_rads.category == "4B"


def test_segments_of_one_name_become_one() -> None:
    trunk = msgspec.structs.replace(branch(0, "pLAD"), segments=((0, 20, "pLAD"), (20, 40, "mLAD"), (40, 60, "dLAD")))
    before = findings([], [trunk, branch(1, "pLCx"), branch(2, "pRCA")])
    assert rename(before, {(0, 1): "pLAD"}).branches[0].segments == ((0, 40, "pLAD"), (40, 60, "dLAD"))


@pytest.mark.parametrize(
    ("seen", "dominance"),
    [
        (("R-PDA", "R-PLB"), "right"),
        (("R-PDA", "R-PLB", "L-PLB"), "right"),
        (("R-PDA", "L-PLB"), "codominant"),
        (("R-PDA", "L-PDA"), "codominant"),
        (("R-PLB", "L-PDA"), "codominant"),
        (("L-PDA", "L-PLB"), "left"),
        (("R-PDA",), "right"),
        ((), None),
    ],
)
def test_dominance_follows_the_posterior_branches(seen: tuple[SegmentName, ...], dominance: Dominance | None) -> None:
    trees: list[Branch] = [branch(number, name) for number, name in enumerate(("pRCA", *seen))]
    assert dominance_of(trees) == dominance


def test_dominance_that_was_told_by_the_course_stays_unless_a_posterior_branch_is_renamed() -> None:
    assert rename(study(), {(1, 0): "RI"}).dominance == "right"
    assert rename(study(), {(1, 0): "L-PDA"}).dominance == "left"


def test_what_cannot_be_renamed() -> None:
    for where, name, code in (((9, 0), "D1", "ANA-703"), ((1, 3), "D1", "ANA-703"), ((1, 0), "pLAD", "ANA-704")):
        with pytest.raises(AnalysisError) as caught:
            rename(study(), {where: name})  # type: ignore[dict-item]
        assert caught.value.code == code
    with pytest.raises(AnalysisError) as caught:
        rename(msgspec.structs.replace(study(), cad_rads=None), {})
    assert caught.value.code == "ANA-702"


def swapped() -> Findings:
    """The two left trunks under each other's names, with a diagonal and a marginal, a plaque and its calcium on the one called LAD."""
    left = msgspec.structs.replace(
        branch(1, "pLAD"), segments=((0, 10, "pLAD"), (10, 35, "mLAD"), (35, 60, "dLAD")), parent=0, parent_index=59
    )
    side = msgspec.structs.replace(branch(3, "D1"), parent=1, parent_index=12)
    round_ = msgspec.structs.replace(branch(2, "pLCx"), segments=((0, 30, "pLCx"), (30, 60, "LCx")), parent=0, parent_index=59)
    marginal = msgspec.structs.replace(branch(4, "OM1"), parent=2, parent_index=21)
    found = msgspec.structs.replace(lesion("pLAD", 60.0), branch=1, minimum=5, start=1, end=9)
    deposits = (CalciumDeposit(branch=1, point=5, agatston=80.0), CalciumDeposit(branch=2, point=5, agatston=7.5))
    calcium = Calcium(
        series_uid="1.2", agatston=90.0, volume_mm3=70.0, mass_mg=None, mass_mg_reason="not_calibrated",
        vessels={"LM": 0.0, "LAD": 80.0, "LCX": 7.5, "RCA": 0.0}, unassigned=2.5, deposits=deposits,
    )  # fmt: skip
    before = findings([], [branch(0, "LM"), left, round_, side, marginal, branch(5, "pRCA")])
    return with_category(msgspec.structs.replace(before, lesions=(found,), calcium=calcium))


def test_swapped_trunks_are_put_right_with_all_that_hangs_on_them() -> None:
    after = rename(swapped(), {(1, None): "pLCx", (2, None): "pLAD"})
    assert after.branches[1].segments == ((0, 12, "pLCx"), (12, 60, "LCx")), "the first marginal ends the proximal circumflex"
    assert after.branches[2].segments == ((0, 21, "pLAD"), (21, 40, "mLAD"), (40, 60, "dLAD")), "so does the first diagonal for the LAD"
    assert [each.name for each in after.branches[3:5]] == ["OM1", "D1"]
    assert [each.vessel for each in after.branches[1:5]] == ["LCX", "LAD", "LCX", "LAD"]
    assert (after.lesions[0].vessel, after.lesions[0].segment) == ("LCX", "pLCx")
    assert after.calcium is not None
    assert after.calcium.vessels == {"LM": 0.0, "LAD": 7.5, "LCX": 80.0, "RCA": 0.0}
    assert (after.calcium.agatston, after.calcium.unassigned) == (90.0, 2.5)
    assert rename(after, {(1, None): "pLAD", (2, None): "pLCx"}).calcium == swapped().calcium


def test_a_deposit_on_a_branch_without_artery_gets_one_with_the_name() -> None:
    trunks = [branch(0, "pLAD"), branch(1, "other"), branch(2, "pLCx"), branch(3, "pRCA")]
    calcium = Calcium(
        series_uid="1.2", agatston=40.0, volume_mm3=30.0, mass_mg=None, mass_mg_reason="not_calibrated", vessels={}, unassigned=40.0,
        deposits=(CalciumDeposit(branch=1, point=5, agatston=40.0),),
    )  # fmt: skip
    after = rename(msgspec.structs.replace(findings([], trunks), calcium=calcium), {(1, 0): "OM2"})
    assert after.calcium is not None
    assert (after.calcium.vessels["LCX"], after.calcium.unassigned) == (40.0, 0.0)


def test_the_dominance_that_a_person_gave_stays() -> None:
    before = set_dominance(study(), "codominant")
    assert (before.dominance, before.dominance_source) == ("codominant", "corrected")
    assert rename(before, {(1, 0): "L-PDA"}).dominance == "codominant"
    assert rename(study(), {(1, 0): "L-PDA"}).dominance == "left"
    assert set_dominance(before, None).dominance_source == "measured"


def test_what_cannot_be_read_follows_its_own_place_when_two_branches_bear_one_name() -> None:
    before = study()
    twice = msgspec.structs.replace(branch(5, "OM1"), parent=0, parent_index=40)
    unread = (NotAssessable(segment="OM1", reason="motion", branch=5, start=0, end=60),)
    quality = msgspec.structs.replace(QUALITY, not_assessable=unread)
    before = msgspec.structs.replace(before, branches=(*before.branches, twice), quality=quality)
    after = rename(before, {(1, 0): "RI"})
    assert after.quality is not None
    assert after.quality.not_assessable == unread
