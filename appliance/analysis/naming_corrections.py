"""A person's name for a branch or a segment, and everything that follows from it: a correction always wins.

What hangs below a name is done anew: the artery of the branch and of its side branches, dominance, the segments of the lesions and of what
cannot be read, the calcium score of each artery, scores and CAD-RADS. Lines and measurements do not depend on names and stay as they are.

A branch that becomes a trunk as a whole gets that trunk's segments: their borders where its side branches leave it (SCCT 2014,
JCCT 2014;8:342), where none tells, at equal parts of its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from appliance.analysis.cadrads import territory_of, with_category
from appliance.anatomy import SEGMENTS, SIDE_BRANCHES, Dominance, SegmentName, Vessel, can_be_called
from appliance.errors import AnalysisError
from appliance.findings import (
    Branch,
    Calcium,
    CalciumDeposit,
    Findings,
    Graft,
    Lesion,
    NotAssessable,
    Quality,
    SegmentQuality,
    VesselQuality,
)

POSTERIOR: frozenset[SegmentName] = frozenset({"R-PDA", "R-PLB", "L-PDA", "L-PLB"})
"""What dominance is told by."""
TRUNK_SEGMENTS: dict[Vessel, tuple[SegmentName, ...]] = {
    "LM": ("LM",),
    "LAD": ("pLAD", "mLAD", "dLAD"),
    "LCX": ("pLCx", "LCx"),
    "RCA": ("pRCA", "mRCA", "dRCA"),
}
FIRST_BORDER: dict[Vessel, SegmentName] = {"LAD": "D1", "LCX": "OM1"}
"""The side branch whose origin ends a trunk's first segment."""
CALLED_AFTER: dict[Vessel, dict[SegmentName, SegmentName]] = {
    "LAD": {"OM1": "D1", "OM2": "D2"},
    "LCX": {"D1": "OM1", "D2": "OM2", "R-PDA": "L-PDA", "R-PLB": "L-PLB"},
    "RCA": {"L-PDA": "R-PDA", "L-PLB": "R-PLB"},
}
"""What the side branches of a trunk are called when it becomes another trunk; those that are not listed lose their name."""
CALCIUM_VESSELS = ("LM", "LAD", "LCX", "RCA")

OfSegment = TypeVar("OfSegment", NotAssessable, SegmentQuality)

Place = tuple[int, int | None]
"""Branch id and number of the segment within the branch; None: the whole branch."""


def rename(findings: Findings, names: Mapping[Place, SegmentName]) -> Findings:
    """The findings with other names for some segments or whole branches.

    Args:
        findings: of an analysed study.
        names: by place.

    Raises:
        AnalysisError: ANA-702 the findings hold no analysis; ANA-703 no such branch or segment; ANA-704 the name belongs to a trunk, and
            the segment to another one or to a side branch.
    """
    if findings.cad_rads is None:
        raise AnalysisError("ANA-702", zh="该检查没有可修改的分析结果", en="the study has no analysis to correct")
    by_id = {branch.id: branch for branch in findings.branches}
    for (number, segment), name in names.items():
        if number not in by_id or (segment is not None and not 0 <= segment < len(by_id[number].segments)):
            raise AnalysisError("ANA-703", zh="要改名的血管节段不存在", en="the segment to rename does not exist")
        if not can_be_called(by_id[number].vessel, name, whole=segment is None):
            raise AnalysisError("ANA-704", zh="该名称不能用于此血管", en="this name cannot be given to this vessel", name=name)
    branches = _with_vessels(_renamed_tree(findings.branches, names), changed={number for number, _ in names})
    changed = {branch.id: branch for branch in branches}
    quality, calcium = findings.quality, findings.calcium
    if quality is not None:
        segments = _moved_names(quality.segments, findings.branches, branches)
        quality = msgspec.structs.replace(
            quality,
            not_assessable=_moved_names(quality.not_assessable, findings.branches, branches),
            segments=segments,
            vessels=_regraded(quality, segments, branches),
        )
    return with_category(
        msgspec.structs.replace(
            findings,
            branches=branches,
            lesions=tuple(_of_branch(lesion, changed) for lesion in findings.lesions),
            quality=quality,
            calcium=None if calcium is None else reassigned(calcium, branches),
            grafts=tuple(_of_target(graft, changed) for graft in findings.grafts),
            **_dominance(findings, branches),
        )
    )


