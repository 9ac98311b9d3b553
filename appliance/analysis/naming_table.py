"""The tree as the naming network sees it: a table with one row per piece and one column per point, described against the heart alone.

A piece is the stretch between two branchings, cut again where it is long: so the table is the same however the centreline extraction split
the tree into branches. Each row holds three lines one after the other, `POINTS` points each: the way from the ostium to the piece, the
piece itself, and its longest continuation. Everything is measured in the heart's own frame, so the table does not change when the study is
moved or turned as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.grooves import Course, course_of
from appliance.analysis.stages import Float, Heart, Structure, Tree, TreeBranch
from appliance.analysis.surroundings import Surroundings, VentricleFrame
from appliance.geometry import arc_length, tangents

POINTS = 10
LONGEST_PIECE_MM = 32.0
_NEAREST_MM, _FARTHEST_MM = -20.0, 60.0
_TANGENT_POINTS = 4
"""Points to either side over which a direction is taken: 2 mm, more than the jitter of an extracted line."""


class Column(NamedTuple):
    """One number of every point: its name, unit and range; what lies beyond is clipped."""

    name: str
    unit: str
    low: float
    high: float


COLUMNS = (
    Column("height", "1", -1.0, 1.5),  # along the left ventricle's axis, 0 base, 1 apex
    Column("angle_cosine", "1", -1.0, 1.0),  # about that axis, 0 towards the right ventricle
    Column("angle_sine", "1", -1.0, 1.0),  # positive over the front
    Column("off_axis", "mm", 0.0, 120.0),
    Column("to_left_atrium", "mm", _NEAREST_MM, _FARTHEST_MM),
    Column("to_right_atrium", "mm", _NEAREST_MM, _FARTHEST_MM),
    Column("to_right_ventricle", "mm", _NEAREST_MM, _FARTHEST_MM),
    Column("to_left_ventricle", "mm", _NEAREST_MM, _FARTHEST_MM),  # with its muscle
    Column("to_aorta", "mm", _NEAREST_MM, _FARTHEST_MM),
    Column("to_pulmonary_artery", "mm", _NEAREST_MM, _FARTHEST_MM),
    Column("right_height", "1", -1.5, 2.5),  # from the middle of the right atrium (0) to that of the right ventricle (1)
    Column("right_angle_cosine", "1", -1.0, 1.0),  # about that axis, 0 towards the left ventricle
    Column("right_angle_sine", "1", -1.0, 1.0),
    Column("along_axis", "1", -1.0, 1.0),  # the line's direction in the left ventricle's frame
    Column("along_anterior", "1", -1.0, 1.0),
    Column("along_lateral", "1", -1.0, 1.0),
    Column("radius", "mm", 0.0, 5.0),
    Column("from_ostium", "mm", 0.0, 250.0),  # along the vessel
    Column("left_ostium", "1", -1.0, 1.0),  # 1 left, -1 right
    Column("longest_below", "mm", 0.0, 250.0),  # to the farthest end that hangs on the point
    Column("all_below", "mm", 0.0, 900.0),  # length of all that hangs on it
    Column("anterior_groove_above", "mm", 0.0, 120.0),  # spent in each groove from the ostium to the point
    Column("posterior_groove_above", "mm", 0.0, 120.0),
    Column("left_groove_above", "mm", 0.0, 120.0),
    Column("right_groove_above", "mm", 0.0, 120.0),
    Column("anterior_groove_below", "mm", 0.0, 120.0),  # most that one way below spends in each
    Column("posterior_groove_below", "mm", 0.0, 120.0),
    Column("left_groove_below", "mm", 0.0, 120.0),
    Column("right_groove_below", "mm", 0.0, 120.0),
    Column("own", "1", 0.0, 1.0),  # 1 on the piece itself
    Column("above", "1", 0.0, 1.0),  # 1 on the way from the ostium
    Column("filled", "1", 0.0, 1.0),  # 0 in rows that hold no piece
)
_DESCRIBED = len(COLUMNS) - 3
_OWN = slice(POINTS, 2 * POINTS)


@dataclass(frozen=True)
class Piece:
    """Points ``start`` to ``end`` (both included, the first one shared with the piece above) of a branch; ``parent`` is the piece above."""

    branch: int
    start: int
    end: int
    parent: int | None


@dataclass(frozen=True)
class NamingTable:
    """Input of the naming network.

    Attributes:
        pieces: what the rows are, parents before children.
        columns: (len(COLUMNS), rows, 3 * POINTS), raw values.
        own: index of the point of the whole tree (branches one after the other) behind each own column, (rows, POINTS).
    """

    pieces: tuple[Piece, ...]
    columns: NDArray[np.float32]
    own: NDArray[np.intp]

    def spread(self, answers: NDArray[np.floating], tree: Tree) -> list[Float]:
        """Answers (rows, 3 * POINTS, k) for the table's points as answers for all points of the tree: one (n, k) array per branch.

        Between a piece's points the answers are interpolated; a point shared by pieces takes the answer of the piece that ends there.
        """
        given = np.asarray(answers, np.float64)[: len(self.pieces), _OWN]
        found = [np.zeros((len(branch.points_mm), given.shape[-1])) for branch in tree.branches]
        starts = _starts(tree)
        for row, piece in reversed(list(enumerate(self.pieces))):
            at = np.arange(piece.start, piece.end + 1)
            places = self.own[row] - starts[piece.branch]
            keep = np.concatenate([[True], np.diff(places) > 0])
            for column in range(given.shape[-1]):
                found[piece.branch][at, column] = np.interp(at, places[keep], given[row, keep, column])
        return found


def naming_table(tree: Tree, heart: Heart, surroundings: Surroundings | None = None) -> NamingTable | None:
    """The table of a tree, None where the left ventricle's frame is unknown or the tree is empty."""
    surroundings = surroundings or Surroundings(heart)
    frame = surroundings.frame
    if frame is None or not tree.branches:
        return None
    pieces = pieces_of(tree)
    whole = np.concatenate([branch.points_mm for branch in tree.branches])
    course = course_of(whole, surroundings)
    described = np.column_stack(
        [
            _place(whole, course, frame, surroundings),
            _right_place(whole, heart),
            _direction(tree, frame),
            np.concatenate([branch.radius_mm for branch in tree.branches]),
            _along_the_tree(tree, pieces, course),
        ]
    )
    above, own, below = _lines(tree, pieces)
    index = np.concatenate([above, own, below], axis=1)
    marks = np.zeros((*index.shape, 3))
    marks[:, _OWN, 0] = 1.0
    marks[:, :POINTS, 1] = 1.0
    marks[..., 2] = 1.0
    low, high = np.array([column.low for column in COLUMNS]), np.array([column.high for column in COLUMNS])
    values = np.clip(np.concatenate([described[index], marks], axis=2), low, high)
    return NamingTable(pieces=pieces, columns=np.ascontiguousarray(values.transpose(2, 0, 1), np.float32), own=own)


