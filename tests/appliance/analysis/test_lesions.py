"""Lesions from what is measured and from what the network ``lesions`` says, the latter given here as data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.lesion_degree import LesionRules, Stretch, measure_stretch, outside_parent, regressed
from appliance.analysis.lesion_network import FEATURES, Reading, nothing
from appliance.analysis.lesions import Survey, find_lesions, goes_on, joined_evidence
from appliance.analysis.lumen import LumenResult, measure_lumen
from appliance.analysis.plaque import SURE_SHARE, describe_plaques, proposed_kind
from appliance.analysis.reference import junction_distance
from appliance.analysis.stages import NamedBranch, NamedTree, Profile, Reference
from appliance.geometry import arc_length
from tests.appliance.analysis.tubes import named_tree, render, segmentation_of, straight

Float = NDArray[np.float64]


def measured(**shape: float) -> tuple[NamedTree, LumenResult]:
    vessel = straight(3.0, **shape)
    volume, classes = render([vessel])
    named = named_tree([vessel])
    return named, measure_lumen(named, volume, segmentation_of(volume, classes), radius_mm=(np.full(len(vessel.points), 1.5),))


@pytest.fixture(scope="module")
def healthy() -> tuple[NamedTree, LumenResult]:
    return measured()


@pytest.fixture(scope="module")
def narrowed() -> tuple[NamedTree, LumenResult]:
    return measured(stenosis=0.5, remodelled=0.35)


def along_of(named: NamedTree) -> Float:
    return arc_length(named.branches[0].points_mm)


def reading(along: Float, *plaques: tuple[float, float], high: float = 0.995, low: float = 0.005, narrowing: float = 0.0) -> Reading:
    """Sure of plaque between the given places (mm), narrowed by that part there; sure of none elsewhere."""
    share = np.full(len(along), low)
    for start, end in plaques:
        share[(along >= start) & (along <= end)] = high
    return replace(nothing(len(along)), share=share, narrowing=np.where(share == high, narrowing, 0.0))


def places(survey: Survey, along: Float) -> list[tuple[float, float]]:
    return [(float(along[s.start]), float(along[s.end - 1])) for s in survey.stretches]


def test_evidence_is_the_weighted_sum_of_standard_scores_and_log_odds() -> None:
    rules = LesionRules(fit_weight=0.5, log_odds_weight=2.0, even_log_odds=0.0)
    along = np.arange(60) * 0.5
    own = np.linspace(-3.0, 6.0, 60)
    even = replace(nothing(60), share=np.full(60, 0.5))
    np.testing.assert_allclose(joined_evidence([own], [even], [along], rules)[0], 0.5 * own, atol=1e-9)
    likely = replace(nothing(60), share=np.full(60, 0.9))
    np.testing.assert_allclose(joined_evidence([own], [likely], [along], rules)[0], 0.5 * own + 2.0 * np.log(9.0), atol=1e-9)


def test_in_a_stent_brightness_is_no_evidence_for_plaque() -> None:
    rules, along = LesionRules(fit_weight=1.0, even_log_odds=0.0), np.arange(40) * 0.5
    metal = replace(nothing(40), share=np.full(40, 0.5), stent=np.ones(40))
    joined = joined_evidence([np.full(40, 8.0), np.full(40, -2.0)], [metal, metal], [along, along], rules)
    np.testing.assert_allclose(joined[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(joined[1], -2.0, atol=1e-9)


def test_a_healthy_tube_has_no_lesion_by_rules_nor_by_a_silent_network(healthy: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = healthy
    assert find_lesions(named, lumen).stretches == ()
    assert find_lesions(named, lumen, readings=[reading(along_of(named))]).stretches == ()


@pytest.mark.parametrize("length", [4.5, 8.0, 12.0])
def test_what_the_network_is_sure_of_is_a_lesion_there(healthy: tuple[NamedTree, LumenResult], length: float) -> None:
    named, lumen = healthy
    along = along_of(named)
    survey = find_lesions(named, lumen, readings=[reading(along, (14.0, 14.0 + length))])
    assert len(survey.stretches) == 1
    start, end = places(survey, along)[0]
    assert start == pytest.approx(14.0, abs=1.0)
    assert end == pytest.approx(14.0 + length, abs=1.0)
    assert survey.stretches[0].stenosis_percent == pytest.approx(0.0, abs=10.0)  # how narrow it is, the section fit says


def test_two_plaques_are_two_lesions_and_a_short_gap_is_none(healthy: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = healthy
    along = along_of(named)
    assert len(find_lesions(named, lumen, readings=[reading(along, (8.0, 13.0), (19.0, 25.0))]).stretches) == 2
    assert len(find_lesions(named, lumen, readings=[reading(along, (8.0, 13.0), (13.5, 20.0))]).stretches) == 1


def test_a_single_section_is_no_lesion(healthy: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = healthy
    assert find_lesions(named, lumen, readings=[reading(along_of(named), (14.0, 14.3))]).stretches == ()


def test_rules_find_the_narrowing_and_a_sure_network_refuses_it(narrowed: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = narrowed
    along = along_of(named)
    alone = find_lesions(named, lumen)
    assert len(alone.stretches) == 1
    assert find_lesions(named, lumen, readings=[reading(along)]).stretches == ()
    both = find_lesions(named, lumen, readings=[reading(along, (16.0, 24.0), narrowing=0.35)])
    assert len(both.stretches) == 1
    assert both.stretches[0].stenosis_percent == pytest.approx(50.0, abs=8.0)
    assert both.stretches[0].minimum == pytest.approx(alone.stretches[0].minimum, abs=2)


def test_a_mended_line_lowers_the_confidence_and_hides_no_lesion(narrowed: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = narrowed
    plain = find_lesions(named, lumen).stretches[0]
    mended = replace(named, branches=(replace(named.branches[0], repaired=((plain.minimum - 2, plain.minimum + 2),)),))
    told = find_lesions(mended, lumen).stretches[0]
    assert told.stenosis_percent == plain.stenosis_percent
    assert told.confidence == pytest.approx(LesionRules().mended_trust * plain.confidence)


@pytest.mark.parametrize(
    ("core_hu", "mended", "percent"),
    [
        pytest.param(60.0, (-1, 1), 100.0, id="a line mended through plaque: an occlusion"),
        pytest.param(-40.0, (-1, 1), None, id="a line mended through fat: nothing is known"),
        pytest.param(-40.0, None, 100.0, id="a line that the network saw all along"),
        pytest.param(-40.0, (9, 11), 100.0, id="a line mended at the shoulder, where the vessel is open"),
    ],
)
def test_what_is_closed_is_full_of_tissue(
    narrowed: tuple[NamedTree, LumenResult], core_hu: float, mended: tuple[int, int] | None, percent: float | None
) -> None:
    named, lumen = narrowed
    at = find_lesions(named, lumen).stretches[0].minimum
    closed, rays = np.abs(along_of(named) - along_of(named)[at]) <= 2.0, lumen.sections.rays.copy()
    rays[closed, :, :4] = core_hu
    shut = replace(lumen.profiles[0], lumen_mm=np.where(closed, 0.0, lumen.profiles[0].lumen_mm))
    lumen = replace(lumen, profiles=(shut,), sections=replace(lumen.sections, rays=rays))
    named = replace(named, branches=(replace(named.branches[0], repaired=((at + mended[0], at + mended[1]),) if mended else ()),))
    (one,) = find_lesions(named, lumen).stretches
    assert (one.stenosis_percent, one.unreadable) == (percent, percent is None)


def test_a_narrowing_counts_where_a_branch_leaves_though_a_thick_wall_does_not(narrowed: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = narrowed
    silent = reading(along_of(named), low=0.5)
    alone = find_lesions(named, lumen, readings=[silent])
    at = alone.stretches[0].minimum
    # the side branch itself is of no matter here: it runs on in the same tube
    two = replace(named, branches=(named.branches[0], replace(named.branches[0], parent=0, parent_index=at)))
    both = find_lesions(two, twice(lumen), readings=[silent, silent])
    assert 0.5 * alone.evidence[0][at] < both.evidence[0][at] < 0.8 * alone.evidence[0][at]
    (found,) = (one for one in both.stretches if one.branch == 0)
    assert found.stenosis_percent == pytest.approx(50.0, abs=8.0)


def test_an_opening_reaches_as_far_as_the_branch_that_opens_is_wide() -> None:
    trunk = np.stack([np.zeros(60), np.zeros(60), 0.5 * np.arange(60)], axis=1)
    side = np.stack([0.5 * np.arange(30), np.zeros(30), np.full(30, 15.0)], axis=1)
    branches = (
        NamedBranch(trunk, None, None, "RCA", ((0, 60, "pRCA"),), 1.0),
        NamedBranch(side, 0, 30, "RCA", ((0, 30, "other"),), 1.0),
    )
    named = NamedTree(branches=branches, dominance=None)

    def wide(mm: float, count: int) -> Profile:
        same = np.full(count, mm)
        return Profile(same - 1.0, same, same, same, np.zeros(count), same, same, np.ones(count))

    thin = junction_distance(named, 0, (wide(4.0, 60), wide(2.0, 30)))
    assert thin[30] == 0.0
    assert thin[34] == pytest.approx(1.0)  # 2 mm from a branch of 2 mm
    assert junction_distance(named, 0, (wide(4.0, 60), wide(4.0, 30)))[34] == pytest.approx(0.5)
    assert junction_distance(named, 0, (wide(4.0, 60), wide(9.0, 30)))[34] == pytest.approx(0.5)  # no wider than the vessel itself
    assert thin[2] == pytest.approx(0.25)  # its own origin counts in its own diameters
    assert goes_on(NamedTree(branches=(branches[0], replace(branches[1], parent_index=59)), dominance=None), 0)
    assert not goes_on(named, 0)
    assert not goes_on(named, 1)


def test_a_narrowing_at_the_end_of_a_branch_that_goes_on_is_found(narrowed: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = narrowed
    at = find_lesions(named, lumen).stretches[0].minimum
    short, cut = cut_at(named, lumen, at + 2)
    assert find_lesions(short, cut).stretches == () or find_lesions(short, cut).stretches[0].end <= at
    side = replace(short.branches[0], parent=0, parent_index=at + 1)
    found = find_lesions(replace(short, branches=(short.branches[0], side)), twice(cut)).stretches
    assert any(one.branch == 0 and one.end > at for one in found)


def cut_at(named: NamedTree, lumen: LumenResult, end: int) -> tuple[NamedTree, LumenResult]:
    """The first points of the only branch."""
    rows = np.arange(end)
    one = replace(named.branches[0], points_mm=named.branches[0].points_mm[:end], segments=((0, end, "LM"),))
    profile = replace(lumen.profiles[0], **{name: getattr(lumen.profiles[0], name)[:end] for name in Profile.__dataclass_fields__})
    fitted = replace(lumen.fitted, **{name: getattr(lumen.fitted, name)[rows] for name in type(lumen.fitted).__dataclass_fields__})
    cut = replace(lumen, profiles=(profile,), sections=lumen.sections.take(rows), fitted=fitted, blood=lumen.blood[rows])
    return replace(named, branches=(one,)), cut


def twice(lumen: LumenResult) -> LumenResult:
    """The same branch measured two times."""
    count = len(lumen.sections.points)
    rows = np.tile(np.arange(count), 2)
    sections = replace(lumen.sections.take(rows), branch=np.repeat([0, 1], count))
    fitted = replace(lumen.fitted, **{name: getattr(lumen.fitted, name)[rows] for name in type(lumen.fitted).__dataclass_fields__})
    return replace(lumen, profiles=lumen.profiles * 2, sections=sections, fitted=fitted, blood=lumen.blood[rows])


RULES = LesionRules()
ALONG: Float = np.arange(40, dtype=np.float64) * 0.5


def lesion(percent: float, *, reference: float = 3.0) -> Stretch:
    lumen = reference * (1.0 - percent / 100.0)
    return Stretch(0, 10, 20, 30, lumen, reference, percent, 5.0, 0.9)


def profile(calcium: float = 0.0) -> Profile:
    same = np.full(40, 3.0)
    return Profile(same, same, same, same + 1.0, np.full(40, calcium), np.full(40, 400.0), np.full(40, 15.0), np.ones(40))


def test_beside_calcium_a_small_vessel_is_believed_less_than_a_wide_one() -> None:
    def told(percent: float, reference: float, calcium: float = 2.0) -> float:
        return regressed(lesion(percent, reference=reference), profile(calcium), ALONG, RULES).stenosis_percent or 0.0

    assert [told(p, 1.8) for p in (0.0, 25.0, 49.0, 100.0)] == [0.0, 25.0, 49.0, 100.0]
    measured = (50.0, 51.0, 60.0, 70.0, 99.0)
    assert [told(p, 1.8) for p in measured] == sorted(told(p, 1.8) for p in measured)
    assert told(51.0, 1.8) >= 50.0  # what is half and more stays so
    # an error of 0.4 mm is 20 points of 2 mm, 10 of 4 mm; 28 points are the spread of all degrees
    assert told(90.0, 2.0) == pytest.approx(50.0 + 40.0 * 28.0**2 / (28.0**2 + 20.0**2))
    assert told(90.0, 4.0) == pytest.approx(50.0 + 40.0 * 28.0**2 / (28.0**2 + 10.0**2))
    assert told(90.0, 2.0, calcium=0.0) == 90.0


@pytest.mark.parametrize(
    ("narrow", "behind", "percent"),
    [(0.6, 200.0, 100.0), (0.6, 350.0, 80.0), (1.2, 200.0, 60.0)],
    ids=["severe, thin blood behind it", "severe, the same blood", "moderate, thin blood behind it"],
)
def test_a_severe_narrowing_with_thin_blood_behind_it_is_an_occlusion(narrow: float, behind: float, percent: float) -> None:
    lumen = np.full(40, 3.0)
    lumen[14:18] = narrow
    place = np.arange(40)
    one = replace(profile(), lumen_mm=lumen, lumen_hu=np.where(place < 16, 400.0, behind))
    reference = Reference(np.full(40, 3.0), np.full(40, 4.0), np.ones(40))
    found = measure_stretch(0, 12, 20, one, reference, np.full(40, 8.0), place * 0.5, RULES)
    assert found.stenosis_percent == pytest.approx(percent)
    at_the_end = measure_stretch(0, 12, 39, one, reference, np.full(40, 8.0), place * 0.5, RULES)
    assert at_the_end.stenosis_percent == pytest.approx(100.0 * (1.0 - narrow / 3.0))  # nothing behind it to tell by


def test_a_branch_has_no_disease_of_its_own_inside_its_parent() -> None:
    trunk = np.stack([np.zeros(60), np.zeros(60), 0.5 * np.arange(60)], axis=1)
    side = np.stack([0.5 * np.arange(30), np.zeros(30), np.full(30, 15.0)], axis=1)
    named = NamedTree(
        branches=(
            NamedBranch(trunk, None, None, "LAD", ((0, 60, "pLAD"),), 1.0),
            NamedBranch(side, 0, 30, "LAD", ((0, 30, "D1"),), 1.0),
        ),
        dominance=None,
    )
    size = np.full(60, 4.0)
    references = [Reference(size, size + 1.0, np.ones(60)), Reference(size[:30] / 2, size[:30] / 2 + 1.0, np.ones(30))]
    assert outside_parent(named, 0, references, 0.5).all()
    free = outside_parent(named, 1, references, 0.5)
    assert side[free][0, 0] == pytest.approx(3.0)  # 2 mm of lumen, half a millimetre of blur, the next point
    assert free[np.flatnonzero(free)[0] :].all()


def test_no_degree_is_given_where_the_model_leaves_much_unexplained(narrowed: tuple[NamedTree, LumenResult]) -> None:
    named, lumen = narrowed
    blurred = replace(lumen, profiles=tuple(replace(p, noise_hu=0.3 * p.lumen_hu) for p in lumen.profiles))
    (one,) = find_lesions(named, blurred).stretches
    assert one.unreadable
    assert one.stenosis_percent is None
    assert one.reference_mm is not None
    assert not find_lesions(named, lumen).stretches[0].unreadable
    beside = tuple(replace(p, calcium_mm2=np.full(len(p.lumen_mm), 2.0)) for p in blurred.profiles)
    assert not any(one.unreadable for one in find_lesions(named, replace(blurred, profiles=beside)).stretches)  # the calcium's own


@pytest.mark.parametrize(
    ("probability", "calcium_mm3", "share", "kind"),
    [
        pytest.param((0.8, 0.1, 0.1), 20.0, 0.4, "calcified", id="agreed"),
        pytest.param((0.8, 0.15, 0.05), 4.0, 0.03, "mixed", id="calcified needs its share of calcium"),
        pytest.param((0.8, 0.15, 0.05), 0.5, 0.2, "noncalcified", id="calcified needs calcium"),
        pytest.param((0.8, 0.15, 0.05), 0.0, 0.0, "noncalcified", id="without calcium there is only one kind"),
        pytest.param((0.1, 0.8, 0.1), 0.2, 0.01, "noncalcified", id="mixed needs a trace of calcium"),
        pytest.param((0.1, 0.8, 0.1), 0.6, 0.02, "mixed", id="in doubt the network decides: some calcium"),
        pytest.param((0.1, 0.2, 0.7), 0.6, 0.02, "noncalcified", id="in doubt the network decides: none"),
        pytest.param((0.1, 0.2, 0.7), 9.0, 0.1, "mixed", id="much calcium is never noncalcified"),
        pytest.param((0.6, 0.3, 0.1), 9.0, 0.14, "calcified", id="in doubt the network decides: mostly calcium"),
        pytest.param((0.3, 0.6, 0.1), 9.0, 0.14, "mixed", id="in doubt the network decides: partly calcium"),
        pytest.param((0.1, 0.8, 0.1), 9.0, 0.3, "calcified", id="where calcium prevails nothing is mixed"),
    ],
)
def test_the_network_proposes_a_kind_and_measured_calcium_has_the_veto(
    probability: tuple[float, float, float], calcium_mm3: float, share: float, kind: str
) -> None:
    assert proposed_kind(np.asarray(probability), calcified_mm3=calcium_mm3, share=share) == kind


def test_a_feature_needs_measurement_and_network() -> None:
    named, lumen = measured(stenosis=0.5, remodelled=0.5)
    along = along_of(named)
    said = reading(along, (16.0, 24.0), narrowing=0.35)
    agrees = replace(said, features=np.ones((len(along), 4)))
    by_rules = describe_plaques(named, find_lesions(named, lumen), lumen)[0]
    assert "positive_remodeling" in by_rules.high_risk  # the outer wall is drawn a quarter wider
    both = describe_plaques(named, find_lesions(named, lumen, readings=[agrees]), lumen)[0]
    assert "positive_remodeling" in both.high_risk
    assert "napkin_ring" not in both.high_risk  # never measured
    assert by_rules.volume.low_attenuation == both.volume.low_attenuation == 0.0
    assert "low_attenuation" in both.high_risk  # the network is sure: a core as small as the blur is not measured
    features = agrees.features.copy()
    features[:, FEATURES.index("low_attenuation")] = SURE_SHARE - 0.05
    doubtful = describe_plaques(named, find_lesions(named, lumen, readings=[replace(agrees, features=features)]), lumen)[0]
    assert "low_attenuation" not in doubtful.high_risk
    refused = describe_plaques(named, find_lesions(named, lumen, readings=[said]), lumen)[0]
    assert refused.high_risk == ()
    assert refused.kind == "noncalcified"
