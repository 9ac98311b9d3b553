"""Names by written rules alone, from where each line runs in the heart's own frame.

| run | rule |
|---|---|
| LAD | of all lines from a left ostium the one that stays longest in the anterior interventricular groove |
| LCX | of the others the one that stays longest in the left atrioventricular groove |
| LM | what those two share |
| RCA | the line from the right ostium that stays longest in the right atrioventricular groove, up to the crux |
| PDA | at the crux, the run in the posterior interventricular groove; from the LCX: L-PDA |
| PLB | runs over the inferior wall beyond the crux; from an LCX that reaches the inferior wall: L-PLB |
| D | from the LAD over the free wall of the left ventricle, numbered from the origin |
| OM | from the LCX over the free wall, numbered from the origin; a vessel off the proximal LCX is OM1, not RI (ASCI consensus) |
| RI | from the end of the LM between LAD and LCX |
| other | everything else: septal, conus, acute marginal, atrial branches, third diagonals and marginals |

Source: SCCT 2014 (JCCT 2014;8:342), Appendix 1.
"""

from __future__ import annotations

import numpy as np

from appliance.analysis.grooves import Course, course_of, gain
from appliance.analysis.naming_draft import SHORTEST_NAMED_MM, Draft
from appliance.analysis.runs import line_to, make_runs
from appliance.analysis.stages import Tree
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import SegmentName, Vessel

_RAMUS_REACH_MM = 3.0
_TYPICAL_PDA_MM = 30.0
_COMMON_STEM_MM = 25.0

Gains = dict[Vessel, tuple[int, float]]


def draft_by_rules(tree: Tree, surroundings: Surroundings) -> Draft:
    """The runs of a tree with their names by the rules above."""
    order, gains = _order_of_leaves(tree, surroundings)
    draft = Draft.of(make_runs(tree, order), surroundings)
    leaf_of = {run.leaf: number for number, run in enumerate(draft.runs)}
    draft.lad = leaf_of.get(gains["LAD"][0]) if "LAD" in gains else None
    draft.lcx = leaf_of.get(gains["LCX"][0]) if "LCX" in gains else None
    draft.rca = leaf_of.get(gains["RCA"][0]) if "RCA" in gains else None
    _name_left(draft, gains)
    _name_right(draft, gains)
    _name_circumflex_end(draft)
    _name_marginals(draft)
    _name_diagonals(draft)
    return draft


def _order_of_leaves(tree: Tree, surroundings: Surroundings) -> tuple[list[int], Gains]:
    """Leaves in the order in which runs are made, and (leaf, confidence) of the main vessels."""
    lines = [line_to(tree, leaf) for leaf in range(len(tree.branches))]
    courses = [course_of(line, surroundings) for line in lines]
    by_length = sorted(range(len(lines)), key=lambda i: -courses[i].along[-1])
    left = [i for i in by_length if tree.branches[i].side == "left"]
    right = [i for i in by_length if tree.branches[i].side == "right"]
    gains: Gains = {}
    front = {i: gain(courses[i], courses[i].anterior_groove, 0.12) for i in left}
    if left:
        best, confidence = _best(front)
        gains["LAD"] = (best, confidence)
        shared = {tuple(point) for point in lines[best].round(6)}
        around = {}
        for i in left:
            own = np.array([tuple(point) not in shared for point in lines[i].round(6)])
            if own.sum() >= 6:
                course = course_of(lines[i][own], surroundings)
                around[i] = gain(course, course.left_groove, 0.25)
        if around:
            leaf, confidence = _best(around)
            if around[leaf] > 3.0:
                gains["LCX"] = (leaf, confidence)
    if right:
        gains["RCA"] = _best({i: gain(courses[i], courses[i].right_groove, 0.15) for i in right})
    chosen = [gains[vessel][0] for vessel in ("LAD", "LCX", "RCA") if vessel in gains]
    return chosen + [i for i in by_length if i not in chosen], gains


def _best(value: dict[int, float]) -> tuple[int, float]:
    """The key of the largest value and how clear the choice is: absolute gain, and lead over the next."""
    ranked = sorted(value, key=lambda key: -value[key])
    top = value[ranked[0]]
    lead = top - value[ranked[1]] if len(ranked) > 1 else 10.0
    clear = 0.5 * min(max(top, 0.0) / 20.0, 1.0) + 0.5 * min(0.4 + lead / 10.0, 1.0)
    return ranked[0], float(np.clip(clear, 0.2, 0.98))


