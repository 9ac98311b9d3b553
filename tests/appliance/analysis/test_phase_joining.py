"""A tree from two phases, on the exact truth of virtual patients in which one artery moves and on written trees."""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import msgspec
import numpy as np
import pytest

from appliance.analysis.describe import Described
from appliance.analysis.locate import Located
from appliance.analysis.phase_joining import Choice, choose, join, named_mm, parts, same_place
from appliance.analysis.phase_reading import PhaseReading
from appliance.analysis.reading import SeriesImages
from appliance.analysis.second_look import take_over
from appliance.analysis.stages import Heart, Measured, Segmentation
from appliance.anatomy import SEGMENTS, SegmentName, Vessel
from appliance.findings import Branch, NotAssessable
from appliance.study import StudyHeader
from appliance.volume import Geometry, LabelMap, Volume
from models.phantom import Scan, draw_scan
from models.phantom.motion import paths
from models.phantom.phases import at_phase
from models.phantom.scan import undisturbed, with_motion
from tests.appliance.report.studies import NORMAL, TREE
from tests.patients import drawn_patient

GRID = Geometry((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
NOWHERE = np.zeros(GRID.shape, np.uint8)
MOVED_MM = 5.0
SEED = 5


@lru_cache(maxsize=2)
def true_tree(percent: float) -> tuple[Branch, ...]:
    """The patient's true branches at a phase, as the findings hold them."""
    patient = at_phase(drawn_patient(SEED), percent)
    return tuple(
        Branch(
            id=branch.id,
            parent=branch.parent,
            parent_index=branch.parent_index,
            vessel=branch.vessel if branch.vessel in get_args(Vessel) else "other",  # type: ignore[arg-type]
            points_mm=tuple((float(x), float(y), float(z)) for x, y, z in branch.points_mm),
            segments=tuple((i, j, name if name in SEGMENTS else "other") for i, j, name in branch.segments),  # type: ignore[misc]
            name_confidence=1.0,
            lumen_diameter_mm=tuple(float(2 * radius) for radius in branch.lumen_radius_mm),
            vessel_diameter_mm=tuple(float(2 * radius) for radius in branch.outer_radius_mm),
        )
        for branch in patient.branches
        if branch.kind == "native"
    )


def true_reading(percent: float, moving: Vessel) -> PhaseReading:
    """A phase in which one artery alone moves: its segments that move farther than they are wide cannot be read."""
    scan: Scan = with_motion(undisturbed(draw_scan(SEED)), {"LAD": 0.0, "LCX": 0.0, "RCA": 0.0, moving: MOVED_MM})
    moved = paths(at_phase(drawn_patient(SEED), percent), scan)
    tree = true_tree(percent)
    unread = tuple(
        NotAssessable(segment=name, reason="motion", branch=branch.id, start=start, end=end)
        for branch in tree
        for start, end, name in branch.segments
        if name != "other"
        and (np.linalg.norm(moved[branch.id][start:end], axis=1) > np.asarray(branch.lumen_diameter_mm[start:end])).mean() > 0.6
    )
    return reading(f"{percent:.0f}", tree, unread)


def reading(uid: str, tree: tuple[Branch, ...], unread: tuple[NotAssessable, ...] = ()) -> PhaseReading:
    assert NORMAL.plaque_total_mm3 is not None
    return PhaseReading(
        images=SeriesImages(Volume(NOWHERE.astype(np.int16), GRID), StudyHeader(study_uid="1.2", series_uid=uid), ()),
        located=Located(Heart(LabelMap(NOWHERE, GRID), GRID), NOWHERE, NOWHERE),
        segmentation=Segmentation(GRID, NOWHERE.astype(np.int16), NOWHERE, NOWHERE),
        measured=Measured(tree, (), "right", NORMAL.plaque_total_mm3),
        seen=Described(stents=(), bridges=(), variants=(), not_assessable=unread, lesions=()),
    )


def territory(branch: Branch) -> str | None:
    return SEGMENTS[branch.name].territory


def names(branches: tuple[Branch, ...]) -> list[SegmentName]:
    return sorted(name for branch in branches for _, _, name in branch.segments if name != "other")


@pytest.mark.parametrize(("first", "second"), [("LAD", "LCX"), ("LCX", "LAD"), ("LAD", "RCA"), ("RCA", "LCX")])
@pytest.mark.parametrize("main_percent", [75.0, 40.0])
def test_the_artery_that_moves_in_one_phase_comes_from_the_other_and_lies_where_it_lies_there(
    first: Vessel, second: Vessel, main_percent: float
) -> None:
    other_percent = 115.0 - main_percent
    main, other = true_reading(main_percent, first), true_reading(other_percent, second)
    assert main.seen.not_assessable
    told = take_over(main, other)
    got = told.reading.measured.branches
    assert (told.taken, told.refused) == (frozenset({first}), ())
    assert told.reading.seen.not_assessable == (), "what moved is gone, and what moves there was not taken"
    assert names(got) == names(true_tree(75.0)), "no vessel twice, none lost"
    truth = {percent: {branch.points_mm: branch for branch in true_tree(percent)} for percent in (main_percent, other_percent)}
    for branch in got:
        of = main_percent if branch.series_uid is None else other_percent
        true = truth[of][branch.points_mm]
        assert (branch.segments, branch.lumen_diameter_mm) == (true.segments, true.lumen_diameter_mm)
        assert (branch.series_uid is not None) == (parts(true_tree(of)).part[true.id] == first)
        if true.parent is not None and branch.parent is not None:
            above = next(each for each in true_tree(of) if each.id == true.parent)
            assert (got[branch.parent].name, branch.parent_index) == (above.name, true.parent_index)
        assert (branch.parent is None) == (true.parent is None)
    assert [branch.id for branch in got] == list(range(len(got)))
    assert all(branch.parent is None or branch.parent < branch.id for branch in got)


def test_two_phases_that_blur_the_same_artery_change_nothing() -> None:
    main = true_reading(75.0, "LAD")
    assert take_over(main, true_reading(40.0, "LAD")).reading is main


def test_arteries_and_their_stem() -> None:
    tree = parts(TREE)
    assert {artery: sorted(tree.ids(artery)) for artery in ("LAD", "LCX", "RCA")} == {"LAD": [1, 4], "LCX": [2, 5], "RCA": [3, 6, 7]}
    assert [sorted(tree.stem(artery)) for artery in ("LAD", "LCX", "RCA")] == [[0], [0], []]
    assert [sorted(tree.beside(artery)) for artery in ("LAD", "RCA")] == [["LAD", "LCX"], ["RCA"]]
    assert [tree.hangs_on(artery) for artery in ("LAD", "LCX", "RCA")] == ["LM", "LM", None]


def ramus(parent: int, leaves_at: int) -> Branch:
    return msgspec.structs.replace(
        TREE[5], id=8, parent=parent, parent_index=leaves_at, vessel="RI", segments=((0, len(TREE[5].points_mm), "RI"),)
    )


def test_a_ramus_goes_with_the_circumflex() -> None:
    main, other = parts((*TREE, ramus(0, 19))), parts((*TREE, ramus(0, 18)))
    assert main.ids("LCX") == {2, 5, 8}
    choice = choose(main, other, frozenset({"LCX"}), never)
    got = join(reading("75", main.branches), reading("40", other.branches), choice).measured.branches
    assert {branch.name: branch.series_uid for branch in got}["RI"] == "40"
    assert next(branch for branch in got if branch.name == "RI").parent_index == 19, "where it hangs on the left main that stays"


def test_a_ramus_that_only_the_other_phase_shows_hangs_as_far_along_the_left_main() -> None:
    short = msgspec.structs.replace(TREE[0], points_mm=TREE[0].points_mm[:11], segments=((0, 11, "LM"),))
    main = tuple(msgspec.structs.replace(each, parent_index=10) if each.parent == 0 else each for each in (short, *TREE[1:]))
    got = join(reading("75", main), reading("40", (*TREE, ramus(0, 19))), Choice(taken=frozenset({"LCX"}))).measured.branches
    ramal = next(branch for branch in got if branch.name == "RI")
    assert (ramal.parent, ramal.parent_index, ramal.series_uid) == (0, 10, "40")


def never(mine: frozenset[int], its: frozenset[int]) -> bool:
    return False


def test_one_vessel_under_two_names_is_not_taken_twice() -> None:
    """What the main phase calls ramus is a second diagonal in the other: with the LAD it would stand there twice."""
    diagonal = msgspec.structs.replace(TREE[4], id=8, parent_index=60, segments=((0, len(TREE[4].points_mm), "D2"),))
    main, other = parts((*TREE, ramus(0, 19))), parts((*TREE, diagonal))
    assert choose(main, other, frozenset({"LAD"}), never) == Choice(refused=(("LAD", "names"),))
    assert choose(parts(TREE), other, frozenset({"LAD"}), never).taken == {"LAD"}


def test_a_name_that_stays_is_not_taken_a_second_time() -> None:
    swapped = tuple(msgspec.structs.replace(each, segments=((0, 60, "D1"),)) if each.name == "OM1" else each for each in TREE)
    extra = msgspec.structs.replace(TREE[5], id=8)
    assert choose(parts(TREE), parts((*swapped, extra)), frozenset({"LCX"}), never) == Choice(refused=(("LCX", "names"),))


def test_an_artery_that_leaves_the_aorta_by_itself_in_one_phase_alone_stays() -> None:
    alone = tuple(msgspec.structs.replace(each, parent=None, parent_index=None) if each.id == 2 else each for each in TREE)
    assert choose(parts(TREE), parts(alone), frozenset({"LCX"}), never) == Choice(refused=(("LCX", "names"),))


@pytest.mark.parametrize(("points", "taken"), [(180, True), (165, False)])
def test_a_trunk_must_be_followed_as_far_but_for_what_contraction_shortens(points: int, taken: bool) -> None:
    trunk = msgspec.structs.replace(TREE[1], points_mm=TREE[1].points_mm[:points], segments=(*TREE[1].segments[:2], (120, points, "dLAD")))
    other = parts((TREE[0], trunk, *TREE[2:]))
    assert named_mm((trunk,), frozenset({"dLAD"})) == pytest.approx(0.5 * (points - 121))
    assert (choose(parts(TREE), other, frozenset({"LAD"}), never).taken == {"LAD"}) is taken


def test_a_place_is_found_by_its_part_of_the_segment_of_the_same_name() -> None:
    half = msgspec.structs.replace(TREE[3], id=9, segments=((0, 41, "pRCA"), (41, 81, "mRCA"), (81, 111, "dRCA")))
    assert same_place(TREE[3], 0, (half,)) == (9, 0)
    assert same_place(TREE[3], 79, (half,)) == (9, 40)
    assert same_place(TREE[3], 219, (half,)) == (9, 110)
    assert same_place(TREE[3], 79, TREE[:3]) is None
    unnamed = replace_name(TREE[4], "other")
    assert same_place(unnamed, 3, (unnamed,)) is None


def replace_name(branch: Branch, name: SegmentName) -> Branch:
    return msgspec.structs.replace(branch, segments=((0, len(branch.points_mm), name),))
