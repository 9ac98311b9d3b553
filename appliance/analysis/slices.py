"""What the header of a CT slice says, read without its pixels; one record for a single-frame file, one for each frame of a multi-frame one.

Sources: PS3.3 C.7.6.2 (Image Plane), C.8.2.1 (CT Image), C.8.15.3 (Enhanced CT functional groups), C.7.6.16 (functional groups).

    VOL-001  a file is not DICOM, or too damaged to be read
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from appliance.errors import VolumeError
from appliance.study import StudyHeader

Triple = tuple[float, float, float]

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
_OTHERS = (
    "SpecificCharacterSet", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SOPClassUID", "SOPInstanceUID", "ImageType",
    "Modality", "BodyPartExamined", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PixelSpacing", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "GantryDetectorTilt", "ConvolutionKernel", "KVP", "ContrastBolusAgent",
    "ContrastBolusAgentSequence", "ContrastBolusVolume", "ContrastBolusRoute", "ImageComments", "NominalPercentageOfCardiacPhase",
    "TriggerTime", "NominalInterval", "AcquisitionNumber", "InstanceNumber", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_TAGS = [*_TEXTS.values(), *_OTHERS]
_IN_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "KVP": "CTXRayDetailsSequence",
    "GantryDetectorTilt": "CTAcquisitionDetailsSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "FrameType": "CTImageFrameTypeSequence",
}
"""Functional group that holds an attribute in a multi-frame file."""

_ESCAPE = re.compile("\x1b[\x20-\x2f]+[\x30-\x7e]")
_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*[%％]")
_STRENGTH = re.compile(
    r"(asir|admire|safire|qir|idose|imr|aidr|aice|dlir|karl|veo|ir|noise|blend|mix|strength)[\s\-_]*v?[\s\-_:=]*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One slice. None and empty mean that the header does not say.

    Attributes:
        path: the file.
        frame: index of the frame in a multi-frame file, else None.
        study: identification, the same for all slices of a series.
        sop_class_uid, sop_instance_uid, transfer_syntax_uid: of the file.
        modality, image_type, body_part: as written.
        rows, columns: of the image; 0 if the file holds none.
        pixel_spacing: mm between rows, between columns.
        thickness: mm.
        position: LPS mm of the first pixel's centre.
        orientation: direction of increasing column index, then of increasing row index.
        tilt: gantry tilt in degrees.
        trigger_ms: time after the R peak.
        acquisition: acquisition number.
        colour: more than one sample per pixel.
        comment: Image Comments.
        contrast_given: volume or route of a contrast agent is named.
    """

    path: Path
    frame: int | None
    study: StudyHeader
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    image_type: tuple[str, ...]
    body_part: str
    rows: int
    columns: int
    pixel_spacing: tuple[float, float] | None
    thickness: float | None
    position: Triple | None
    orientation: tuple[float, ...] | None
    tilt: float | None
    trigger_ms: float | None
    acquisition: int | None
    colour: bool
    comment: str
    contrast_given: bool


@contextmanager
def lenient() -> Iterator[None]:
    """Read what is there: no warning of pydicom about an odd value, since such a warning quotes it, and it may be a patient's name."""
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.reading_validation_mode = before


def read_headers(paths: Sequence[Path]) -> list[SliceHeader]:
    """Headers of files, in the order given; the frames of a multi-frame file in theirs.

    Raises:
        VolumeError: VOL-001.
    """
    with lenient():
        return [header for path in paths for header in _of_file(path)]


def _of_file(path: Path) -> list[SliceHeader]:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        return _of_dataset(path, dataset)
    except Exception as error:
        # A broken or hostile file may raise anything, RecursionError and MemoryError too. Its name is ours, its content is not repeated.
        raise VolumeError(
            "VOL-001",
            zh="影像文件已损坏或不是 DICOM 文件",
            en="an image file is damaged or no DICOM file",
            file=path.name,
            cause=type(error).__name__,
        ) from error


def _of_dataset(path: Path, dataset: Dataset) -> list[SliceHeader]:
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return [_header(path, dataset, _Attributes(dataset), None)]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    if len(groups) != (_whole(dataset.get("NumberOfFrames")) or 1):
        raise ValueError("as many functional groups as frames are due")
    return [_header(path, dataset, _Attributes(dataset, group, shared[0]), frame) for frame, group in enumerate(groups)]


class _Attributes:
    """Attributes of one frame: of its own functional groups first, then of the shared ones, then of the file."""

    def __init__(self, dataset: Dataset, *groups: Dataset) -> None:
        self._dataset = dataset
        self._groups = groups

    def get(self, keyword: str) -> Any:
        for group in self._groups:
            items = group.get(_IN_GROUPS.get(keyword, "")) if keyword in _IN_GROUPS else None
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        return self._dataset.get(keyword)


