"""How the findings fall into the sections of the report: which segments were traced, where a finding lies, what it is called.

Segments after SCCT 2014 (JCCT 2014;8:342); section order after the Chinese reporting standard (Chin J Radiol 2020;54:1044).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance import trunks
from appliance.anatomy import SEGMENTS, VESSEL_ZH, SegmentName, Vessel
from appliance.degrees import REACHED_POINTS, involved_segments
from appliance.findings import Branch, Findings, Lesion
from appliance.report.phrases import Headings, Phrase

MINIMUM_OVERLAP = 0.1
"""Part of a stent's or bridge's points that must lie in a segment before the segment is named with it."""


@dataclass(frozen=True)
class Region:
    """One section of the coronary findings.

    Attributes:
        heading: its heading.
        vessel: the vessel whose branches outside the 18-segment model belong here.
        segments: its segments in the order of mention.
        trunk: the segments that every heart of usual anatomy has, so that a missing one must be reported.
        named_trunk: how the whole trunk is called when none of it was traced.
    """

    heading: Phrase
    vessel: Vessel
    segments: tuple[SegmentName, ...]
    trunk: tuple[SegmentName, ...]
    named_trunk: Phrase


REGIONS: tuple[Region, ...] = (
    Region(Headings.LM, "LM", ("LM",), ("LM",), Phrase("左主干", "left main")),
    Region(
        Headings.LAD, "LAD", ("pLAD", "mLAD", "dLAD", "D1", "D2"), ("pLAD", "mLAD", "dLAD"),
        Phrase("左前降支", "left anterior descending artery"),
    ),
    Region(
        Headings.LCX, "LCX", ("pLCx", "LCx", "OM1", "OM2", "L-PDA", "L-PLB"), ("pLCx", "LCx"),
        Phrase("左回旋支", "left circumflex artery"),
    ),
    Region(Headings.RI, "RI", ("RI",), (), Phrase("中间支", "ramus intermedius")),
    Region(
        Headings.RCA, "RCA", ("pRCA", "mRCA", "dRCA", "R-PDA", "R-PLB"), ("pRCA", "mRCA", "dRCA"),
        Phrase("右冠状动脉", "right coronary artery"),
    ),
    Region(Headings.OTHER, "other", (), (), Phrase("其他分支", "other branches")),
)  # fmt: skip

SEGMENT_ORDER: tuple[SegmentName, ...] = (*(name for region in REGIONS for name in region.segments), "other")


def region_of(segment: SegmentName, vessel: Vessel) -> Region:
    """The section that a finding in ``segment`` of ``vessel`` belongs to."""
    return next(region for region in REGIONS if segment in region.segments or (segment == "other" and vessel == region.vessel))


def traced_segments(findings: Findings) -> frozenset[SegmentName]:
    """The segments of the 18-segment model that hold at least one centreline point."""
    return frozenset(name for branch in findings.branches for start, end, name in branch.segments if end > start and name != "other")


def missing_trunks(findings: Findings) -> tuple[SegmentName, ...]:
    """Trunk segments without any centreline that must be there, in the order of mention (``appliance.trunks``)."""
    return trunks.missing_trunks(findings.branches, findings.dominance, findings.grafts_that_count)


def perhaps_absent(findings: Findings) -> tuple[SegmentName, ...]:
    """Trunk segments without centreline that many hearts do not have."""
    return trunks.perhaps_absent(findings.branches, findings.dominance)


def unassessable(findings: Findings) -> frozenset[SegmentName]:
    """Segments that the quality stage calls not assessable."""
    return frozenset() if findings.quality is None else frozenset(item.segment for item in findings.quality.not_assessable)


def span_segments(branch: Branch, start: int, end: int) -> tuple[SegmentName, ...]:
    """The segments of ``branch`` that the points from ``start`` to ``end`` lie in, proximal first, at least one.

    A shoulder of a few points across a border does not count.
    """
    last = max(end, start + 1)
    overlaps = [(min(last, stop) - max(start, first), name) for first, stop, name in branch.segments]
    floor = min(max(MINIMUM_OVERLAP * (last - start), REACHED_POINTS), max(overlaps)[0])
    return tuple(name for overlap, name in overlaps if overlap >= floor)


def lesion_segments(findings: Findings, lesion: Lesion) -> tuple[SegmentName, ...]:
    """The segments that a lesion lies in, proximal first, as the segment involvement score counts them."""
    return involved_segments(lesion, findings.branch(lesion.branch))


def beyond_occlusions(findings: Findings) -> frozenset[SegmentName]:
    """Segments that lie wholly distal to an occluded lesion: on the same branch or on a branch that leaves it further on."""
    found: set[SegmentName] = set()
    for lesion in findings.lesions:
        if lesion.grade == "occluded":
            found |= _segments_beyond(findings, findings.branch(lesion.branch), lesion.minimum)
    return frozenset(found - {"other"})


def _segments_beyond(findings: Findings, branch: Branch, index: int) -> set[SegmentName]:
    beyond: set[SegmentName] = {name for start, _, name in branch.segments if start > index}
    for child in findings.branches:
        if child.parent == branch.id and child.parent_index is not None and child.parent_index > index:
            beyond |= _segments_beyond(findings, child, -1)
    return beyond


def length_mm(branch: Branch, start: int, end: int) -> float:
    """Arc length between two points of a branch; ``end`` may be one past the last point."""
    points = branch.points_mm[start : min(end, len(branch.points_mm) - 1) + 1]
    return math.fsum(math.dist(a, b) for a, b in itertools.pairwise(points))


def in_order(names: Iterable[SegmentName]) -> tuple[SegmentName, ...]:
    """Each name once, in the order of mention."""
    return tuple(sorted(set(names), key=SEGMENT_ORDER.index))


def name_segments(names: Sequence[SegmentName], *, vessel: Vessel = "other") -> Phrase:
    """The names as they stand in a sentence, without an article.

    For pLAD, mLAD and D1: '左前降支近段、中段及第一对角支', 'proximal and mid LAD and first diagonal'.
    ``vessel`` tells whose branch a segment outside the model is.
    """
    return Phrase(_join_zh([_name_zh(name, vessel) for name in names]), _join_en(_merge_trunks(names, vessel)))


def _name_zh(name: SegmentName, vessel: Vessel) -> str:
    if name == "other" and vessel != "other":
        return f"{VESSEL_ZH[vessel]}其他分支"
    return SEGMENTS[name].zh


def _join_zh(names: list[str]) -> str:
    """Chinese list; a trunk's name is said once for neighbouring parts of it."""
    said = []
    before = ""
    for name in names:
        trunk = next((zh for zh in VESSEL_ZH.values() if name.startswith(zh) and name != zh), "")
        said.append(name.removeprefix(trunk) if trunk and trunk == before else name)
        before = trunk
    return said[0] if len(said) == 1 else "、".join(said[:-1]) + "及" + said[-1]


def _merge_trunks(names: Sequence[SegmentName], vessel: Vessel) -> list[str]:
    """English names, neighbouring parts of one trunk merged: 'proximal and mid LAD'."""
    merged: list[tuple[list[str], str]] = []
    for name in names:
        if name == "other":
            merged.append((["other branch" if vessel == "other" else f"other {vessel} branch"], ""))
            continue
        part, _, trunk = SEGMENTS[name].en.rpartition(" ")
        if trunk not in ("RCA", "LAD", "LCx"):
            merged.append(([SEGMENTS[name].en], ""))
        elif merged and merged[-1][1] == trunk:
            merged[-1][0].append(part)
        else:
            merged.append(([part], trunk))
    return [f"{_join_en(parts)} {trunk}".strip() for parts, trunk in merged]


def _join_en(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
