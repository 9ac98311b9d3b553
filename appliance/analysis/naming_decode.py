"""From what the network says of each point to whole vessels, under the written rules.

| rule | |
|---|---|
| one LAD, LCX, RCA | each the line from an ostium to an end that holds most of the label; its tail with another label is a branch |
| LM | what LAD and LCX share; without an LCX, as far as the label says |
| RI | leaves at the end of the LM; farther along the LAD it is a diagonal, off the LCX it is OM1 (ASCI consensus) |
| allowed children | `ALLOWED`: no diagonal on the RCA, and so on; what a parent cannot have is the nearest that it can |
| D1, D2; OM1, OM2 | numbered in the order of their origin, spurs and what never parts from the parent not counted |
| PDA, PLB | one each from either side: the longest and surest PDA, the PLB nearest to the crux, no branch of another one |
| unsure | below `LEAST_PROBABILITY` a side branch stays without a name |

Sources: SCCT 2014 (JCCT 2014;8:342), Appendix 1; ASCI consensus as quoted in the field's reviews for RI against OM1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from appliance.analysis.naming_draft import SHORTEST_NAMED_MM, Draft
from appliance.analysis.naming_network import LABELS, Label
from appliance.analysis.runs import Run, line_to, make_runs, path_to
from appliance.analysis.stages import Float, Tree
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import SegmentName, Vessel
from appliance.geometry import arc_length

Main = Literal["LAD", "LCX", "RCA"]
MAINS: tuple[Main, ...] = ("LAD", "LCX", "RCA")
FIRST_SEGMENT: dict[Main, SegmentName] = {"LAD": "pLAD", "LCX": "pLCx", "RCA": "pRCA"}

ALLOWED: Mapping[Label | None, Mapping[Label, tuple[Label, ...]]] = {
    "LM": {"RI": ("RI", "D", "OM"), "other": ("S", "AM", "CB", "PDA", "PLB", "other")},
    "LAD": {"D": ("D", "RI", "OM"), "S": ("S",), "RI": ("RI",), "other": ("AM", "CB", "PDA", "PLB", "other")},
    "LCX": {"OM": ("OM", "D"), "RI": ("RI",), "PLB": ("PLB",), "PDA": ("PDA",), "other": ("S", "AM", "CB", "other")},
    "RCA": {"PDA": ("PDA",), "PLB": ("PLB", "OM"), "AM": ("AM",), "CB": ("CB",), "other": ("S", "D", "RI", "other")},
    "PDA": {"PLB": ("PLB",), "other": ("other", "S", "AM", "OM")},
    "PLB": {"PDA": ("PDA",), "other": ("other", "S", "AM", "OM", "PLB")},
    None: {"CB": ("CB",), "other": ("S", "AM", "D", "OM", "RI", "PDA", "PLB", "other")},
}
"""For each parent's label (None: an ostium) the labels that a run may get, and which of the network's labels count for each.

Runs on any other branch stay without a name.
"""

LEAST_PROBABILITY = 0.3
_PRICE = 0.35
"""Probability that a point must exceed to speak for a main vessel."""
_LEAST_MAIN_MM = 2.0
_LEAST_TAIL_MM = 8.0
_SNAP_MM = 6.0
_RAMUS_REACH_MM = 3.0
_LONGEST_MAIN_STEM_MM = 30.0
_STEM_MM = 4.0
_SKIPPED_MM = 3.0
"""A branch's first stretch lies in its parent and is not asked."""
_TYPICAL_MM = 30.0
_ALIKE = 0.6
"""Share of the longest one's length."""


def draft_by_labels(tree: Tree, labels: Sequence[Float], surroundings: Surroundings) -> Draft:
    """The runs of a tree with their names by the labels of its points, (n, len(LABELS)) for each branch."""
    leaves = _main_leaves(tree, labels)
    lengths = [float(arc_length(line_to(tree, leaf))[-1]) for leaf in range(len(tree.branches))]
    chosen = list(leaves.values())
    rest = sorted((leaf for leaf in range(len(lengths)) if leaf not in chosen), key=lambda leaf: -lengths[leaf])
    draft = Draft.of(make_runs(tree, chosen + rest), surroundings)
    number_of = {run.leaf: number for number, run in enumerate(draft.runs)}
    draft.lad, draft.lcx, draft.rca = (number_of.get(leaves[main]) if main in leaves else None for main in MAINS)
    asked = _Asked(labels)
    _cut_left_main(draft, asked)
    for main, number in zip(MAINS, (draft.lad, draft.lcx, draft.rca), strict=True):
        if number is not None:
            _cut_tail(draft, number, main, asked)
            draft.name(number, FIRST_SEGMENT[main], main, asked.mean(draft.runs[number], (main,)))
    found = _label_the_rest(draft, asked)
    _name_by_labels(draft, found)
    return draft


