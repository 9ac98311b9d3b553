"""Reading the identification of one image, whatever a peer has sent.

Pixels are never read here. Nesting bombs and lengths that lie end in a typed error, so that intake can put the file aside, visibly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from appliance.errors import WorkflowError
from appliance.study import StudyHeader

_TEXTS = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "patient_birth_date": "PatientBirthDate",
    "accession_number": "AccessionNumber",
    "study_id": "StudyID",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "institution": "InstitutionName",
    "referring_physician": "ReferringPhysicianName",
    "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName",
    "protocol": "ProtocolName",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}
_TAGS = [*_TEXTS.values(), "SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber"]


def read_identity(path: Path) -> StudyHeader:
    """Patient, study and series of one image; the series that is analysed gets its full header when it is read for the analysis.

    Raises:
        WorkflowError: WF-010 the file cannot be read as DICOM; WF-011 it does not say which study or series it belongs to.
    """
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        header = _header(dataset)
    except Exception as error:
        # A hostile or broken file may raise anything (RecursionError and MemoryError too); it goes to the visible quarantine. The
        # message of the error is not kept: it may hold what stands in the file.
        raise WorkflowError(
            "WF-010", zh="影像文件无法读取", en="an image file cannot be read", cause=type(error).__name__, file=path.name
        ) from error
    if not header.study_uid or not header.series_uid:
        raise WorkflowError(
            "WF-011",
            zh="影像没有检查或序列 UID",
            en="an image has no Study or Series Instance UID",
            file=path.name,
        )
    return header


def _header(dataset: Dataset) -> StudyHeader:
    texts: dict[str, Any] = {name: _text(dataset.get(keyword)) for name, keyword in _TEXTS.items()}
    return StudyHeader(
        study_uid=_text(dataset.get("StudyInstanceUID")),
        series_uid=_text(dataset.get("SeriesInstanceUID")),
        series_number=_number(dataset.get("SeriesNumber")),
        **texts,
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip(" \0")


def _number(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None
