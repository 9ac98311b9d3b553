"""A person's name for a branch or a segment, and everything that follows from it: a correction always wins.

What hangs below a name is done anew: the artery of the branch and of its unnamed side branches, dominance, the segments of the lesions and
of what cannot be read, scores and CAD-RADS. Lines and measurements do not depend on names and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from appliance.analysis.cadrads import with_category
from appliance.anatomy import SEGMENTS, Dominance, SegmentName, Vessel
from appliance.errors import AnalysisError
from appliance.findings import Branch, Findings, Lesion, NotAssessable

SIDE_BRANCHES: frozenset[SegmentName] = frozenset({"R-PDA", "D1", "D2", "OM1", "OM2", "L-PDA", "R-PLB", "RI", "L-PLB", "other"})
"""Names that a whole branch can have; parts of a trunk are renamed segment by segment."""
POSTERIOR: frozenset[SegmentName] = frozenset({"R-PDA", "R-PLB", "L-PDA", "L-PLB"})
"""What dominance is told by."""


def rename(findings: Findings, names: Mapping[tuple[int, int], SegmentName]) -> Findings:
    """The findings with other names for some segments.

    Args:
        findings: of an analysed study.
        names: by branch id and number of the segment within the branch.

    Raises:
        AnalysisError: ANA-702 the findings hold no analysis; ANA-703 no such branch or segment; ANA-704 the name belongs to a trunk, and
            the segment to another one or to a side branch.
    """
    if findings.cad_rads is None:
        raise AnalysisError("ANA-702", zh="该检查没有可修改的分析结果", en="the study has no analysis to correct")
    by_id = {branch.id: branch for branch in findings.branches}
    for (number, segment), name in names.items():
        if number not in by_id or not 0 <= segment < len(by_id[number].segments):
            raise AnalysisError("ANA-703", zh="要改名的血管节段不存在", en="the segment to rename does not exist")
        if name not in SIDE_BRANCHES and SEGMENTS[name].vessel != by_id[number].vessel:
            raise AnalysisError("ANA-704", zh="该名称不能用于此血管", en="this name cannot be given to this vessel", name=name)
    branches = _with_vessels([_renamed(branch, names) for branch in findings.branches], changed={number for number, _ in names})
    changed = {branch.id: branch for branch in branches}
    posterior = [{name for branch in tree for _, _, name in branch.segments} & POSTERIOR for tree in (findings.branches, branches)]
    dominance = findings.dominance if posterior[0] == posterior[1] else dominance_of(branches)
    quality = findings.quality
    if quality is not None:
        quality = msgspec.structs.replace(quality, not_assessable=_moved_names(quality.not_assessable, findings.branches, branches))
    return with_category(
        msgspec.structs.replace(
            findings,
            branches=branches,
            lesions=tuple(_of_branch(lesion, changed) for lesion in findings.lesions),
            quality=quality,
            dominance=dominance,
            dominance_reason=(findings.dominance_reason or "not_determined") if dominance is None else None,
        )
    )


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


def _renamed(branch: Branch, names: Mapping[tuple[int, int], SegmentName]) -> Branch:
    """The branch with its new names; neighbouring segments of one name become one."""
    if not any(number == branch.id for number, _ in names):
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


def _moved_names(entries: Sequence[NotAssessable], before: Sequence[Branch], after: Sequence[Branch]) -> tuple[NotAssessable, ...]:
    """What cannot be read, under the names that the same points have now."""
    found: dict[SegmentName, NotAssessable] = {}
    for entry in entries:
        places = [(branch.id, start) for branch in before for start, _, name in branch.segments if name == entry.segment]
        by_id = {branch.id: branch for branch in after}
        for name in [by_id[number].segment_at(start) for number, start in places] or [entry.segment]:
            found.setdefault(name, NotAssessable(segment=name, reason=entry.reason))
    order = list(SEGMENTS)
    return tuple(found[name] for name in sorted(found, key=order.index))
