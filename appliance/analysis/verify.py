"""Taking false branches off the tree: what the network was unsure of, what shows no arterial blood, what leaves the heart.

Only whole end branches go, never a stretch between an ostium and something kept: distal to an occlusion a vessel fills again. The ends that
the network ``naming`` takes for no coronary (a vein that the mask runs into) are cut where they cease to be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from appliance.analysis.centrelines import dropped_at
from appliance.analysis.repair_path import CHAMBERS
from appliance.analysis.stages import Float, Heart, Segmentation, Structure, Tree, TreeBranch
from appliance.analysis.surroundings import Surroundings
from appliance.geometry import arc_length, sample

LEAST_STRANGE_MM = 8.0
"""Shortest end that is cut off as no coronary."""
_WIDE_PERCENTILE = 90.0
"""Of the attenuation along a root: what the blood has where blur takes nothing from it."""
_EVEN_CHANCE = 0.5
_SHORTEST_LINE = 3
_LEAST_SURPLUS_MM = 2.0
"""An end is cut where, millimetre by millimetre, so much more speaks against a coronary than for one."""


@dataclass(frozen=True)
class VerifyRules:
    """When an end branch is false. Choices of this project.

    Attributes:
        least_probability: least mean probability along the branch.
        least_hu: least median attenuation along the branch, as a part of the blood's in the roots; thin vessels are blurred down to 0.4.
        most_bridged: largest share of the branch that repair bridged.
        deepest_mm, farthest_mm: median depth in a chamber and distance from the heart.
        most_hu: largest, as a part of the blood's where the roots are wide: the median of a long thin root lies far below that.
    """

    least_probability: float = 0.5
    least_hu: float = 0.33
    most_bridged: float = 0.4
    deepest_mm: float = 3.0
    farthest_mm: float = 8.0
    most_hu: float = 1.3


def verify(tree: Tree, heart: Heart, segmentation: Segmentation, *, rules: VerifyRules | None = None) -> Tree:
    """The tree without its false end branches; they are listed in ``dropped``."""
    rules = rules or VerifyRules()
    surroundings = Surroundings(heart)
    core = [sample(segmentation.hu, segmentation.geometry, branch.points_mm) for branch in tree.branches]
    roots = [hu for branch, hu in zip(tree.branches, core, strict=True) if branch.parent is None]
    blood = max((float(np.median(hu)) for hu in roots), default=0.0)
    brightest = max((float(np.percentile(hu, _WIDE_PERCENTILE)) for hu in roots), default=0.0)
    kept = set(range(len(tree.branches)))
    dropped = list(tree.dropped)
    # children come after their parents, so from the back every branch is met after what hangs on it
    for number in range(len(tree.branches) - 1, -1, -1):
        branch = tree.branches[number]
        if branch.parent is None or any(tree.branches[i].parent == number for i in kept):
            continue
        rule = _false(branch, float(np.median(core[number])), blood, brightest, surroundings, rules)
        if rule:
            kept.discard(number)
            dropped.append(dropped_at(branch.points_mm, branch.length_mm, rule))
    if len(kept) == len(tree.branches):
        return tree
    order = sorted(kept)
    place = {old: new for new, old in enumerate(order)}
    branches = tuple(replace(tree.branches[i], parent=None if (above := tree.branches[i].parent) is None else place[above]) for i in order)
    return Tree(branches=branches, dropped=tuple(dropped))


def _false(branch: TreeBranch, hu: float, blood: float, brightest: float, surroundings: Surroundings, rules: VerifyRules) -> str | None:
    """The rule that refuses a branch, None if it stays."""
    if branch.probability.mean() < rules.least_probability:
        return "low_probability"
    if sum(b - a for a, b in branch.repaired) > rules.most_bridged * len(branch.points_mm):
        return "mostly_bridged"
    if not rules.least_hu * blood <= hu <= rules.most_hu * brightest:
        return "not_arterial"
    if float(np.median(surroundings.distance(branch.points_mm, *CHAMBERS))) < -rules.deepest_mm:
        return "inside_chamber"
    inside = tuple(s for s in Structure if s != Structure.BACKGROUND)
    if float(np.median(surroundings.distance(branch.points_mm, *inside))) > rules.farthest_mm:
        return "off_the_heart"
    return None


def without_strange_ends(tree: Tree, strange: Sequence[Float]) -> tuple[Tree, tuple[int, ...]]:
    """The tree without the ends of its branches that are no coronary, which are listed in ``dropped``. No tree goes as a whole.

    Args:
        tree: the centre lines.
        strange: for each branch the probability at each of its points that it is no coronary, (n,).

    Returns:
        The tree, and the number that each of its branches had before; the points of a branch that was cut are its first ones.
    """
    lengths: dict[int, int] = {}
    held = [0] * len(tree.branches)
    dropped = list(tree.dropped)
    # children come after their parents, so from the back every branch is met after what hangs on it
    for number in range(len(tree.branches) - 1, -1, -1):
        branch = tree.branches[number]
        count = _coronary_points(branch.points_mm, strange[number], held[number])
        if branch.parent is None and count == 0:
            count = len(branch.points_mm)
        if count < len(branch.points_mm):
            rest = branch.points_mm[max(count - 1, 0) :]
            dropped.append(dropped_at(rest, float(arc_length(rest)[-1]), "no_coronary"))
        if count < _SHORTEST_LINE and not held[number]:
            continue
        lengths[number] = count
        if branch.parent is not None and branch.parent_index is not None:
            held[branch.parent] = max(held[branch.parent], branch.parent_index + 1)
    order = tuple(sorted(lengths))
    if len(dropped) == len(tree.dropped):
        return tree, order
    place = {old: new for new, old in enumerate(order)}
    branches = tuple(_shortened(tree.branches[i], lengths[i], place) for i in order)
    return replace(tree, branches=branches, dropped=tuple(dropped)), order


def _coronary_points(points: Float, strange: Float, held: int) -> int:
    """How many points of a line to keep, at least those that carry something kept; none where all of it is strange."""
    along = arc_length(points)
    step = np.gradient(along)
    surplus = np.cumsum(((strange - _EVEN_CHANCE) * step)[::-1])[::-1]
    first = max(held, _SHORTEST_LINE) if held else 0
    at = first + int(np.argmax(surplus[first:])) if first < len(points) else len(points)
    if at >= len(points) or surplus[at] < _LEAST_SURPLUS_MM or along[-1] - along[at] < LEAST_STRANGE_MM:
        return len(points)
    return at if along[at] >= LEAST_STRANGE_MM or held else 0


def _shortened(branch: TreeBranch, count: int, place: dict[int, int]) -> TreeBranch:
    return replace(
        branch,
        points_mm=branch.points_mm[:count],
        radius_mm=branch.radius_mm[:count],
        probability=branch.probability[:count],
        repaired=tuple((a, min(b, count)) for a, b in branch.repaired if a < count),
        parent=None if branch.parent is None else place[branch.parent],
    )