def _header(path: Path, dataset: Dataset, attributes: _Attributes, frame: int | None) -> SliceHeader:
    orientation = _numbers(attributes.get("ImageOrientationPatient"), 6)
    position = _numbers(attributes.get("ImagePositionPatient"), 3)
    spacing = _numbers(attributes.get("PixelSpacing"), 2)
    image_type = attributes.get("FrameType") if frame is not None else None
    return SliceHeader(
        path=path,
        frame=frame,
        study=_study(dataset, attributes),
        sop_class_uid=_text(dataset.get("SOPClassUID")),
        sop_instance_uid=_text(dataset.get("SOPInstanceUID")),
        transfer_syntax_uid=_text(dataset.file_meta.get("TransferSyntaxUID")),
        modality=_text(dataset.get("Modality")),
        image_type=_texts(image_type or dataset.get("ImageType")),
        body_part=_text(dataset.get("BodyPartExamined")),
        rows=_whole(dataset.get("Rows")) or 0,
        columns=_whole(dataset.get("Columns")) or 0,
        pixel_spacing=(spacing[0], spacing[1]) if spacing else None,
        thickness=_number(attributes.get("SliceThickness")),
        position=(position[0], position[1], position[2]) if position else None,
        orientation=orientation,
        tilt=_number(attributes.get("GantryDetectorTilt")),
        trigger_ms=_number(dataset.get("TriggerTime")),
        acquisition=_whole(dataset.get("AcquisitionNumber")),
        colour=(_whole(dataset.get("SamplesPerPixel")) or 1) > 1,
        comment=_text(dataset.get("ImageComments")),
        contrast_given=bool(_number(dataset.get("ContrastBolusVolume"))) or bool(_text(dataset.get("ContrastBolusRoute"))),
    )


def _study(dataset: Dataset, attributes: _Attributes) -> StudyHeader:
    texts: dict[str, Any] = {name: _text(dataset.get(keyword)) for name, keyword in _TEXTS.items()}
    return StudyHeader(
        study_uid=_text(dataset.get("StudyInstanceUID")),
        series_uid=_text(dataset.get("SeriesInstanceUID")),
        series_number=_whole(dataset.get("SeriesNumber")),
        kernel=" ".join(_texts(attributes.get("ConvolutionKernel"))),
        kvp=_number(attributes.get("KVP")),
        phase_percent=_phase(dataset, attributes),
        contrast_agent=_contrast_agent(dataset),
        **texts,
    )


def _phase(dataset: Dataset, attributes: _Attributes) -> float | None:
    """Per cent of the R-R interval: the attribute (0020,9241), the trigger time over the interval, or what the texts say."""
    stated = _number(attributes.get("NominalPercentageOfCardiacPhase"))
    if stated is not None and 0 <= stated <= 100:
        return stated
    trigger, interval = _number(dataset.get("TriggerTime")), _number(dataset.get("NominalInterval"))
    if trigger and interval and 0 < trigger <= interval and interval > 200:
        return round(100 * trigger / interval, 1)
    return next(
        filter(None, (phase_in_text(_text(dataset.get(key))) for key in ("SeriesDescription", "ImageComments", "ProtocolName"))), None
    )


def phase_in_text(text: str) -> float | None:
    """The cardiac phase that a series description such as ``CorCTA 0.5 75%`` names; None where it names none, or several.

    Per cents that state the strength of an iterative reconstruction are no phases.
    """
    found = {float(match.group(1)) for match in _PERCENT.finditer(text) if not _STRENGTH.search(text[: match.start()])}
    phases = {value for value in found if 0 <= value <= 100}
    return phases.pop() if len(phases) == 1 else None


def _contrast_agent(dataset: Dataset) -> str:
    agent = _text(dataset.get("ContrastBolusAgent"))
    if agent:
        return agent
    items = dataset.get("ContrastBolusAgentSequence") or []
    return ", ".join(filter(None, (_text(item.get("CodeMeaning")) for item in items)))


def _text(value: Any) -> str:
    """Text without padding and the escape sequences that pydicom leaves in GB 2312 names (PS3.5 section 6.1.2.5, ISO 2022 IR 58)."""
    return "" if value is None else _ESCAPE.sub("", str(value)).strip(" \0")


def _texts(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    return tuple(str(each).strip() for each in value) if isinstance(value, (MultiValue, list, tuple)) else (str(value).strip(),)


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if isinstance(value, MultiValue) and value else value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) < 1e9 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None."""
    numbers = [_number(each) for each in value] if isinstance(value, (MultiValue, list)) else []
    return tuple(each for each in numbers if each is not None) if len(numbers) == count and None not in numbers else None
