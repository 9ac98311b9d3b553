"""Whatever happens to a study in whatever order: what must hold of it always."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.archive.studies import StudyRecord
from appliance.errors import Reason, WorkflowError
from appliance.study import Approval, StudyHeader
from appliance.workflow.states import EVENTS, LACKS_SERIES, Facts, next_record
from appliance.worklist import STUDY_STATES

APPROVAL = Approval(user_id="u1", user_name="陈医师", role="physician", at=datetime(2026, 1, 1, tzinfo=UTC))
AFTER_APPROVAL = {"approving", "approved", "delivering", "delivered"}


class AnyLife(RuleBasedStateMachine):
    """A study to which events happen; those that its state refuses must change nothing."""

    def __init__(self) -> None:
        super().__init__()
        header = StudyHeader(study_uid="1.2", series_uid="1.2.1")
        self.study = StudyRecord(key="k", study_uid="1.2", state="receiving", header=header, received_at=0.0, updated_at=0.0)
        self.drafts = 0

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: str) -> None:
        before = self.study
        self.drafts += 1
        facts = Facts(
            images=1,
            main_series="1.2.1",
            reason=Reason(LACKS_SERIES if event == "series_came" else "X-1", "因", "why"),
            draft=f"d{self.drafts}",
            cad_rads="CAD-RADS 1/P1",
            approval=APPROVAL,
        )
        try:
            self.study = next_record(before, event, facts)  # type: ignore[arg-type]
        except WorkflowError:
            return
        assert self.study.revision >= before.revision
        assert self.study.generation >= before.generation
        assert self.study.images >= before.images
        if self.study.draft != before.draft or self.study.approval != before.approval:
            assert self.study.revision > before.revision, "what a person saw has changed, so its number has"
        if before.approval is not None and self.study.draft != before.draft:
            assert self.study.approval is None, "an approval never passes to another draft"

    @invariant()
    def what_was_approved_is_a_draft_that_a_person_approved(self) -> None:
        if self.study.state in AFTER_APPROVAL:
            assert self.study.draft is not None
            assert self.study.approval is not None
        else:
            assert self.study.approval is None

    @invariant()
    def a_draft_can_be_shown(self) -> None:
        if self.study.state == "draft":
            assert self.study.draft is not None
        if self.study.state in {"receiving", "queued", "analysing"}:
            assert self.study.draft is None

    @invariant()
    def failures_have_a_reason_and_others_none(self) -> None:
        if self.study.state in {"failed", "declined"}:
            assert self.study.reason is not None
        elif self.study.state in AFTER_APPROVAL:
            assert self.study.reason is None or self.study.reason.code == LACKS_SERIES, "only a later series is told of what was approved"
        elif self.study.state != "draft":
            assert self.study.reason is None
        assert self.study.state in STUDY_STATES

    @invariant()
    def progress_is_shown_only_while_something_runs(self) -> None:
        if self.study.state not in {"analysing", "approved"}:
            assert self.study.progress is None


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, database=None)
