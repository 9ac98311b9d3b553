"""CAD-RADS 2.0, grades and scores, by worked examples in the manner of the guideline."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.analysis.cadrads import (
    apply_corrections,
    burden_of,
    cad_rads,
    enter,
    grade_of,
    plaque_burden,
    seen_plaques,
    segment_scores,
    with_category,
)
from appliance.anatomy import SEGMENTS, SegmentName
from appliance.errors import AnalysisError
from appliance.findings import (
    GRADES,
    Branch,
    Calcium,
    Entered,
    Findings,
    Grade,
    Graft,
    Lesion,
    NotAssessable,
    PlaqueVolume,
    Software,
    Stent,
    Variant,
)
from appliance.report import regions
from appliance.trunks import missing_trunks


def lesion(
    segment: SegmentName,
    percent: float,
    *,
    number: int = 0,
    high_risk: tuple[str, ...] = (),
    reference: float = 3.0,
) -> Lesion:
    return Lesion(
        id=number,
        branch=number,
        vessel=SEGMENTS[segment].vessel,
        segment=segment,
        start=10,
        minimum=20,
        end=30,
        length_mm=9.0,
        minimum_lumen_diameter_mm=reference * (1 - percent / 100),
        reference_diameter_mm=reference,
        diameter_stenosis_percent=percent,
        area_stenosis_percent=100 * (1 - (1 - percent / 100) ** 2),
        grade=grade_of(percent),
        plaque_type="mixed",
        volume_mm3=PlaqueVolume(total=20.0, calcified=5.0, noncalcified=15.0, low_attenuation=0.0),
        remodeling_index=1.0,
        plaque_burden_percent=60.0,
        high_risk=high_risk,  # type: ignore[arg-type]
        confidence=0.9,
    )


def branch(number: int, segment: SegmentName) -> Branch:
    return Branch(
        id=number,
        parent=None,
        parent_index=None,
        vessel=SEGMENTS[segment].vessel,
        points_mm=tuple((0.0, 0.0, 0.45 * i) for i in range(60)),
        segments=((0, 60, segment),),
        name_confidence=1.0,
        lumen_diameter_mm=(3.0,) * 60,
        vessel_diameter_mm=(4.0,) * 60,
    )


def case(*found: tuple[SegmentName, float], high_risk: tuple[str, ...] = ()) -> tuple[list[Lesion], list[Branch]]:
    lesions = [lesion(segment, percent, number=i, high_risk=high_risk) for i, (segment, percent) in enumerate(found)]
    return lesions, [branch(i, segment) for i, (segment, _) in enumerate(found)]


# What the guideline's own table and examples ask for: what is seen, and the text that must stand in the report.
WORKED_EXAMPLES = [
    ((), "CAD-RADS 0"),
    ((("pLAD", 0.0),), "CAD-RADS 1/P1"),
    ((("pLAD", 24.99),), "CAD-RADS 1/P1"),
    ((("pLAD", 25.0),), "CAD-RADS 2/P1"),
    ((("pRCA", 49.99), ("pLAD", 10.0)), "CAD-RADS 2/P1"),
    ((("mRCA", 50.0), ("pLAD", 10.0), ("mLAD", 30.0)), "CAD-RADS 3/P2"),
    ((("mLAD", 69.99),), "CAD-RADS 3/P1"),
    ((("mLAD", 70.0),), "CAD-RADS 4A/P1"),
    ((("mLAD", 80.0), ("pLCx", 75.0)), "CAD-RADS 4A/P1"),
    # two severe lesions in the same vessel's territory stay one vessel
    ((("mLAD", 80.0), ("D1", 75.0), ("mRCA", 72.0)), "CAD-RADS 4A/P2"),
    ((("mLAD", 80.0), ("OM1", 75.0), ("dRCA", 72.0)), "CAD-RADS 4B/P2"),
    # a ramus counts to the circumflex
    ((("mLAD", 80.0), ("RI", 75.0), ("dRCA", 72.0)), "CAD-RADS 4B/P2"),
    # half or more on a branch without a name: neither a degree nor the all-clear
    ((("other", 99.0),), "CAD-RADS N"),
    ((("pLAD", 30.0), ("other", 99.0)), "CAD-RADS N/P1"),
    ((("mLAD", 61.0), ("other", 99.0)), "CAD-RADS 3/P1/N"),
    ((("other", 30.0),), "CAD-RADS 2/P1"),
    ((("L-PDA", 60.0),), "CAD-RADS 3/P1"),
    ((("LM", 49.9),), "CAD-RADS 2/P1"),
    ((("LM", 50.0),), "CAD-RADS 4B/P1"),
    # a subtotal occlusion is severe, a total one a category of its own, however long the way between was
    ((("mLAD", 99.0),), "CAD-RADS 4A/P1"),
    ((("LM", 99.0), ("dRCA", 99.9)), "CAD-RADS 4B/P1"),
    ((("mLAD", 99.9), ("OM1", 99.9), ("dRCA", 100.0)), "CAD-RADS 5/P2"),
    ((("LM", 100.0),), "CAD-RADS 5/P1"),
    ((("dRCA", 100.0), ("pLAD", 60.0)), "CAD-RADS 5/P1"),
    (
        (("LM", 10.0), ("pLAD", 10.0), ("mLAD", 10.0), ("D1", 10.0), ("pLCx", 10.0), ("LCx", 10.0), ("pRCA", 10.0), ("mRCA", 10.0)),
        "CAD-RADS 1/P4",
    ),
    ((("LM", 10.0), ("pLAD", 10.0), ("mLAD", 10.0), ("D1", 10.0), ("pLCx", 10.0)), "CAD-RADS 1/P3"),
]


def test_a_plaque_whose_degree_cannot_be_read_leaves_the_category_open():
    lesions, branches = case(("pRCA", 30.0))
    unreadable = msgspec.structs.replace(
        lesions[0], diameter_stenosis_percent=None, diameter_stenosis_percent_reason="not_assessable", grade="none"
    )
    assert cad_rads([unreadable], branches).text == "CAD-RADS N/P1", "it is plaque all the same"
    settled = msgspec.structs.replace(unreadable, grade="mild", grade_source="corrected")
    assert cad_rads([settled], branches).category == "2"


def test_scores_burden_and_hrp_count_the_same_plaques():
    """Not those in vessels under 1.5 mm, which are not graded; those whose degree cannot be read as well as the others."""
    lesions, branches = case(("pRCA", 30.0), ("mRCA", 0.0), ("D2", 60.0), ("pLAD", 20.0))
    small = msgspec.structs.replace(lesions[2], reference_diameter_mm=1.4, high_risk=("napkin_ring", "low_attenuation"))
    unreadable = msgspec.structs.replace(
        lesions[3], diameter_stenosis_percent=None, diameter_stenosis_percent_reason="not_assessable", grade="none",
        high_risk=("napkin_ring", "low_attenuation"),
    )  # fmt: skip
    plaques = seen_plaques([lesions[0], lesions[1], small, unreadable])
    assert [plaque.segment for plaque in plaques] == ["pRCA", "mRCA", "pLAD"]
    assert cad_rads([lesions[0], lesions[1], small], branches).text == "CAD-RADS 2/P1"
    assert cad_rads([lesions[0], lesions[1], small, unreadable], branches).text == "CAD-RADS N/P2/HRP"


@pytest.mark.parametrize(("found", "text"), WORKED_EXAMPLES, ids=[text + f"-{i}" for i, (_, text) in enumerate(WORKED_EXAMPLES)])
def test_worked_examples(found, text):
    assert cad_rads(*case(*found)).text == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ((("pLAD", 30.0),), "CAD-RADS N/P1"),
        ((), "CAD-RADS N"),
        ((("pLAD", 55.0),), "CAD-RADS 3/P1/N"),
        ((("pLAD", 75.0),), "CAD-RADS 4A/P1/N"),
    ],
)
def test_a_segment_that_cannot_be_read_decides_below_half(found, text):
    assert cad_rads(*case(*found), not_assessable=(NotAssessable(segment="mRCA", reason="motion"),)).text == text


WHOLE: tuple[SegmentName, ...] = ("LM", "pLAD", "mLAD", "dLAD", "pLCx", "LCx", "pRCA", "mRCA", "dRCA")


@pytest.mark.parametrize(
    ("lacks", "dominance", "lost"),
    [
        pytest.param((), "right", (), id="whole"),
        pytest.param(("dLAD",), "right", ("dLAD",), id="an LAD that breaks off"),
        pytest.param(("mLAD", "dLAD"), "right", ("mLAD", "dLAD"), id="an LAD that breaks off early"),
        pytest.param(("mLAD",), "right", ("mLAD",), id="a gap between pLAD and dLAD"),
        pytest.param(("dRCA",), "right", ("dRCA",), id="a right coronary artery that breaks off"),
        pytest.param(("dRCA",), None, ("dRCA",), id="the same, dominance not known"),
        pytest.param(("dRCA",), "codominant", ("dRCA",), id="the same, balanced"),
        pytest.param(("dRCA",), "left", (), id="left dominance: the right one may end at the acute margin"),
        pytest.param(("mRCA", "dRCA"), "left", (), id="and before it"),
        pytest.param(("pRCA", "mRCA", "dRCA"), "left", ("pRCA", "mRCA", "dRCA"), id="but it is there"),
        pytest.param(("LCx",), "right", (), id="right dominance: the circumflex may end as its marginal branch"),
        pytest.param(("LCx",), None, (), id="the same, dominance not known"),
        pytest.param(("LCx",), "left", ("LCx",), id="left dominance: the circumflex goes on"),
        pytest.param(("LCx",), "codominant", ("LCx",), id="balanced: so it does"),
        pytest.param(("pLCx", "LCx"), "right", ("pLCx", "LCx"), id="no circumflex"),
        pytest.param(("LM",), "right", (), id="LAD and circumflex leave the aorta apart"),
    ],
)
def test_a_main_vessel_that_breaks_off_is_not_a_healthy_one(lacks, dominance, lost):
    """An occlusion that nothing fills from behind looks just like this; report and category go by the same rule."""
    trunks = tuple(branch(number, name) for number, name in enumerate(WHOLE) if name not in lacks)
    seen = msgspec.structs.replace(findings([], trunks), branches=trunks, dominance=dominance)
    assert missing_trunks(trunks, dominance) == regions.missing_trunks(seen) == lost
    assert with_category(seen).cad_rads.text == ("CAD-RADS N" if lost else "CAD-RADS 0")
    assert not set(regions.perhaps_absent(seen)) & set(lost)
    assert {*regions.perhaps_absent(seen), *lost} == set(lacks)


def test_a_left_main_that_the_circumflex_hangs_on_was_lost():
    trunks = [branch(number, name) for number, name in enumerate(WHOLE) if name != "LM"]
    trunks[3] = msgspec.structs.replace(trunks[3], parent=0, parent_index=5)
    assert missing_trunks(trunks, "right") == ("LM",)


def test_a_part_of_no_length_is_not_missing():
    """The first diagonal leaves beyond half the way to the apex; the first marginal leaves where the circumflex begins."""
    lad = msgspec.structs.replace(branch(1, "pLAD"), parent=0, parent_index=9, segments=((0, 30, "pLAD"), (30, 60, "dLAD")))
    circumflex = msgspec.structs.replace(branch(2, "LCx"), parent=0, parent_index=9)
    rest = [branch(0, "LM"), *(branch(number, name) for number, name in enumerate(("pRCA", "mRCA", "dRCA"), 3))]
    assert missing_trunks([*rest, lad, circumflex], "right") == ()
    gap = msgspec.structs.replace(lad, segments=((0, 28, "pLAD"), (28, 32, "other"), (32, 60, "dLAD")))
    assert missing_trunks([*rest, gap, circumflex], "right") == ("mLAD",)


@pytest.mark.parametrize(
    ("patency", "target", "text"),
    [
        pytest.param("patent", "R-PDA", "CAD-RADS 0/G", id="what a patent graft goes around"),
        pytest.param("occluded", "R-PDA", "CAD-RADS 5/N/G", id="a closed graft goes around nothing"),
        pytest.param("patent", "mRCA", "CAD-RADS N/G", id="a graft that is sewn on before"),
        pytest.param("patent", "OM1", "CAD-RADS N/G", id="a graft to another artery"),
    ],
)
def test_a_native_artery_that_ends_under_a_patent_graft_is_supplied(patency, target, text):
    trunks = tuple(branch(number, name) for number, name in enumerate(WHOLE) if name != "dRCA")
    graft = msgspec.structs.replace(GRAFT, patency=patency, target=target)
    seen = msgspec.structs.replace(findings([], trunks), branches=trunks, dominance="right", grafts=(graft,))
    assert with_category(seen).cad_rads.text == text
    assert bool(regions.missing_trunks(seen)) == ("N" in text)


def test_parts_that_were_not_followed_decide_below_half():
    branches = [branch(0, "pLAD"), branch(1, "pRCA")]
    assert cad_rads([], branches, untraced=("pLCx",)).text == "CAD-RADS N"
    assert cad_rads([lesion("pLAD", 75.0)], branches, untraced=("pLCx",)).text == "CAD-RADS 4A/P1/N"


def test_modifiers_stand_in_the_guidelines_order():
    lesions, branches = case(("pLAD", 75.0), high_risk=("low_attenuation", "positive_remodeling"))
    result = cad_rads(
        lesions,
        branches,
        not_assessable=(NotAssessable(segment="mRCA", reason="motion"),),
        stents=(Stent(branch=0, start=0, end=10, assessable=True),),
        grafts=(BEFORE,),
        exceptions=True,
    )
    assert result.text == "CAD-RADS 4A/P1/N/HRP/S/G/E"


def test_one_high_risk_feature_is_not_high_risk_plaque():
    assert "HRP" not in cad_rads(*case(("pLAD", 30.0), high_risk=("positive_remodeling",))).modifiers


def test_vessels_below_the_graded_size_do_not_set_the_category():
    small = lesion("D2", 90.0, reference=1.2)
    assert cad_rads([small], [branch(0, "D2")]).category == "0"


@pytest.mark.parametrize(
    ("percent", "scct", "cn2011"),
    [
        (0.0, "none", "none"),
        (0.01, "minimal", "minimal"),
        (24.999, "minimal", "minimal"),
        (25.0, "mild", "mild"),
        (49.999, "mild", "mild"),
        (50.0, "moderate", "moderate"),
        (70.0, "severe", "moderate"),
        (74.999, "severe", "moderate"),
        (75.0, "severe", "severe"),
        (99.999, "severe", "severe"),
        (100.0, "occluded", "occluded"),
    ],
)
def test_bands_are_half_open_on_the_unrounded_value(percent, scct, cn2011):
    assert grade_of(percent, bands="scct") == scct
    assert grade_of(percent, bands="cn2011") == cn2011


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_a_percentage_outside_its_range_is_refused(percent):
    with pytest.raises(ValueError, match="within 0 and 100"):
        grade_of(percent)


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_worse_stenosis_never_has_a_better_grade(one, other):
    low, high = sorted((one, other))
    assert GRADES.index(grade_of(low)) <= GRADES.index(grade_of(high))


@pytest.mark.parametrize(
    ("score", "burden"), [(0, None), (1, "P1"), (2, "P1"), (3, "P2"), (4, "P2"), (5, "P3"), (7, "P3"), (8, "P4"), (16, "P4")]
)
def test_plaque_burden_by_segment_involvement(score, burden):
    assert plaque_burden(score) == burden


@pytest.mark.parametrize(
    ("agatston", "involved", "stented", "burden"),
    [
        (None, 3, False, "P2"),
        (0.0, 3, False, "P2"),
        (0.3, 3, False, "P2"),
        (1.0, 8, False, "P1"),
        (100.4, 1, False, "P1"),
        (100.6, 1, False, "P2"),
        (300.0, 1, False, "P2"),
        (301.0, 1, False, "P3"),
        (999.0, 1, False, "P3"),
        (1000.0, 1, False, "P4"),
        (1000.0, 1, True, "P1"),
        (0.0, 0, False, None),
    ],
)
def test_plaque_burden_by_calcium_unless_a_stent_or_a_score_of_zero_forbids_it(agatston, involved, stented, burden):
    assert burden_of(involved, agatston=agatston, stented=stented) == burden


def test_calcium_alone_is_plaque():
    branches = [branch(0, "pLAD"), branch(1, "pLCx"), branch(2, "pRCA")]
    assert cad_rads([], branches, agatston=12.0).text == "CAD-RADS 1/P1"
    assert cad_rads([], branches, agatston=0.0).text == "CAD-RADS 0"
    assert cad_rads([], branches, agatston=0.0, untraced=("RCA",)).text == "CAD-RADS N"


def test_a_correction_keeps_the_burden_by_calcium():
    before = findings(*case(("pLAD", 80.0), ("mRCA", 30.0)))
    calcium = Calcium(series_uid="1", agatston=420.0, volume_mm3=1.0, mass_mg=None, vessels={}, mass_mg_reason="not_calibrated")
    after = apply_corrections(msgspec.structs.replace(before, calcium=calcium), {0: "moderate"})
    assert after.cad_rads.text == "CAD-RADS 3/P3"


@pytest.mark.parametrize(
    ("inside", "assessable", "text"),
    [
        ("patent", True, "CAD-RADS 1/S"),
        ("narrowed", True, "CAD-RADS 3/S"),
        ("occluded", True, "CAD-RADS 5/S"),
        (None, True, "CAD-RADS 1/S"),
    ],
)
def test_a_stent_counts_by_what_its_inside_shows(inside, assessable, text):
    branches = [branch(0, "pLAD"), branch(1, "pLCx"), branch(2, "pRCA")]
    stent = Stent(branch=0, start=0, end=10, assessable=assessable, inside=inside)
    assert cad_rads([], branches, stents=(stent,)).text == text


def test_a_stent_that_cannot_be_read_is_neither_healthy_nor_ill():
    branches = [branch(0, "pLAD"), branch(1, "pLCx"), branch(2, "pRCA")]
    stent = Stent(branch=0, start=0, end=10, assessable=False)
    hidden = (NotAssessable(segment="pLAD", reason="stent"),)
    assert cad_rads([], branches, stents=(stent,), not_assessable=hidden).text == "CAD-RADS N/S"
    assert cad_rads([lesion("mRCA", 75.0)], branches, stents=(stent,), not_assessable=hidden).text == "CAD-RADS 4A/P1/N/S"


@pytest.mark.parametrize("entered", ["I+", "I-", "I±"])
def test_ischaemia_is_what_a_physician_entered(entered):
    assert cad_rads(*case(("pLAD", 75.0)), ischaemia=entered).text == f"CAD-RADS 4A/P1/{entered}"
    before = enter(findings(*case(("pLAD", 80.0))), Entered(ischaemia=entered))
    assert entered in apply_corrections(before, {0: "moderate"}).cad_rads.modifiers
    assert enter(before, Entered()).cad_rads.text == "CAD-RADS 4A/P1"


def test_a_physician_knows_better_than_what_was_recognised():
    variants = (Variant(name="interarterial_course", branch=0),)
    before = msgspec.structs.replace(findings(*case(("pLAD", 60.0))), variants=variants, grafts=(BEFORE,))
    assert with_category(before).cad_rads.text == "CAD-RADS 3/P1/G/E"
    assert enter(before, Entered(grafts=False, exceptions=False)).cad_rads.text == "CAD-RADS 3/P1"
    assert enter(findings(*case(("pLAD", 60.0))), Entered(grafts=True)).cad_rads.text == "CAD-RADS 3/P1/G"


GRAFT = Graft(
    id=0, kind="arterial", origin="subclavian", target="mLAD", points_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 0.5)), lumen_diameter_mm=2.4,
    patency="patent", confidence=0.8, target_branch=0, target_index=40,
)  # fmt: skip
BEFORE = msgspec.structs.replace(GRAFT, target_index=15)
"""Sewn on before the narrowing of the cases: it goes around nothing."""


@pytest.mark.parametrize(
    ("patency", "minimum", "text"),
    [
        ("patent", 20, "CAD-RADS 1/P1/G"),  # bypassed: plaque that no longer counts by its degree
        ("patent", 45, "CAD-RADS 4A/P1/G"),  # beyond the anastomosis
        ("narrowed", 20, "CAD-RADS 4A/P1/G"),  # a graft that is no sure way round
        ("occluded", 20, "CAD-RADS 5/P1/G"),
        (None, 20, "CAD-RADS 4A/P1/G"),
    ],
)
def test_what_a_patent_graft_goes_around_does_not_count(patency, minimum, text):
    lesions, branches = case(("pLAD", 80.0))
    graft = msgspec.structs.replace(GRAFT, patency=patency)
    assert cad_rads([msgspec.structs.replace(lesions[0], minimum=minimum)], branches, grafts=(graft,)).text == text


def test_cad_rads_keeps_its_own_bands_where_the_site_reports_by_the_older_chinese_ones():
    assert [grade_of(degree, bands="cn2011") for degree in (49.9, 50.0, 74.9, 75.0, 99.9, 100.0)] == [
        "mild", "moderate", "moderate", "severe", "severe", "occluded",
    ]  # fmt: skip
    found, branches = case(("pLAD", 72.0))
    chinese = msgspec.structs.replace(found[0], grade=grade_of(72.0, bands="cn2011"))
    assert chinese.grade == "moderate"
    assert cad_rads([chinese], branches).text == "CAD-RADS 4A/P1"
    assert segment_scores([chinese], branches) == (1, 3)
    settled = msgspec.structs.replace(chinese, grade_source="corrected")
    assert cad_rads([settled], branches).category == "3", "a person's degree stands as it is"


def test_a_course_between_the_great_vessels_is_an_exception():
    before = findings(*case(("pLAD", 80.0)))
    variants = (Variant(name="rca_from_left", branch=0), Variant(name="interarterial_course", branch=0))
    assert with_category(msgspec.structs.replace(before, variants=variants)).cad_rads.text == "CAD-RADS 4A/P1/E"
    assert with_category(msgspec.structs.replace(before, variants=variants[:1])).cad_rads.text == "CAD-RADS 4A/P1"


def test_scores_count_every_scored_segment_once_and_only_those():
    lesions, branches = case(("pLAD", 80.0), ("pLAD", 30.0), ("mRCA", 55.0), ("OM2", 0.0), ("other", 90.0), ("L-PDA", 60.0))
    assert segment_scores(lesions, branches) == (3, 3 + 2 + 1)


def test_the_largest_scores_are_those_of_the_16_segments():
    sixteen: list[SegmentName] = [
        "LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "RI", "pLCx", "LCx", "OM1", "OM2", "pRCA", "mRCA", "dRCA", "R-PDA", "R-PLB",
    ]  # fmt: skip
    assert segment_scores(*case(*((name, 80.0) for name in sixteen))) == (16, 48)
    assert segment_scores(*case(*((name, 80.0) for name in SEGMENTS))) == (16, 48)
    assert segment_scores(*case(*((name, 55.0) for name in sixteen[:5]))) == (5, 10)
    assert segment_scores(*case(("pLAD", 100.0), ("mRCA", 69.99), ("OM1", 24.0), ("D1", 0.0))) == (4, 3 + 2 + 1 + 1)


def test_a_plaque_across_a_border_involves_both_segments():
    one = lesion("pLAD", 80.0)
    across = msgspec.structs.replace(branch(0, "pLAD"), segments=((0, 24, "pLAD"), (24, 60, "mLAD")))
    assert segment_scores([one], [across]) == (2, 3 + 1)


def findings(lesions: list[Lesion], branches: list[Branch]) -> Findings:
    branches = [*branches, *(branch(100 + number, name) for number, name in enumerate(missing_trunks(branches, "right")))]
    involvement, stenosis = segment_scores(lesions, branches)
    return Findings(
        schema=1, status="analysed", software=Software(version="0", commit="0"), reason=None, engine=None, models=(), series=None,
        other_series=(), quality=None, dominance="right", branches=tuple(branches), lesions=tuple(lesions), bridges=(), stents=(),
        calcium=None, plaque_total_mm3=None, segment_involvement_score=involvement, segment_stenosis_score=stenosis,
        cad_rads=cad_rads(lesions, branches), timing_s={},
    )  # fmt: skip


def test_a_correction_changes_grade_scores_and_category_and_says_so():
    before = findings(*case(("pLAD", 80.0), ("mRCA", 30.0)))
    after = apply_corrections(before, {0: "moderate"})
    assert (before.cad_rads.text, after.cad_rads.text) == ("CAD-RADS 4A/P1", "CAD-RADS 3/P1")
    assert (before.segment_stenosis_score, after.segment_stenosis_score) == (4, 3)
    assert [one.grade_source for one in after.lesions] == ["corrected", "measured"]
    assert after.lesions[0].diameter_stenosis_percent == 80.0
    assert before.lesions[0].grade == "severe"


def test_a_person_decides_what_a_branch_without_a_name_means():
    before = findings(*case(("other", 99.0), ("pLAD", 30.0)))
    assert before.cad_rads.text == "CAD-RADS N/P1"
    assert apply_corrections(before, {0: "severe"}).cad_rads.category == "4A"
    assert apply_corrections(before, {0: "minimal"}).cad_rads.category == "2"


@given(st.dictionaries(st.integers(0, 1), st.sampled_from(GRADES)))
def test_the_same_corrections_twice_change_nothing_more(corrections: dict[int, Grade]):
    once = apply_corrections(findings(*case(("pLAD", 80.0), ("mRCA", 30.0))), corrections)
    assert apply_corrections(once, corrections) == once


def test_correcting_what_is_not_there_is_an_error():
    with pytest.raises(AnalysisError) as caught:
        apply_corrections(findings(*case(("pLAD", 80.0))), {7: "mild"})
    assert caught.value.code == "ANA-701"
