"""Storage commitment on associations that we open (PS3.4 annex J): asking an archive, and reporting to who asked us.

DCM-030  the peer refuses a storage commitment request
DCM-031  the peer does not take a storage commitment report
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.archive.commitments import CommitmentItem, CommitmentRequest
from appliance.dicom.association import associate, connection_lost, understood
from appliance.errors import DicomError
from appliance.settings import DestinationSettings, PeerSettings

PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
REQUEST = 1
"""Action Type ID of a request."""
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs of a report."""
PROCESSING_FAILURE, NO_SUCH_EVENT = 0x0110, 0x0113

Report = tuple[str, list[str], dict[str, int]]
"""Transaction UID, committed SOP Instance UIDs, failed ones with their Failure Reason."""


@understood()
def ask_commitment(
    destination: DestinationSettings,
    *,
    transaction_uid: str,
    items: Sequence[tuple[str, str]],
    reported: Callable[[Report], bool],
    wait_s: float,
) -> None:
    """Ask an archive to commit to (SOP class UID, SOP instance UID) items; stay a while for a report on the same association.

    Args:
        destination: the archive.
        transaction_uid: of the request.
        items: what it has accepted.
        reported: takes a report in; False if it belongs to no request of ours.
        wait_s: how long to stay; 0 to leave at once.

    Raises:
        DicomError: the archive cannot be reached or refuses the request (DCM-030).
    """
    come = threading.Event()

    def take(event: Event) -> tuple[int, None]:
        status = answer_report(event, reported)
        come.set()
        return status, None

    with associate(
        host=destination.host,
        port=destination.port,
        ae_title=destination.ae_title,
        calling_ae_title=destination.calling_ae_title,
        contexts=[build_context(PUSH_MODEL, SYNTAXES)],
        timeout_s=destination.timeout_s,
        handlers=[(evt.EVT_N_EVENT_REPORT, take)],
    ) as association:
        information: Any = Dataset()
        information.TransactionUID = transaction_uid
        information.ReferencedSOPSequence = [_reference(*item) for item in items]
        answer, _ = association.send_n_action(information, REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        if "Status" not in answer:
            raise connection_lost()
        if answer.Status != 0x0000:
            raise DicomError(
                "DCM-030",
                zh=f"归档拒绝存储确认请求({answer.Status:04X})",
                en=f"the archive refuses the storage commitment request ({answer.Status:04X})",
            )
        come.wait(wait_s)


def answer_report(event: Event, reported: Callable[[Report], bool]) -> int:
    """The status for an N-EVENT-REPORT, after it has been taken in durably."""
    if event.event_type not in (ALL_COMMITTED, SOME_FAILED):
        return NO_SUCH_EVENT
    return 0x0000 if reported(read_report(event.event_information)) else PROCESSING_FAILURE


def read_report(information: Dataset) -> Report:
    """The content of an N-EVENT-REPORT (PS3.4 table J.3-3)."""
    committed = [str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence", [])]
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", PROCESSING_FAILURE))
        for item in information.get("FailedSOPSequence", [])
    }
    return str(information.get("TransactionUID", "")), [uid for uid in committed if uid not in failed], failed


@understood()
def report_commitment(peer: PeerSettings, request: CommitmentRequest) -> None:
    """Tell who asked what has become of the request: a new association, on which we are the SCP (PS3.4 J.3.3).

    Raises:
        DicomError: the peer cannot be reached, or does not take the report (DCM-031).
    """
    failed = [item for item in request.items if item.outcome]
    information: Any = Dataset()
    information.TransactionUID = request.transaction_uid
    committed = [_reference(item.sop_class_uid, item.sop_instance_uid) for item in request.items if item.outcome == 0]
    if committed:
        information.ReferencedSOPSequence = committed
    if failed:
        information.FailedSOPSequence = [_failure(item) for item in failed]
    with associate(
        host=peer.host,
        port=peer.port,
        ae_title=peer.ae_title,
        calling_ae_title=request.called,
        contexts=[build_context(PUSH_MODEL, SYNTAXES)],
        timeout_s=peer.timeout_s,
        roles=[build_role(PUSH_MODEL, scp_role=True)],
    ) as association:
        answer, _ = association.send_n_event_report(information, SOME_FAILED if failed else ALL_COMMITTED, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        if "Status" not in answer:
            raise connection_lost()
        if answer.Status != 0x0000:
            raise DicomError(
                "DCM-031",
                zh=f"对方不接收存储确认报告({answer.Status:04X})",
                en=f"the peer does not take the storage commitment report ({answer.Status:04X})",
            )


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    return item


def _failure(item: CommitmentItem) -> Dataset:
    reference = _reference(item.sop_class_uid, item.sop_instance_uid)
    reference.FailureReason = item.outcome
    return reference
