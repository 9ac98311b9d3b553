"""The tree of the result against the true tree: names, ostia, and the centreline overlaps of the Rotterdam evaluation.

Centreline measures: Schaap et al., 'Standardized evaluation methodology and reference database for evaluating coronary artery centerline
extraction algorithms', Med. Image Anal. 13 (2009): a point is right within the reference's radius at that place. OT is the overlap over
vessels of 1.5 mm and more, OF the part of a main vessel before the first miss (the first 5 mm ignored), AI the mean distance where right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from appliance.geometry import arc_length, resample_curve
from models.evaluation.measures import LARGE_MM, LEAST_FALSE_MM, Float, Points, Share, TrueBranch

OSTIUM_MM = 2.0
IGNORED_MM = 5.0
MISSED_BELOW = 0.5
MAIN = ("LAD", "LCX", "RCA")
_STEP_MM = 0.1


class Named(Protocol):
    """A branch of the findings file, or of a named tree."""

    @property
    def parent(self) -> int | None:
        """The branch that this one leaves, None at an ostium."""

    @property
    def points_mm(self) -> Sequence[Sequence[float]] | Points:
        """LPS points, proximal to distal."""

    @property
    def segments(self) -> Sequence[tuple[int, int, str]]:
        """Half-open ranges of points with their names."""


@dataclass(frozen=True)
class ResultLine:
    """One branch of the result: points (n, 3), the segment's name at each (n,), and whether it starts at an ostium."""

    points: Points
    names: npt.NDArray[np.str_]
    root: bool

    @property
    def own(self) -> slice:
        """The points that are the branch's own: its first one is its parent's."""
        return slice(0 if self.root else 1, None)


def result_lines(branches: Iterable[Named]) -> list[ResultLine]:
    """The branches of findings or of a named tree as lines."""
    lines = []
    for branch in branches:
        points = np.asarray(branch.points_mm, np.float64).reshape(-1, 3)
        names = np.full(len(points), "other", dtype="<U8")
        for start, end, name in branch.segments:
            names[start:end] = name
        lines.append(ResultLine(points=points, names=names, root=branch.parent is None))
    return lines


def result_points(lines: Sequence[ResultLine]) -> Points:
    """All points of the result, (n, 3)."""
    return np.concatenate([np.zeros((0, 3)), *(line.points for line in lines)])


VESSEL_OF = {
    **dict.fromkeys(("pLAD", "mLAD", "dLAD"), "LAD"),
    **dict.fromkeys(("pLCx", "LCx"), "LCX"),
    **dict.fromkeys(("pRCA", "mRCA", "dRCA"), "RCA"),
    **dict.fromkeys(("D1", "D2"), "D"),
    **dict.fromkeys(("OM1", "OM2"), "OM"),
    **dict.fromkeys(("R-PDA", "L-PDA"), "PDA"),
    **dict.fromkeys(("R-PLB", "L-PLB"), "PLB"),
    **dict.fromkeys(("S", "AM", "CB", "none"), "other"),
}
"""The vessel that a segment belongs to: what a network that labels vessels can know; names that are not here stand for themselves."""


