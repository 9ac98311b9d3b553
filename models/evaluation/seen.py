"""Stents, bridges and variants of the result against the true ones, and how many segments the product calls not assessable.

Of found bridges also the error of depth and length, of found stents whether the product reads what is inside, and reads it right: true are
``narrowed`` from half of the diameter on and ``occluded`` without lumen, as the findings define it (`appliance.findings_parts.Stent`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from appliance.findings import Bridge, Findings, InStent, Stent
from models.evaluation.measures import Points, Share, TrueBranch, length_mm
from models.phantom import Patient

NARROWED_PERCENT, OCCLUDED_PERCENT = 50.0, 100.0
NEAR_MM = 5.0
FAR_MM = 1e3
READABLE_MM = 3.0
VARIANTS = {
    "separate_ostia": "separate_left_ostia",
    "anomalous_lcx_from_right": "lcx_from_right",
    "anomalous_rca_from_left": "rca_from_left",
    "single_coronary": "single_coronary",
    "interarterial_course": "interarterial_course",
    "high_takeoff_left": "high_takeoff_left",
    "high_takeoff_right": "high_takeoff_right",
}
"""Names of the generator, and what the findings call them."""


def seen_measures(
    patient: Patient, branches: Sequence[TrueBranch], findings: Findings | None
) -> tuple[dict[str, float | None], dict[str, Share]]:
    """Numbers of one patient: what was found of what there is, and what was named that is not there."""
    bridges = [(branches[b.id].points[start:end], depth) for b in patient.branches for start, end, depth in b.bridges]
    stents = [(branches[s.branch].points[s.start : s.end + 1], s) for s in patient.stents]
    named_bridges = [(_stretch(findings, b), b) for b in findings.bridges] if findings else []
    named_stents = [(_stretch(findings, s), s) for s in findings.stents] if findings else []
    bridge_pairs = _pairs([x for x, _ in bridges], [x for x, _ in named_bridges])
    stent_pairs = [(stents[i][1], named_stents[j][1]) for i, j in _pairs([x for x, _ in stents], [x for x, _ in named_stents])]
    read = [(true, given) for true, given in stent_pairs if given.inside is not None]
    wanted = {VARIANTS[name] for name in patient.variants if name in VARIANTS}
    named = {variant.name for variant in findings.variants} if findings else set()
    shares = {
        "bridges_found": Share(len(bridge_pairs), len(bridges)),
        "bridge_depth_error_mm": _errors((bridges[i][1], named_bridges[j][1].depth_mm) for i, j in bridge_pairs),
        "bridge_length_error_mm": _errors((length_mm(bridges[i][0]), length_mm(named_bridges[j][0])) for i, j in bridge_pairs),
        "stents_found": Share(len(stent_pairs), len(stents)),
        "stents_found_3mm": Share(
            sum(true.diameter_mm >= READABLE_MM for true, _ in stent_pairs), sum(true.diameter_mm >= READABLE_MM for _, true in stents)
        ),
        "stents_read": Share(len(read), len(stent_pairs)),
        "stents_read_right": Share(sum(_inside(true.in_stent_stenosis_percent) == given.inside for true, given in read), len(read)),
        "variants_found": Share(len(wanted & named), len(wanted)),
    }
    measures: dict[str, float | None] = {
        "bridges_false": float(len(named_bridges) - len(bridge_pairs)),
        "stents_false": float(len(named_stents) - len(stent_pairs)),
        "variants_false": float(len((named & set(VARIANTS.values())) - wanted)),
        "not_assessable_segments": float(len(findings.quality.not_assessable)) if findings and findings.quality else 0.0,
    }
    return measures, shares


def _stretch(findings: Findings, it: Bridge | Stent) -> Points:
    return np.asarray(findings.branch(it.branch).points_mm, np.float64)[it.start : it.end]


def _pairs(true: Sequence[Points], given: Sequence[Points]) -> list[tuple[int, int]]:
    """Which are the same: the middle of the one lies within reach of the other, whichever way round; one to one, the nearest."""
    if not true or not given:
        return []
    cost = np.array([[min(_from_middle(a, b), _from_middle(b, a)) for b in given] for a in true])
    rows, columns = linear_sum_assignment(np.minimum(cost, FAR_MM))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if cost[i, j] <= NEAR_MM]


def _from_middle(of: Points, to: Points) -> float:
    return float(cKDTree(to).query(of[len(of) // 2])[0])


def _errors(pairs: Iterable[tuple[float, float]]) -> Share:
    """Sum of absolute differences by their number."""
    found = [abs(result - true) for true, result in pairs]
    return Share(float(np.sum(found)), len(found))


def _inside(percent: float) -> InStent:
    if percent >= OCCLUDED_PERCENT:
        return "occluded"
    return "narrowed" if percent >= NARROWED_PERCENT else "patent"
