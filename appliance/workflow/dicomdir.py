"""The directory of a medium: DICOMDIR (PS3.3 annex F, PS3.10 section 8), for files that stay byte for byte as they are.

Four levels: patient, study, series, instance. What a directory must name and an image does not say is filled in the directory alone
(PS3.3 F.5: key attributes of type 1), never in the image. The type of the last level follows the SOP class; text is in UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
ITEM_HEAD = 8
IN_USE = 0xFFFF

SR = "1.2.840.10008.5.1.4.1.1.88."
PRESENTATION = "1.2.840.10008.5.1.4.1.1.11."
ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
RAW_DATA = "1.2.840.10008.5.1.4.1.1.66"


@dataclass(frozen=True)
class Entry:
    """One file of the medium: its header (no pixels) and its File ID, components of at most 8 capitals or digits."""

    header: Dataset
    file_id: tuple[str, ...]


@dataclass
class _Node:
    record: Dataset
    children: list[_Node] = field(default_factory=list)
    offset: int = 0


def write_dicomdir(entries: Sequence[Entry], path: Path, *, file_set_id: str) -> None:
    """Write the directory of a file-set.

    Args:
        entries: its files.
        path: of the DICOMDIR.
        file_set_id: at most 16 capitals, digits and underscores.

    Raises:
        OSError: it cannot be written.
    """
    roots = _tree(entries)
    directory = _directory(path, file_set_id)
    nodes = [node for root in roots for node in _flat(root)]
    directory.DirectoryRecordSequence = [node.record for node in nodes]
    # offsets are unsigned longs: setting them changes no length
    offset = _bytes_before(directory)
    for node in nodes:
        node.offset = offset
        offset += ITEM_HEAD + _size(node.record)
    _link(roots)
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = roots[0].offset if roots else 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = roots[-1].offset if roots else 0
    directory.save_as(path, enforce_file_format=True)


def record_type(sop_class: str) -> str:
    """Directory Record Type of an instance (PS3.3 table F.4-1)."""
    if sop_class == KEY_OBJECTS:
        return "KEY OBJECT DOC"
    for prefix, kind in ((SR, "SR DOCUMENT"), (PRESENTATION, "PRESENTATION"), (ENCAPSULATED, "ENCAP DOC")):
        if sop_class.startswith(prefix):
            return kind
    return "RAW DATA" if sop_class == RAW_DATA else "IMAGE"


def _tree(entries: Sequence[Entry]) -> list[_Node]:
    roots: dict[str, _Node] = {}
    studies: dict[str, _Node] = {}
    series: dict[str, _Node] = {}
    for number, entry in enumerate(entries, start=1):
        header: Any = entry.header
        patient_id, study_uid, series_uid = (_text(header, each) for each in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"))
        patient = roots.setdefault(patient_id, _Node(_patient(header)))
        if study_uid not in studies:
            studies[study_uid] = _Node(_study(header))
            patient.children.append(studies[study_uid])
        if series_uid not in series:
            series[series_uid] = _Node(_series(header))
            studies[study_uid].children.append(series[series_uid])
        series[series_uid].children.append(_Node(_instance(entry, number)))
    return list(roots.values())


def _record(kind: str) -> Any:
    record: Any = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = IN_USE
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.DirectoryRecordType = kind
    record.SpecificCharacterSet = "ISO_IR 192"
    return record


def _patient(header: Dataset) -> Dataset:
    record = _record("PATIENT")
    record.PatientName = _text(header, "PatientName")
    record.PatientID = _text(header, "PatientID") or "UNKNOWN"
    return record  # type: ignore[no-any-return]


def _study(header: Dataset) -> Dataset:
    record = _record("STUDY")
    record.StudyDate = _text(header, "StudyDate") or "19000101"
    record.StudyTime = _text(header, "StudyTime") or "000000"
    record.StudyDescription = _text(header, "StudyDescription")
    record.StudyInstanceUID = _text(header, "StudyInstanceUID")
    record.StudyID = _text(header, "StudyID") or "1"
    record.AccessionNumber = _text(header, "AccessionNumber")
    return record  # type: ignore[no-any-return]


def _series(header: Dataset) -> Dataset:
    record = _record("SERIES")
    record.Modality = _text(header, "Modality") or "OT"
    record.SeriesInstanceUID = _text(header, "SeriesInstanceUID")
    record.SeriesNumber = _number(header, "SeriesNumber", otherwise=1)
    record.SeriesDescription = _text(header, "SeriesDescription")
    return record  # type: ignore[no-any-return]


def _instance(entry: Entry, number: int) -> Dataset:
    header: Any = entry.header
    kind = record_type(str(header.SOPClassUID))
    record = _record(kind)
    record.ReferencedFileID = list(entry.file_id)
    record.ReferencedSOPClassUIDInFile = header.SOPClassUID
    record.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
    record.ReferencedTransferSyntaxUIDInFile = header.file_meta.TransferSyntaxUID
    record.InstanceNumber = _number(header, "InstanceNumber", otherwise=number)
    date, time = _text(header, "ContentDate") or "19000101", _text(header, "ContentTime") or "000000"
    if kind in {"SR DOCUMENT", "KEY OBJECT DOC", "ENCAP DOC", "RAW DATA"}:
        record.ContentDate, record.ContentTime = date, time
    if kind == "SR DOCUMENT":
        record.CompletionFlag = _text(header, "CompletionFlag") or "PARTIAL"
        record.VerificationFlag = _text(header, "VerificationFlag") or "UNVERIFIED"
    if kind in {"SR DOCUMENT", "KEY OBJECT DOC", "ENCAP DOC"}:
        record.ConceptNameCodeSequence = header.get("ConceptNameCodeSequence")
    if kind == "ENCAP DOC":
        record.DocumentTitle = _text(header, "DocumentTitle")
        record.MIMETypeOfEncapsulatedDocument = _text(header, "MIMETypeOfEncapsulatedDocument") or "application/pdf"
    if kind == "PRESENTATION":
        record.PresentationCreationDate = _text(header, "PresentationCreationDate") or date
        record.PresentationCreationTime = _text(header, "PresentationCreationTime") or time
        record.ContentLabel = _text(header, "ContentLabel") or "UNLABELED"
        record.ContentDescription, record.ContentCreatorName = _text(header, "ContentDescription"), ""
    return record  # type: ignore[no-any-return]


def _directory(path: Path, file_set_id: str) -> Any:
    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DIRECTORY_CLASS
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory: Any = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    directory.FileSetID = file_set_id
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    return directory


def _bytes_before(directory: Any) -> int:
    """Where the first record begins: after preamble, meta information, and the head of the record sequence."""
    records, directory.DirectoryRecordSequence = directory.DirectoryRecordSequence, []
    buffer = DicomBytesIO()
    directory.save_as(buffer, enforce_file_format=True)
    directory.DirectoryRecordSequence = records
    return len(buffer.getvalue())


def _size(record: Dataset) -> int:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, record)
    return len(buffer.getvalue())


def _flat(node: _Node) -> list[_Node]:
    return [node, *(each for child in node.children for each in _flat(child))]


def _link(siblings: list[_Node]) -> None:
    for position, node in enumerate(siblings, start=1):
        record: Any = node.record
        record.OffsetOfTheNextDirectoryRecord = siblings[position].offset if position < len(siblings) else 0
        record.OffsetOfReferencedLowerLevelDirectoryEntity = node.children[0].offset if node.children else 0
        _link(node.children)


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    if value is None:
        return ""
    return "\\".join(str(each) for each in value) if isinstance(value, pydicom.multival.MultiValue) else str(value)


def _number(header: Dataset, keyword: str, *, otherwise: int) -> int:
    try:
        return int(_text(header, keyword))
    except ValueError:
        return otherwise