def pieces_of(tree: Tree) -> tuple[Piece, ...]:
    """The tree cut at every branching and into stretches of at most `LONGEST_PIECE_MM`, parents before children."""
    origins: list[set[int]] = [set() for _ in tree.branches]
    for branch in tree.branches:
        if branch.parent is not None and branch.parent_index is not None:
            origins[branch.parent].add(branch.parent_index)
    pieces: list[Piece] = []
    ending: dict[tuple[int, int], int] = {}
    entered: dict[int, int | None] = {}
    for number, branch in enumerate(tree.branches):
        above: int | None = None
        if branch.parent is not None and branch.parent_index is not None:
            above = ending.get((branch.parent, branch.parent_index), entered[branch.parent])
        entered[number] = above
        for start, end in _stretches(branch, origins[number]):
            pieces.append(Piece(branch=number, start=start, end=end, parent=above))
            above = len(pieces) - 1
            ending[number, end] = above
    return tuple(pieces)


def _stretches(branch: TreeBranch, origins: set[int]) -> list[tuple[int, int]]:
    along = arc_length(branch.points_mm)
    last = len(along) - 1
    edges = sorted({0, last, *(min(origin, last) for origin in origins)})
    cuts = [0]
    for start, end in pairwise(edges):
        parts = max(1, int(np.ceil((along[end] - along[start]) / LONGEST_PIECE_MM)))
        inner = np.searchsorted(along, along[start] + (along[end] - along[start]) * np.arange(1, parts) / parts)
        cuts += sorted({*(int(i) for i in inner if start < i < end), end})
    return list(pairwise(cuts))


def _starts(tree: Tree) -> NDArray[np.intp]:
    """Where each branch begins among the points of the whole tree."""
    sizes = [len(branch.points_mm) for branch in tree.branches]
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)


def _place(points: Float, course: Course, frame: VentricleFrame, surroundings: Surroundings) -> Float:
    """Columns height to to_pulmonary_artery."""
    offset = points - frame.base
    off_axis = np.linalg.norm(offset - np.outer(offset @ frame.axis, frame.axis), axis=1)
    return np.column_stack(
        [
            course.height,
            np.cos(course.angle),
            np.sin(course.angle),
            off_axis,
            course.left_atrium,
            course.right_atrium,
            course.right_ventricle,
            course.left_ventricle,
            surroundings.distance(points, Structure.AORTA),
            surroundings.distance(points, Structure.PULMONARY_ARTERY),
        ]
    )


def _right_place(points: Float, heart: Heart) -> Float:
    """Columns right_height to right_angle_sine; zero where a chamber that they refer to is missing."""
    atrium, ventricle = heart.centroid(Structure.RIGHT_ATRIUM), heart.centroid(Structure.RV)
    left = heart.centroid(Structure.LV, Structure.LV_MYOCARDIUM)
    if atrium is None or ventricle is None or left is None:
        return np.zeros((len(points), 3))
    length = max(float(np.linalg.norm(ventricle - atrium)), 1.0)
    axis = (ventricle - atrium) / length
    towards = left - atrium - ((left - atrium) @ axis) * axis
    towards /= max(float(np.linalg.norm(towards)), 1e-6)
    offset = points - atrium
    angle = np.arctan2(offset @ np.cross(axis, towards), offset @ towards)
    return np.column_stack([offset @ axis / length, np.cos(angle), np.sin(angle)])


