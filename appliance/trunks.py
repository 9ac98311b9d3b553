"""Which parts of the main arteries were not followed though they must be there: one rule for CAD-RADS and for the report.

What was not seen is not healthy: an occlusion that nothing fills from behind looks just like a lost line, so a missing part counts as one
that cannot be assessed (CAD-RADS 2.0, JCCT 2022;16:536, category and modifier N). What every heart has is from the segment model (SCCT
2014, JCCT 2014;8:342).

| segment | may be absent |
|---|---|
| LM | where LAD and circumflex leave the aorta each for itself |
| pLAD, mLAD, dLAD, pLCx, pRCA | never |
| LCx (beyond the first marginal) | unless the left artery feeds the back of the heart: it often ends as its marginal branch |
| mRCA, dRCA | where the left artery feeds the back of the heart: the right one may end before the acute margin |

A segment of no length is not missing: where the first diagonal leaves beyond half the way to the apex, pLAD goes over into dLAD. Nor is
what a patent graft goes around (CAD-RADS 2.0, modifier G).
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.anatomy import Dominance, SegmentName
from appliance.findings import Branch, Graft

TRUNKS: tuple[tuple[SegmentName, ...], ...] = (("LM",), ("pLAD", "mLAD", "dLAD"), ("pLCx", "LCx"), ("pRCA", "mRCA", "dRCA"))
"""Left main, LAD, circumflex, right coronary artery, each from its beginning on; in the report's order of mention."""

AROUND: dict[SegmentName, tuple[SegmentName, ...]] = {
    "mLAD": ("pLAD",),
    "dLAD": ("pLAD", "mLAD"),
    "D1": ("pLAD",),
    "D2": ("pLAD",),
    "LCx": ("pLCx",),
    "OM1": ("pLCx",),
    "OM2": ("pLCx",),
    "L-PDA": ("pLCx", "LCx"),
    "L-PLB": ("pLCx", "LCx"),
    "mRCA": ("pRCA",),
    "dRCA": ("pRCA", "mRCA"),
    "R-PDA": ("pRCA", "mRCA", "dRCA"),
    "R-PLB": ("pRCA", "mRCA", "dRCA"),
}
"""What a patent graft that is sewn on a segment goes around: the trunk before it."""


def missing_trunks(branches: Sequence[Branch], dominance: Dominance | None, grafts: Sequence[Graft] = ()) -> tuple[SegmentName, ...]:
    """Parts of the main arteries without any centreline that must be there, in the order of mention.

    Args:
        branches: of the findings.
        dominance: None where it cannot be told.
        grafts: those that count.
    """
    absent = perhaps_absent(branches, dominance)
    bypassed = {name for graft in grafts if graft.patency == "patent" and graft.target is not None for name in AROUND.get(graft.target, ())}
    return tuple(name for name in _untraced(branches) if name not in absent and name not in bypassed)


def perhaps_absent(branches: Sequence[Branch], dominance: Dominance | None) -> tuple[SegmentName, ...]:
    """Parts of the main arteries without centreline that many hearts do not have; what comes before them was traced."""
    gone = _untraced(branches)
    found: list[SegmentName] = []
    if "LM" in gone and {"pLAD", "pLCx"} <= {name for branch in branches if branch.parent is None for _, _, name in branch.segments}:
        found.append("LM")
    if "LCx" in gone and "pLCx" not in gone and dominance not in ("left", "codominant"):
        found.append("LCx")
    if dominance == "left" and "pRCA" not in gone:
        found += [name for name in gone if name in ("mRCA", "dRCA")]
    return tuple(found)


def _untraced(branches: Sequence[Branch]) -> tuple[SegmentName, ...]:
    traced = {name for branch in branches for start, end, name in branch.segments if end > start}
    return tuple(name for trunk in TRUNKS for name in trunk if name not in traced and not _of_no_length(name, trunk, branches))


def _of_no_length(name: SegmentName, trunk: tuple[SegmentName, ...], branches: Sequence[Branch]) -> bool:
    """Whether a later part of the trunk begins where an earlier one, or the vessel that it leaves, ends."""
    at = trunk.index(name)
    before, behind = trunk[:at], trunk[at + 1 :]
    for branch in branches:
        for start, _, later in branch.segments:
            if later in behind and (
                (start <= 1 and branch.parent is not None) or any(end >= start and earlier in before for _, end, earlier in branch.segments)
            ):
                return True
    return False