class _Asked:
    """What the network says of the points of runs."""

    def __init__(self, labels: Sequence[Float]) -> None:
        self._labels = labels

    def of(self, run: Run, names: tuple[Label, ...]) -> Float:
        """Probability at each point of a run that it is any of ``names``, (n,)."""
        columns = [LABELS.index(name) for name in names]
        return np.array([self._labels[branch][index, columns].sum() for branch, index in run.source])

    def mean(self, run: Run, names: tuple[Label, ...]) -> float:
        """Mean over the run's length, its first stretch aside where it is long enough."""
        along = arc_length(run.points_mm)
        weight = np.gradient(along) * (along > min(_SKIPPED_MM, 0.5 * along[-1]))
        return float((self.of(run, names) * weight).sum() / max(float(weight.sum()), 1e-6))


def _main_leaves(tree: Tree, labels: Sequence[Float]) -> dict[Main, int]:
    """The branch whose end is that of each main vessel, in the order in which their runs are made: who comes first keeps what is shared."""
    lines = [
        np.concatenate([labels[branch][(1 if number else 0) : used] for number, (branch, used) in enumerate(path_to(tree, leaf))])
        for leaf in range(len(tree.branches))
    ]
    steps = [np.gradient(arc_length(line_to(tree, leaf))) for leaf in range(len(tree.branches))]
    gains: list[tuple[float, Main, int]] = []
    for main in MAINS:
        column = LABELS.index(main)
        for leaf, (line, step) in enumerate(zip(lines, steps, strict=True)):
            outside = 1.0 - line[:, LABELS.index("LM")]
            gains.append((float(((line[:, column] - _PRICE) * step * outside).sum()), main, leaf))
    found: dict[Main, int] = {}
    for value, main, leaf in sorted(gains, key=lambda one: -one[0]):
        if value > _LEAST_MAIN_MM and main not in found and leaf not in found.values():
            found[main] = leaf
    order: list[Main] = ["LAD", "RCA", "LCX"]
    if "RCA" in found and "LCX" in found:
        shared = _shared(tree, found["RCA"], found["LCX"])
        both = lines[found["RCA"]][:shared]
        if shared and both[:, LABELS.index("LCX")].mean() > both[:, LABELS.index("RCA")].mean():
            order = ["LAD", "LCX", "RCA"]
    return {main: found[main] for main in order if main in found}


def _shared(tree: Tree, first: int, second: int) -> int:
    """Points that the lines to two branches' ends have in common."""
    a, b = line_to(tree, first), line_to(tree, second)
    count = min(len(a), len(b))
    differ = np.flatnonzero((a[:count] != b[:count]).any(axis=1))
    return int(differ[0]) if len(differ) else count


def _cut_left_main(draft: Draft, asked: _Asked) -> None:
    """Split the LM off the run that holds it."""
    holder = draft.lad if draft.lad is not None else draft.lcx
    other = draft.lcx if draft.lad is not None else None
    if holder is None or draft.runs[holder].parent is not None:
        return
    run = draft.runs[holder]
    share = asked.of(run, ("LM",))
    at = _best_cut(run, share)
    if other is not None and draft.runs[other].parent == holder:
        fork = draft.runs[other].parent_index or 0
        stem = float(arc_length(run.points_mm)[fork])
        if stem < _LONGEST_MAIN_STEM_MM and (stem < _SNAP_MM or share[: fork + 1].mean() > LEAST_PROBABILITY):
            at = fork
    if not 3 <= at < len(share) - 3:
        return
    tail = draft.split(holder, at)
    draft.name(holder, "LM", "LM", asked.mean(draft.runs[holder], ("LM",)))
    if holder == draft.lad:
        draft.lad = tail
    else:
        draft.lcx = tail


