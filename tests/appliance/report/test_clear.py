"""What a pseudonymised route carries of the results: pictures drawn again without the patient, and no document."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pydicom

from appliance.dicom.deidentify import Deidentifier, carried, identifiers
from appliance.report.objects import make_objects, write_objects
from appliance.report.text import write_report
from appliance.study import StudyHeader
from tests.appliance.archive.fakes import make_archive
from tests.appliance.report.studies import HEADER, KEY_VIEWS, NOW, PHYSICIAN, SEVERAL, SOURCE

CAPTURE, SR, SELECTION = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.59"
STRANGER = msgspec.structs.replace(
    HEADER, patient_name="Someone^Else=别^人", patient_id="X-1", accession_number="N-1", patient_age="001Y", institution="ELSEWHERE"
)


def objects(header: StudyHeader, *, clear: bool) -> list[Any]:
    numbers = itertools.count(1)
    report = write_report(header, SEVERAL, approval=PHYSICIAN)
    made = make_objects(
        header,
        SEVERAL,
        report,
        b"%PDF-1.7",
        KEY_VIEWS,
        SOURCE,
        approval=PHYSICIAN,
        uids=lambda: f"1.2.826.0.1.3680043.10.2.{next(numbers)}",
        now=NOW,
        clear=clear,
    )
    return list(made)


def test_pictures_are_drawn_without_the_patient_and_under_the_same_uids() -> None:
    clear, full, stranger = objects(HEADER, clear=True), objects(HEADER, clear=False), objects(STRANGER, clear=True)
    assert {each.SOPClassUID for each in clear} == {CAPTURE, SR, SELECTION}
    pictures = [each for each in clear if each.SOPClassUID == CAPTURE]
    others = [each for each in stranger if each.SOPClassUID == CAPTURE]
    named = [each for each in full if each.SOPClassUID == CAPTURE]
    assert [each.PixelData for each in pictures] == [each.PixelData for each in others], "the pixels do not depend on who it is"
    assert [each.SOPInstanceUID for each in pictures] == [each.SOPInstanceUID for each in named]
    assert {each.BurnedInAnnotation for each in pictures} == {"NO"}
    assert all(carried(each) for each in clear)
    assert not any(carried(each) for each in named)


def test_report_pictures_and_selection_leave_without_a_word_of_the_patient(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "data")
    deidentifier = Deidentifier(pseudonyms=archive.pseudonyms)
    clean = []
    for path in write_objects(objects(HEADER, clear=True), tmp_path / "objects"):
        dataset = pydicom.dcmread(path)
        marks = [*identifiers(dataset), PHYSICIAN.user_name, HEADER.study_uid]
        found: Any = deidentifier.deidentify("teaching", dataset)
        assert found is not None
        found.save_as(tmp_path / "out.dcm", enforce_file_format=True)
        octets = (tmp_path / "out.dcm").read_bytes().lower()
        assert not [mark for mark in marks if mark.encode() in octets]
        clean.append(found)
    archive.close()
    assert len({str(each.PatientID) for each in clean}) == len({str(each.StudyInstanceUID) for each in clean}) == 1
    report = next(each for each in clean if each.SOPClassUID == SR)
    assert "NUM" in str(report.ContentSequence), "measurements stay"
    uids = {str(each.SOPInstanceUID) for each in clean}
    (selection,) = [each for each in clean if each.SOPClassUID == SELECTION]
    chosen = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    assert chosen
    assert set(chosen) <= uids
