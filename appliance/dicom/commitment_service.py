"""Storage commitment on the receiver's port (PS3.4 annex J): requests of the CT, and reports of archives on associations that they open.

Status of an N-ACTION: 0000 kept durably, 0110 it could not be kept, 0115 no instances named, 0123 another action, 0124 the AE has no
address in the settings to which a report could go, 0131 the transaction is known with other instances.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context

from appliance.archive.commitments import Commitments
from appliance.dicom.commitment_scu import PROCESSING_FAILURE, PUSH_MODEL, REQUEST, SYNTAXES, Report, answer_report
from appliance.dicom.dataset_start import is_uid
from appliance.dicom.service import Handler

INVALID_ARGUMENT, NO_SUCH_ACTION, NOT_AUTHORISED, DUPLICATE_TRANSACTION = 0x0115, 0x0123, 0x0124, 0x0131
MOST_INSTANCES = 100_000

log = logging.getLogger(__name__)


class CommitmentService:
    """See the module; a `Service` of the receiver.

    Args:
        commitments: where requests and reports are kept.
        requesters: AE titles whose requests are taken: those with an address to report to. Empty: none, only reports are.
    """

    def __init__(self, *, commitments: Commitments, requesters: Collection[str]) -> None:
        self._commitments = commitments
        self._requesters = frozenset(requesters)

    @property
    def contexts(self) -> Sequence[PresentationContext]:
        """The Push Model class; the requestor may be SCU (the CT asks) or SCP (an archive reports)."""
        context = build_context(PUSH_MODEL, SYNTAXES)
        context.scu_role = True
        context.scp_role = True
        return [context]

    @property
    def handlers(self) -> Sequence[Handler]:
        """Requests and reports."""
        return [(evt.EVT_N_ACTION, self._requested), (evt.EVT_N_EVENT_REPORT, self._reported)]

    def _requested(self, event: Event) -> tuple[int, Dataset | None]:
        requester = str(event.assoc.requestor.ae_title).strip()
        called = str(event.assoc.acceptor.ae_title).strip()
        if event.action_type != REQUEST:
            return NO_SUCH_ACTION, None
        if requester not in self._requesters:
            log.warning("storage commitment asked by an AE without an address in the settings: refused")
            return NOT_AUTHORISED, None
        try:
            information: Any = event.action_information
            transaction = str(information.TransactionUID)
            items = [(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)) for item in information.ReferencedSOPSequence]
        except Exception as error:  # noqa: BLE001 - whatever a hostile data set raises
            log.warning("storage commitment request not understood: %s", type(error).__name__)
            return INVALID_ARGUMENT, None
        if not items or len(items) > MOST_INSTANCES or not is_uid(transaction) or not all(is_uid(uid) for _, uid in items):
            return INVALID_ARGUMENT, None
        try:
            kept = self._commitments.receive(transaction, requester=requester, called=called, items=items)
        except Exception as error:  # noqa: BLE001 - nothing is promised that is not on the disk
            log.error("storage commitment request not kept: %s", type(error).__name__)  # noqa: TRY400
            return PROCESSING_FAILURE, None
        log.info("storage commitment asked for %d instances: %s", len(items), kept)
        return (DUPLICATE_TRANSACTION if kept == "conflict" else 0x0000), None

    def _reported(self, event: Event) -> tuple[int, Dataset | None]:
        try:
            return answer_report(event, self._take), None
        except Exception as error:  # noqa: BLE001 - as above
            log.error("storage commitment report not kept: %s", type(error).__name__)  # noqa: TRY400
            return PROCESSING_FAILURE, None

    def _take(self, report: Report) -> bool:
        transaction, committed, failed = report
        known = self._commitments.report(transaction, committed=committed, failed=failed)
        log.info("storage commitment report: %d committed, %d failed%s", len(committed), len(failed), "" if known else ", not asked for")
        return known
