"""What a person may change in a draft: each change says what it does to the findings and what the audit trail is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.analysis.cadrads import apply_corrections, enter
from appliance.analysis.naming_corrections import rename, set_dominance
from appliance.anatomy import Dominance, SegmentName
from appliance.errors import WorkflowError
from appliance.findings import Entered, Findings, Grade


@dataclass(frozen=True)
class DraftChange:
    """A change of a draft.

    Attributes:
        apply: the findings after it; everything that depends on what was changed is done anew.
        told: what the audit trail keeps, from the findings before and after.
    """

    apply: Callable[[Findings], Findings]
    told: Callable[[Findings, Findings], dict[str, Any]]


def grade_change(lesion: int, grade: Grade) -> DraftChange:
    """Another degree for a lesion; WF-055 where there is no such lesion."""

    def apply(findings: Findings) -> Findings:
        if all(each.id != lesion for each in findings.lesions):
            raise WorkflowError("WF-055", zh="没有此病变", en="no such lesion", kind="not_found")
        return apply_corrections(findings, {lesion: grade})

    def told(before: Findings, _after: Findings) -> dict[str, Any]:
        was = next(each.grade for each in before.lesions if each.id == lesion)
        return {"lesion": lesion, "before": was, "after": grade}

    return DraftChange(apply, told)


def name_change(branch: int, segment: int | None, name: SegmentName) -> DraftChange:
    """Another name for a segment of a branch, or with ``segment`` None for the whole branch; ANA-703, ANA-704 where it cannot be."""

    def told(before: Findings, _after: Findings) -> dict[str, Any]:
        names = [each for _, _, each in before.branch(branch).segments]
        return {"branch": branch, "segment": segment, "before": names[segment] if segment is not None else "+".join(names), "after": name}

    return DraftChange(lambda findings: rename(findings, {(branch, segment): name}), told)


def dominance_change(dominance: Dominance | None) -> DraftChange:
    """What a person says of dominance; None takes that back."""

    def told(before: Findings, after: Findings) -> dict[str, Any]:
        return {"dominance": after.dominance_source, "before": before.dominance, "after": after.dominance}

    return DraftChange(lambda findings: set_dominance(findings, dominance), told)


def entry_change(entered: Entered) -> DraftChange:
    """What a physician enters for CAD-RADS, in place of what was entered before."""

    def told(before: Findings, after: Findings) -> dict[str, Any]:
        pairs = ((name, getattr(before.entered, name), getattr(after.entered, name)) for name in ("ischaemia", "grafts", "exceptions"))
        changed = {name: (was, now) for name, was, now in pairs if was != now}
        return {
            "modifiers": sorted(changed),
            "before": {name: was for name, (was, _) in changed.items()},
            "after": {name: now for name, (_, now) in changed.items()},
        }

    def apply(findings: Findings) -> Findings:
        from appliance.analysis.grafts import settle_grafts  # brings numeric libraries, which would keep the daemon's start from receiving

        return enter(settle_grafts(findings, rejected=entered.grafts is False), entered)

    return DraftChange(apply, told)
