"""The measurement figures on results that are right, wrong by a known amount, or missing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from appliance.findings import Branch, Bridge, CadRads, Findings, InStent, PlaqueVolume, Software, Stent, Variant
from models.evaluation.cases import Case
from models.evaluation.figures import CATEGORIES, diameter_errors, figures_of, true_category
from models.evaluation.lesions import Plaque
from models.evaluation.measures import Share, TrueBranch
from models.evaluation.pooled import bias_percent, correlation, diameter_table, kappa, pooled_figure, vessel_table
from models.evaluation.seen import seen_measures
from models.evaluation.tables import make_result, text_table
from models.phantom.truth import grade

LINE = np.stack([np.arange(0.0, 40.0, 0.5), np.zeros(80), np.zeros(80)], axis=1)
SIDE = np.stack([np.full(40, 20.0), np.arange(40) * 0.5, np.zeros(40)], axis=1)


def true_branch(points: np.ndarray = LINE, *, radius: float = 1.5, native: bool = True) -> TrueBranch:
    flat = np.full(len(points), radius)
    return TrueBranch(
        points=points,
        healthy_radius=flat,
        outer_radius=flat + 0.5,
        segments=((0, len(points), "pLAD"),),
        name="LAD",
        vessel="LAD",
        native=native,
        lumen_radius=flat,
    )


def plaque(at: int, percent: float, *, vessel: str = "LAD", size: float = 3.0, kind: str = "noncalcified", volume: float = 10.0) -> Plaque:
    return Plaque(
        points=LINE[at - 4 : at + 5],
        minimum=4,
        vessel=vessel,
        plaque_type=kind,
        stenosis_percent=percent,
        grade=grade(percent),
        size_mm=size,
        segment={"LAD": "pLAD", "LM": "LM", "RCA": "mRCA", "LCX": "LCx"}[vessel],
        volume_mm3=volume,
    )


def findings(diameter: float = 3.0, *, category: str = "0", shift: float = 0.0) -> Findings:
    branch = Branch(
        id=0,
        parent=None,
        parent_index=None,
        vessel="LAD",
        points_mm=tuple((float(x), float(y) + shift, float(z)) for x, y, z in LINE),
        segments=((0, len(LINE), "pLAD"),),
        name_confidence=1.0,
        lumen_diameter_mm=(None, *(diameter,) * (len(LINE) - 1)),
        vessel_diameter_mm=(None,) * len(LINE),
    )
    return Findings(
        schema=1,
        status="analysed",
        software=Software(version="0", commit="0"),
        reason=None,
        engine=None,
        models=(),
        series=None,
        other_series=(),
        quality=None,
        dominance=None,
        branches=(branch,),
        lesions=(),
        bridges=(),
        stents=(),
        calcium=None,
        plaque_total_mm3=PlaqueVolume(total=20.0, calcified=0.0, noncalcified=20.0, low_attenuation=0.0),
        segment_involvement_score=None,
        segment_stenosis_score=None,
        cad_rads=CadRads(category=category, plaque_burden=None, modifiers=(), text=""),  # type: ignore[arg-type]
        timing_s={},
    )


def no_stent(*branches: TrueBranch) -> list[np.ndarray]:
    return [np.zeros(len(branch.points), np.bool_) for branch in branches]


def test_diameters_that_are_too_large_have_that_bias() -> None:
    errors = diameter_errors([true_branch()], [], no_stent(true_branch()), findings(3.2))
    assert errors["diameter_bias_mm"].value == pytest.approx(0.2)
    assert errors["diameter_mae_mm@3-inf mm"].value == pytest.approx(0.2)
    assert errors["diameter_mae_mm@healthy"].whole == len(LINE) - 1
    assert "diameter_mae_mm@2-3 mm" not in errors


def test_a_line_outside_the_lumen_has_no_true_diameter() -> None:
    assert "diameter_mae_mm" not in diameter_errors([true_branch()], [], no_stent(true_branch()), findings(3.2, shift=1.6))


def test_stents_bifurcations_grafts_and_small_vessels_are_left_out() -> None:
    whole = [true_branch(), true_branch(SIDE)]
    counted = diameter_errors(whole, [], no_stent(*whole), findings())["diameter_mae_mm"].whole
    opening = np.abs(LINE[:, 0] - 20.0) <= 3.5
    assert counted == len(LINE) - 1 - opening.sum()
    metal = [np.ones(len(LINE), np.bool_)]
    assert diameter_errors([true_branch()], [], metal, findings()) == {}
    assert diameter_errors([true_branch(native=False)], [], no_stent(true_branch()), findings()) == {}
    assert diameter_errors([true_branch(radius=0.7)], [], no_stent(true_branch()), findings()) == {}


def test_degrees_are_told_apart_by_plaque() -> None:
    true = [plaque(20, 40.0), plaque(60, 60.0, kind="mixed", volume=30.0)]
    result = [plaque(21, 45.0, volume=12.0), plaque(60, 40.0, volume=24.0)]
    figures = figures_of([true_branch()], true, no_stent(true_branch()), findings(category="2"), result)
    assert figures.shares["ds_mae_noncalcified"].value == pytest.approx(5.0)
    assert figures.shares["ds_mae_calcified"].value == pytest.approx(20.0)
    assert figures.shares["ds_mae@LAD"].value == pytest.approx(12.5)
    assert sorted(figures.pairs["plaque_volume"]) == [[10.0, 12.0], [30.0, 24.0]]
    assert figures.shares["stenosis50_sensitivity"].value == 0.0
    assert figures.shares["stenosis60_sensitivity@LAD"] == Share(0, 1)
    assert figures.measures["cadrads_within_one"] == 1.0
    assert figures.measures["cadrads_exact"] == 0.0


def test_a_call_of_half_and_more_is_false_unless_it_is_so() -> None:
    true = [plaque(20, 49.0), plaque(60, 55.0)]
    result = [plaque(20, 51.0), plaque(60, 52.0), plaque(40, 90.0, size=1.2)]
    figures = figures_of([true_branch()], true, no_stent(true_branch()), findings(category="3"), result)
    assert figures.measures["stenosis50_false_per_case"] == 1.0
    assert figures.shares["stenosis50_sensitivity"].value == 1.0
    assert "stenosis60_sensitivity@LAD" not in figures.shares
    assert figures.measures["cadrads_exact"] == 1.0


def test_a_product_that_shows_nothing_has_everything_wrong() -> None:
    figures = figures_of([true_branch()], [plaque(20, 80.0)], no_stent(true_branch()), None, [])
    assert figures.shares["stenosis60_sensitivity"].value == 0.0
    assert (figures.measures["cadrads_exact"], figures.measures["cadrads_within_one"]) == (0.0, 0.0)
    assert figures.measures["cadrads_undecided"] == 1.0
    assert "cadrads" not in figures.pairs
    assert figures.pairs["plaque_total"] == [[10.0, 0.0]]


@pytest.mark.parametrize(
    ("lesions", "category"),
    [
        ([], "0"),
        ([("LAD", 0.0)], "1"),
        ([("LAD", 69.9)], "3"),
        ([("LAD", 70.0), ("RCA", 90.0)], "4A"),
        ([("LAD", 70.0), ("RCA", 90.0), ("LCX", 99.0)], "4B"),
        ([("LM", 50.0)], "4B"),
        ([("RCA", 100.0)], "5"),
    ],
)
def test_the_true_category(lesions: list[tuple[str, float]], category: str) -> None:
    assert true_category([plaque(20, percent, vessel=vessel) for vessel, percent in lesions]) == category


def test_a_true_stenosis_of_a_branch_without_a_name_counts() -> None:
    other = replace(plaque(20, 80.0), vessel="other", segment="other")
    assert true_category([other]) == "4A"
    assert true_category([replace(other, size_mm=1.4)]) == "0"


# -- over all patients


def pairs(*rows: tuple[float, float]) -> np.ndarray:
    return np.asarray(rows, np.float64)


def test_kappa() -> None:
    """Worked by hand: categories 0, 0, 1, 2 called 0, 1, 1, 2 in quadratic weights: 1 - 1 / (46 / 16 x ...) by the definition."""
    same = pairs((0, 0), (3, 3), (6, 6))
    assert kappa(same) == pytest.approx(1.0)
    assert kappa(pairs((0, 6), (6, 0))) == pytest.approx(-1.0)
    assert kappa(pairs((2, 2), (2, 2))) is None
    mixed = pairs((0, 0), (0, 1), (1, 1), (2, 2))
    # observed weight 1; expected (sum over cells of weight x row total x column total / 4): rows 2,1,1, columns 1,2,1
    expected = (2 * 2 * 1 + 2 * 1 * 4 + 1 * 1 * 1 + 1 * 1 * 1 + 1 * 1 * 4 + 1 * 2 * 1) / 4
    assert kappa(mixed) == pytest.approx(1.0 - 1.0 / expected)


def test_correlation_and_bias() -> None:
    volumes = pairs((10.0, 11.0), (20.0, 22.0), (30.0, 33.0))
    assert correlation(volumes) == pytest.approx(1.0)
    assert bias_percent(volumes) == pytest.approx(10.0)
    assert correlation(volumes[:2]) is None
    assert bias_percent(pairs((0.0, 3.0))) is None


def cases() -> list[Case]:
    out = []
    for seed in range(6):
        errors = {
            f"diameter_{name}_mm{group}": Share(part, 10.0)
            for group in ("", "@2-3 mm")
            for name, part in (("bias", 1.0), ("mae", 2.0), ("square", 0.5))
        }
        values: dict[str, float | None] = {"of@LAD": 0.9, "cadrads_exact": 1.0, "ov": 0.95}
        numbers = {"cadrads": [[float(seed), float(seed)]], "plaque_volume": [[10.0 + seed, 11.0 + seed]]}
        out.append(Case(seed, "plain", measures=values, shares=errors, pairs=numbers))
    return out


def test_the_result_holds_the_pooled_figures_and_the_tables() -> None:
    result = make_result(cases(), kind="development")
    assert result["overall"]["cadrads_kappa"]["mean"] == 1.0
    assert result["overall"]["cadrads_kappa"]["n"] == 6
    assert result["overall"]["plaque_volume_r"]["median"] == pytest.approx(1.0)
    assert result["overall"]["diameter_bias_mm"]["pooled"] == pytest.approx(0.1)
    assert result["vessels"][0] == {"name": "LAD", "of": {"mean": 0.9, "pooled": None, "n": 6}}
    assert "cadrads_kappa" in text_table(result)
    assert all("@" not in name for name in result["cases"][0])


def test_limits_of_agreement() -> None:
    (whole, band) = diameter_table(cases())
    spread = 1.96 * np.sqrt(0.05 - 0.1**2)
    assert (whole["name"], band["name"], whole["points"]) == ("all", "2-3 mm", 60)
    assert whole["limits_mm"] == [pytest.approx(0.1 - spread, abs=1e-4), pytest.approx(0.1 + spread, abs=1e-4)]


def test_no_pairs_make_no_figure() -> None:
    assert pooled_figure([Case(1, "plain")], "cadrads_kappa")["n"] == 0
    assert vessel_table([Case(1, "plain")]) == []
    assert len(CATEGORIES) == 7


def test_stents_and_bridges_are_found_by_their_middle_and_false_elsewhere() -> None:
    whole = true_branch()
    stent = SimpleNamespace(branch=0, start=20, end=40, diameter_mm=3.5, in_stent_stenosis_percent=0.0)
    small = SimpleNamespace(branch=0, start=60, end=76, diameter_mm=2.5, in_stent_stenosis_percent=60.0)
    patient = SimpleNamespace(
        branches=(SimpleNamespace(id=0, bridges=((10, 30, 2.0),)),), stents=(stent, small), variants=("separate_ostia", "ramus")
    )
    seen = msgspec.structs.replace(
        findings(),
        stents=(Stent(branch=0, start=22, end=38, assessable=True),),
        bridges=(Bridge(branch=0, start=60, end=75, depth_mm=1.0),),
        variants=(Variant(name="separate_left_ostia", branch=0), Variant(name="single_coronary", branch=0)),
    )
    measures, shares = seen_measures(patient, [whole], seen)  # type: ignore[arg-type]
    assert (shares["stents_found"], shares["stents_found_3mm"]) == (Share(1, 2), Share(1, 1))
    assert (shares["bridges_found"], measures["bridges_false"]) == (Share(0, 1), 1.0)
    assert (measures["stents_false"], shares["variants_found"], measures["variants_false"]) == (0.0, Share(1, 1), 1.0)
    nothing, none = seen_measures(patient, [whole], None)  # type: ignore[arg-type]
    assert (nothing["bridges_false"], none["stents_found"]) == (0.0, Share(0, 2))


def test_what_is_said_of_a_found_stent_and_bridge_is_compared_with_the_truth() -> None:
    stents = [
        SimpleNamespace(branch=0, start=first, end=first + 12, diameter_mm=3.5, in_stent_stenosis_percent=percent)
        for first, percent in ((0, 49.0), (18, 50.0), (36, 100.0), (54, 20.0))
    ]
    patient = SimpleNamespace(branches=(SimpleNamespace(id=0, bridges=((10, 30, 2.0), (60, 70, 1.0))),), stents=stents, variants=())
    inside: tuple[InStent | None, ...] = ("patent", "narrowed", "narrowed", None)
    seen = msgspec.structs.replace(
        findings(),
        stents=tuple(
            Stent(branch=0, start=s.start, end=s.end + 1, assessable=what is not None, inside=what)
            for s, what in zip(stents, inside, strict=True)
        ),
        bridges=(Bridge(branch=0, start=12, end=28, depth_mm=3.5), Bridge(branch=0, start=20, end=26, depth_mm=9.0)),
    )
    measures, shares = seen_measures(patient, [true_branch()], seen)  # type: ignore[arg-type]
    assert (shares["stents_read"], shares["stents_read_right"]) == (Share(3, 4), Share(2, 3))
    assert shares["bridges_found"] == Share(1, 2), "two results on one bridge find one"
    assert measures["bridges_false"] == 1.0
    assert shares["bridge_depth_error_mm"] == Share(1.5, 1)
    assert shares["bridge_length_error_mm"] == Share(2.0, 1), "20 points against 16, half a millimetre apart"
