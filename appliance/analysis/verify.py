"""Taking false branches off the tree: what the network was unsure of, what shows no arterial blood, what leaves the heart.

Only whole end branches go, never a stretch between an ostium and something kept: distal to an occlusion a vessel fills again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from appliance.analysis.centrelines import dropped_at
from appliance.analysis.repair_path import CHAMBERS
from appliance.analysis.stages import Float, Heart, Segmentation, Structure, Tree, TreeBranch
from appliance.analysis.surroundings import Surroundings
from appliance.geometry import sample

_BEFORE, _MOUTH = 16, 8
"""Points of the parent before a branch's origin that feed it, and of the branch that lie in its mouth (0.45 mm each)."""


@dataclass(frozen=True)
class VerifyRules:
    """When an end branch is false. Choices of this project.

    Attributes:
        least_probability: least mean probability along the branch.
        least_hu: least median attenuation along the branch, as a part of the blood's in the roots; thin vessels are blurred down to 0.4.
        most_bridged: largest share of the branch that repair bridged.
        deepest_mm, farthest_mm: median depth in a chamber and distance from the heart.
        brighter, as_wide: a branch so much brighter than the vessel that feeds it, and no less than this part of its radius wide, is a
            vein that touches it: an artery gets thinner, and paler by partial volume.
    """

    least_probability: float = 0.5
    least_hu: float = 0.33
    most_bridged: float = 0.4
    deepest_mm: float = 3.0
    farthest_mm: float = 8.0
    brighter: float = 1.25
    as_wide: float = 0.8


def verify(tree: Tree, heart: Heart, segmentation: Segmentation, *, rules: VerifyRules | None = None) -> Tree:
    """The tree without its false end branches; they are listed in ``dropped``."""
    rules = rules or VerifyRules()
    surroundings = Surroundings(heart)
    core = [sample(segmentation.hu, segmentation.geometry, branch.points_mm).astype(np.float64) for branch in tree.branches]
    roots = [float(np.median(hu)) for branch, hu in zip(tree.branches, core, strict=True) if branch.parent is None]
    blood = max(roots, default=0.0)
    kept = set(range(len(tree.branches)))
    dropped = list(tree.dropped)
    # children come after their parents, so from the back every branch is met after what hangs on it
    for number in range(len(tree.branches) - 1, -1, -1):
        branch = tree.branches[number]
        if branch.parent is None or any(tree.branches[i].parent == number for i in kept):
            continue
        rule = _false(branch, float(np.median(core[number])), blood, surroundings, rules)
        if rule is None and _feeds_itself(tree, number, core, rules):
            rule = "not_fed_by_parent"
        if rule:
            kept.discard(number)
            dropped.append(dropped_at(branch.points_mm, branch.length_mm, rule))
    if len(kept) == len(tree.branches):
        return tree
    order = sorted(kept)
    place = {old: new for new, old in enumerate(order)}
    branches = tuple(replace(tree.branches[i], parent=None if (above := tree.branches[i].parent) is None else place[above]) for i in order)
    return Tree(branches=branches, dropped=tuple(dropped))


def _feeds_itself(tree: Tree, number: int, core: list[Float], rules: VerifyRules) -> bool:
    """Whether a branch is brighter than the vessel that it leaves, and about as wide."""
    branch = tree.branches[number]
    parent = tree.branches[branch.parent or 0]
    at = (branch.parent_index or 0) + 1
    before = slice(max(at - _BEFORE, 0), at)
    own = slice(min(_MOUTH, len(branch.points_mm) // 3), None)
    brighter = np.median(core[number][own]) > rules.brighter * np.median(core[branch.parent or 0][before])
    return bool(brighter and np.median(branch.radius_mm[own]) >= rules.as_wide * np.median(parent.radius_mm[before]))


def _false(branch: TreeBranch, hu: float, blood: float, surroundings: Surroundings, rules: VerifyRules) -> str | None:
    """The rule that refuses a branch, None if it stays."""
    if branch.probability.mean() < rules.least_probability:
        return "low_probability"
    if sum(b - a for a, b in branch.repaired) > rules.most_bridged * len(branch.points_mm):
        return "mostly_bridged"
    if hu < rules.least_hu * blood:
        return "not_arterial"
    if float(np.median(surroundings.distance(branch.points_mm, *CHAMBERS))) < -rules.deepest_mm:
        return "inside_chamber"
    inside = tuple(s for s in Structure if s != Structure.BACKGROUND)
    if float(np.median(surroundings.distance(branch.points_mm, *inside))) > rules.farthest_mm:
        return "off_the_heart"
    return None
