"""Sends once more what a destination has already: it was lost or deleted there, or is wanted again.

WF-091  nothing of the study was stored there                WF-092  its files are no longer on this box
"""

from __future__ import annotations

from appliance.archive.archive import Archive
from appliance.archive.outbox import OutboxRow
from appliance.archive.studies import StudyRecord
from appliance.errors import WorkflowError
from appliance.worklist import StudyState

RELEASED: frozenset[StudyState] = frozenset({"delivering", "delivered"})


def send_again(archive: Archive, study: StudyRecord, *, to: str, actor: str) -> int:
    """Enlist the study's stores to a destination once more, and send at once what waits there; audited.

    Films are never printed again this way, nor does a result go whose release no longer stands.

    Args:
        archive: the outbox.
        study: which.
        to: name of the destination; empty: every one that the study was stored to.
        actor: who asks, for the audit trail.

    Returns:
        How many rows of the outbox go.

    Raises:
        WorkflowError: WF-091, WF-092.
    """
    with archive.database.transaction():
        rows = [row for row in archive.outbox.of_study(study.key) if (not to or row.destination == to) and _may_go(row, study)]
        if not rows:
            raise WorkflowError("WF-091", zh="该目的地没有此检查的传输记录", en="nothing of this study was stored there", study=study.key)
        if not all((archive.data / file.path).exists() for row in rows for file in row.files):
            raise WorkflowError("WF-092", zh="影像已不在本机,无法重发", en="the files are no longer on this box", study=study.key)
        archive.outbox.send_again([row.id for row in rows])
        details = {"rows": len(rows), "to": sorted({row.destination for row in rows})}
        archive.audit.record(actor=actor, action="send again", study=study.key, details=details)
        archive.studies.save(archive.studies.get(study.key))
    return len(rows)


def _may_go(row: OutboxRow, study: StudyRecord) -> bool:
    """A store that is done or waits; results only of the release that stands."""
    stands = row.purpose == "source" or (row.generation == study.generation and study.state in RELEASED)
    return row.kind == "store" and row.state in {"done", "retrying"} and stands
