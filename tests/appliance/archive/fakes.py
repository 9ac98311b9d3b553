"""Clocks that tests turn, and small DICOM files with a real structure."""

from __future__ import annotations

import io
from pathlib import Path

from argon2 import PasswordHasher
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from appliance.archive.archive import Archive, open_archive

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Real Argon2, but quick."""


class TurnedClock:
    """Both clocks stand still until a test turns them."""

    def __init__(self) -> None:
        self.wall_time = 1_800_000_000.0
        self.monotonic_time = 1000.0

    def wall(self) -> float:
        return self.wall_time

    def monotonic(self) -> float:
        return self.monotonic_time

    def pass_s(self, seconds: float) -> None:
        self.wall_time += seconds
        self.monotonic_time += seconds


def make_archive(data: Path, clock: TurnedClock | None = None) -> Archive:
    return open_archive(data, clock=clock or TurnedClock(), hasher=CHEAP_HASHER)


def make_dataset(*, study: str = "1.2.3", series: str = "1.2.3.1", number: int = 1, **changes: object) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{series}.{number}"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.Modality = "CT"
    dataset.PatientName = "Wang^XiaoDong=王^小东"
    dataset.PatientID = "P-77"
    dataset.InstanceNumber = number
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, *, source: str = "CT1") -> bytes:
    """A whole DICOM file as the receiver would make it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = "1.2.826.0.1.3680043.9.3811"
    meta.SourceApplicationEntityTitle = source
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
