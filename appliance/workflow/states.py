"""The life of a study as data: ``(state, event) -> (state, effects)``.

`STATE_TABLE` is the whole truth about what may happen to a study; a cell that is not in it is refused. A transition is one database
transaction: the study's row, its numbered event, outbox rows and audit entry are committed together or not at all.

``python -m appliance.workflow.states`` prints the drawing for ARCHITECTURE.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from appliance.archive.audit import AuditTrail
from appliance.archive.database import Database
from appliance.archive.studies import StudyRecord, StudyStore
from appliance.errors import Reason, WorkflowError
from appliance.study import Approval, StudyHeader
from appliance.worklist import STUDY_STATES, StudyState

StudyEvent = Literal[
    "images_arrived",  # images that the present result does not depend on, or that come while images are awaited
    "late_images",  # images that would change the result: they came after the study had been taken as complete
    "series_came",  # another series that a new analysis would use, when a person has already dealt with the result
    "completed",  # intake: the series is whole and quiet, and one that may be analysed
    "declined",  # intake or analysis: not a study for the analysis
    "claimed",  # the analyst takes the study
    "interrupted",  # the analyst died while it had the study
    "stopped",  # the analyst was told to stop while it had the study
    "analysed",  # the draft is on the disk
    "analysis_failed",  # a typed failure, or too many interruptions
    "retried",  # a person asks for another analysis
    "reanalysed",  # a person asks for the analysis of all series, those that came later too
    "corrected",  # a person has changed the draft
    "approved",  # a person approves; the undo window opens
    "undone",  # a person takes the approval back
    "window_closed",  # the undo window is over
    "release_begun",  # the analyst makes films and objects
    "released",  # films and objects are on the disk and in the outbox
    "release_failed",  # they could not be made
    "delivery_done",  # every row of the outbox is done
]
EVENTS: tuple[StudyEvent, ...] = get_args(StudyEvent)

Effect = Literal[
    "count_images",  # from the facts
    "new_generation",  # generation + 1; draft, approval, reason, degree and progress go
    "set_main_series",  # and the header of its images, from the facts
    "set_reason",  # from the facts
    "clear_reason",
    "keep_lack",  # the reason goes, unless it says what the result lacks
    "count_attempt",  # attempts + 1
    "reset_attempts",
    "set_draft",  # draft folder and CAD-RADS from the facts; revision + 1
    "clear_progress",
    "set_approval",  # from the facts; revision + 1
    "clear_approval",  # revision + 1
]

Cell = tuple[StudyState, tuple[Effect, ...]]

_REOPEN: Cell = ("receiving", ("count_images", "new_generation"))

_AGAIN: Cell = ("queued", ("new_generation", "reset_attempts"))

STATE_TABLE: Mapping[tuple[StudyState, StudyEvent], Cell] = MappingProxyType(
    {
        ("receiving", "images_arrived"): ("receiving", ("count_images",)),
        ("receiving", "completed"): ("queued", ("set_main_series", "clear_reason", "reset_attempts")),
        ("receiving", "declined"): ("declined", ("set_reason",)),
        #
        ("queued", "images_arrived"): ("queued", ("count_images",)),
        ("queued", "late_images"): _REOPEN,
        ("queued", "claimed"): ("analysing", ("count_attempt", "clear_progress")),
        #
        ("analysing", "images_arrived"): ("analysing", ("count_images",)),
        ("analysing", "late_images"): _REOPEN,
        ("analysing", "interrupted"): ("queued", ("clear_progress",)),
        ("analysing", "stopped"): ("queued", ("clear_progress", "reset_attempts")),
        ("analysing", "analysed"): ("draft", ("set_draft", "clear_progress", "clear_reason", "reset_attempts")),
        ("analysing", "declined"): ("declined", ("set_draft", "set_reason", "clear_progress", "reset_attempts")),
        ("analysing", "analysis_failed"): ("failed", ("set_reason", "clear_progress")),
        #
        ("draft", "images_arrived"): ("draft", ("count_images",)),
        ("draft", "late_images"): _REOPEN,
        ("draft", "series_came"): ("draft", ("count_images", "set_reason")),
        ("draft", "reanalysed"): _AGAIN,
        ("draft", "corrected"): ("draft", ("set_draft",)),
        ("draft", "approved"): ("approving", ("set_approval", "keep_lack", "reset_attempts")),
        #
        ("approving", "images_arrived"): ("approving", ("count_images",)),
        ("approving", "late_images"): _REOPEN,
        ("approving", "series_came"): ("approving", ("count_images", "set_reason")),
        ("approving", "undone"): ("draft", ("clear_approval",)),
        ("approving", "window_closed"): ("approved", ()),
        #
        ("approved", "images_arrived"): ("approved", ("count_images",)),
        ("approved", "late_images"): _REOPEN,
        ("approved", "series_came"): ("approved", ("count_images", "set_reason")),
        ("approved", "release_begun"): ("approved", ("count_attempt",)),
        ("approved", "released"): ("delivering", ("reset_attempts", "clear_progress")),
        ("approved", "release_failed"): ("draft", ("clear_approval", "set_reason", "clear_progress", "reset_attempts")),
        #
        ("delivering", "images_arrived"): ("delivering", ("count_images",)),
        ("delivering", "late_images"): _REOPEN,
        ("delivering", "series_came"): ("delivering", ("count_images", "set_reason")),
        ("delivering", "delivery_done"): ("delivered", ()),
        #
        ("delivered", "images_arrived"): ("delivered", ("count_images",)),
        ("delivered", "late_images"): _REOPEN,
        ("delivered", "series_came"): ("delivered", ("count_images", "set_reason")),
        ("delivered", "reanalysed"): _AGAIN,
        #
        ("declined", "images_arrived"): _REOPEN,
        ("declined", "late_images"): _REOPEN,
        #
        ("failed", "images_arrived"): ("failed", ("count_images",)),
        ("failed", "late_images"): _REOPEN,
        ("failed", "retried"): ("queued", ("clear_reason", "reset_attempts")),
    }
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What comes with an event; each effect takes what it needs."""

    images: int = 0
    main_series: str | None = None
    header: StudyHeader | None = None
    reason: Reason | None = None
    draft: str | None = None
    cad_rads: str | None = None
    approval: Approval | None = None


