"""SCCT segment borders of a tree whose anatomy is known (SCCT 2014, Appendix 1)."""

from __future__ import annotations

import numpy as np

from models.phantom.growth import Draft
from models.phantom.surface import Surface, arc
from models.phantom.types import Segment

NAMED = ("R-PDA", "L-PDA", "D1", "D2", "OM1", "OM2", "RI", "R-PLB", "L-PLB")
LARGE_MM = 1.5
#: A septal branch this wide ends the proximal LAD.
LARGE_SEPTAL_MM = 1.2


def segments(surface: Surface, drafts: list[Draft]) -> list[tuple[Segment, ...]]:
    """Half-open index ranges with segment names that cover all points of each branch."""
    out: list[tuple[Segment, ...]] = []
    for i, d in enumerate(drafts):
        n = len(d.points)
        if d.name == "LM":
            out.append(((0, n, "LM"),))
        elif d.name == "LAD":
            cut = _first_child(drafts, i, {"D1": LARGE_MM, "S": LARGE_SEPTAL_MM}, int(0.3 * n))
            half = _at_half(d, cut)
            out.append(_ranges([0, cut, half, n], ["pLAD", "mLAD", "dLAD"]))
        elif d.name == "LCX":
            cut = _first_child(drafts, i, {"OM1": 0.0}, int(0.5 * n))
            out.append(_ranges([0, cut, n], ["pLCx", "LCx"]))
        elif d.name == "RCA":
            margin = acute_margin(surface, d)
            s = arc(d.points)
            half = int(np.searchsorted(s, s[margin] / 2.0))
            out.append(_ranges([0, half, margin, n], ["pRCA", "mRCA", "dRCA"]))
        else:
            out.append(((0, n, d.name if d.name in NAMED else "other"),))
    return out


def acute_margin(surface: Surface, rca: Draft) -> int:
    """The point of the right coronary artery where it turns around the acute margin: lowest and outermost of the free wall."""
    corner = np.array([-0.75, -0.25, -0.6])
    p = rca.points - surface.right_frame.base
    return int(np.clip(np.argmax(p @ corner), 6, len(p) - 4))


def _first_child(drafts: list[Draft], parent: int, families: dict[str, float], fallback: int) -> int:
    """Where the first child leaves whose name, or name without its number, is in `families` and that is as wide (mm) as that says."""
    found = [
        d.parent_index
        for d in drafts
        if d.parent == parent
        and d.parent_index is not None
        and d.diameter[0] > families.get(d.name, families.get(d.name.rstrip("0123456789"), np.inf))
    ]
    return int(np.clip(min(found) if found else fallback, 2, len(drafts[parent].points) - 4))


def _at_half(d: Draft, cut: int) -> int:
    s = arc(d.points)
    return int(np.clip(np.searchsorted(s, s[cut] + 0.5 * (s[-1] - s[cut])), cut + 1, len(s) - 2))


def _ranges(edges: list[int], names: list[str]) -> tuple[Segment, ...]:
    return tuple((a, b, name) for a, b, name in zip(edges[:-1], edges[1:], names, strict=True) if b > a)
