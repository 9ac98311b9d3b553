"""Vessel paths: the whole run of a main coronary artery from its ostium, joined from the branches of the findings.

A path lies in one phase: where an artery was measured in another phase than the branch that it leaves, the path begins with the artery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.anatomy import SegmentName, Vessel
from appliance.degrees import rank
from appliance.findings import Branch, Findings, Lesion
from appliance.geometry import arc_length, resample_curve, smooth_curve

Float = NDArray[np.float64]

STEP_MM = 0.25
SMOOTHING_MM = 0.6
JOIN_MM = 4.0

MAIN_SEGMENTS: dict[Vessel, tuple[SegmentName, ...]] = {
    "LAD": ("pLAD", "mLAD", "dLAD"),
    "LCX": ("pLCx", "LCx"),
    "RCA": ("pRCA", "mRCA", "dRCA"),
}
CONTINUATIONS: dict[Vessel, tuple[SegmentName, ...]] = {"LAD": (), "LCX": ("L-PDA", "L-PLB"), "RCA": ("R-PDA", "R-PLB")}


@dataclass(frozen=True)
class SegmentSpan:
    """A stretch of the path that carries one segment name: ``start`` and ``end`` in mm from the ostium."""

    name: SegmentName
    start: float
    end: float


@dataclass(frozen=True)
class LesionSpan:
    """A lesion on the path: ``start``, ``minimum`` and ``end`` in mm from the ostium."""

    lesion: Lesion
    start: float
    minimum: float
    end: float


@dataclass(frozen=True)
class VesselPath:
    """A vessel from its ostium to its end.

    Attributes:
        name: what the path is called: LAD, LCX, RCA, or a side branch's own name.
        vessel: the main vessel that it belongs to.
        points: LPS mm, shape (n, 3), evenly ``step_mm`` apart, lightly smoothed.
        step_mm: distance between neighbouring points along the curve.
        segments: the segments in order.
        lesions: the lesions whose minimum lies on the path, in order of position.
        outer_diameter_mm: outer wall per point, NaN where not measured.
        lumen_diameter_mm: lumen per point, NaN where not measured.
        series_uid: the series that it was measured in, where that is not the main one.
    """

    name: str
    vessel: Vessel
    points: Float
    step_mm: float
    segments: tuple[SegmentSpan, ...]
    lesions: tuple[LesionSpan, ...]
    outer_diameter_mm: Float
    lumen_diameter_mm: Float
    series_uid: str | None = None

    @property
    def length_mm(self) -> float:
        """Length from the ostium to the end."""
        return (len(self.points) - 1) * self.step_mm

    @property
    def note(self) -> tuple[str, str]:
        """What a picture's own caption adds where it is of another phase than the report names; empty for the main one."""
        return ("", "") if self.series_uid is None else (" 另一期相", " other phase")

    def index_at(self, position_mm: float) -> int:
        """Index of the point nearest to ``position_mm`` from the ostium, held inside the path."""
        return int(np.clip(round(position_mm / self.step_mm), 0, len(self.points) - 1))

    def segment_at(self, position_mm: float) -> SegmentName:
        """Name of the segment at ``position_mm`` from the ostium."""
        for span in self.segments:
            if position_mm < span.end:
                return span.name
        return self.segments[-1].name


def main_paths(findings: Findings) -> tuple[VesselPath, ...]:
    """Paths of LAD and LCX (each with the left main of its phase) and RCA, in this order; a vessel that was not found is left out."""
    paths = []
    for vessel, names in MAIN_SEGMENTS.items():
        trunk = _longest([branch for branch in findings.branches if branch.vessel == vessel and branch.name in names])
        if trunk is not None:
            parts = [*_ancestors(trunk, findings), (trunk, len(trunk.points_mm)), *_continuation(vessel, trunk, findings)]
            paths.append(_join(vessel, vessel, parts, findings))
    return tuple(paths)


def diseased_side_paths(findings: Findings, main: Sequence[VesselPath]) -> tuple[VesselPath, ...]:
    """Paths from the ostium to the end of each branch that has a lesion which no path of ``main`` shows, the tightest lesion first."""
    shown = {span.lesion.id for path in main for span in path.lesions}
    wanted = {lesion.branch for lesion in findings.lesions if lesion.id not in shown}
    paths: list[VesselPath] = []
    for branch in sorted(findings.branches, key=lambda branch: _tightness(branch, findings), reverse=True):
        if branch.id in wanted and len(branch.points_mm) >= 2:
            names = [path.name for path in paths]
            plain = branch.name if branch.name != "other" else f"{branch.vessel}-branch"
            name = plain if plain not in names else f"{plain}-{branch.id}"
            paths.append(_join(name, branch.vessel, [*_ancestors(branch, findings), (branch, len(branch.points_mm))], findings))
    return tuple(paths)