Change = Callable[[StudyRecord, Facts], Mapping[str, Any]]

LACKS_SERIES = "WF-015"
"""Code of the reason of a result that lacks a series which came later: an approval takes nothing away from that."""
_NEW_GENERATION = {"attempts": 0, "stage": None, "progress": None, "cad_rads": None, "reason": None, "approval": None, "draft": None}
CHANGES: Mapping[Effect, Change] = MappingProxyType(
    {
        "count_images": lambda study, facts: {"images": study.images + facts.images},
        "new_generation": lambda study, _: {**_NEW_GENERATION, "generation": study.generation + 1, "revision": study.revision + 1},
        "set_main_series": lambda study, facts: {"main_series": facts.main_series, "header": facts.header or study.header},
        "set_reason": lambda _, facts: {"reason": facts.reason},
        "clear_reason": lambda _study, _facts: {"reason": None},
        "keep_lack": lambda study, _: {"reason": study.reason if study.reason is not None and study.reason.code == LACKS_SERIES else None},
        "count_attempt": lambda study, _: {"attempts": study.attempts + 1},
        "reset_attempts": lambda _study, _facts: {"attempts": 0},
        "set_draft": lambda study, facts: {"draft": facts.draft, "cad_rads": facts.cad_rads, "revision": study.revision + 1},
        "clear_progress": lambda _study, _facts: {"stage": None, "progress": None},
        "set_approval": lambda study, facts: {"approval": facts.approval, "revision": study.revision + 1},
        "clear_approval": lambda study, _: {"approval": None, "revision": study.revision + 1},
    }
)


