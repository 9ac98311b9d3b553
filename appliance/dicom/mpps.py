"""Modality performed procedure steps (PS3.4 annex F): taken from the CT on the receiver's port, passed on to the RIS as they came.

Status of an N-CREATE or N-SET: 0000 kept durably, 0106 a status that is not allowed, 0110 the step is over (Error ID A710) or it could
not be kept, 0111 the step exists already, 0112 there is no such step, 0117 no valid SOP Instance UID.

DCM-050  the RIS does not take a performed procedure step
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context

from appliance.archive.procedure_steps import COMPLETED, DISCONTINUED, IN_PROGRESS, ProcedureSteps, StepMessage
from appliance.dicom.association import associate, connection_lost, understood
from appliance.dicom.dataset_start import is_uid
from appliance.dicom.service import Handler
from appliance.errors import DicomError
from appliance.settings import MppsSettings

PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
SUCCESS, INVALID_VALUE, PROCESSING_FAILURE, DUPLICATE, NO_SUCH_INSTANCE, INVALID_INSTANCE = 0, 0x0106, 0x0110, 0x0111, 0x0112, 0x0117
MAY_NOT_BE_UPDATED = 0xA710
"""Error ID (0000,0903), PS3.4 F.7.2.2.2."""
WARNINGS = (0x0001, 0x0107, 0x0116)
LARGEST_MESSAGE = 4 << 20

log = logging.getLogger(__name__)
Answer = tuple[Dataset | int, Dataset | None]


class ProcedureStepService:
    """See the module; a `Service` of the receiver.

    Args:
        steps: where messages are kept.
    """

    def __init__(self, *, steps: ProcedureSteps) -> None:
        self._steps = steps

    @property
    def contexts(self) -> Sequence[PresentationContext]:
        """The SOP class."""
        return [build_context(PROCEDURE_STEP, [EXPLICIT, IMPLICIT])]

    @property
    def handlers(self) -> Sequence[Handler]:
        """Creation and change of steps."""
        return [(evt.EVT_N_CREATE, self._created), (evt.EVT_N_SET, self._changed)]

    def _created(self, event: Any) -> Answer:
        return self._guarded(self._create, event, str(event.request.AffectedSOPInstanceUID or ""), event.request.AttributeList)

    def _changed(self, event: Any) -> Answer:
        return self._guarded(self._change, event, str(event.request.RequestedSOPInstanceUID or ""), event.request.ModificationList)

    @staticmethod
    def _guarded(work: Any, event: Any, uid: str, content: BytesIO | None) -> Answer:
        octets = b"" if content is None else content.getvalue()
        if not is_uid(uid):
            return INVALID_INSTANCE, None
        if len(octets) > LARGEST_MESSAGE:
            return PROCESSING_FAILURE, None
        try:
            answer: Answer = work(uid, octets, str(event.context.transfer_syntax))
        except Exception as error:  # noqa: BLE001 - the door stays open; nothing is promised that is not on the disk
            log.error("a procedure step could not be kept: %s", type(error).__name__)  # noqa: TRY400 - the message may hold patient data
            return PROCESSING_FAILURE, None
        return answer

    def _create(self, uid: str, octets: bytes, syntax: str) -> Answer:
        if self._steps.status(uid) is not None:
            return DUPLICATE, None
        content = read_message(octets, syntax)
        if str(content.get("PerformedProcedureStepStatus", "")) != IN_PROGRESS:
            return INVALID_VALUE, None
        scheduled = content.get("ScheduledStepAttributesSequence") or [Dataset()]
        study = str(scheduled[0].get("StudyInstanceUID", ""))
        self._steps.create(uid, study_uid=study, transfer_syntax_uid=syntax, content=octets)
        return SUCCESS, None

    def _change(self, uid: str, octets: bytes, syntax: str) -> Answer:
        before = self._steps.status(uid)
        if before is None:
            return NO_SUCH_INSTANCE, None
        if before != IN_PROGRESS:
            refusal: Any = Dataset()
            refusal.Status, refusal.ErrorID = PROCESSING_FAILURE, MAY_NOT_BE_UPDATED
            return refusal, None
        content = read_message(octets, syntax)
        status = str(content.get("PerformedProcedureStepStatus", "")) or None
        if status not in (None, IN_PROGRESS, COMPLETED, DISCONTINUED):
            return INVALID_VALUE, None
        self._steps.change(uid, status=status, images=_images(content), transfer_syntax_uid=syntax, content=octets)
        return SUCCESS, None


def read_message(octets: bytes, transfer_syntax: str) -> Dataset:
    """The data set of a message; values stay as they came until they are asked for."""
    return read_dataset(BytesIO(octets), is_implicit_VR=transfer_syntax == IMPLICIT, is_little_endian=True)


@understood()
def pass_on(settings: MppsSettings, message: StepMessage) -> None:
    """Send one message to the RIS, unchanged, under the same SOP Instance UID.

    A step that the RIS has already (0111: the answer to an earlier try was lost) counts as passed on.

    Raises:
        DicomError: the RIS cannot be reached, does not take it (DCM-050), or it cannot be written as a message (DCM-009).
    """
    content = read_message(message.content, message.transfer_syntax_uid)
    with associate(
        host=settings.host,
        port=settings.port,
        ae_title=settings.ae_title,
        calling_ae_title=settings.calling_ae_title,
        contexts=[build_context(PROCEDURE_STEP, [message.transfer_syntax_uid, IMPLICIT])],
        timeout_s=settings.timeout_s,
    ) as association:
        send = association.send_n_create if message.kind == "create" else association.send_n_set
        answer, _ = send(content, PROCEDURE_STEP, message.step)
    if "Status" not in answer:
        raise connection_lost()
    if answer.Status in (SUCCESS, *WARNINGS) or (answer.Status == DUPLICATE and message.kind == "create"):
        return
    raise DicomError(
        "DCM-050",
        zh=f"RIS 未接收检查步骤({answer.Status:04X})",
        en=f"the RIS does not take a performed procedure step ({answer.Status:04X})",
    )


def _images(content: Dataset) -> list[tuple[str, str]]:
    """(series, SOP instance) UIDs of all that the step says it made."""
    made = []
    for series in content.get("PerformedSeriesSequence") or []:
        references = [*(series.get("ReferencedImageSequence") or []), *(series.get("ReferencedNonImageCompositeSOPInstanceSequence") or [])]
        made += [(str(series.get("SeriesInstanceUID", "")), str(item.get("ReferencedSOPInstanceUID", ""))) for item in references]
    return made
