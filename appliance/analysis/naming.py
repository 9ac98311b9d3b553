"""Names of the coronary arteries: labels by a network, or by written rules where there is none; then the rules of SCCT 2014 for both.

The network says of each point what it belongs to (``naming_network``); the rules turn that into whole vessels and refuse what cannot be
(``naming_decode``). Without the network the rules name the vessels by themselves (``naming_rules``). Either way the same rules set the
borders of the segments (``segments``) and tell the dominance: right with PDA and PLB from the RCA, left with PDA from the LCX, codominant
with both or with a PDA from the RCA and the PLB from the LCX.

Source: SCCT 2014 (JCCT 2014;8:342), Appendix 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from appliance.analysis import segments as borders
from appliance.analysis.naming_decode import draft_by_labels
from appliance.analysis.naming_draft import Draft
from appliance.analysis.naming_network import LABELS, label_tree
from appliance.analysis.naming_rules import draft_by_rules
from appliance.analysis.stages import Heart, NamedBranch, NamedTree, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.analysis.verify import without_strange_ends
from appliance.errors import AnalysisError
from appliance.inference.engine import Session

_WALL_MM = 0.1
"""What the mask's radius holds beyond the lumen (0.09 mm in vessels of 1 to 2 mm, 12 development patients)."""
_LARGE_BY_MASK_MM = 1.65
"""Lumen diameter from which a diagonal or septal sets a border: 1.5 mm, and what the mask's steps of half a voxel make wider."""


def name_branches(tree: Tree, heart: Heart, *, session: Session | None = None) -> NamedTree:
    """Name every branch, set the segment borders, and tell the dominance; what the network takes for no coronary is cut off and listed.

    Args:
        tree: the centre lines.
        heart: its chambers.
        session: the network ``naming``; None to name by the written rules alone.

    Raises:
        AnalysisError: ANA-103 if the chambers that the names refer to were not found.
        InferenceError: the network's output must not be used.
    """
    surroundings = Surroundings(heart)
    if surroundings.frame is None:
        raise AnalysisError(
            "ANA-103", zh="未能识别心腔,无法命名冠状动脉", en="the chambers were not found, so the coronaries cannot be named"
        )
    labels = label_tree(tree, heart, surroundings, session=session) if session is not None else None
    if not labels:
        return assemble(draft_by_rules(tree, surroundings))
    column = LABELS.index("none")
    kept, numbers = without_strange_ends(tree, [label[:, column] for label in labels])
    shown = [labels[number][: len(branch.points_mm)] for number, branch in zip(numbers, kept.branches, strict=True)]
    named = assemble(draft_by_labels(kept, shown, surroundings))
    return replace(named, dropped=kept.dropped[len(tree.dropped) :])


def assemble(draft: Draft) -> NamedTree:
    """The named tree: borders, dominance, main runs first and parents before children."""
    draft.name_rest()
    order = draft.order()
    place = {number: position for position, number in enumerate(order)}
    branches = []
    for number in order:
        run = draft.runs[number]
        branches.append(
            NamedBranch(
                points_mm=run.points_mm,
                parent=None if run.parent is None else place[run.parent],
                parent_index=run.parent_index,
                vessel=draft.vessels[number],
                segments=_segments(draft, number),
                confidence=draft.confidence[number] * float(np.clip(0.4 + 0.6 * run.probability.mean(), 0.0, 1.0)),
                repaired=run.repaired,
            )
        )
    return NamedTree(branches=tuple(branches), dominance=draft.dominance())


def _segments(draft: Draft, number: int) -> borders.Segments:
    points = draft.runs[number].points_mm
    if number == draft.rca:
        return borders.right_coronary(points)
    if number == draft.lcx:
        marginals = [draft.runs[i].parent_index for i in draft.children(number) if draft.names[i] == "OM1"]
        return borders.circumflex(points, first_marginal=marginals[0] if marginals else None)
    if number == draft.lad:
        frame = draft.surroundings.frame
        rest = max(0.0, (1.0 - float(draft.courses[number].height[-1])) * frame.length_mm) if frame else 0.0
        return borders.anterior_descending(points, first_border=_first_large(draft, number), rest_to_apex_mm=rest)
    return borders.whole(points, draft.names[number])


def _first_large(draft: Draft, lad: int) -> int | None:
    """Origin of the first large diagonal or septal of the LAD."""
    for i in draft.children(lad):
        run = draft.runs[i]
        lumen = 2.0 * (float(np.median(run.radius_mm[4:16])) - _WALL_MM) if len(run.radius_mm) > 8 else 0.0
        diagonal = draft.names[i] in ("D1", "D2")
        if (diagonal or draft.seems_septal(i)) and lumen >= _LARGE_BY_MASK_MM and (run.parent_index or 0) >= 3:
            return run.parent_index
    return None