def next_record(study: StudyRecord, event: StudyEvent, facts: Facts) -> StudyRecord:
    """The study as it is after the event (a pure function of the table).

    Raises:
        WorkflowError: the state does not allow the event.
    """
    cell = STATE_TABLE.get((study.state, event))
    if cell is None:
        raise WorkflowError(
            "WF-001",
            zh=f"检查处于“{STATE_ZH[study.state]}”状态,不能执行此操作",
            en=f"the study is {study.state}, which does not allow this ({event})",
            state=study.state,
            event=event,
        )
    state, effects = cell
    for effect in effects:
        study = msgspec.structs.replace(study, **CHANGES[effect](study, facts))
    return msgspec.structs.replace(study, state=state)


@dataclass(frozen=True)
class StudyMachine:
    """Carries transitions out.

    Attributes:
        database: for transactions that hold more than the transition.
        studies: the rows.
        audit: every transition but the mere arrival of images is recorded.
    """

    database: Database
    studies: StudyStore
    audit: AuditTrail

    def apply(
        self,
        key: str,
        event: StudyEvent,
        *,
        facts: Facts | None = None,
        actor: str = "coronet",
        details: Mapping[str, Any] | None = None,
        generation: int | None = None,
        revision: int | None = None,
    ) -> StudyRecord:
        """Carry out one transition, alone or as a part of the caller's transaction.

        Args:
            key: the study.
            event: what happened.
            facts: what the effects need.
            actor: user id of the person, or ``coronet``.
            details: further facts for the audit entry.
            generation: refuse if images came since: the event belongs to this generation.
            revision: refuse if the draft has changed since: the event belongs to this revision.

        Raises:
            WorkflowError: WF-001 the state does not allow it, WF-002 the generation is another, WF-003 the revision is another.
            ArchiveError: no such study.
        """
        with self.database.transaction():
            before = self.studies.get(key)
            if generation is not None and before.generation != generation:
                raise WorkflowError("WF-002", zh="检查又收到了新影像", en="the study has received further images", study=key)
            if revision is not None and before.revision != revision:
                raise WorkflowError("WF-003", zh="草稿已更新,请重新查看", en="the draft has changed, look again", study=key)
            after = self.studies.save(next_record(before, event, facts or Facts()))
            if event != "images_arrived" or after.state != before.state:
                entry = {
                    "event": event,
                    "from": before.state,
                    "to": after.state,
                    "generation": after.generation,
                    "revision": after.revision,
                }
                self.audit.record(actor=actor, action="transition", study=key, details={**entry, **(details or {})})
        return after

    def transaction(self) -> AbstractContextManager[Any]:
        """A transaction that may hold several transitions and other rows."""
        return self.database.transaction()


STATE_ZH: Mapping[StudyState, str] = MappingProxyType(
    {
        "receiving": "接收中",
        "queued": "排队中",
        "analysing": "分析中",
        "draft": "待审核",
        "approving": "审核(可撤销)",
        "approved": "已审核",
        "delivering": "发送中",
        "delivered": "已完成",
        "declined": "不予分析",
        "failed": "分析失败",
    }
)


def drawing() -> str:
    """The table as a Mermaid state diagram; arrows between the same two states are joined."""
    arrows: dict[tuple[StudyState, StudyState], list[StudyEvent]] = {}
    for (state, event), (target, _) in STATE_TABLE.items():
        arrows.setdefault((state, target), []).append(event)
    lines = ["stateDiagram-v2", "    [*] --> receiving"]
    lines += [
        f"    {state} --> {target}: {', '.join(arrows[state, target])}"
        for state in STUDY_STATES
        for target in STUDY_STATES
        if (state, target) in arrows
    ]
    return "\n".join([*lines, "    delivered --> [*]"]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(drawing())
