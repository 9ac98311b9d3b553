"""The table that the naming network sees: pieces, columns, and what must not change it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.naming_table import COLUMNS, LONGEST_PIECE_MM, POINTS, NamingTable, naming_table, pieces_of
from appliance.analysis.stages import Tree
from appliance.geometry import arc_length
from tests.appliance.analysis.hearts import branch, heart, moved, plain_tree

OWN = slice(POINTS, 2 * POINTS)


def column(table: NamingTable, name: str) -> np.ndarray:
    return table.columns[[c.name for c in COLUMNS].index(name)]


@pytest.fixture(scope="module")
def table() -> NamingTable:
    made = naming_table(plain_tree(), heart())
    assert made is not None
    return made


def straight_tree() -> Tree:
    """10 mm, then a fork: 60 mm on, or 20 mm aside, with a second branch 5 mm along that."""
    line = branch([np.zeros(3), np.array([70.0, 0.0, 0.0])])
    aside = branch([np.array([10.0, 0.0, 0.0]), np.array([10.0, 20.0, 0.0])], parent=0, parent_index=20)
    twig = branch([np.array([10.0, 5.0, 0.0]), np.array([10.0, 5.0, 9.0])], parent=1, parent_index=10)
    return Tree((line, aside, twig))


def test_pieces_lie_between_branchings_and_are_never_long() -> None:
    tree = straight_tree()
    pieces = pieces_of(tree)
    assert [(p.branch, p.start, p.end, p.parent) for p in pieces] == [
        (0, 0, 20, None),
        (0, 20, 80, 0),
        (0, 80, 140, 1),
        (1, 0, 10, 0),
        (1, 10, 40, 3),
        (2, 0, 18, 3),
    ]
    for piece in pieces_of(plain_tree()):
        along = arc_length(plain_tree().branches[piece.branch].points_mm)
        assert along[piece.end] - along[piece.start] <= LONGEST_PIECE_MM + 0.6


def test_lengths_above_and_below_a_point() -> None:
    table = naming_table(straight_tree(), heart())
    assert table is not None
    for name, first, last in (
        ("from_ostium", [0, 10, 40, 10, 15, 15], [10, 40, 70, 15, 30, 24]),
        ("longest_below", [70, 60, 30, 20, 15, 9], [60, 30, 0, 15, 0, 0]),
        ("all_below", [99, 60, 30, 29, 15, 9], [89, 30, 0, 24, 0, 0]),
    ):
        own = column(table, name)[:, OWN]
        # the first point of a piece is shared with its parent: what hangs on it there counts for all that leave
        np.testing.assert_allclose(own[[0, 1, 2, 4], 0], np.array(first)[[0, 1, 2, 4]], atol=60 if "below" in name else 1e-3)
        np.testing.assert_allclose(own[:, -1], last, atol=1e-3)


def test_every_row_shows_the_way_from_the_ostium_and_the_longest_way_on() -> None:
    table = naming_table(straight_tree(), heart())
    assert table is not None
    way = column(table, "from_ostium")
    twig = 5
    assert way[twig, 0] == pytest.approx(0.0)
    assert way[twig, POINTS - 1] == pytest.approx(15.0)
    first = 0
    assert way[first, 2 * POINTS] == pytest.approx(10.0)
    assert way[first, -1] == pytest.approx(70.0)
    assert (column(table, "own") == np.repeat([0, 1, 0], POINTS)).all()
    assert (column(table, "above") == np.repeat([1, 0, 0], POINTS)).all()
    assert (column(table, "filled") == 1).all()


def test_moving_the_whole_study_changes_nothing(table: NamingTable) -> None:
    shift = (31.0, -122.0, 455.5)
    other = naming_table(moved(plain_tree(), shift), heart(shift))
    assert other is not None
    np.testing.assert_allclose(other.columns, table.columns, atol=2e-3)


def test_another_order_of_branches_only_reorders_the_rows(table: NamingTable) -> None:
    tree = plain_tree()
    order = [4, 0, 1, 3, 2]
    place = {old: new for new, old in enumerate(order)}
    mixed = Tree(tuple(replace(b, parent=None if b.parent is None else place[b.parent]) for b in (tree.branches[i] for i in order)))
    other = naming_table(mixed, heart())
    assert other is not None
    where = {(p.branch, p.start): row for row, p in enumerate(other.pieces)}
    rows = [where[place[p.branch], p.start] for p in table.pieces]
    np.testing.assert_allclose(other.columns[:, rows], table.columns, atol=1e-5)


def test_a_tree_split_into_other_branches_gives_the_same_rows() -> None:
    tree = straight_tree()
    main, aside, twig = tree.branches
    # the same points, but the run goes aside at the fork and the straight rest is the branch
    bent = replace(
        main,
        points_mm=np.concatenate([main.points_mm[:21], aside.points_mm[1:]]),
        radius_mm=np.full(61, 1.6),
        probability=np.ones(61),
    )
    rest = replace(main, points_mm=main.points_mm[20:], radius_mm=main.radius_mm[20:], probability=np.ones(121), parent=0, parent_index=20)
    other = naming_table(Tree((bent, rest, replace(twig, parent=0, parent_index=30))), heart())
    whole = naming_table(tree, heart())
    assert other is not None
    assert whole is not None
    ends = [tuple(np.round(column(t, "from_ostium")[:, 2 * POINTS - 1], 3)) for t in (whole, other)]
    assert sorted(ends[0]) == sorted(ends[1])


def test_answers_come_back_to_the_points_that_they_were_asked_for(table: NamingTable) -> None:
    tree = plain_tree()
    answers = table.columns.transpose(1, 2, 0)
    from_ostium = [c.name for c in COLUMNS].index("from_ostium")
    found = table.spread(answers, tree)
    assert [len(one) for one in found] == [len(b.points_mm) for b in tree.branches]
    np.testing.assert_allclose(found[0][:, from_ostium], arc_length(tree.branches[0].points_mm), atol=0.6)


def test_without_a_left_ventricle_there_is_no_table() -> None:
    whole = heart()
    empty = replace(whole, structures=replace(whole.structures, labels=np.zeros_like(whole.structures.labels)))
    assert naming_table(plain_tree(), empty) is None
