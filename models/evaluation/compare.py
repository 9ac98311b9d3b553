"""What each network adds: the same case with rules alone, with the network alone, and with both (which is what the product does)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from appliance.analysis.centrelines import trace
from appliance.analysis.naming import name_branches
from appliance.analysis.naming_network import LABELS, label_tree
from appliance.analysis.repair import repair
from appliance.analysis.stages import Heart, Segmentation, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.verify import verify
from appliance.errors import AnalysisError
from appliance.inference.engine import Session
from models.evaluation.lines import ResultLine, named_length, ostia_found, result_lines, result_points, vessel_length, vessels_of
from models.evaluation.measures import Share, false_length_mm, found_length
from models.evaluation.truths import Truth

Sessions = Mapping[str, Session]


def compare_ways(
    truth: Truth, heart: Heart | None, segmentation: Segmentation | None, sessions: Sessions
) -> tuple[dict[str, float | None], dict[str, Share]]:
    """Measures of the ways that are not the product's own: names of measures as in ``models.evaluation.tables``.

    A tree that cannot be traced or named finds and names nothing.
    """
    if heart is None or segmentation is None:
        return {}, {}
    tree = tree_of(heart, segmentation, sessions)
    by_rules = unnamed(tree_of(heart, segmentation, {}))
    shares = {
        "found_1_5mm_rules": found_length(truth.branches, result_points(by_rules)),
        "ostia_within_2mm_rules": ostia_found(truth.ostia, by_rules),
    }
    ruled, labelled = named_by(tree, heart, None), named_by(tree, heart, sessions.get("naming"))
    shares["name_accuracy_rules"] = named_length(truth.branches, ruled)["name_accuracy"]
    shares["vessel_accuracy_rules"] = vessel_length(truth.branches, ruled)
    shares["vessel_accuracy"] = vessel_length(truth.branches, labelled)
    if "naming" in sessions:
        shares["vessel_accuracy_network"] = vessel_length(truth.branches, labelled_by_network(tree, heart, sessions["naming"]))
    return {"false_mm_rules": false_length_mm(truth.branches, [line.points for line in by_rules])}, shares


def tree_of(heart: Heart, segmentation: Segmentation, sessions: Sessions) -> Tree | None:
    """The tree before it is named, by the product's own stages; None where the product finds none."""
    try:
        lines = trace(heart, segmentation, session=sessions.get("ostia"))
        return verify(repair(lines, segmentation, session=sessions.get("repair")), heart, segmentation)
    except AnalysisError:
        return None


def named_by(tree: Tree | None, heart: Heart, session: Session | None) -> list[ResultLine]:
    """The tree as the product names it with a network, or with None by its rules; no lines where it cannot."""
    if tree is None:
        return []
    try:
        return result_lines(name_branches(tree, heart, session=session).branches)
    except AnalysisError:
        return []


def labelled_by_network(tree: Tree | None, heart: Heart, session: Session) -> list[ResultLine]:
    """The tree with the vessel that the network holds for the likeliest at each point, unmended by any rule."""
    if tree is None:
        return []
    labels = label_tree(tree, heart, Surroundings(heart), session=session)
    if labels is None:
        return []
    names = np.array(LABELS, dtype="<U8")
    return [
        ResultLine(branch.points_mm, vessels_of(names[probability.argmax(axis=-1)]), branch.parent is None)
        for branch, probability in zip(tree.branches, labels, strict=True)
    ]


def unnamed(tree: Tree | None) -> list[ResultLine]:
    """The lines of a tree that has no names yet."""
    branches = tree.branches if tree else ()
    return [ResultLine(b.points_mm, np.full(len(b.points_mm), "other", dtype="<U8"), b.parent is None) for b in branches]
