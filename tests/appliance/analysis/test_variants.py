"""Variants of origin and course on trees drawn around a made-up heart."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.ostia import side_of
from appliance.analysis.stages import Heart, Structure
from appliance.analysis.variants import _of_circumflex, _Origin, find_variants
from appliance.anatomy import SegmentName, Vessel
from appliance.findings import Branch
from appliance.geometry import resample_curve
from appliance.volume import LabelMap
from tests.appliance.analysis.hearts import APEX, RIGHT, ROOT, ROOT_RADIUS, heart

HEART = heart()
LEFTWARD = np.array([-RIGHT[0], -RIGHT[1], 0.0]) / np.hypot(RIGHT[0], RIGHT[1])
FRONT = np.array([-LEFTWARD[1], LEFTWARD[0], 0.0])
LEFT: tuple[Vessel, ...] = ("LAD", "LCX")
OWN: dict[Vessel, int] = {"LAD": 0, "LCX": 1}


def ostium(side: float, *, along: float = 0.0, height: float = 0.0) -> np.ndarray:
    """A place on the aorta's wall, to the left (1) or right (-1), turned a little, higher by some millimetres."""
    way = side * LEFTWARD + along * FRONT
    return np.asarray(ROOT + (ROOT_RADIUS + 0.5) * way / np.linalg.norm(way) + np.array([0.0, 0.0, height]))


def branch(
    number: int, vessel: Vessel, name: SegmentName, points: list[np.ndarray], *, parent: int | None = None, at: int | None = None
) -> Branch:
    line = resample_curve(np.asarray(points), 0.5)
    return Branch(
        id=number,
        parent=parent,
        parent_index=at,
        vessel=vessel,
        points_mm=tuple((float(x), float(y), float(z)) for x, y, z in line),
        segments=((0, len(line), name),),
        name_confidence=1.0,
        lumen_diameter_mm=(3.0,) * len(line),
        vessel_diameter_mm=(4.0,) * len(line),
    )


def tree(*, right: np.ndarray | None = None, circumflex: np.ndarray | None = None, height: float = 0.0) -> list[Branch]:
    """A left main with its two arteries and a right one; some of them from elsewhere."""
    left = ostium(1.0, height=height)
    main = branch(0, "LM", "LM", [left, left + 10.0 * LEFTWARD])
    fork = len(main.points_mm) - 1
    end = np.asarray(main.points_mm[-1])
    out = [main, branch(1, "LAD", "pLAD", [end, end + 30.0 * APEX], parent=0, at=fork)]
    if circumflex is None:
        out.append(branch(2, "LCX", "pLCx", [end, end + 25.0 * LEFTWARD - 10.0 * APEX], parent=0, at=fork))
    else:
        out.append(branch(2, "LCX", "pLCx", [circumflex, circumflex - 30.0 * APEX]))
    start = ostium(-1.0) if right is None else right
    out.append(branch(3, "RCA", "pRCA", [start, start - 25.0 * LEFTWARD]))
    return out


def names(branches: list[Branch], of: Heart = HEART) -> list[str]:
    return [variant.name for variant in find_variants(of, branches)]


def test_the_made_up_root_has_two_sides() -> None:
    assert (side_of(ostium(1.0), HEART), side_of(ostium(-1.0), HEART)) == ("left", "right")


def test_a_common_tree_has_no_variant() -> None:
    assert names(tree()) == []


def test_a_right_artery_from_the_left_sinus() -> None:
    assert "rca_from_left" in names(tree(right=ostium(1.0, along=0.8)))


def test_a_right_artery_from_the_left_main_is_a_single_coronary() -> None:
    branches = tree()
    main = np.asarray(branches[0].points_mm)
    branches[3] = branch(3, "RCA", "pRCA", [main[8], main[8] + 20.0 * FRONT], parent=0, at=8)
    assert names(branches) == ["single_coronary"]


def test_a_circumflex_from_the_right() -> None:
    assert "lcx_from_right" in names(tree(circumflex=ostium(-1.0, along=0.5)))
    branches = tree()
    right = np.asarray(branches[3].points_mm)
    branches[2] = branch(2, "LCX", "pLCx", [right[6], right[6] - 30.0 * APEX], parent=3, at=6)
    assert "lcx_from_right" in names(branches)


def test_two_ostia_on_the_left_without_a_left_main() -> None:
    branches = tree(circumflex=ostium(1.0, along=-0.2))
    lad = branch(1, "LAD", "pLAD", [ostium(1.0, along=0.2), ostium(1.0, along=0.2) + 30.0 * LEFTWARD])
    assert names([lad, *branches[2:]]) == ["separate_left_ostia"]


def test_a_left_ostium_farther_away_than_its_sinus_reaches_is_none_of_its_own() -> None:
    """A circumflex that was traced from behind the aorta on, and not from its origin on the right."""
    branches = tree(circumflex=ostium(1.0, along=-0.9))
    lad = branch(1, "LAD", "pLAD", [ostium(1.0, along=0.5), ostium(1.0, along=0.5) + 30.0 * LEFTWARD])
    assert names([lad, *branches[2:]]) == []
    apart = {vessel: _Origin(n, "left", np.zeros((2, 3)), np.array([15.0 * n, 0.0, 0.0])) for n, vessel in enumerate(LEFT)}
    assert _of_circumflex(apart, OWN, behind=True) == {"lcx_from_right": 1}


