"""Small CT instances made for tests: geometry and pixels known exactly, no patient."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.1999."


def ct_slice(
    *,
    index: int = 0,
    series_uid: str = ROOT + "2",
    pixels: NDArray[np.int16] | None = None,
    increment: float = 0.5,
    **changes: Any,
) -> Dataset:
    """A CT Image of a cardiac series, slice ``index`` from feet to head; ``changes`` set or (None) remove attributes."""
    dataset: Any = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series_uid}.{index + 1}"
    dataset.StudyDate, dataset.StudyTime = "20260101", "120000"
    dataset.Modality = "CT"
    dataset.Manufacturer = "CORONET TEST"
    dataset.StudyDescription = "CORONARY CTA"
    dataset.SeriesDescription = "CorCTA 0.50 Bv40 75%"
    dataset.PatientName, dataset.PatientID = "Test^Ceshi=测试^患者", "TEST-1"
    dataset.PatientSex, dataset.PatientAge, dataset.PatientBirthDate = "M", "060Y", "19660101"
    dataset.ContrastBolusAgent = "IODINE"
    dataset.BodyPartExamined = "HEART"
    dataset.KVP, dataset.SliceThickness = "120", "0.5"
    dataset.ConvolutionKernel = "Bv40d"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = ROOT + "1", series_uid
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", "5", str(index + 1)
    dataset.FrameOfReferenceUID = ROOT + "3"
    dataset.ImagePositionPatient = [-10.0, -12.0, -100.0 + index * increment]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.4, 0.4]
    if pixels is None:
        pixels = (np.arange(64 * 48, dtype=np.int16).reshape(48, 64) + index % 1000) % 1000
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = "0", "1"
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The data set alone, little endian, as it goes over the network."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def save(dataset: Dataset, path: Path, *, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a part 10 file; the data set must already be encoded as the transfer syntax says."""
    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "")
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = ROOT + "9"
    file = FileDataset(str(path), dataset, file_meta=meta, preamble=bytes(128))
    file.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, count: int, **changes: Any) -> list[Path]:
    """``count`` slices as files; a new series UID unless given."""
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = changes.pop("series_uid", None) or f"{ROOT}{uuid.uuid4().int % 10**20 + 1}"
    return [save(ct_slice(index=index, series_uid=series_uid, **changes), folder / f"{index:04d}.dcm") for index in range(count)]
