"""Taking a tree of centre lines apart into runs: every run ends at one leaf, and the runs named first keep the shared stretch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Float, Range, Side, Tree


@dataclass(frozen=True)
class Run:
    """A line from where it leaves its parent (that point included) to a leaf.

    Attributes:
        points_mm: (n, 3). radius_mm, probability: (n,).
        parent: number of the parent run, None at an ostium.
        parent_index: point of the parent where this run begins.
        leaf: number of the tree branch whose end is this run's end.
        source: (n, 2), the tree branch and the point of it that each point was.
    """

    points_mm: Float
    radius_mm: Float
    probability: Float
    repaired: tuple[Range, ...]
    parent: int | None
    parent_index: int | None
    side: Side
    leaf: int
    source: NDArray[np.intp]

    @property
    def length_mm(self) -> float:
        """Length of the line."""
        return float(np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1).sum())


def path_to(tree: Tree, leaf: int) -> list[tuple[int, int]]:
    """The stretches (branch, points used) from the ostium to the end of branch ``leaf``."""
    pieces = [(leaf, len(tree.branches[leaf].points_mm))]
    branch = tree.branches[leaf]
    while branch.parent is not None and branch.parent_index is not None:
        pieces.append((branch.parent, branch.parent_index + 1))
        branch = tree.branches[branch.parent]
    return pieces[::-1]


def line_to(tree: Tree, leaf: int) -> Float:
    """All points from the ostium to the end of branch ``leaf``; a branch's first point is its parent's and is not repeated."""
    lines = []
    for number, (branch, used) in enumerate(path_to(tree, leaf)):
        lines.append(tree.branches[branch].points_mm[(1 if number else 0) : used])
    return np.concatenate(lines)


def make_runs(tree: Tree, leaves: list[int]) -> list[Run]:
    """The runs of the tree in the order of ``leaves``; parents come before children."""
    owner: dict[tuple[int, int], tuple[int, int]] = {}
    runs: list[Run] = []
    for leaf in leaves:
        points: list[Float] = []
        radius: list[float] = []
        probability: list[float] = []
        marked: list[bool] = []
        source: list[tuple[int, int]] = []
        parent: int | None = None
        parent_index: int | None = None
        for number, (branch, used) in enumerate(path_to(tree, leaf)):
            line = tree.branches[branch]
            inside = np.zeros(len(line.points_mm), np.bool_)
            for a, b in line.repaired:
                inside[a:b] = True
            for i in range(1 if number else 0, used):
                held = owner.get((branch, i))
                if held is not None:
                    parent, parent_index = held
                    continue
                if not points and parent is not None and parent_index is not None:
                    above = runs[parent]
                    points.append(above.points_mm[parent_index])
                    radius.append(line.radius_mm[i])
                    probability.append(line.probability[i])
                    marked.append(False)
                    a, b = above.source[parent_index]
                    source.append((int(a), int(b)))
                owner[branch, i] = (len(runs), len(points))
                points.append(line.points_mm[i])
                radius.append(line.radius_mm[i])
                probability.append(line.probability[i])
                marked.append(bool(inside[i]))
                source.append((branch, i))
        if len(points) < 3:
            continue
        runs.append(
            Run(
                points_mm=np.asarray(points),
                radius_mm=np.asarray(radius),
                probability=np.asarray(probability),
                repaired=ranges_of(np.asarray(marked)),
                parent=parent,
                parent_index=parent_index,
                side=tree.branches[leaf].side,
                leaf=leaf,
                source=np.asarray(source, np.intp),
            )
        )
    return runs


def split_run(runs: list[Run], number: int, at: int) -> list[Run]:
    """Cut run ``number`` after point ``at``: the rest becomes a new last run that begins at that point; children move with their part."""
    run = runs[number]
    head = _cut(run, 0, at + 1, parent=run.parent, parent_index=run.parent_index)
    tail = _cut(run, at, len(run.points_mm), parent=number, parent_index=at)
    changed = []
    for i, other in enumerate(runs):
        if i == number:
            changed.append(head)
        elif other.parent == number and other.parent_index is not None and other.parent_index > at:
            changed.append(replace(other, parent=len(runs), parent_index=other.parent_index - at))
        else:
            changed.append(other)
    return [*changed, tail]


def _cut(run: Run, start: int, end: int, *, parent: int | None, parent_index: int | None) -> Run:
    kept = tuple((max(a, start) - start, min(b, end) - start) for a, b in run.repaired if min(b, end) > max(a, start))
    return replace(
        run,
        points_mm=run.points_mm[start:end],
        radius_mm=run.radius_mm[start:end],
        probability=run.probability[start:end],
        source=run.source[start:end],
        repaired=kept,
        parent=parent,
        parent_index=parent_index,
    )


def ranges_of(mask: NDArray[np.bool_]) -> tuple[Range, ...]:
    """Half-open ranges of the True stretches of a boolean vector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))