@pytest.mark.parametrize(("degrees", "found"), [(80.0, ["rca_from_left"]), (120.0, []), (180.0, [])])
def test_ostia_less_than_a_third_of_a_turn_apart_lie_in_one_sinus(degrees: float, found: list[str]) -> None:
    """Also where that sinus reaches over to the right half of the root."""
    left = ostium(np.cos(np.deg2rad(60.0)), along=np.sin(np.deg2rad(60.0)))
    angle = np.deg2rad(60.0 + degrees)
    right = ROOT + (ROOT_RADIUS + 0.5) * (np.cos(angle) * LEFTWARD + np.sin(angle) * FRONT)
    assert side_of(right, HEART) == "right"
    main = branch(0, "LM", "LM", [left, left + 10.0 * LEFTWARD])
    lad = branch(1, "LAD", "pLAD", [np.asarray(main.points_mm[-1]), np.asarray(main.points_mm[-1]) + 30.0 * APEX], parent=0, at=20)
    rca = branch(3, "RCA", "pRCA", [right, right - 25.0 * LEFTWARD])
    assert names([main, lad, rca], with_ventricle()) == found


def test_an_artery_that_was_not_traced_to_the_aorta_says_nothing() -> None:
    far = ostium(1.0, along=0.8) + 15.0 * LEFTWARD
    assert names(tree(right=far)) == []
    assert names(tree()[:2]) == []
    assert names([]) == []


def test_a_course_between_the_great_vessels() -> None:
    """The right artery leaves the left side and runs in front of the aorta, behind a pulmonary artery that lies there."""
    labels = HEART.structures.labels.copy()
    grid = HEART.structures.geometry
    points = grid.to_points(np.argwhere(np.ones(grid.shape, np.bool_))).reshape(*grid.shape, 3)
    trunk = np.hypot(*np.moveaxis((points - (ROOT + 31.0 * FRONT))[..., :2], -1, 0)) < 12.0
    labels[trunk & (np.abs(points[..., 2] - ROOT[2]) < 20.0)] = Structure.PULMONARY_ARTERY
    crowded = Heart(LabelMap(labels, grid), HEART.roi)
    turn = np.linspace(0.6, -0.8, 30)
    around = [ROOT + (ROOT_RADIUS + 2.0) * (np.sin(a) * LEFTWARD + np.cos(a) * FRONT) for a in turn]
    branches = tree()
    branches[3] = branch(3, "RCA", "pRCA", around)
    assert set(names(branches, crowded)) >= {"rca_from_left", "interarterial_course"}
    assert "interarterial_course" not in names(branches)


@pytest.mark.parametrize(("end", "second"), [(ostium(1.0, along=-0.6), True), (ostium(1.0, along=-0.1), False), (ostium(-1.0), False)])
def test_a_way_back_to_the_aorta_beside_the_left_ostium_is_a_second_one(end: np.ndarray, second: bool) -> None:
    fork = np.asarray(tree()[0].points_mm[-1])
    branches = [*tree(), branch(4, "other", "other", [fork, fork - 3.0 * FRONT, end], parent=0, at=20)]
    assert names(branches) == (["separate_left_ostia"] if second else [])
    away = branch(4, "other", "other", [fork, fork + 18.0 * LEFTWARD], parent=0, at=20)
    assert names([*tree(), away]) == []


@pytest.mark.parametrize("length", [20.0, 45.0])
def test_a_long_tree_without_a_name_that_runs_behind_the_aorta_is_a_circumflex_from_the_right(length: float) -> None:
    labels = HEART.structures.labels.copy()
    grid = HEART.structures.geometry
    points = grid.to_points(np.argwhere(np.ones(grid.shape, np.bool_))).reshape(*grid.shape, 3)
    atrium = np.hypot(*np.moveaxis((points - (ROOT - 31.0 * FRONT))[..., :2], -1, 0)) < 12.0
    labels[atrium & (np.abs(points[..., 2] - ROOT[2]) < 20.0) & (labels != Structure.AORTA)] = Structure.LEFT_ATRIUM
    crowded = Heart(LabelMap(labels, grid), HEART.roi)
    behind = [ROOT + (ROOT_RADIUS + 2.0) * (np.sin(a) * LEFTWARD - np.cos(a) * FRONT) for a in np.linspace(-0.8, 0.6, 30)]
    assert side_of(behind[0], crowded) == "right"
    branches = [*tree(), branch(4, "other", "other", [*behind, behind[-1] - length * APEX])]
    found = {variant.name: variant.branch for variant in find_variants(crowded, branches)}
    assert found == ({"lcx_from_right": 4, "retroaortic_course": 4} if length > 30.0 else {})
    assert names(branches) == [], "without an atrium there it runs behind nothing"


@pytest.mark.parametrize(
    ("left", "right", "high"), [(0.0, 9.0, []), (0.0, 11.0, ["high_takeoff_right"]), (11.0, 0.0, ["high_takeoff_left"])]
)
def test_an_origin_far_above_the_other_one_is_high(left: float, right: float, high: list[str]) -> None:
    assert names(tree(height=left, right=ostium(-1.0, height=right)), with_ventricle()) == high


@pytest.mark.parametrize(("height", "high"), [(0.0, False), (24.0, True)])
def test_a_high_take_off(height: float, high: bool) -> None:
    assert ("high_takeoff_left" in names(tree(height=height), with_ventricle())) == high


def with_ventricle() -> Heart:
    """The made-up heart with a ventricle below the root, so that there is an annulus."""
    labels, grid = HEART.structures.labels.copy(), HEART.structures.geometry
    points = grid.to_points(np.argwhere(np.ones(grid.shape, np.bool_))).reshape(*grid.shape, 3)
    low = np.linalg.norm(points - (ROOT - np.array([0.0, 0.0, 22.0])), axis=-1) < 12.0
    labels[low & (labels != Structure.AORTA)] = Structure.LV
    return Heart(LabelMap(labels, grid), HEART.roi)
