"""Stents, bridges and variants of the result against the true ones, and how many segments the product calls not assessable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from appliance.findings import Findings
from models.evaluation.measures import Points, Share, TrueBranch
from models.phantom import Patient

NEAR_MM = 5.0
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
    bridges = [branches[b.id].points[start:end] for b in patient.branches for start, end, _ in b.bridges]
    stents = [(branches[s.branch].points[s.start : s.end + 1], s.diameter_mm) for s in patient.stents]
    named_bridges = _stretches(findings, [(b.branch, b.start, b.end) for b in findings.bridges]) if findings else []
    named_stents = _stretches(findings, [(s.branch, s.start, s.end) for s in findings.stents]) if findings else []
    wanted = {VARIANTS[name] for name in patient.variants if name in VARIANTS}
    named = {variant.name for variant in findings.variants} if findings else set()
    wide = [points for points, diameter in stents if diameter >= READABLE_MM]
    shares = {
        "bridges_found": Share(_found(bridges, named_bridges), len(bridges)),
        "stents_found": Share(_found([points for points, _ in stents], named_stents), len(stents)),
        "stents_found_3mm": Share(_found(wide, named_stents), len(wide)),
        "variants_found": Share(len(wanted & named), len(wanted)),
    }
    measures: dict[str, float | None] = {
        "bridges_false": float(len(named_bridges) - _found(named_bridges, bridges)),
        "stents_false": float(len(named_stents) - _found(named_stents, [points for points, _ in stents])),
        "variants_false": float(len((named & set(VARIANTS.values())) - wanted)),
        "not_assessable_segments": float(len(findings.quality.not_assessable)) if findings and findings.quality else 0.0,
    }
    return measures, shares


def _stretches(findings: Findings, ranges: Sequence[tuple[int, int, int]]) -> list[Points]:
    return [np.asarray(findings.branch(branch).points_mm, np.float64)[start:end] for branch, start, end in ranges]


def _found(wanted: Sequence[Points], given: Sequence[Points]) -> int:
    """How many stretches have another one within reach of their middle."""
    if not given:
        return 0
    tree = cKDTree(np.concatenate(given))
    return sum(bool(tree.query(points[len(points) // 2])[0] <= NEAR_MM) for points in wanted)
