"""Borders of the SCCT segments along the main runs.

Source of every rule: SCCT 2014 guideline (JCCT 2014;8:342), Appendix 1, the axial coronary anatomy definitions.

| border | rule |
|---|---|
| pRCA / mRCA | half the distance from the ostium to the acute margin |
| mRCA / dRCA | acute margin of the heart |
| dRCA / R-PDA | origin of the posterior descending artery (where the run ends) |
| pLAD / mLAD | first large septal or first diagonal over 1.5 mm, whichever is more proximal |
| mLAD / dLAD | half the distance from there to the apex |
| pLCx / LCx | origin of the first obtuse marginal |
"""

from __future__ import annotations

import numpy as np

from appliance.analysis.stages import Float, Range
from appliance.anatomy import SegmentName
from appliance.geometry import arc_length

_ACUTE_MARGIN_LPS = np.array([-0.75, -0.25, -0.6])
"""Where the free wall of the right ventricle turns under: rightmost, lowest and somewhat forward."""

_WITHOUT_LARGE_BRANCH = 0.3
"""Where the proximal LAD ends if no branch is large enough, as a part of the way to the apex: the guideline says nothing of it."""

Segments = tuple[tuple[int, int, SegmentName], ...]


def cut(length: int, borders: tuple[int, ...], names: tuple[SegmentName, ...]) -> Segments:
    """Half-open ranges that cover ``length`` points, empty ones left out."""
    edges = (0, *(min(max(border, 0), length) for border in borders), length)
    found: list[tuple[int, int, SegmentName]] = []
    for start, end, name in zip(edges[:-1], edges[1:], names, strict=True):
        begin = found[-1][1] if found else 0
        if end > max(start, begin):
            found.append((begin, end, name))
    if not found:
        return ((0, length, names[-1]),)
    last = found[-1]
    found[-1] = (last[0], length, last[2])
    return tuple(found)


def right_coronary(points: Float) -> Segments:
    """pRCA, mRCA and dRCA of a run that ends at the crux, or earlier where the artery is small."""
    margin = acute_margin(points)
    along = arc_length(points)
    half = int(np.searchsorted(along, 0.5 * along[margin]))
    return cut(len(points), (half, margin), ("pRCA", "mRCA", "dRCA"))


def acute_margin(points: Float) -> int:
    """The point of the right coronary artery where it turns around the acute margin."""
    reach = points @ _ACUTE_MARGIN_LPS
    return int(np.argmax(reach))


def anterior_descending(points: Float, *, first_border: int | None, rest_to_apex_mm: float) -> Segments:
    """pLAD, mLAD and dLAD.

    ``first_border`` is the first large septal or diagonal, None if none was seen; the apex lies ``rest_to_apex_mm`` beyond the end.
    """
    along = arc_length(points)
    to_apex = float(along[-1]) + rest_to_apex_mm
    first = first_border if first_border is not None else int(np.searchsorted(along, _WITHOUT_LARGE_BRANCH * to_apex))
    reached = float(along[min(first, len(along) - 1)])
    half = int(np.searchsorted(along, reached + 0.5 * (to_apex - reached)))
    return cut(len(points), (first, half), ("pLAD", "mLAD", "dLAD"))


def circumflex(points: Float, *, first_marginal: int | None) -> Segments:
    """PLCx and LCx; without a marginal the border is half way."""
    border = first_marginal if first_marginal is not None else len(points) // 2
    return cut(len(points), (border,), ("pLCx", "LCx"))


def whole(points: Float, name: SegmentName) -> Segments:
    """One segment for the whole run."""
    return ((0, len(points), name),)


def clip_range(value: Range, length: int) -> Range:
    """``value`` within 0 and ``length``."""
    return max(value[0], 0), min(value[1], length)
