"""DCMTK's ``wlmscpfs`` as the worklist of the RIS: AE title RIS, one file for each order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.peers.dcmtk import need, running
from tests.peers.waiting import free_port


def order(**changes: Any) -> Dataset:
    """A worklist item; ``changes`` set attributes of the item, or of its step where the keyword belongs there."""
    step: Any = Dataset()
    step.Modality, step.ScheduledStationAETitle = "CT", "CT1"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20260105", "081500"
    step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID = "CCTA", "S1"
    step.ScheduledPerformingPhysicianName = ""
    item: Any = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item.AccessionNumber, item.PatientID, item.PatientName = "A-1", "P-77", "Wang^XiaoDong=王^小东"
    item.StudyInstanceUID, item.RequestedProcedureID = "1.2.3", "R1"
    item.RequestedProcedureDescription, item.RequestedProcedurePriority = "冠状动脉CTA", "ROUTINE"
    item.ReferringPhysicianName, item.RequestingPhysician = "Li^Na=李^娜", ""
    item.PatientBirthDate, item.PatientSex = "", ""
    for keyword, value in changes.items():
        setattr(step if keyword in step else item, keyword, value)
    item.ScheduledProcedureStepSequence = [step]
    return item  # type: ignore[no-any-return]


@contextmanager
def worklist(folder: Path, orders: Sequence[Dataset]) -> Iterator[int]:
    """Serve orders: the port."""
    place = folder / "RIS"
    place.mkdir(parents=True)
    (place / "lockfile").touch()
    for number, item in enumerate(orders):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        item.file_meta = meta
        item.save_as(place / f"{number}.wl", enforce_file_format=True)
    port = free_port()
    with running([need("wlmscpfs"), "-csk", "-dfp", str(folder), str(port)], port):
        yield port