def set_dominance(findings: Findings, dominance: Dominance | None) -> Findings:
    """The findings with the dominance that a person says; None takes a correction back and derives it from the names.

    Raises:
        AnalysisError: ANA-702 the findings hold no analysis.
    """
    if findings.cad_rads is None:
        raise AnalysisError("ANA-702", zh="该检查没有可修改的分析结果", en="the study has no analysis to correct")
    derived = dominance_of(findings.branches) if dominance is None else dominance
    return msgspec.structs.replace(
        findings,
        dominance=derived,
        dominance_reason="not_determined" if derived is None else None,
        dominance_source="measured" if dominance is None else "corrected",
    )


def _dominance(findings: Findings, branches: Sequence[Branch]) -> dict[str, str | None]:
    """What dominance becomes by new names: a person's stays, else it changes only if the posterior branches do."""
    posterior = [{name for branch in tree for _, _, name in branch.segments} & POSTERIOR for tree in (findings.branches, branches)]
    if findings.dominance_source == "corrected" or posterior[0] == posterior[1]:
        return {}
    told = dominance_of(branches)
    return {"dominance": told, "dominance_reason": (findings.dominance_reason or "not_determined") if told is None else None}


def vessel_scores(deposits: Sequence[CalciumDeposit], branches: Sequence[Branch]) -> dict[str, float]:
    """Agatston score of LM, LAD, LCX and RCA; deposits on branches of no known artery belong to none."""
    by_id = {branch.id: branch for branch in branches}
    scores = dict.fromkeys(CALCIUM_VESSELS, 0.0)
    for deposit in deposits:
        branch = by_id[deposit.branch]
        territory = territory_of(branch.vessel, branch.segment_at(deposit.point))
        if territory is not None:
            scores[territory] += deposit.agatston
    return {vessel: round(score, 2) for vessel, score in scores.items()}


def reassigned(calcium: Calcium, branches: Sequence[Branch]) -> Calcium:
    """The calcium score by the arteries as they are named now; without deposits in the findings it stays as it was."""
    if not calcium.deposits:
        return calcium
    vessels = vessel_scores(calcium.deposits, branches)
    return msgspec.structs.replace(calcium, vessels=vessels, unassigned=round(max(calcium.agatston - sum(vessels.values()), 0.0), 2))


def dominance_of(branches: Sequence[Branch]) -> Dominance | None:
    """Right, left or co-dominant by which posterior branches exist; None where no posterior descending artery was traced.

    Right: posterior descending and posterolateral artery from the right. Left: posterior descending artery from the left alone.
    Co-dominant: from both, or a right posterior descending artery with a posterolateral one from the left only (SCCT 2014).
    """
    seen = {name for branch in branches for _, _, name in branch.segments}
    right, left = {"R-PDA", "R-PLB"} & seen, {"L-PDA", "L-PLB"} & seen
    if "R-PDA" in right:
        shared = "L-PDA" in left or ("L-PLB" in left and "R-PLB" not in right)
        return "codominant" if shared else "right"
    if "L-PDA" in left:
        return "codominant" if right else "left"
    return None


def _renamed_tree(branches: Sequence[Branch], names: Mapping[Place, SegmentName]) -> list[Branch]:
    """All branches with their new names; the side branches of a branch that became a trunk are called after it."""
    whole = {number: name for (number, segment), name in names.items() if segment is None}
    trunks = {number: SEGMENTS[name].vessel for number, name in whole.items() if name not in SIDE_BRANCHES}
    out = []
    for branch in branches:
        trunk = trunks.get(branch.parent) if branch.parent is not None else None
        if branch.id not in trunks and trunk is not None and branch.id not in whole and branch.name in SIDE_BRANCHES - {"other"}:
            called = branch.name if SEGMENTS[branch.name].vessel == trunk else CALLED_AFTER.get(trunk, {}).get(branch.name, "other")
            branch = _called(branch, called)
        out.append(branch)
    renamed = [_called(branch, whole[branch.id]) if branch.id in whole else _renamed(branch, names) for branch in out]
    return [_as_trunk(branch, trunks[branch.id], renamed) if branch.id in trunks else branch for branch in renamed]


def _called(branch: Branch, name: SegmentName) -> Branch:
    """The whole branch under one name."""
    if branch.segments == ((0, len(branch.points_mm), name),):
        return branch
    segments, vessel = ((0, len(branch.points_mm), name),), branch.vessel if name == "other" else SEGMENTS[name].vessel
    return msgspec.structs.replace(branch, segments=segments, vessel=vessel, name_confidence=1.0, name_source="corrected")


