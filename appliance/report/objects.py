"""All DICOM objects of a report, and their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from appliance.findings import Findings
from appliance.report.captures import make_captures
from appliance.report.encapsulated import make_encapsulated_pdf
from appliance.report.instance import Origin
from appliance.report.selection import make_selection
from appliance.report.sr import make_structured_report
from appliance.study import Approval, KeyView, ReportText, StudyHeader


def make_objects(
    header: StudyHeader,
    findings: Findings,
    report: ReportText,
    pdf: bytes,
    key_views: Sequence[KeyView],
    source: Sequence[tuple[str, str]],
    *,
    further: Sequence[tuple[str, tuple[tuple[str, str], ...]]] = (),
    approval: Approval | None,
    uids: Callable[[], str],
    now: datetime,
    institution: str = "",
    clear: bool = False,
) -> list[Dataset]:
    """Structured report, encapsulated PDF, key-view captures and their key object selection, in this order.

    All belong to the source's study, each kind in a series of its own. Without key views there are neither captures nor selection.

    Args:
        header: patient and study, copied into every object.
        findings: the content of the structured report.
        report: text; its notices stand in every object.
        pdf: the report's pages.
        key_views: the pictures.
        source: (SOP class UID, SOP instance UID) of the images of the main series that was analysed.
        further: series UID and images of each other series that was read: a calcium scan, another phase.
        approval: who approved, None for a draft; decides on completion and verification flags.
        uids: makes a fresh UID at each call; called in a fixed order.
        now: the time of making.
        institution: name of the site, where the source images name none.
        clear: what a pseudonymised route may carry: no document, captures without the patient line. The UIDs are the same, so that the
            key object selection fits either.

    Raises:
        ImagingError: IMG-010, the font of the captures is not installed.
    """
    if not header.institution:
        header = msgspec.structs.replace(header, institution=institution)
    origin = Origin(header=header, findings=findings, source=tuple(source), approval=approval, uids=uids, now=now, further=tuple(further))
    objects = [make_structured_report(origin=origin, report=report), make_encapsulated_pdf(pdf, origin=origin, report=report)]
    captures = make_captures(key_views, origin=origin, notices=report.notices, clear=clear)
    if captures:
        objects += [*captures, make_selection(captures, origin=origin, notices=report.notices)]
    return [each for each in objects if not clear or each.SOPClassUID != EncapsulatedPDFStorage]


def write_objects(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write each object as a Part 10 file named by its SOP Instance UID; a file appears whole or not at all.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(dataset, folder) for dataset in datasets]


def _write(dataset: Dataset, folder: Path) -> Path:
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        dataset.save_as(file, enforce_file_format=True)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path