def _name_left(draft: Draft, gains: Gains) -> None:
    """Name LM, LAD, LCX and RI; the LAD's own run is what is left once the LM was cut off."""
    lad, lcx = draft.lad, draft.lcx
    if lad is None:
        return
    confidence = gains["LAD"][1]
    at = draft.runs[lcx].parent_index if lcx is not None and draft.runs[lcx].parent == lad else None
    if at is not None and at >= 3 and lcx is not None:
        draft.lad = draft.split(lad, at)
        draft.name(lad, "LM", "LM", min(confidence, gains["LCX"][1]))
        lad = draft.lad
    draft.name(lad, "pLAD", "LAD", confidence)
    if lcx is not None:
        draft.name(lcx, "pLCx", "LCX", gains["LCX"][1])
    _name_ramus(draft, lad, lcx)


def _name_ramus(draft: Draft, lad: int, lcx: int | None) -> None:
    """The largest run from the LM's end, or so near to it that the origin cannot be told apart, over the free wall."""
    best: tuple[float, int, float] | None = None
    main = draft.runs[lad].parent
    for number, run in enumerate(draft.runs):
        if number in draft.names or run.parent is None or run.parent_index is None or run.side != "left":
            continue
        along = draft.courses[run.parent].along
        if run.parent == main and main is not None:
            away = float(along[-1] - along[run.parent_index])
        elif run.parent in (lad, lcx):
            away = float(along[run.parent_index])
        else:
            continue
        reach = _RAMUS_REACH_MM if main is not None else 0.0
        if away > reach or run.length_mm < 12.0 or not _on_free_wall(draft.courses[number]):
            continue
        if best is None or run.length_mm > best[0]:
            best = (run.length_mm, number, away)
    if best is not None:
        draft.name(best[1], "RI", "RI", float(np.clip(0.85 - 0.15 * best[2], 0.4, 0.85)))


