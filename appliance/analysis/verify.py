"""Taking false branches off the tree: what the network was unsure of, what shows no arterial blood, what leaves the heart.

Only whole end branches go, never a stretch between an ostium and something kept: distal to an occlusion a vessel fills again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from appliance.analysis.centrelines import dropped_at
from appliance.analysis.repair_path import CHAMBERS
from appliance.analysis.stages import Heart, Segmentation, Structure, Tree, TreeBranch
from appliance.analysis.surroundings import Surroundings
from appliance.geometry import sample


@dataclass(frozen=True)
class VerifyRules:
    """When an end branch is false. Choices of this project.

    Attributes:
        least_probability: least mean probability along the branch.
        least_hu: least median attenuation along the branch, as a part of the blood's in the roots; thin vessels are blurred down to 0.4.
        most_bridged: largest share of the branch that repair bridged.
        deepest_mm, farthest_mm: median depth in a chamber and distance from the heart.
        most_hu: as ``least_hu``, at most.
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
        if rule:
            kept.discard(number)
            dropped.append(dropped_at(branch.points_mm, branch.length_mm, rule))
    if len(kept) == len(tree.branches):
        return tree
    order = sorted(kept)
    place = {old: new for new, old in enumerate(order)}
    branches = tuple(replace(tree.branches[i], parent=None if (above := tree.branches[i].parent) is None else place[above]) for i in order)
    return Tree(branches=branches, dropped=tuple(dropped))


def _false(branch: TreeBranch, hu: float, blood: float, surroundings: Surroundings, rules: VerifyRules) -> str | None:
    """The rule that refuses a branch, None if it stays."""
    if branch.probability.mean() < rules.least_probability:
        return "low_probability"
    if sum(b - a for a, b in branch.repaired) > rules.most_bridged * len(branch.points_mm):
        return "mostly_bridged"
    if not rules.least_hu * blood <= hu <= rules.most_hu * blood:
        return "not_arterial"
    if float(np.median(surroundings.distance(branch.points_mm, *CHAMBERS))) < -rules.deepest_mm:
        return "inside_chamber"
    inside = tuple(s for s in Structure if s != Structure.BACKGROUND)
    if float(np.median(surroundings.distance(branch.points_mm, *inside))) > rules.farthest_mm:
        return "off_the_heart"
    return None