def vessels_of(names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Vessels instead of segments."""
    return np.array([VESSEL_OF.get(str(name), str(name)) for name in names], dtype="<U8")


def vessel_length(truth: Sequence[TrueBranch], lines: Sequence[ResultLine]) -> Share:
    """As ``name_accuracy`` of ``named_length``, with vessels instead of segments: borders and numbers count for nothing."""
    vessels = [replace(line, names=vessels_of(line.names)) for line in lines]
    named = [
        replace(branch, segments=tuple((start, end, VESSEL_OF.get(name, name)) for start, end, name in branch.segments)) for branch in truth
    ]
    return named_length(named, vessels)["name_accuracy"]


def named_length(truth: Sequence[TrueBranch], lines: Sequence[ResultLine]) -> dict[str, Share]:
    """How much of the true native length of 1.5 mm and more carries the right segment.

    The name at a true point is that of the nearest result point, if that lies within max(radius, 0.75 mm); what has no result so near
    carries no name and counts as wrong. A true side branch outside the 18 segments is right where the result says "other".

    Returns:
        ``name_accuracy``: of all that length; ``name_accuracy_of_found``: of the part that has a result;
        ``name_accuracy_18``: of the length that belongs to one of the 18 segments.
    """
    points = np.concatenate([np.zeros((0, 3)), *(line.points[line.own] for line in lines)])
    names = np.concatenate([np.zeros(0, "<U8"), *(line.names[line.own] for line in lines)])
    tree = cKDTree(points) if len(points) else None
    whole = right = found = whole_18 = right_18 = 0.0
    for branch in truth:
        if not branch.native:
            continue
        length = np.where(branch.large, branch.steps, 0.0)
        wanted = branch.names
        near = np.zeros(len(length), np.bool_)
        same = near
        if tree is not None:
            distance, index = tree.query(branch.points)
            near = distance <= branch.found_within
            same = near & (names[index] == wanted)
        numbered = wanted != "other"
        whole += float(length.sum())
        found += float(length[near].sum())
        right += float(length[same].sum())
        whole_18 += float(length[numbered].sum())
        right_18 += float(length[same & numbered].sum())
    return {
        "name_accuracy": Share(right, whole),
        "name_accuracy_of_found": Share(right, found),
        "name_accuracy_18": Share(right_18, whole_18),
    }


def ostia_found(ostia: Sequence[Sequence[float]], lines: Sequence[ResultLine]) -> Share:
    """How many of the true ostia have the start of a result tree within 2 mm."""
    distances = ostium_distances(ostia, lines)
    return Share(float(sum(d <= OSTIUM_MM for d in distances)), float(len(ostia)))


def ostium_distances(ostia: Sequence[Sequence[float]], lines: Sequence[ResultLine]) -> list[float]:
    """From each true ostium to the nearest start of a result tree, mm; infinite where there is none."""
    roots = np.asarray([line.points[0] for line in lines if line.root and len(line.points)]).reshape(-1, 3)
    if not len(roots):
        return [float("inf")] * len(ostia)
    return [float(np.linalg.norm(roots - np.asarray(ostium), axis=1).min()) for ostium in ostia]


TRACED_MM = 1.0
"""Vessels from this diameter on are traced: the whole extent that OV is measured over."""


def centreline_measures(truth: Sequence[TrueBranch], lines: Sequence[ResultLine]) -> dict[str, float | None]:
    """OT, OV, AI, mean OF of the main vessels, and how many of LAD, LCX and RCA are missed (less than half of their large part found)."""
    points = result_points(lines)
    tree = cKDTree(points) if len(points) else None
    right = [_within(branch, tree) for branch in truth]
    mains = [number for number, branch in enumerate(truth) if branch.native and branch.name in MAIN and branch.large.any()]
    before = [_before_first_miss(truth, right, number) for number in mains]
    covered = [float((truth[i].steps * truth[i].large * right[i]).sum() / (truth[i].steps * truth[i].large).sum()) for i in mains]
    overlap, distance = _overlap(truth, right, lines, least_mm=LARGE_MM)
    whole, _ = _overlap(truth, right, lines, least_mm=TRACED_MM)
    mean = float(np.mean(before)) if before else None
    return {
        "ov": whole,
        "of": mean,
        "ot": overlap,
        "ai_mm": distance,
        **{f"of@{truth[i].name}": value for i, value in zip(mains, before, strict=True)},
        **{f"found@{truth[i].name}": value for i, value in zip(mains, covered, strict=True)},
        "centreline_ot": overlap,
        "centreline_of": mean,
        "centreline_ai_mm": distance,
        "main_vessels_missed": float(sum(share < MISSED_BELOW for share in covered)),
    }


def _within(branch: TrueBranch, tree: cKDTree | None) -> npt.NDArray[np.bool_]:
    if tree is None:
        return np.zeros(len(branch.points), np.bool_)
    return np.asarray(tree.query(branch.points)[0] <= branch.found_within)


def _overlap(
    truth: Sequence[TrueBranch], right: Sequence[npt.NDArray[np.bool_]], lines: Sequence[ResultLine], *, least_mm: float
) -> tuple[float | None, float | None]:
    """Overlap in lengths over true vessels of ``least_mm`` and more, and the mean distance of the right result points.

    Result on smaller true vessels counts neither way.
    """
    native = [(branch, ok) for branch, ok in zip(truth, right, strict=True) if branch.native]
    wide = [2.0 * branch.healthy_radius >= least_mm for branch, _ in native]
    true_right = sum(float((b.steps * w * ok).sum()) for (b, ok), w in zip(native, wide, strict=True))
    true_missed = sum(float((b.steps * w * ~ok).sum()) for (b, ok), w in zip(native, wide, strict=True))
    dense = [_dense(branch, least_mm) for branch in truth]
    tree = cKDTree(np.concatenate([points for points, _, _, _ in dense]))
    radius, outer, large = (np.concatenate([item[k] for item in dense]) for k in (1, 2, 3))
    result_right = result_wrong = weighted = 0.0
    for line in lines:
        if len(line.points) < 2:
            continue
        steps = np.linalg.norm(np.diff(line.points, axis=0), axis=1)
        distance, index = tree.query(0.5 * (line.points[1:] + line.points[:-1]))
        small = ~large[index] & (distance <= outer[index])
        good = (distance <= radius[index]) & ~small
        result_right += float(steps[good].sum())
        result_wrong += float(steps[~good & ~small].sum())
        weighted += float((steps * distance)[good].sum())
    whole = result_right + result_wrong + true_right + true_missed
    overlap = (result_right + true_right) / whole if whole else None
    return overlap, weighted / result_right if result_right else None


def _dense(branch: TrueBranch, least_mm: float) -> tuple[Points, Float, Float, npt.NDArray[np.bool_]]:
    """The branch at 0.1 mm: points, radius within which a result is right, reach of the wall, and whether it is wide and native."""
    points = resample_curve(branch.points, _STEP_MM)
    at, along = arc_length(points), arc_length(branch.points)
    radius = np.interp(at, along, branch.found_within)
    outer = np.maximum(np.interp(at, along, branch.outer_radius), LEAST_FALSE_MM)
    large = np.interp(at, along, (2.0 * branch.healthy_radius >= least_mm).astype(np.float64)) > 0.5
    return points, radius, outer, large & branch.native


def _before_first_miss(truth: Sequence[TrueBranch], right: Sequence[npt.NDArray[np.bool_]], number: int) -> float:
    """Share of the large part of a main vessel, from 5 mm beyond its ostium on, that comes before the first point without a result."""
    pieces: list[tuple[int, int]] = [(number, len(truth[number].points))]
    branch = truth[number]
    while branch.parent is not None and branch.parent_index is not None:
        pieces.append((branch.parent, branch.parent_index + 1))
        branch = truth[branch.parent]
    pieces.reverse()
    steps = np.concatenate([truth[i].steps[:end] for i, end in pieces])
    large = np.concatenate([truth[i].large[:end] for i, end in pieces])
    good = np.concatenate([right[i][:end] for i, end in pieces])
    along = np.cumsum(steps)
    last = int(np.flatnonzero(large)[-1]) + 1
    counted = float(along[last - 1]) - IGNORED_MM
    missed = np.flatnonzero(~good[:last] & (along[:last] > IGNORED_MM))
    if not len(missed) or counted <= 0.0:
        return 1.0
    return max(float(along[missed[0] - 1]) - IGNORED_MM, 0.0) / counted
