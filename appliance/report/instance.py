"""What all result objects have in common: patient, study, series, equipment (PS3.3 C.7.1 to C.7.5, C.12.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from appliance.findings import Findings
from appliance.study import Approval, StudyHeader

IMPLEMENTATION_CLASS_UID = UID("2.25.244877176211474621334572467598383242272")
"""Identifies this software as the writer of a file (PS3.10 7.1); a UUID-derived UID (PS3.5 B.2)."""

MANUFACTURER = "Coronet"
SERIES_NUMBERS = {"report": 9001, "document": 9002, "captures": 9003, "selection": 9004}


@dataclass(frozen=True)
class Origin:
    """From what, when and by whom an object is made.

    Attributes:
        header: patient and study.
        findings: software, engine and models.
        source: (SOP class UID, SOP instance UID) of the source images, all of ``header.series_uid``.
        further: series UID and images of each other series of the study that was read.
        approval: who approved; None for a draft.
        uids: makes a fresh UID at each call.
        now: the time of making.
    """

    header: StudyHeader
    findings: Findings
    source: tuple[tuple[str, str], ...]
    approval: Approval | None
    uids: Callable[[], str]
    now: datetime
    further: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    @property
    def final(self) -> bool:
        """True after a physician's approval."""
        return self.approval is not None and self.approval.final


def new_instance(origin: Origin, *, sop_class: str, modality: str, series: str, series_uid: str, number: int, description: str) -> Dataset:
    """A data set with its identification filled in; the caller adds what its class needs.

    Args:
        origin: what it is made from.
        sop_class: SOP class UID.
        modality: (0008,0060).
        series: key of ``SERIES_NUMBERS``.
        series_uid: the series that the object belongs to.
        number: instance number, from 1.
        description: series description; a draft is marked in it.
    """
    header = origin.header
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = origin.uids()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = _date(origin.now), _time(origin.now)
    dataset.PatientName = header.patient_name
    dataset.PatientID = header.patient_id
    dataset.PatientBirthDate = header.patient_birth_date
    dataset.PatientSex = header.patient_sex if header.patient_sex in ("M", "F", "O") else ""
    if len(header.patient_age) == 4:
        dataset.PatientAge = header.patient_age
    dataset.StudyInstanceUID = header.study_uid
    dataset.StudyDate = header.study_date
    dataset.StudyTime = header.study_time
    dataset.StudyID = header.study_id
    dataset.AccessionNumber = header.accession_number
    dataset.ReferringPhysicianName = header.referring_physician
    if header.study_description:
        dataset.StudyDescription = header.study_description
    dataset.Modality = modality
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = SERIES_NUMBERS[series]
    dataset.SeriesDescription = description if origin.final else f"{description} (AI draft)"
    dataset.SeriesDate, dataset.SeriesTime = _date(origin.now), _time(origin.now)
    dataset.InstanceNumber = number
    dataset.ContentDate, dataset.ContentTime = _date(origin.now), _time(origin.now)
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions = [origin.findings.software.version, origin.findings.software.commit]
    if header.institution:
        dataset.InstitutionName = header.institution
    dataset.file_meta = _file_meta(dataset)
    return dataset


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "CORONET"
    return meta


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """An item that names an instance (PS3.3 10.8 SOP Instance Reference Macro)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    return item


def evidence(study_uid: str, series: Iterable[tuple[str, Iterable[tuple[str, str]]]]) -> Dataset:
    """An item of the evidence sequences (PS3.3 C.17.2.1): series UIDs, each with its (SOP class UID, SOP instance UID) pairs."""
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = []
    for series_uid, instances in series:
        part = Dataset()
        part.SeriesInstanceUID = series_uid
        part.ReferencedSOPSequence = [reference(*instance) for instance in instances]
        item.ReferencedSeriesSequence.append(part)
    return item


def person_name(name: str) -> str:
    """A plain name as DICOM PN (PS3.5 6.2.1): an ideographic name in the second component group; a single component ends with a caret."""
    if "=" in name or "^" in name:
        return name
    return f"{name}^" if name.isascii() else f"={name}^"


def date_time(moment: datetime) -> str:
    """DICOM DT, with the offset from UTC where it is known."""
    return moment.strftime("%Y%m%d%H%M%S%z")


def _date(moment: datetime) -> str:
    return moment.strftime("%Y%m%d")


def _time(moment: datetime) -> str:
    return moment.strftime("%H%M%S")