def _as_trunk(branch: Branch, vessel: Vessel, branches: Sequence[Branch]) -> Branch:
    """A branch as the whole of a trunk, in that trunk's segments."""
    names, count = TRUNK_SEGMENTS[vessel], len(branch.points_mm)
    first = next(
        (
            child.parent_index
            for child in branches
            if child.parent == branch.id and child.name == FIRST_BORDER.get(vessel) and child.parent_index is not None
        ),
        None,
    )
    if len(names) == 1 or count < 2 * len(names):
        borders = [0, count]
    elif first is None or not 0 < first < count - 1:
        borders = [count * part // len(names) for part in range(len(names) + 1)]
    else:
        borders = [0, first, *([(first + count) // 2] if len(names) == 3 else []), count]
    segments = tuple((start, end, name) for start, end, name in zip(borders, borders[1:], names, strict=False))
    return msgspec.structs.replace(branch, segments=segments, vessel=vessel, name_confidence=1.0, name_source="corrected")


def _renamed(branch: Branch, names: Mapping[Place, SegmentName]) -> Branch:
    """The branch with its new names; neighbouring segments of one name become one."""
    if not any(number == branch.id and segment is not None for number, segment in names):
        return branch
    segments: list[tuple[int, int, SegmentName]] = []
    for number, (start, end, name) in enumerate(branch.segments):
        own = names.get((branch.id, number), name)
        if segments and segments[-1][2] == own:
            segments[-1] = (segments[-1][0], end, own)
        else:
            segments.append((start, end, own))
    return msgspec.structs.replace(branch, segments=tuple(segments), name_confidence=1.0, name_source="corrected")


def _with_vessels(branches: Sequence[Branch], *, changed: set[int]) -> tuple[Branch, ...]:
    """Arteries that follow from the new names; unnamed branches below follow the branch that they leave."""
    out: dict[int, Branch] = {}
    below: set[int] = set()
    for branch in branches:
        vessel: Vessel = branch.vessel
        if branch.id in changed and branch.name != "other":
            vessel = SEGMENTS[branch.name].vessel
        elif branch.id not in changed and branch.parent in below and branch.name == "other":
            vessel = out[branch.parent].vessel if branch.parent is not None else vessel
        if branch.id in changed or (branch.parent in below and branch.name == "other"):
            below.add(branch.id)
        out[branch.id] = msgspec.structs.replace(branch, vessel=vessel)
    return tuple(out.values())


def _of_branch(lesion: Lesion, branches: Mapping[int, Branch]) -> Lesion:
    branch = branches.get(lesion.branch)
    if branch is None or lesion.minimum >= branch.segments[-1][1]:
        return lesion
    return msgspec.structs.replace(lesion, vessel=branch.vessel, segment=branch.segment_at(lesion.minimum))


def _of_target(graft: Graft, branches: Mapping[int, Branch]) -> Graft:
    """A graft with the name that the place it is sewn to has now."""
    target = None if graft.target_branch is None else branches.get(graft.target_branch)
    if target is None or graft.target_index is None or graft.target_index >= target.segments[-1][1]:
        return graft
    named = target.segment_at(graft.target_index)
    known = None if named == "other" else named
    return msgspec.structs.replace(graft, target=known, target_reason=None if known is not None else "not_named")


def _moved_names(entries: Sequence[OfSegment], before: Sequence[Branch], after: Sequence[Branch]) -> tuple[OfSegment, ...]:
    """What is said of segments, under the names that the same points have now."""
    found: dict[SegmentName, OfSegment] = {}
    for entry in entries:
        places = [(branch.id, start) for branch in before for start, _, name in branch.segments if name == entry.segment]
        by_id = {branch.id: branch for branch in after}
        if entry.branch is not None and entry.start is not None:
            places = [(entry.branch, entry.start)]
        for name in [by_id[number].segment_at(start) for number, start in places] or [entry.segment]:
            found.setdefault(name, msgspec.structs.replace(entry, segment=name))
    order = list(SEGMENTS)
    return tuple(found[name] for name in sorted(found, key=order.index))


def _regraded(quality: Quality, segments: Sequence[SegmentQuality], branches: Sequence[Branch]) -> tuple[VesselQuality, ...]:
    """How well each artery is shown, anew for those that lost or won a segment; the others may come from another phase and stay."""
    before, after = ({(each.branch, each.start, SEGMENTS[each.segment].territory) for each in of} for of in (quality.segments, segments))
    changed = {artery for _, _, artery in before ^ after}
    if not changed or not quality.vessels:
        return quality.vessels
    from appliance.analysis.quality_vessels import grade_arteries  # brings numeric libraries, which would keep the daemon from receiving

    known = {each.vessel: each for each in quality.vessels if each.vessel not in changed}
    known |= {each.vessel: each for each in grade_arteries(branches, segments, quality.aorta_noise_hu) if each.vessel in changed}
    return tuple(known[artery] for artery in sorted(known))
