"""Stents, bridges and segments that cannot be read, on straight vessels of which everything is known."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from appliance.analysis.bridges import find_bridges
from appliance.analysis.cadrads import cad_rads
from appliance.analysis.describe import outside_stents, readable
from appliance.analysis.motion_network import Motion
from appliance.analysis.plaque_total import total_of
from appliance.analysis.quality_segments import look_at_segments
from appliance.analysis.rings import runs_of
from appliance.analysis.stages import Heart, Structure
from appliance.analysis.stents import find_stents
from appliance.findings import NotAssessable, Quality, Stent
from appliance.volume import Geometry, LabelMap, Volume
from tests.appliance.analysis.test_cadrads import lesion
from tests.appliance.analysis.vessels import BLOOD, FAT, SPACING, WIDTH_MM, Paint, branch, disc, ring, volume

GOOD = Quality(
    score=4, aorta_mean_hu=BLOOD, aorta_noise_hu=15.0, cnr=20.0, motion=None, coverage_complete=True, not_assessable=(), motion_reason="x"
)


def test_the_sum_of_no_plaque_is_nothing_and_of_one_that_is_not_parted_not_known() -> None:
    """A null without a reason would break the contract of the findings file."""
    assert (total_of([]).fibrofatty, total_of([]).fibrofatty_reason) == (0.0, None)
    thin = lesion("pLAD", 30.0)
    parted = msgspec.structs.replace(thin, volume_mm3=msgspec.structs.replace(thin.volume_mm3, fibrofatty=2.0, fibrous=3.0))
    assert (total_of([parted, parted]).fibrofatty, total_of([parted, parted]).fibrous) == (4.0, 6.0)
    assert thin.volume_mm3.fibrofatty is None
    assert (total_of([parted, thin]).fibrofatty, total_of([parted, thin]).fibrofatty_reason) == (None, "too_thin")


@pytest.mark.parametrize(
    ("entry", "degrees"),
    [
        pytest.param(NotAssessable(segment="mRCA", reason="motion", branch=0, start=20, end=60), [40.0, None], id="motion, by its place"),
        pytest.param(NotAssessable(segment="mRCA", reason="noise"), [40.0, None], id="noise, by its name"),
        pytest.param(NotAssessable(segment="mRCA", reason="motion", branch=3, start=20, end=60), [40.0, 100.0], id="another branch"),
        pytest.param(
            NotAssessable(segment="mRCA", reason="blooming", branch=0, start=20, end=60), [40.0, 100.0], id="calcium is one place"
        ),
    ],
)
def test_no_degree_is_given_in_a_segment_that_moved_or_is_drowned_in_noise(entry: NotAssessable, degrees: list[float | None]) -> None:
    """And so half or more there makes no category: CAD-RADS is N until a person has graded it, or stands for what is elsewhere."""
    found = [
        msgspec.structs.replace(lesion(name, percent, number=i), branch=0, minimum=15 + 20 * i)
        for i, (name, percent) in enumerate([("pRCA", 40.0), ("mRCA", 100.0)])
    ]
    told = readable(found, [entry])
    assert [each.diameter_stenosis_percent for each in told] == degrees
    assert told[0] == found[0]
    category = cad_rads(told, [branch(1.5)], not_assessable=[entry]).category
    assert category == ("N" if degrees[1] is None else "5")
    assert (told[1].grade, told[1].diameter_stenosis_percent_reason) == (
        ("none", "not_assessable") if degrees[1] is None else ("occluded", None)
    )


# -- stents


@pytest.mark.parametrize("radius", [1.8, 2.2])
def test_a_ring_all_around_is_a_stent_of_that_length_and_width(radius: float) -> None:
    (stent,) = find_stents(volume(disc(radius), ring(radius, 900.0, first=12.0, last=24.0)), [branch(radius)], noise_hu=15.0)
    assert (stent.assessable, stent.inside) == (True, "patent")
    assert stent.diameter_mm == pytest.approx(2 * radius, abs=0.4)
    assert ((stent.start * 0.5 + 3.0), (stent.end * 0.5 + 3.0)) == (pytest.approx(12.0, abs=1.5), pytest.approx(24.0, abs=1.5))


def test_thin_wires_in_a_noisy_scan_are_found_and_noise_alone_is_none() -> None:
    thin = volume(disc(2.0), ring(2.0, 950.0, first=8.0, last=28.0), noise_hu=40.0)
    (stent,) = find_stents(thin, [branch(2.0)], noise_hu=40.0)
    assert (stent.start * 0.5 + 3.0, stent.end * 0.5 + 3.0) == (pytest.approx(8.0, abs=2.5), pytest.approx(28.0, abs=2.5))
    assert find_stents(volume(disc(2.0), noise_hu=40.0), [branch(2.0)], noise_hu=40.0) == ()


def test_a_small_stent_is_seen_but_not_read() -> None:
    (stent,) = find_stents(volume(disc(1.2), ring(1.2, 1500.0, first=12.0, last=24.0)), [branch(1.2)], noise_hu=15.0)
    assert (stent.assessable, stent.inside, stent.inside_reason) == (False, None, "smaller_than_3_mm")


def test_no_blood_inside_is_an_occlusion() -> None:
    def plug(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.where((np.hypot(y, z) <= 1.8) & (x > 14.0) & (x < 22.0), 60.0, np.nan)

    found = find_stents(volume(disc(1.8), plug, ring(1.8, 900.0, first=12.0, last=24.0)), [branch(1.8)], noise_hu=15.0)
    assert [stent.inside for stent in found] == ["occluded"]


@pytest.mark.parametrize(
    "paint",
    [
        pytest.param(disc(1.8), id="a plain vessel"),
        pytest.param(ring(1.8, 1300.0, first=12.0, last=24.0, width=0.8, arc=1.6), id="calcium on one side"),
        pytest.param(ring(1.8, 900.0, first=15.0, last=18.0), id="a ring of 3 mm"),
    ],
)
def test_what_is_no_stent(paint: Paint) -> None:
    assert find_stents(volume(disc(1.8), paint, noise_hu=15.0), [branch(1.8)], noise_hu=15.0) == ()


def test_what_lies_about_a_small_vessel_farther_off_than_any_stent_is_none() -> None:
    """A chamber or a vein around a branch of diluted blood: on development patients such a ring hid a true severe stenosis."""
    around = ring(3.7, 400.0, first=12.0, last=24.0, width=1.2)
    assert find_stents(volume(disc(1.0, 250.0), around), [branch(1.0)], noise_hu=15.0) == ()
    metal = ring(2.4, 1500.0, first=12.0, last=24.0)
    assert len(find_stents(volume(disc(2.4, 250.0), metal), [branch(2.4)], noise_hu=15.0)) == 1


def test_lesions_made_of_metal_are_dropped_and_the_rest_is_numbered_anew() -> None:
    lesions = [lesion("pLAD", 60.0, number=0), msgspec.structs.replace(lesion("pLAD", 30.0, number=1), branch=0, minimum=50)]
    lesions = [msgspec.structs.replace(each, branch=0) for each in lesions]
    stent = Stent(branch=0, start=15, end=30, assessable=True, inside="patent")
    (kept,) = outside_stents(lesions, [stent])
    assert (kept.id, kept.minimum) == (0, 50)
    assert len(outside_stents(lesions, [msgspec.structs.replace(stent, inside="narrowed")])) == 2
    assert len(outside_stents(lesions, [msgspec.structs.replace(stent, assessable=False, inside=None)])) == 1
    assert len(outside_stents(lesions, [msgspec.structs.replace(stent, branch=3)])) == 2


# -- bridges


def ground(above_mm: float, *, first: float = 0.0, last: float = 0.0) -> Paint:
    """Muscle below the vessel, and up to ``above_mm`` above its middle between two places."""

    def paint(x: np.ndarray, _: np.ndarray, z: np.ndarray) -> np.ndarray:
        surface = np.where((x >= first) & (x < last), above_mm, -2.0)
        return np.where(z <= surface, 110.0, np.nan)

    return paint


def muscle_below() -> Heart:
    shape = (9, 9, 13)
    z = 3.0 * np.arange(9)[:, None, None] - WIDTH_MM / 2
    labels = np.where(np.broadcast_to(z <= -1.0, shape), int(Structure.LV_MYOCARDIUM), 0).astype(np.uint8)
    grid = Geometry(shape, (3.0,) * 3, (0.0, 0.0, 0.0))
    return Heart(LabelMap(labels, grid), grid)


@pytest.mark.parametrize("depth", [1.0, 2.0, 3.5])
def test_a_roof_of_muscle_is_a_bridge_of_that_depth(depth: float) -> None:
    scan = volume(ground(1.9 + depth, first=10.0, last=26.0), disc(1.5), noise_hu=10.0)
    ((number, start, end, found),) = find_bridges(scan, muscle_below(), [branch(1.5)])
    assert (number, found) == (0, pytest.approx(depth, abs=0.5))
    assert (start * 0.5 + 3.0, end * 0.5 + 3.0) == (pytest.approx(10.0, abs=1.5), pytest.approx(26.0, abs=1.5))


@pytest.mark.parametrize(
    ("paint", "name"),
    [
        (ground(-2.0), "mLAD"),
        (ground(4.0, first=14.0, last=18.0), "mLAD"),
        (ground(4.0, first=10.0, last=26.0), "pRCA"),
        (ground(30.0, first=0.0, last=99.0), "mLAD"),
    ],
    ids=["on the surface", "too short", "in the groove", "no fat in sight"],
)
def test_what_is_no_bridge(paint: Paint, name: str) -> None:
    line = branch(1.5, name=name)  # type: ignore[arg-type]
    assert find_bridges(volume(paint, disc(1.5), noise_hu=10.0), muscle_below(), [line]) == []


# -- segments


def reasons(scan: Volume, *, radius: float = 1.5, quality: Quality = GOOD, **more: object) -> list[tuple[str, str]]:
    found = look_at_segments(scan, [branch(radius, **more)], quality).not_assessable  # type: ignore[arg-type]
    return [(each.segment, each.reason) for each in found]


def test_a_good_vessel_is_assessable() -> None:
    assert reasons(volume(disc(1.5), noise_hu=15.0)) == []


def test_a_vessel_that_leaves_the_images_is_truncated() -> None:
    assert reasons(volume(disc(1.5)), last=35.0) == [("mLAD", "truncated")]
    assert reasons(volume(disc(0.6)), radius=0.6, last=35.0) == []


def test_a_vessel_that_does_not_stand_out_of_the_noise() -> None:
    faint = msgspec.structs.replace(GOOD, aorta_noise_hu=100.0, aorta_mean_hu=280.0)
    assert reasons(volume(disc(1.5, 250.0)), quality=faint) == [("mLAD", "noise")]


def test_a_smeared_vessel_has_moved() -> None:
    def smear(_: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.where((np.abs(y) <= 4.0) & (np.abs(z) <= 1.3), 180.0, np.nan)

    assert reasons(volume(smear)) == [("mLAD", "motion")]
    assert reasons(volume(smear), name="LM", vessel="LM") == []


def test_calcium_all_around_a_small_lumen_blooms() -> None:
    coat = ring(1.2, 1300.0, first=10.0, last=22.0, width=0.8)
    assert reasons(volume(disc(1.0), coat), radius=1.0) == [("mLAD", "blooming")]
    assert reasons(volume(disc(1.0), ring(1.2, 1300.0, first=10.0, last=13.0, width=0.8)), radius=1.0) == []


@pytest.mark.parametrize("radius", [1.5, 0.9])
def test_the_network_says_what_moved_where_the_vessel_is_wide_enough(radius: float) -> None:
    """Its answers go before the rule; a vessel under 2 mm, or one with too few windows, is left to the other rules."""
    line = branch(radius)
    answers = Motion(np.arange(4, 40, 4), np.full(9, 3.5), np.full(9, 0.9))
    seen = look_at_segments(volume(disc(radius)), [line], GOOD, motions={line.id: answers})
    assert msgspec.json.encode(seen.quality)  # findings.json is made of it
    assert [(each.segment, each.motion_mm) for each in seen.quality] == [("mLAD", 3.5)]
    assert [each.reason for each in seen.not_assessable] == (["motion"] if radius > 1.0 else [])
    few = Motion(answers.index[:2], answers.motion_mm[:2], answers.too_far[:2])
    seen = look_at_segments(volume(disc(radius)), [line], GOOD, motions={line.id: few})
    assert [(each.motion_mm, each.motion_mm_reason) for each in seen.quality] == [(None, "too_short")]
    assert seen.not_assessable == ()


def test_a_stent_that_cannot_be_read_hides_its_segment() -> None:
    stent = Stent(branch=0, start=10, end=30, assessable=False)
    found = look_at_segments(volume(disc(1.5)), [branch(1.5)], GOOD, stents=[stent]).not_assessable
    assert [(each.segment, each.reason) for each in found] == [("mLAD", "stent")]


def test_runs_are_joined_over_small_gaps_only() -> None:
    mask = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 0], np.bool_)
    assert runs_of(mask) == [(1, 3), (4, 5), (8, 9)]
    assert runs_of(mask, gap=1) == [(1, 5), (8, 9)]
    assert runs_of(mask, gap=3) == [(1, 9)]
    assert runs_of(np.zeros(4, np.bool_), gap=2) == []
    assert FAT < 0.0 < SPACING