def _best_cut(run: Run, share: Float) -> int:
    """Number of points from the start that a label holds: before it mostly yes, beyond it mostly no."""
    step = np.gradient(arc_length(run.points_mm))
    gain = np.concatenate([[0.0], np.cumsum((share - 0.5) * step)])
    return int(np.argmax(gain))


def _cut_tail(draft: Draft, number: int, main: Main, asked: _Asked) -> None:
    """What of a main vessel's line has another label is a branch of its own; it begins at a branching where one is near."""
    run = draft.runs[number]
    along = arc_length(run.points_mm)
    at = max(_best_cut(run, asked.of(run, (main, "LM"))) - 1, 0)
    if along[-1] - along[at] < _LEAST_TAIL_MM or at < 3:
        return
    near = [i for child in draft.children(number) if abs(along[i := draft.runs[child].parent_index or 0] - along[at]) < _SNAP_MM]
    if near:
        at = min(near, key=lambda i: abs(float(along[i] - along[at])))
    if 3 <= at < len(along) - 3:
        draft.split(number, at)


def _label_the_rest(draft: Draft, asked: _Asked) -> dict[int, tuple[Label, float]]:
    """Label and probability of every run, parents before children; a parent's label decides what its children may be."""
    found: dict[int, tuple[Label, float]] = {}
    mains: dict[int | None, Label] = {draft.lad: "LAD", draft.lcx: "LCX", draft.rca: "RCA"}
    waiting = list(range(len(draft.runs)))
    while waiting:
        number = next(i for i in waiting if draft.runs[i].parent is None or draft.runs[i].parent in found)
        waiting.remove(number)
        if number in mains:
            found[number] = (mains[number], draft.confidence[number])
        elif draft.names.get(number) == "LM":
            found[number] = ("LM", draft.confidence[number])
        else:
            parent, _ = _origin(draft, number, found)
            above = found[parent][0] if parent is not None else None
            found[number] = allowed_label(
                {name: asked.mean(draft.runs[number], (name,)) for name in LABELS}, above, at_main_end=_at_main_end(draft, number, found)
            )
    return found


def allowed_label(share: Mapping[Label, float], parent: Label | None, *, at_main_end: bool) -> tuple[Label, float]:
    """The label of a run, and its probability, out of those that its parent's label allows.

    Args:
        share: the network's probability of each label.
        parent: label of the run that this one leaves, None at an ostium.
        at_main_end: it leaves within 3 mm of the end of the LM, as a ramus does.
    """
    if share.get("none", 0.0) > 0.5:
        return "none", share["none"]
    if parent not in ALLOWED:
        return "other", max(share.values())  # a branch of a side branch: what it is called, it does not matter
    allowed = ALLOWED[parent]
    found: dict[Label, float] = {}
    for name, counted in allowed.items():
        if name == "RI" and not at_main_end:
            continue
        names = counted if at_main_end or name not in ("D", "OM") else (*counted, "RI")
        found[name] = sum(share.get(one, 0.0) for one in set(names) if not (at_main_end and one == "RI" and name != "RI"))
    if not found or max(found.values()) < LEAST_PROBABILITY:
        return "other", max([share.get("other", 0.0), *found.values()])
    best = max(found, key=lambda name: found[name])
    return best, found[best]


def _origin(draft: Draft, number: int, found: Mapping[int, tuple[Label, float]]) -> tuple[int | None, int]:
    """The run that a run truly leaves, and where: what is no coronary, and the first millimetres of a side branch, are passed over.

    Where two branches leave a vessel at one place, the extraction hangs the one on the first points of the other.
    """
    run = draft.runs[number]
    parent, at = run.parent, run.parent_index or 0
    while parent is not None and parent not in (draft.lad, draft.lcx, draft.rca) and draft.names.get(parent) != "LM":
        if found[parent][0] != "none" and float(draft.courses[parent].along[at]) > _STEM_MM:
            break
        above = draft.runs[parent]
        parent, at = above.parent, above.parent_index or 0
    return parent, at


