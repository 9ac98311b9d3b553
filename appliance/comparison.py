"""What has changed since an earlier examination of the same patient, segment by segment.

A segment is compared only where both examinations say something of it: a plaque with a degree, or that it was traced, could be read and
showed none. A change is a step of at least one degree of CAD-RADS 2.0 (JCCT 2022;16:536); CT tells degrees apart by about one step, which
whoever shows a comparison must say. Plaque that was there and is not found now is told as such: plaque hardly ever vanishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from appliance.anatomy import SEGMENTS, SegmentName
from appliance.degrees import cad_rads_grade, degree_unknown
from appliance.findings import GRADES, Earlier, EarlierSegment, Findings, Grade

Change = Literal["new", "progressed", "unchanged", "regressed", "not_seen_now", "not_comparable"]
CHANGES: tuple[Change, ...] = ("new", "progressed", "regressed", "not_seen_now", "unchanged", "not_comparable")
"""In the order in which they are told."""

LEAST_POINTS = 4
"""A shoulder of a point or two across a border is not disease of the next segment (as for the segment involvement score)."""


@dataclass(frozen=True)
class SegmentChange:
    """One segment; a degree is None where there was no plaque, or its degree is not known."""

    segment: SegmentName
    change: Change
    before: Grade | None
    now: Grade | None


@dataclass(frozen=True)
class Comparison:
    """Two examinations.

    Attributes:
        earlier: what is known of the earlier one.
        segments: those with plaque in either, in the order of their numbers.
        calcium: Agatston scores before and now; None where one of them is not known.
        same_software: whether both were analysed by the same build; if not, a difference may be the software's.
    """

    earlier: Earlier
    segments: tuple[SegmentChange, ...]
    calcium: tuple[float, float] | None
    same_software: bool

    def of(self, change: Change) -> tuple[SegmentName, ...]:
        """The segments with that change."""
        return tuple(each.segment for each in self.segments if each.change == change)


def summary(findings: Findings, *, study_date: str, final: bool) -> Earlier | None:
    """What a later examination is compared with; None where nothing was analysed.

    Args:
        findings: of the earlier examination, as they were approved.
        study_date: YYYYMMDD.
        final: whether a physician approved them.
    """
    if findings.status != "analysed" or findings.cad_rads is None:
        return None
    degrees, readable = _degrees(findings), _readable(findings)
    return Earlier(
        study_date=study_date,
        final=final,
        validated_on_patients=findings.validated_on_patients,
        software=f"{findings.software.version} ({findings.software.commit})",
        cad_rads=findings.cad_rads.text,
        agatston=None if findings.calcium is None else findings.calcium.agatston,
        agatston_reason=(findings.calcium_reason or "no_calcium_series") if findings.calcium is None else None,
        segments=tuple(
            EarlierSegment(segment=name, grade=degrees[name], grade_reason="not_assessable" if degrees[name] is None else None)
            for name in SEGMENTS
            if name in degrees
        ),
        clear=tuple(name for name in SEGMENTS if name in readable and name not in degrees),
    )


def compare(findings: Findings) -> Comparison | None:
    """What has changed since the earlier examination that the findings know of; None where they know of none."""
    earlier = findings.earlier
    if earlier is None or findings.status != "analysed":
        return None
    now, clear_now = _degrees(findings), _readable(findings)
    before = {each.segment: each.grade for each in earlier.segments}
    changes = tuple(
        SegmentChange(name, _change(name, before, set(earlier.clear), now, clear_now), before.get(name), now.get(name))
        for name in SEGMENTS
        if name in before or name in now
    )
    scores = None
    if earlier.agatston is not None and findings.calcium is not None:
        scores = earlier.agatston, findings.calcium.agatston
    software = f"{findings.software.version} ({findings.software.commit})"
    return Comparison(earlier, changes, scores, software == earlier.software)


def _change(
    name: SegmentName,
    before: dict[SegmentName, Grade | None],
    clear_before: set[SegmentName],
    now: dict[SegmentName, Grade | None],
    readable_now: set[SegmentName],
) -> Change:
    if name not in before:
        return "new" if name in clear_before else "not_comparable"
    if name not in now:
        return "not_seen_now" if name in readable_now else "not_comparable"
    was, is_now = before[name], now[name]
    if was is None or is_now is None:
        return "not_comparable"
    step = GRADES.index(is_now) - GRADES.index(was)
    return "progressed" if step > 0 else "regressed" if step < 0 else "unchanged"


def _degrees(findings: Findings) -> dict[SegmentName, Grade | None]:
    """The worst degree of the plaques that reach into each named segment; None where that of one of them is not known."""
    found: dict[SegmentName, Grade | None] = {}
    for lesion in findings.lesions:
        branch = next((each for each in findings.branches if each.id == lesion.branch), None)
        reached = {lesion.segment}
        if branch is not None:
            reached |= {name for start, end, name in branch.segments if min(lesion.end, end) - max(lesion.start, start) >= LEAST_POINTS}
        grade = None if degree_unknown(lesion) else cad_rads_grade(lesion)
        for name in reached - {"other"}:
            known = found.get(name, grade)
            found[name] = None if grade is None or known is None else max(known, grade, key=GRADES.index)
    return found


def _readable(findings: Findings) -> set[SegmentName]:
    """The named segments that were traced and can be read, and hold no stent."""
    every = [(branch.id, *segment) for branch in findings.branches for segment in branch.segments]
    traced = {name for _, start, end, name in every if end > start}
    unread = {entry.segment for entry in findings.quality.not_assessable} if findings.quality is not None else set()
    stented = {
        name
        for stent in findings.stents
        for number, start, end, name in every
        if stent.branch == number and stent.start < end and stent.end > start
    }
    return traced - unread - stented - {"other"}
