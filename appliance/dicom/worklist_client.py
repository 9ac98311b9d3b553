"""The modality worklist SCU (PS3.4 annex K): orders of the RIS by C-FIND.

DCM-042  the worklist answers with a failure
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from appliance.archive.orders import Order
from appliance.dicom.association import associate, connection_lost, understood
from appliance.errors import DicomError
from appliance.settings import WorklistSettings

MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
PENDING = (0xFF00, 0xFF01)
URGENT = ("STAT", "HIGH")
"""Of Requested Procedure Priority (0040,1003)."""


@understood()
def scheduled(settings: WorklistSettings, *, today: date) -> list[Order]:
    """The CT orders scheduled around a day, for the stations of the settings.

    Raises:
        DicomError: the worklist cannot be reached or fails.
    """
    days = timedelta(days=settings.days)
    orders: list[Order] = []
    for station in settings.station_ae_titles or ("",):
        step = Dataset()
        step.Modality = "CT"
        step.ScheduledStationAETitle = station
        step.ScheduledProcedureStepStartDate = f"{today - days:%Y%m%d}-{today + days:%Y%m%d}"
        orders += _find(settings, _keys(step))
    return list(dict.fromkeys(orders))


@understood()
def by_accession(settings: WorklistSettings, accession_number: str) -> list[Order]:
    """The orders with an accession number, whenever they are scheduled.

    Raises:
        DicomError: the worklist cannot be reached or fails.
    """
    step = Dataset()
    step.ScheduledStationAETitle = ""
    step.ScheduledProcedureStepStartDate = ""
    step.Modality = ""
    keys = _keys(step)
    keys.AccessionNumber = accession_number
    return [order for order in _find(settings, keys) if order.accession_number == accession_number]


def _keys(step: Dataset) -> Any:
    """The identifier of the query: matching keys and those to be returned (PS3.4 table K.6-1)."""
    step.ScheduledProcedureStepStartTime = ""
    step.ScheduledProcedureStepID = ""
    step.ScheduledProcedureStepDescription = ""
    keys: Any = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    keys.ScheduledProcedureStepSequence = [step]
    for keyword in (
        "AccessionNumber", "PatientName", "PatientID", "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription",
        "RequestedProcedurePriority", "ReferringPhysicianName", "RequestingPhysician",
    ):  # fmt: skip
        setattr(keys, keyword, "")
    keys.RequestedProcedureCodeSequence = []
    return keys


def _find(settings: WorklistSettings, keys: Dataset) -> list[Order]:
    orders: list[Order] = []
    with associate(
        host=settings.host,
        port=settings.port,
        ae_title=settings.ae_title,
        calling_ae_title=settings.calling_ae_title,
        contexts=[build_context(MODALITY_WORKLIST, SYNTAXES)],
        timeout_s=settings.timeout_s,
    ) as association:
        for number, (answer, item) in enumerate(association.send_c_find(keys, MODALITY_WORKLIST)):
            if "Status" not in answer:
                raise connection_lost()
            if answer.Status in PENDING:
                if number >= settings.maximum_orders:
                    association.abort()
                    break
                orders += _orders(item)
            elif answer.Status != 0x0000:
                raise DicomError(
                    "DCM-042", zh=f"工作列表查询失败({answer.Status:04X})", en=f"the worklist answers with {answer.Status:04X}"
                )
    return orders


def _orders(item: Dataset | None) -> Iterable[Order]:
    """The orders of one worklist item, one for each scheduled step; text is decoded by the item's own character set."""
    if item is None:
        return
    item.decode()
    description = _text(item, "RequestedProcedureDescription")
    codes = item.get("RequestedProcedureCodeSequence") or []
    for step in item.get("ScheduledProcedureStepSequence") or [Dataset()]:
        yield Order(
            study_uid=_text(item, "StudyInstanceUID"),
            accession_number=_text(item, "AccessionNumber"),
            step_id=_text(step, "ScheduledProcedureStepID"),
            patient_id=_text(item, "PatientID"),
            patient_name=_text(item, "PatientName"),
            requested_procedure=description or (_text(codes[0], "CodeMeaning") if codes else ""),
            referring_physician=_text(item, "ReferringPhysicianName") or _text(item, "RequestingPhysician"),
            study_description=_text(step, "ScheduledProcedureStepDescription"),
            scheduled_at=_text(step, "ScheduledProcedureStepStartDate") + _text(step, "ScheduledProcedureStepStartTime")[:6],
            urgent=_text(item, "RequestedProcedurePriority").upper() in URGENT,
        )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()