def _direction(tree: Tree, frame: VentricleFrame) -> Float:
    """Columns along_axis to along_lateral: the direction over some millimetres."""
    directions = []
    for branch in tree.branches:
        points = branch.points_mm
        reach = min(_TANGENT_POINTS, len(points) - 1)
        at = np.arange(len(points))
        chord = points[np.minimum(at + reach, len(points) - 1)] - points[np.maximum(at - reach, 0)]
        size = np.linalg.norm(chord, axis=1, keepdims=True)
        directions.append(np.where(size > 1e-6, chord / np.maximum(size, 1e-6), tangents(points)))
    return np.asarray(np.concatenate(directions) @ np.stack([frame.axis, frame.anterior, frame.lateral], axis=1))


def _along_the_tree(tree: Tree, pieces: Sequence[Piece], course: Course) -> Float:
    """Columns from_ostium to right_groove_below."""
    grooves = np.stack([course.anterior_groove, course.posterior_groove, course.left_groove, course.right_groove], axis=1)
    starts = _starts(tree)
    above = np.zeros((len(grooves), 5))
    """Length and grooves from the ostium to each point."""
    for number, branch in enumerate(tree.branches):
        own = slice(starts[number], starts[number] + len(branch.points_mm))
        along = arc_length(branch.points_mm)
        step = np.diff(along, prepend=0.0)[:, None]
        begin = above[starts[branch.parent] + (branch.parent_index or 0)] if branch.parent is not None else 0.0
        above[own] = begin + np.cumsum(step * np.column_stack([np.ones(len(along)), grooves[own]]), axis=0)
    best = np.zeros((len(grooves), 5))
    """Most of each that one way below a point adds."""
    total = np.zeros(len(grooves))
    for piece, heaviest, all_of in zip(*_below(pieces, above, starts), strict=True):
        at = starts[piece.branch] + np.arange(piece.start, piece.end + 1)
        best[at] = heaviest + above[at[-1]] - above[at]
        total[at] = all_of + above[at[-1], 0] - above[at, 0]
    side = np.concatenate([np.full(len(b.points_mm), 1.0 if b.side == "left" else -1.0) for b in tree.branches])
    return np.column_stack([above[:, 0], side, best[:, 0], total, above[:, 1:], best[:, 1:]])


def _below(pieces: Sequence[Piece], above: Float, starts: NDArray[np.intp]) -> tuple[list[Piece], list[Float], list[float]]:
    """Pieces from the last to the first with what hangs on their ends: the most that one way adds, and the length of everything."""
    heaviest = [np.zeros(above.shape[1]) for _ in pieces]
    everything = [0.0] * len(pieces)
    for number in range(len(pieces) - 1, -1, -1):
        piece = pieces[number]
        first, last = starts[piece.branch] + piece.start, starts[piece.branch] + piece.end
        if piece.parent is not None:
            own = above[last] - above[first]
            heaviest[piece.parent] = np.maximum(heaviest[piece.parent], heaviest[number] + own)
            everything[piece.parent] += everything[number] + float(own[0])
    return list(reversed(pieces)), heaviest[::-1], everything[::-1]


def _lines(tree: Tree, pieces: Sequence[Piece]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the points of each row's three lines, (rows, POINTS) each."""
    starts = _starts(tree)
    along = [arc_length(branch.points_mm) for branch in tree.branches]
    owns = [starts[piece.branch] + np.arange(piece.start, piece.end + 1) for piece in pieces]
    lengths = [float(along[piece.branch][piece.end] - along[piece.branch][piece.start]) for piece in pieces]
    longest: list[tuple[float, int | None]] = [(0.0, None) for _ in pieces]
    for number in range(len(pieces) - 1, -1, -1):
        parent = pieces[number].parent
        if parent is not None:
            longest[parent] = max(longest[parent], (lengths[number] + longest[number][0], number), key=lambda item: item[0])
    above, below = [], []
    for number, piece in enumerate(pieces):
        way: list[NDArray[np.intp]] = []
        parent = piece.parent
        while parent is not None:
            way.append(owns[parent])
            parent = pieces[parent].parent
        above.append(np.concatenate(way[::-1]) if way else owns[number][:1])
        way, child = [], longest[number][1]
        while child is not None:
            way.append(owns[child])
            child = longest[child][1]
        below.append(np.concatenate(way) if way else owns[number][-1:])
    return _pick(above), _pick(owns), _pick(below)


def _pick(lines: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    """`POINTS` entries of each line, evenly, both ends included; points of a tree lie at equal steps."""
    return np.stack([line[np.rint(np.linspace(0, len(line) - 1, POINTS)).astype(np.intp)] for line in lines])