def _at_main_end(draft: Draft, number: int, found: Mapping[int, tuple[Label, float]]) -> bool:
    parent, at = _origin(draft, number, found)
    if parent is None:
        return False
    along = draft.courses[parent].along
    if draft.names.get(parent) == "LM":
        return float(along[-1] - along[at]) <= _RAMUS_REACH_MM
    above = draft.runs[parent].parent
    after_main = above is not None and draft.names.get(above) == "LM"
    return after_main and parent in (draft.lad, draft.lcx) and float(along[at]) <= _RAMUS_REACH_MM


def _name_by_labels(draft: Draft, found: Mapping[int, tuple[Label, float]]) -> None:
    """SCCT names of the side branches: numbers in the order of origin, one RI, one PDA and one PLB from either side."""
    long_enough = [i for i in found if draft.runs[i].length_mm >= SHORTEST_NAMED_MM and i not in draft.names]
    numbered: tuple[tuple[int | None, Label, Vessel, tuple[SegmentName, ...]], ...] = (
        (draft.lad, "D", "LAD", ("D1", "D2")),
        (draft.lcx, "OM", "LCX", ("OM1", "OM2")),
    )
    for parent, label, vessel, names in numbered:
        if parent is not None:
            leaving = {i: _origin(draft, i, found) for i in long_enough if found[i][0] == label and draft.parts_from_parent(i)}
            family = sorted((at, i) for i, (above, at) in leaving.items() if above == parent)
            for name, (_, i) in zip(names, family, strict=False):
                draft.name(i, name, vessel, found[i][1])
    _name_one(draft, found, [i for i in long_enough if found[i][0] == "RI"], "RI", "RI")
    for main, vessel, descending, lateral in (
        (draft.rca, "RCA", "R-PDA", "R-PLB"),
        (draft.lcx, "LCX", "L-PDA", "L-PLB"),
    ):
        below = {i for i in long_enough if main is not None and _hangs_on(draft, i, main)}
        _name_one(draft, found, [i for i in below if found[i][0] == "PDA"], descending, vessel)  # type: ignore[arg-type]
        _name_one(draft, found, [i for i in below if found[i][0] == "PLB"], lateral, vessel)  # type: ignore[arg-type]
    draft.septal = {i for i, (label, _) in found.items() if label == "S"}
    for i, (label, probability) in found.items():
        if i not in draft.names:
            draft.name(i, "other", _vessel_of(draft, i) if label != "none" else "other", probability)


def _name_one(draft: Draft, found: Mapping[int, tuple[Label, float]], candidates: Sequence[int], name: SegmentName, vessel: Vessel) -> None:
    """Name the best of the candidates: long and sure; of posterolateral branches of like length the one that leaves nearest to the crux."""
    if not candidates:
        return
    best = max(candidates, key=lambda i: (found[i][1] * min(draft.runs[i].length_mm / _TYPICAL_MM, 1.0), draft.runs[i].length_mm))
    if name in ("R-PLB", "L-PLB"):
        first = [i for i in candidates if not any(_hangs_on(draft, i, other) for other in candidates)]
        longest = max(draft.runs[i].length_mm for i in first)
        alike = [i for i in first if draft.runs[i].length_mm > _ALIKE * longest]
        best = max(alike, key=lambda i: _from_ostium(draft, i))
    draft.name(best, name, vessel, found[best][1])


def _from_ostium(draft: Draft, number: int) -> float:
    """Millimetres along the vessels from the ostium to where a run leaves its parent."""
    run, length = draft.runs[number], 0.0
    while run.parent is not None and run.parent_index is not None:
        length += float(draft.courses[run.parent].along[run.parent_index])
        run = draft.runs[run.parent]
    return length


def _hangs_on(draft: Draft, number: int, main: int) -> bool:
    above = draft.runs[number].parent
    while above is not None and above != main:
        above = draft.runs[above].parent
    return above == main


def _vessel_of(draft: Draft, number: int) -> Vessel:
    """The main vessel that a run hangs on; none at an ostium of its own or on the LM."""
    above = draft.runs[number].parent
    while above is not None:
        if above in draft.vessels:
            return draft.vessels[above] if draft.vessels[above] != "LM" else "other"
        above = draft.runs[above].parent
    return "other"
