"""The written rules of naming on made-up labels and lines: whole vessels, numbers, borders, dominance, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import segments
from appliance.analysis.naming import assemble, name_branches
from appliance.analysis.naming_decode import allowed_label, draft_by_labels
from appliance.analysis.naming_draft import Draft
from appliance.analysis.naming_network import LABELS, Label
from appliance.analysis.runs import Run
from appliance.analysis.stages import Heart, NamedTree, Structure, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.verify import without_strange_ends
from appliance.errors import AnalysisError
from appliance.volume import LabelMap
from tests.appliance.analysis.hearts import branch, heart, plain_tree


def straight(*corners: tuple[float, float, float]) -> list[NDArray[np.float64]]:
    return [np.array(corner, np.float64) for corner in corners]


def said(tree: Tree, names: list[list[tuple[int, Label]]], *, sure: float = 0.9) -> list[NDArray[np.float64]]:
    """Made-up answers of the network: for each branch the labels with the number of points that they hold (-1: the rest)."""
    rest = (1.0 - sure) / (len(LABELS) - 1)
    answers = []
    for line, parts in zip(tree.branches, names, strict=True):
        answer = np.full((len(line.points_mm), len(LABELS)), rest)
        start = 0
        for count, name in parts:
            end = len(answer) if count < 0 else start + count
            answer[start:end, LABELS.index(name)] = sure
            start = end
        answers.append(answer)
    return answers


def named(tree: Tree, names: list[list[tuple[int, Label]]], *, sure: float = 0.9) -> NamedTree:
    return assemble(draft_by_labels(tree, said(tree, names, sure=sure), Surroundings(heart())))


def names_of(tree: NamedTree) -> list[str]:
    return [one.name for one in tree.branches]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return plain_tree()


@pytest.fixture(scope="module")
def plain(tree: Tree) -> NamedTree:
    fork = tree.branches[1].parent_index or 0
    return named(tree, [[(fork + 1, "LM"), (-1, "LAD")], [(-1, "LCX")], [(-1, "D")], [(-1, "OM")], [(-1, "RCA")]])


def test_labels_become_whole_vessels(plain: NamedTree, tree: Tree) -> None:
    assert names_of(plain) == ["LM", "pLAD", "pLCx", "pRCA", "D1", "OM1"]
    main, lad, lcx = plain.branches[:3]
    assert main.points_mm[-1].tolist() == lad.points_mm[0].tolist() == lcx.points_mm[0].tolist()
    assert (lad.parent, lcx.parent, plain.branches[3].parent) == (0, 0, None)
    assert plain.branches[0].confidence == pytest.approx(0.9)
    assert sum(len(one.points_mm) - (one.parent is not None) for one in plain.branches) == sum(
        len(one.points_mm) - (one.parent is not None) for one in tree.branches
    )


def test_borders_lie_at_the_first_branches(plain: NamedTree) -> None:
    lad, lcx, diagonal, marginal = (plain.branches[i] for i in (1, 2, 4, 5))
    assert lad.segments[0] == (0, diagonal.parent_index, "pLAD")
    assert [name for _, _, name in lad.segments] == ["pLAD", "mLAD", "dLAD"]
    assert lcx.segments == ((0, marginal.parent_index, "pLCx"), (marginal.parent_index, len(lcx.points_mm), "LCx"))


def test_the_acute_margin_and_half_the_way_to_it_divide_the_right_coronary_artery() -> None:
    # 30 mm straight to the corner that lies farthest right, down and in front, then 20 mm back
    corner = np.array([-40.0, 0.0, 0.0])
    line = branch([np.array([-10.0, 0.0, 0.0]), corner, np.array([-20.0, 0.0, 0.0])], side="right").points_mm
    assert segments.right_coronary(line) == ((0, 30, "pRCA"), (30, 60, "mRCA"), (60, 101, "dRCA"))


def test_half_the_way_to_the_apex_divides_the_anterior_descending_artery() -> None:
    line = branch([np.zeros(3), np.array([60.0, 0.0, 0.0])]).points_mm
    whole = segments.anterior_descending(line, first_border=20, rest_to_apex_mm=10.0)
    # from 10 mm at the first branch to the apex at 70 mm: half lies at 40 mm
    assert whole == ((0, 20, "pLAD"), (20, 80, "mLAD"), (80, 121, "dLAD"))


def test_without_a_marginal_the_circumflex_is_divided_half_way() -> None:
    line = branch([np.zeros(3), np.array([40.0, 0.0, 0.0])]).points_mm
    assert segments.circumflex(line, first_marginal=None) == ((0, 40, "pLCx"), (40, 81, "LCx"))


def test_a_diagonal_on_the_right_coronary_artery_is_refused() -> None:
    share: dict[Label, float] = {"D": 0.95, "AM": 0.03}
    assert allowed_label(share, "RCA", at_main_end=False)[0] == "other"
    assert allowed_label(share, "LAD", at_main_end=False) == ("D", 0.95)


def test_a_conus_artery_does_not_leave_the_anterior_descending_artery() -> None:
    assert allowed_label({"CB": 0.9}, "LAD", at_main_end=False)[0] == "other"
    assert allowed_label({"CB": 0.9}, None, at_main_end=False) == ("CB", 0.9)


@pytest.mark.parametrize(("parent", "name"), [("LAD", "D"), ("LCX", "OM")])
def test_a_ramus_that_leaves_beyond_the_main_stem_is_a_branch_of_the_vessel_it_leaves(parent: Label, name: Label) -> None:
    assert allowed_label({"RI": 0.8}, parent, at_main_end=False) == (name, 0.8)
    assert allowed_label({"RI": 0.8}, "LM", at_main_end=True) == ("RI", 0.8)
    assert allowed_label({"RI": 0.8}, "LM", at_main_end=False)[0] == "other"


def test_a_branch_of_nothing_known_stays_without_a_name() -> None:
    assert allowed_label({"PDA": 0.9}, "none", at_main_end=False)[0] == "other"
    assert allowed_label({"D": 0.9}, "S", at_main_end=False)[0] == "other"
    assert allowed_label({"none": 0.7, "D": 0.3}, "LAD", at_main_end=False) == ("none", 0.7)


def test_a_branch_of_which_the_network_is_unsure_stays_without_a_name(tree: Tree) -> None:
    fork = tree.branches[1].parent_index or 0
    answers = said(tree, [[(fork + 1, "LM"), (-1, "LAD")], [(-1, "LCX")], [(-1, "D")], [(-1, "OM")], [(-1, "RCA")]])
    answers[2][:] = 1.0 / len(LABELS)
    found = assemble(draft_by_labels(tree, answers, Surroundings(heart())))
    assert names_of(found) == ["LM", "pLAD", "pLCx", "pRCA", "other", "OM1"]
    unsure = found.branches[names_of(found).index("other")]
    assert unsure.vessel == "LAD"
    assert unsure.confidence < 0.5


def test_diagonals_are_numbered_from_the_origin_whatever_their_length() -> None:
    lad = branch(straight((0, 0, 0), (80, 0, 0)))
    side = [(60, 30.0), (40, 10.0), (20, 20.0)]
    branches = [branch(straight((at, 0, 0), (at, long, 0)), parent=0, parent_index=2 * at) for at, long in side]
    found = named(Tree((lad, *branches)), [[(-1, "LAD")], *([[(-1, "D")]] * 3)])
    number = {one.parent_index: one.name for one in found.branches if one.parent is not None}
    assert number == {40: "D1", 80: "D2", 120: "other"}


def test_there_is_one_of_each_main_vessel_and_what_goes_on_beyond_it_is_a_branch() -> None:
    # the extraction joined RCA and PDA to one line, and a PLB leaves where the RCA ends
    right = branch(straight((0, 0, 0), (-60, 0, 0), (-60, 60, 0)), side="right")
    lateral = branch(straight((-60, 20, 0), (-90, 20, 0)), parent=0, parent_index=160, side="right")
    found = named(Tree((right, lateral)), [[(157, "RCA"), (-1, "PDA")], [(-1, "PLB")]])
    assert names_of(found) == ["pRCA", "R-PDA", "R-PLB"]
    assert [one.parent_index for one in found.branches] == [None, 160, 160]
    assert found.dominance == "right"


def test_branches_to_the_inferior_wall_take_the_side_of_the_vessel_they_leave() -> None:
    left = branch(straight((0, 0, 0), (60, 0, 0)))
    descending = branch(straight((60, 0, 0), (60, 30, 0)), parent=0, parent_index=120)
    lateral = branch(straight((50, 0, 0), (50, -30, 0)), parent=0, parent_index=100)
    found = named(Tree((left, descending, lateral)), [[(-1, "LCX")], [(-1, "PDA")], [(-1, "PLB")]])
    assert sorted(names_of(found)) == ["L-PDA", "L-PLB", "pLCx"]
    assert found.dominance == "left"


def test_a_circumflex_from_the_right_is_one_all_the_same() -> None:
    right = branch(straight((0, 0, 0), (-60, 0, 0), (-60, 30, 0)), side="right")
    around = branch(straight((-5, 0, 0), (-5, 60, 0)), parent=0, parent_index=10, side="right")
    lad = branch(straight((50, 0, 30), (110, 0, 30)))
    found = named(Tree((right, around, lad)), [[(-1, "RCA")], [(-1, "LCX")], [(-1, "LAD")]])
    assert {one.name: (one.vessel, one.parent) for one in found.branches} == {
        "pLAD": ("LAD", None),
        "pRCA": ("RCA", None),
        "pLCx": ("LCX", names_of(found).index("pRCA")),
    }


def test_vessels_with_ostia_of_their_own_have_no_main_stem() -> None:
    lad, lcx = branch(straight((0, 0, 0), (80, 0, 0))), branch(straight((0, 5, 0), (0, 60, 0)))
    assert sorted(names_of(named(Tree((lad, lcx)), [[(-1, "LAD")], [(-1, "LCX")]]))) == ["pLAD", "pLCx"]


def test_the_rules_alone_name_the_plain_tree(tree: Tree) -> None:
    found = name_branches(tree, heart())
    assert names_of(found)[:4] == ["LM", "pLAD", "pLCx", "pRCA"]


def test_without_chambers_nothing_is_named(tree: Tree) -> None:
    whole = heart()
    labels = np.where(whole.structures.labels == Structure.RV, 0, whole.structures.labels).astype(np.uint8)
    with pytest.raises(AnalysisError, match="chambers") as refused:
        name_branches(tree, Heart(LabelMap(labels, whole.structures.geometry), whole.roi))
    assert refused.value.code == "ANA-103"


def test_without_a_large_branch_the_borders_of_the_lad_are_parts_of_the_way_to_the_apex():
    """An LAD that was lost half way keeps its first border; one that was lost at once is all proximal."""
    line = np.column_stack([np.zeros(201), np.zeros(201), -0.5 * np.arange(201)])
    ends = [end for _, end, _ in segments.anterior_descending(line, first_border=None, rest_to_apex_mm=0.0)]
    lost = segments.anterior_descending(line[:101], first_border=None, rest_to_apex_mm=50.0)
    assert ends == [60, 130, 201]
    assert lost == ((0, 60, "pLAD"), (60, 101, "mLAD"))
    assert segments.anterior_descending(line[:20], first_border=None, rest_to_apex_mm=90.0) == ((0, 20, "pLAD"),)


def test_a_rim_beside_a_vessel_does_not_part_from_it():
    def run(points, parent):
        one = np.ones(len(points))
        source = np.zeros((len(points), 2), np.intp)
        return Run(points, one, one, (), parent, None if parent is None else 40, "left", 0, source)

    along = 0.5 * np.arange(101)[:, None]
    trunk = along * np.array([[0.0, 0.0, -1.0]])
    rim = trunk[40] + along[:30] * np.array([[0.25, 0.0, -0.97]])
    leaves = trunk[40] + along[:30] * np.array([[0.8, 0.0, -0.6]])
    draft = Draft(runs=[run(trunk, None), run(rim, 0), run(leaves, 0)], courses=[], surroundings=Surroundings(heart()))
    assert [draft.parts_from_parent(number) for number in range(3)] == [True, False, True]


def strangeness(tree: Tree, *ends: tuple[int, int]) -> list[NDArray[np.float64]]:
    """For each branch 0.1 at every point; 0.9 from a point of a branch on, as (branch, point) says."""
    found = [np.full(len(line.points_mm), 0.1) for line in tree.branches]
    for number, start in ends:
        found[number][start:] = 0.9
    return found


def test_an_artery_is_cut_where_it_runs_on_into_a_vein(tree: Tree) -> None:
    """The circumflex is strange from 10 mm beyond its marginal on."""
    at = (tree.branches[3].parent_index or 0) + 20
    kept, numbers = without_strange_ends(tree, strangeness(tree, (1, at)))
    assert numbers == (0, 1, 2, 3, 4)
    assert kept.branches[1].points_mm.tolist() == tree.branches[1].points_mm[:at].tolist()
    assert [one.rule for one in kept.dropped] == ["no_coronary"]
    assert kept.dropped[0].length_mm == pytest.approx(0.5 * (len(tree.branches[1].points_mm) - at), abs=0.6)


def test_a_strange_branch_goes_as_a_whole_and_children_find_their_parents(tree: Tree) -> None:
    kept, numbers = without_strange_ends(tree, strangeness(tree, (2, 4)))
    assert numbers == (0, 1, 3, 4)
    assert [one.parent for one in kept.branches] == [None, 0, 1, None]


def test_what_carries_a_coronary_stays_however_strange(tree: Tree) -> None:
    """The whole circumflex is strange, its marginal is not: the way to the marginal stays."""
    fork = tree.branches[3].parent_index or 0
    kept, numbers = without_strange_ends(tree, strangeness(tree, (1, 0)))
    assert numbers == (0, 1, 2, 3, 4)
    assert len(kept.branches[1].points_mm) == fork + 1


def test_what_leaves_at_the_very_beginning_of_a_strange_branch_keeps_its_parent(tree: Tree) -> None:
    """The marginal leaves at the circumflex's second point, all behind is strange: a line of three points stays to hang it on."""
    early = replace(tree, branches=tuple(replace(one, parent_index=1) if i == 3 else one for i, one in enumerate(tree.branches)))
    kept, numbers = without_strange_ends(early, strangeness(early, (1, 0)))
    assert numbers == (0, 1, 2, 3, 4)
    assert len(kept.branches[1].points_mm) == 3
    assert kept.branches[3].parent == 1


@pytest.mark.parametrize("start", [-12, 0])
def test_short_ends_and_whole_trees_are_not_cut(tree: Tree, start: int) -> None:
    """6 mm are too few; the only artery of an ostium stays, for the side must not seem to have none."""
    kept, _ = without_strange_ends(tree, strangeness(tree, (2 if start else 4, start)))
    assert kept is tree


def test_half_a_chance_of_being_no_coronary_cuts_nothing(tree: Tree) -> None:
    kept, _ = without_strange_ends(tree, [np.full(len(line.points_mm), 0.5) for line in tree.branches])
    assert kept is tree
