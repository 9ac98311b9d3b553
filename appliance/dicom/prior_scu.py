"""Asks an archive for earlier examinations of a patient (C-FIND), and has it send one to our receiver (C-MOVE): PS3.4 C.4.

DCM-021  the archive answered the query with a failure       DCM-022  the archive could not send everything
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.presentation import build_context

from appliance.archive.priors import FoundPrior
from appliance.dicom.association import associate, connection_lost, understood
from appliance.errors import DicomError
from appliance.settings import PriorsSettings
from appliance.study import StudyHeader

FIND, MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
PENDING = frozenset({0xFF00, 0xFF01})
SOME_FAILED = 0xB000
MOST_ANSWERS = 1000
"""Studies of one patient that are looked at; an archive that ignores the patient ID would send all it has."""


@understood()
def find_priors(settings: PriorsSettings, header: StudyHeader, *, today: date) -> list[FoundPrior]:
    """Earlier studies of the same patient, the newest first, at most ``settings.maximum_studies``.

    The same patient is one with the same ID and, where both are known, the same date of birth: the archive's word is checked here, since
    some ignore keys that they do not know.

    Args:
        settings: one ``[[priors]]``.
        header: the study that they are earlier than.
        today: taken for a study that says no date.

    Raises:
        DicomError: the archive cannot be reached, or DCM-021.
    """
    if not header.patient_id or any(each in header.patient_id for each in "*?\\"):
        return []
    day = _day(header.study_date) or today
    until, since = f"{day:%Y%m%d}", f"{day - timedelta(days=min(settings.years * 365.25, day.toordinal() - 1)):%Y%m%d}"
    found = []
    with _associate(settings, FIND) as association:
        for number, (status, answer) in enumerate(association.send_c_find(_identifier(header, since, until), FIND)):
            if "Status" not in status:
                raise connection_lost()
            if status.Status not in PENDING and status.Status != 0:
                raise DicomError("DCM-021", zh=f"查询失败(状态 {status.Status:04X})", en=f"the query failed (status {status.Status:04X})")
            if answer is not None and number < MOST_ANSWERS and _fits(answer, header, settings, since, until):
                found.append(_prior(answer))
    return sorted(found, key=lambda each: each.study_date, reverse=True)[: settings.maximum_studies]


@understood()
def fetch_prior(settings: PriorsSettings, study_uid: str, *, receiver: str) -> None:
    """Have the archive send a study to our receiver.

    Args:
        settings: one ``[[priors]]``.
        study_uid: which.
        receiver: our receiver's AE title, which the archive must know.

    Raises:
        DicomError: the archive cannot be reached, or DCM-022.
    """
    final = Dataset()
    with _associate(settings, MOVE) as association:
        for final, _ in association.send_c_move(study_identifier(study_uid), receiver, MOVE):
            if "Status" not in final:
                raise connection_lost()
    status = int(final.get("Status", 0xC000))
    if status not in {0x0000, SOME_FAILED} or int(final.get("NumberOfFailedSuboperations") or 0):
        raise not_everything(status)


def study_identifier(study_uid: str) -> Dataset:
    """The identifier of a retrieval of one study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_uid
    return identifier


def not_everything(status: int) -> DicomError:
    """DCM-022, with the status that says why."""
    return DicomError("DCM-022", zh=f"调取未完成(状态 {status:04X})", en=f"the archive could not send everything (status {status:04X})")


def _associate(settings: PriorsSettings, model: str) -> Any:
    return associate(
        host=settings.host,
        port=settings.port,
        ae_title=settings.ae_title,
        calling_ae_title=settings.calling_ae_title,
        contexts=[build_context(model)],
        timeout_s=settings.timeout_s,
    )


def _identifier(header: StudyHeader, since: str, until: str) -> Dataset:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientID = header.patient_id
    identifier.PatientBirthDate = ""
    identifier.StudyDate = f"{since}-{until}"
    identifier.StudyInstanceUID = ""
    identifier.StudyDescription = ""
    identifier.ModalitiesInStudy = ""
    return identifier


def _day(text: str) -> date | None:
    """A DA value; None where it is none, as the 00000000 of anonymised images."""
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 else None  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None


def _fits(answer: Dataset, header: StudyHeader, settings: PriorsSettings, since: str, until: str) -> bool:
    birth, day = _text(answer, "PatientBirthDate"), _text(answer, "StudyDate")
    same_patient = _text(answer, "PatientID") == header.patient_id and (
        not birth or not header.patient_birth_date or birth == header.patient_birth_date
    )
    wanted = not settings.modalities or bool(set(_texts(answer.get("ModalitiesInStudy"))) & set(settings.modalities))
    # an archive that does not know the modalities of a study leaves them empty: then the description decides
    unknown = not _texts(answer.get("ModalitiesInStudy"))
    described = _matches(_text(answer, "StudyDescription"), settings.description)
    uid = _text(answer, "StudyInstanceUID")
    return same_patient and since <= day <= until and bool(uid) and uid != header.study_uid and (wanted or unknown) and described


def _prior(answer: Dataset) -> FoundPrior:
    return FoundPrior(
        study_uid=_text(answer, "StudyInstanceUID"),
        study_date=_text(answer, "StudyDate"),
        description=_text(answer, "StudyDescription")[:64],
        modalities="\\".join(_texts(answer.get("ModalitiesInStudy"))),
    )


def _matches(text: str, pattern: str) -> bool:
    """Wild cards ``*`` and ``?``, without regard to case."""
    return _glob(text.casefold(), pattern.casefold())


def _glob(text: str, pattern: str) -> bool:
    reached = {0}
    for character in pattern:
        if character == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(text) and character in {"?", text[at]}}
    return len(text) in reached


def _text(answer: Dataset, keyword: str) -> str:
    return str(answer.get(keyword) or "").strip(" \0")


def _texts(value: Any) -> Sequence[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else [str(each) for each in value if each]