def branch_path(branch: Branch) -> VesselPath:
    """The path of one branch alone, from its origin to its end, without lesions."""
    points = _points(branch)
    position = arc_length(points)
    fine = resample_curve(points, STEP_MM)
    step = float(position[-1]) / (len(fine) - 1)
    at: Float = np.arange(len(fine), dtype=np.float64) * step
    return VesselPath(
        name=branch.name,
        vessel=branch.vessel,
        points=smooth_curve(fine, SMOOTHING_MM, step),
        step_mm=step,
        segments=_segments([(branch, len(points))], position),
        lesions=(),
        outer_diameter_mm=_profile([branch.vessel_diameter_mm], position, at),
        lumen_diameter_mm=_profile([branch.lumen_diameter_mm], position, at),
        series_uid=branch.series_uid,
    )


def _longest(branches: Sequence[Branch]) -> Branch | None:
    usable = [branch for branch in branches if len(branch.points_mm) >= 2]
    return max(usable, key=lambda branch: float(arc_length(_points(branch))[-1]), default=None)


def _tightness(branch: Branch, findings: Findings) -> tuple[float, float]:
    return max((rank(lesion) for lesion in findings.lesions if lesion.branch == branch.id), default=(0.0, 0.0))


def _points(branch: Branch) -> Float:
    return np.asarray(branch.points_mm, np.float64)


def _ancestors(branch: Branch, findings: Findings) -> list[tuple[Branch, int]]:
    """Parents of the same phase from the root down, each with the number of its points that lead to the child."""
    chain: list[tuple[Branch, int]] = []
    seen = {branch.id}
    while branch.parent is not None and branch.parent not in seen:
        parent = findings.branch(branch.parent)
        if parent.series_uid != branch.series_uid:
            break
        count = len(parent.points_mm) if branch.parent_index is None else branch.parent_index + 1
        chain.insert(0, (parent, count))
        seen.add(parent.id)
        branch = parent
    return chain


def _continuation(vessel: Vessel, trunk: Branch, findings: Findings) -> list[tuple[Branch, int]]:
    """The posterior branch that goes on from the trunk's end, where there is one (PDA before PLB)."""
    end = len(trunk.points_mm) - 1
    near = end - round(JOIN_MM / 0.5)
    for name in CONTINUATIONS[vessel]:
        children = [
            branch
            for branch in findings.branches
            if branch.parent == trunk.id
            and branch.name == name
            and branch.series_uid == trunk.series_uid
            and branch.parent_index is not None
            and branch.parent_index >= near
        ]
        child = _longest(children)
        if child is not None:
            return [(child, len(child.points_mm))]
    return []


def _join(name: str, vessel: Vessel, parts: Sequence[tuple[Branch, int]], findings: Findings) -> VesselPath:
    raw = np.concatenate([_points(branch)[:count] for branch, count in parts])
    position = arc_length(raw)
    owner = {
        (branch.id, index): place
        for place, (branch, index) in enumerate((branch, index) for branch, count in parts for index in range(count))
    }
    points = resample_curve(raw, STEP_MM)
    step = float(position[-1]) / (len(points) - 1)
    at: Float = np.arange(len(points), dtype=np.float64) * step
    return VesselPath(
        name=name,
        vessel=vessel,
        points=smooth_curve(points, SMOOTHING_MM, step),
        step_mm=step,
        segments=_segments(parts, position),
        lesions=_lesions(findings, owner, position),
        outer_diameter_mm=_profile([branch.vessel_diameter_mm[:count] for branch, count in parts], position, at),
        lumen_diameter_mm=_profile([branch.lumen_diameter_mm[:count] for branch, count in parts], position, at),
        series_uid=parts[-1][0].series_uid,
    )


def _segments(parts: Sequence[tuple[Branch, int]], position: Float) -> tuple[SegmentSpan, ...]:
    spans: list[SegmentSpan] = []
    offset = 0
    for branch, count in parts:
        for start, end, name in branch.segments:
            stop = min(end, count)
            if start >= stop:
                continue
            first, last = float(position[offset + start]), float(position[min(offset + stop, len(position) - 1)])
            if spans and spans[-1].name == name:
                spans[-1] = SegmentSpan(name, spans[-1].start, last)
            else:
                spans.append(SegmentSpan(name, first, last))
        offset += count
    return tuple(spans)


def _lesions(findings: Findings, owner: dict[tuple[int, int], int], position: Float) -> tuple[LesionSpan, ...]:
    spans = []
    for lesion in findings.lesions:
        place = owner.get((lesion.branch, lesion.minimum))
        if place is None:
            continue
        start = owner.get((lesion.branch, lesion.start), place)
        end = owner.get((lesion.branch, lesion.end))
        # an end index may stand one past the last point, or beyond the place where the path turns into a child
        end = end if end is not None else owner.get((lesion.branch, lesion.end - 1), place)
        spans.append(LesionSpan(lesion, float(position[start]), float(position[place]), float(position[end])))
    return tuple(sorted(spans, key=lambda span: span.minimum))


def _profile(parts: Sequence[Sequence[float | None]], position: Float, at: Float) -> Float:
    values = np.array([np.nan if value is None else value for part in parts for value in part], np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(at), np.nan)
    out: Float = np.interp(at, position[known], values[known])
    # a gap stays a gap: nothing is known farther than a step of the source from a measured point
    distance = np.abs(at[:, None] - position[known][None, :]).min(axis=1) if known.sum() < len(values) else np.zeros(len(at))
    out[distance > 0.6] = np.nan
    return out
