"""Degrees of stenosis: which percentage is which grade.

Sources: SCCT 2014 (JCCT 2014;8:342) and CAD-RADS 2.0 (JCCT 2022;16:536); the older Chinese degrees, consensus of 2011.

CAD-RADS, the segment stenosis score and comparisons know one table, that of CAD-RADS, also where the site reports by the older Chinese one:
a measured lesion is classed by its percentage, one that a person graded by that degree.
"""

from __future__ import annotations

from typing import Literal

from appliance.anatomy import SegmentName
from appliance.findings import GRADES, Branch, Grade, Lesion

Bands = Literal["scct", "cn2011"]

UPPER_BOUND: dict[Bands, tuple[tuple[float, Grade], ...]] = {
    # half-open on the unrounded percentage: a grade holds up to, not including, its bound
    "scct": ((25.0, "minimal"), (50.0, "mild"), (70.0, "moderate"), (100.0, "severe")),
    "cn2011": ((25.0, "minimal"), (50.0, "mild"), (75.0, "moderate"), (100.0, "severe")),
}

REACHED_POINTS = 4
"""A shoulder of a point or two across a border is not disease of the next segment."""


def grade_of(stenosis_percent: float, *, bands: Bands = "scct") -> Grade:
    """The grade of an unrounded diameter stenosis.

    Raises:
        ValueError: not within 0 and 100.
    """
    if not 0.0 <= stenosis_percent <= 100.0:
        raise ValueError(f"a stenosis lies within 0 and 100 %, not {stenosis_percent}")
    if stenosis_percent == 0.0:
        return "none"
    for bound, grade in UPPER_BOUND[bands]:
        if stenosis_percent < bound:
            return grade
    return "occluded"


def cad_rads_grade(lesion: Lesion) -> Grade:
    """The degree of a lesion by the bands of CAD-RADS, whatever the site's own bands are."""
    if lesion.grade_source == "corrected" or lesion.diameter_stenosis_percent is None:
        return lesion.grade
    return grade_of(lesion.diameter_stenosis_percent)


def involved_segments(lesion: Lesion, branch: Branch | None) -> tuple[SegmentName, ...]:
    """The segments that a plaque lies in, proximal first: its own, and those that it reaches into by ``REACHED_POINTS`` and more.

    The segment involvement score counts these, and the report names them: read together they agree.
    """
    reached = [
        name
        for start, end, name in (branch.segments if branch is not None else ())
        if name == lesion.segment or min(lesion.end, end) - max(lesion.start, start) >= REACHED_POINTS
    ]
    return tuple(reached) if lesion.segment in reached else (lesion.segment,)


def degree_unknown(lesion: Lesion) -> bool:
    """No degree was measured and nobody has set one: that is not 'no stenosis'."""
    return lesion.diameter_stenosis_percent is None and lesion.grade == "none" and lesion.grade_source == "measured"


def rank(lesion: Lesion) -> tuple[float, float]:
    """How far up a list a lesion belongs: by degree, then by per cent.

    One whose degree is unknown comes after those of half and more, before all others: it keeps CAD-RADS at 'N' until a person grades it.
    """
    degree = GRADES.index("moderate") - 0.5 if degree_unknown(lesion) else float(GRADES.index(lesion.grade))
    return degree, lesion.diameter_stenosis_percent or 0.0
