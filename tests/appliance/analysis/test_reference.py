"""What a healthy vessel would measure under a lesion: not spoiled by what lies beside it (clinical definitions, 1.2).

The vessels are given as measured profiles with the noise of one section. A reference that is off by ``WITHIN_MM`` moves a stenosis of half
of a vessel of 3 mm by 2.5 points; it is the mean error that a measured diameter may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis.reference import healthy_weight, junction_distance, reference_of, with_left_main
from appliance.analysis.stages import NamedBranch, NamedTree, Profile, Reference
from appliance.geometry import arc_length

Float = NDArray[np.float64]

STEP_MM = 0.5
NOISE_MM = 0.1
WALL_MM = 1.0
WITHIN_MM = 0.15
TAPER = 0.025
"""Millimetres narrower with each millimetre, as in the left anterior descending artery."""
PLAQUE = 6.0
"""Evidence where there certainly is plaque; 0 where there is none."""
ALONG: Float = np.arange(0.0, 70.01, STEP_MM)
TAPERED: Float = 3.8 - TAPER * ALONG
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Made:
    """A branch as measured: true lumen diameters without noise, the place of its plaque (mm), and what it hangs on."""

    lumen: Float
    plaque: tuple[float, float] | None = None
    parent: int | None = None
    parent_index: int | None = None

    @property
    def along(self) -> Float:
        return np.asarray(STEP_MM * np.arange(len(self.lumen)), np.float64)


def within(along: Float, first: float, last: float) -> NDArray[np.bool_]:
    return np.asarray((along >= first) & (along < last))


def bump(along: Float, first: float, last: float) -> Float:
    """From 0 to 1 and back between two places."""
    return np.where(within(along, first, last), 0.5 - 0.5 * np.cos(2 * np.pi * (along - first) / (last - first)), 0.0)


def tree_of(made: Sequence[Made]) -> NamedTree:
    branches: list[NamedBranch] = []
    for number, one in enumerate(made):
        direction = np.array([0.0, 0.0, 1.0]) if one.parent is None else np.array([1.0, 0.0, float(number)]) / np.hypot(1.0, number)
        line = one.along[:, None] * direction
        if one.parent is not None and one.parent_index is not None:
            line = line + branches[one.parent].points_mm[one.parent_index]
        branches.append(NamedBranch(line, one.parent, one.parent_index, "LAD", ((0, len(line), "pLAD"),), 1.0))
    return NamedTree(branches=tuple(branches), dominance=None)


def references(made: Sequence[Made], seed: int) -> tuple[NamedTree, list[Profile], list[Reference]]:
    """As ``lesions.find_lesions`` has them, from evidence that knows the plaque."""
    named = tree_of(made)
    rng = np.random.default_rng(seed)
    profiles = []
    for one in made:
        seen = one.lumen + rng.normal(0.0, NOISE_MM, len(one.lumen))
        same = np.ones(len(seen))
        profiles.append(Profile(seen, seen, seen, seen + WALL_MM, 0.0 * same, 400.0 * same, 20.0 * same, same))
    found = []
    for number, one in enumerate(made):
        along = arc_length(named.branches[number].points_mm)
        evidence = np.where(within(along, *one.plaque), PLAQUE, 0.0) if one.plaque else np.zeros(len(along))
        found.append(reference_of(profiles[number], along, healthy_weight(evidence, junction_distance(named, number, profiles), along)))
    return named, profiles, with_left_main(named, profiles, found)


def error_at(made: Sequence[Made], healthy: Float, place: float, seed: int) -> float:
    """Reference less healthy lumen at a place of the first branch, mm; the outer wall's must be off by no more than the lumen's bound."""
    _, _, found = references(made, seed)
    at = round(place / STEP_MM)
    assert found[0].vessel_mm[at] == pytest.approx(healthy[at] + WALL_MM, abs=WITHIN_MM)
    return float(found[0].lumen_mm[at] - healthy[at])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tapering_vessel_is_interpolated_over_the_lesion(seed: int) -> None:
    narrowed = TAPERED * (1.0 - 0.7 * bump(ALONG, 25.0, 37.0))
    assert abs(error_at([Made(narrowed, (25.0, 37.0))], TAPERED, 31.0, seed)) < WITHIN_MM


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wider", [0.5, 1.0], ids=["half as wide again", "twice as wide"])
@pytest.mark.parametrize(
    "places",
    [((37.0, 45.0),), ((17.0, 25.0),), ((17.0, 25.0), (37.0, 45.0))],
    ids=["behind the lesion", "before it", "on both sides"],
)
def test_ectasia_beside_the_lesion_does_not_widen_the_reference(places: tuple[tuple[float, float], ...], wider: float, seed: int) -> None:
    ectatic = sum((wider * bump(ALONG, *place) for place in places), np.zeros_like(ALONG))
    lumen = TAPERED * (1.0 - 0.5 * bump(ALONG, 25.0, 37.0) + ectatic)
    assert abs(error_at([Made(lumen, (25.0, 37.0))], TAPERED, 31.0, seed)) < WITHIN_MM


@pytest.mark.parametrize("seed", SEEDS)
def test_ectasia_shows_as_wider_than_its_reference(seed: int) -> None:
    """Left out of the reference means that the aneurysm itself is still seen against it."""
    _, profiles, found = references([Made(TAPERED * (1.0 + 0.6 * bump(ALONG, 30.0, 38.0)))], seed)
    at = int(34.0 / STEP_MM)
    assert profiles[0].lumen_mm[at] / found[0].lumen_mm[at] == pytest.approx(1.6, abs=0.1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lesion", [(1.0, 6.0), (1.0, 8.0), (1.0, 12.0)])
def test_an_ostial_lesion_is_measured_against_what_follows_it(lesion: tuple[float, float], seed: int) -> None:
    """Before it there is only the ostium's cone, twice as wide as the vessel."""
    cone = TAPERED * np.clip(1.0 - ALONG / 1.5, 0.0, 1.0)
    lumen = TAPERED * (1.0 - 0.5 * bump(ALONG, *lesion)) + cone
    made = Made(lumen, (1.5, lesion[1]))  # the cone is not called plaque: what leaves it out is where it lies
    assert abs(error_at([made], TAPERED, 0.5 * sum(lesion), seed)) < WITHIN_MM


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side_mm", [1.6, 2.4])
def test_where_a_side_branch_opens_the_wide_section_is_no_reference(side_mm: float, seed: int) -> None:
    """On the sections through the mouth the vessel looks as wide as both lumens together."""
    mouth = np.abs(ALONG - 24.0) <= 0.5 * side_mm
    lumen = np.where(mouth, np.hypot(TAPERED, side_mm) + 0.5, TAPERED * (1.0 - 0.5 * bump(ALONG, 26.0, 34.0)))
    side = Made(np.full(40, side_mm), parent=0, parent_index=48)
    assert abs(error_at([Made(lumen, (26.0, 34.0)), side], TAPERED, 30.0, seed)) < WITHIN_MM