def _on_free_wall(course: Course) -> bool:
    """The distal half lies on the left ventricle, not in the septum, and away from the right ventricle."""
    half = slice(len(course.along) // 2, None)
    depth = float(np.median(course.left_ventricle[half]))
    return -2.0 < depth < 12.0 and float(np.median(course.right_ventricle[half])) > 8.0


def _on_inferior_wall(course: Course) -> bool:
    half = slice(len(course.along) // 2, None)
    near = float(np.median(course.left_ventricle[half])) < 12.0
    return near and float(np.median(course.angle[half])) < 0.2


def _posterior(course: Course) -> float:
    """Share of the run, its first 6 mm aside, in the posterior interventricular groove."""
    beyond = course.along > min(6.0, 0.5 * course.along[-1])
    return float(course.posterior_groove[beyond].mean()) if beyond.any() else 0.0


def _name_right(draft: Draft, gains: Gains) -> None:
    rca = draft.rca
    if rca is None:
        return
    draft.name(rca, "pRCA", "RCA", gains["RCA"][1])
    at = _crux(draft, rca)
    if at is not None:
        draft.split(rca, at)
    inferior = [i for i in draft.children(rca) if i not in draft.names and _on_inferior_wall(draft.courses[i])]
    inferior = [i for i in inferior if draft.runs[i].length_mm >= SHORTEST_NAMED_MM]
    _name_inferior(draft, inferior, "R-PDA", "R-PLB", "RCA")


def _name_inferior(draft: Draft, runs: list[int], descending: SegmentName, lateral: SegmentName, vessel: Vessel) -> None:
    """Of the runs over the inferior wall the one deepest in the groove is the PDA, the longest of the others the PLB."""
    if not runs:
        return
    # the posterior descending artery may leave a common stem with the posterolateral one
    stems = [j for i in runs for j in draft.children(i) if _leaves_early(draft, j) and _on_inferior_wall(draft.courses[j])]
    share = {i: _posterior(draft.courses[i]) for i in (*runs, *stems)}
    first = max(share, key=lambda i: share[i] * min(draft.runs[i].length_mm / _TYPICAL_PDA_MM, 1.0))
    rest = sorted(runs, key=lambda i: -draft.runs[i].length_mm)
    if share[first] > 0.12:
        draft.name(first, descending, vessel, float(np.clip(0.5 + share[first], 0.5, 0.95)))
        rest = [i for i in rest if i != first]
    if rest:
        draft.name(rest[0], lateral, vessel, 0.75)
        for i in rest[1:]:
            draft.name(i, "other", vessel, 0.5)


def _leaves_early(draft: Draft, number: int) -> bool:
    """The run is no spur and leaves its parent within the first stretch beyond the crux."""
    run = draft.runs[number]
    if run.parent is None or run.parent_index is None or run.length_mm < SHORTEST_NAMED_MM:
        return False
    return float(draft.courses[run.parent].along[run.parent_index]) < _COMMON_STEM_MM


def _crux(draft: Draft, rca: int) -> int | None:
    """Where the RCA ends: the origin of the first run over the inferior wall, else where its line leaves the groove; None at its end."""
    run, course = draft.runs[rca], draft.courses[rca]
    last = len(run.points_mm) - 1
    for child in draft.children(rca):
        at = draft.runs[child].parent_index or 0
        long_enough = draft.runs[child].length_mm >= SHORTEST_NAMED_MM
        if at > 0.4 * last and long_enough and _on_inferior_wall(draft.courses[child]) and course.angle[at] < -0.2:
            return at if course.along[-1] - course.along[at] > 4.0 else None
    inside = np.flatnonzero(course.right_groove > 0.15)
    if len(inside) and course.along[-1] - course.along[inside[-1]] > 10.0 and course.angle[-1] < 0.0:
        return int(inside[-1])
    return None


def _name_circumflex_end(draft: Draft) -> None:
    """What of the LCX's line has left the groove is a branch of its own."""
    lcx = draft.lcx
    if lcx is None:
        return
    course = draft.courses[lcx]
    inside = np.flatnonzero(course.left_groove > 0.15)
    if not len(inside) or course.along[-1] - course.along[inside[-1]] < 12.0:
        return
    at = int(inside[-1])
    origins = [draft.runs[i].parent_index or 0 for i in draft.children(lcx)]
    near = [o for o in origins if abs(course.along[o] - course.along[at]) < 10.0]
    at = min(near, key=lambda o: abs(o - at)) if near else at
    if 5 < at < len(course.along) - 5:
        draft.split(lcx, at)


def _name_marginals(draft: Draft) -> None:
    """OM, L-PLB and L-PDA: children of the LCX over the left ventricle."""
    lcx = draft.lcx
    if lcx is None:
        return
    course = draft.courses[lcx]
    # on the inferior wall the angle has passed the free wall (+-pi) and comes back towards 0 from below
    reaches_inferior = -2.0 < float(course.angle[-1]) < 0.0
    candidates = [
        i
        for i in draft.children(lcx)
        if i not in draft.names
        and draft.runs[i].length_mm >= SHORTEST_NAMED_MM
        and float(np.median(draft.courses[i].left_ventricle)) < 15.0
    ]
    right_has_pda = "R-PDA" in draft.names.values()
    inferior, marginal = [], []
    for i in candidates:
        origin = float(course.angle[draft.runs[i].parent_index or 0])
        if (reaches_inferior and -2.3 < origin < 0.0) or (_posterior(draft.courses[i]) > 0.3 and not right_has_pda):
            inferior.append(i)
        else:
            marginal.append(i)
    if right_has_pda:
        for number, i in enumerate(sorted(inferior, key=lambda i: -draft.runs[i].length_mm)):
            draft.name(i, "L-PLB" if number == 0 else "other", "LCX", 0.65)
    else:
        _name_inferior(draft, inferior, "L-PDA", "L-PLB", "LCX")
    names: tuple[SegmentName, ...] = ("OM1", "OM2")
    for number, i in enumerate(marginal):
        draft.name(i, names[number] if number < 2 else "other", "LCX", 0.8 if number < 2 else 0.5)


def _name_diagonals(draft: Draft) -> None:
    lad = draft.lad
    if lad is None:
        return
    names: tuple[SegmentName, ...] = ("D1", "D2")
    number = 0
    for i in draft.children(lad):
        if i in draft.names:
            continue
        if draft.runs[i].length_mm >= SHORTEST_NAMED_MM and _on_free_wall(draft.courses[i]):
            draft.name(i, names[number] if number < 2 else "other", "LAD", 0.85 if number < 2 else 0.5)
            number += 1