@pytest.mark.parametrize("seed", SEEDS)
def test_the_step_at_a_bifurcation_is_no_stenosis_a_lesions_length_away(seed: int) -> None:
    """3.48 mm part into 3.0 and 2.2 (Finet); the lesion lies 10 mm behind that, or 10 mm before it."""
    parts, side = 0.67 * (3.0 + 2.2), Made(np.full(40, 2.2), parent=0, parent_index=60)
    healthy = np.where(ALONG < 30.0, parts, 3.0)
    for lesion in ((40.0, 48.0), (12.0, 20.0)):
        narrowed = healthy * (1.0 - 0.5 * bump(ALONG, *lesion))
        assert abs(error_at([Made(narrowed, lesion), side], healthy, 0.5 * sum(lesion), seed)) < WITHIN_MM


LEFT_MAIN = 23
"""Points: 11 mm."""


def left_tree(left_main: Float, *daughters: float, plaque: tuple[float, float] | None) -> list[Made]:
    """A left main and, at its end, daughters of these diameters."""
    return [Made(left_main, plaque), *(Made(np.full(80, mm), None, 0, LEFT_MAIN - 1) for mm in daughters)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("daughters", [(3.5, 3.1), (3.5, 3.1, 2.0)], ids=["bifurcation", "trifurcation"])
def test_a_left_main_that_is_diseased_from_end_to_end_is_measured_against_its_daughters(daughters: tuple[float, ...], seed: int) -> None:
    """By Finet's law over the two widest, whose errors it adds up."""
    narrow = np.full(LEFT_MAIN, 2.2)
    _, _, found = references(left_tree(narrow, *daughters, plaque=(0.0, 12.0)), seed)
    assert found[0].lumen_mm == pytest.approx(0.67 * (3.5 + 3.1), abs=0.67 * 2 * WITHIN_MM)
    assert (found[0].vessel_mm > found[0].lumen_mm + 0.5).all()
    assert (found[0].confidence < 0.5).all()  # told as what it is: not measured in the vessel itself


@pytest.mark.parametrize("seed", SEEDS)
def test_a_left_main_with_healthy_sections_keeps_its_own_reference(seed: int) -> None:
    """Wider than its daughters ask for; plaque in the last third only."""
    lumen = 5.2 * (1.0 - 0.5 * bump(ALONG[:LEFT_MAIN], 7.0, 11.0))
    _, _, found = references(left_tree(lumen, 3.5, 3.1, plaque=(7.0, 12.0)), seed)
    assert found[0].lumen_mm[int(9.0 / STEP_MM)] == pytest.approx(5.2, abs=WITHIN_MM)


def test_a_left_main_with_one_daughter_known_is_measured_against_its_own_widest_sections() -> None:
    lumen = np.where(np.arange(LEFT_MAIN) % 3 == 0, 4.4, 2.2)
    _, profiles, found = references(left_tree(lumen, 3.5, plaque=(0.0, 12.0)), 0)
    assert found[0].lumen_mm == pytest.approx(np.percentile(profiles[0].lumen_mm, 80))
    assert found[0].lumen_mm[0] == pytest.approx(4.4, abs=2 * NOISE_MM)


@pytest.mark.parametrize("seed", SEEDS)
def test_neither_daughter_is_measured_against_the_left_main(seed: int) -> None:
    """A lesion at a daughter's beginning, right behind the step from 4.4 to 3.5 mm."""
    made = left_tree(np.full(LEFT_MAIN, 4.4), 3.5, 3.1, plaque=None)
    along = made[1].along
    narrowed = made[1].lumen * (1.0 - 0.5 * bump(along, 1.0, 9.0))
    _, _, found = references([made[0], Made(narrowed, (1.0, 9.0), 0, LEFT_MAIN - 1), made[2]], seed)
    at = int(5.0 / STEP_MM)
    assert found[1].lumen_mm[at] == pytest.approx(made[1].lumen[at], abs=WITHIN_MM)
