"""Pseudonymised routes: a nasty object is searched, element by element, for its patient; coercion is recorded."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, RLELossless, SecondaryCaptureImageStorage

from appliance.archive.archive import Archive
from appliance.archive.orders import Order
from appliance.dicom.deidentify import Deidentifier
from appliance.dicom.treatment import Coercion, Treater, Treatment
from appliance.errors import DicomError
from tests.appliance.archive.fakes import make_archive
from tests.peers.datasets import ct_slice, save

NOW = datetime(2026, 1, 5, 12, 0, 0)  # noqa: DTZ001 - local time
MARKS = ("ceshi", "测试", "患者", "t7351", "19660101", "acc-9", "general hospital", "li^na", "李", "rosewood", "5550199")
"""Whatever tells of the patient in `nasty`."""


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    archive = make_archive(tmp_path / "data")
    yield archive
    archive.close()


def treater(archive: Archive, order: Order | None = None) -> Treater:
    deidentify = Deidentifier(pseudonyms=archive.pseudonyms).deidentify
    return Treater(find_order=lambda _: order, deidentify=deidentify, now=lambda: NOW)


def nasty(**changes: Any) -> Dataset:
    """A CT slice with the patient in every corner that a vendor ever found."""
    dataset: Any = ct_slice(PatientName="Test^Ceshi=测试^患者", PatientID="T7351", AccessionNumber="ACC-9", **changes)
    dataset.PatientAge, dataset.PatientWeight, dataset.PatientAddress = "093Y", "71", "5 Rosewood Lane"
    dataset.PatientTelephoneNumbers = "5550199"
    dataset.InstitutionName, dataset.ReferringPhysicianName = "General Hospital", "Li^Na=李^娜"
    dataset.StudyDescription = "CTA of Mr Ceshi"
    dataset.SeriesDescription = "T7351 75%"
    dataset.ImageComments = "测试 was restless"
    dataset.ProtocolName = "Ceshi special"
    dataset.KVP = "120"
    dataset.BodyPartExamined = "CESHI"
    dataset.ConvolutionKernel = "Bv40-T7351"
    dataset.ContentDate, dataset.ContentTime = "20260101", "235959.5"
    dataset.AcquisitionDateTime = "20260101120000.25"
    dataset.add_new(0x00091010, "LO", "Test^Ceshi")
    dataset.add_new(0x00E11001, "OB", b"T7351 ")
    dataset.add_new(0x50003000, "OW", b"CESHI   ")
    dataset.add_new(0x60003000, "OW", b"CESHI   ")
    dataset.add_new(0x60004000, "LT", "Ceshi")
    other = Dataset()
    other.PatientID, other.PatientName = "T7351", "Ceshi^Test"
    dataset.OtherPatientIDsSequence = [other]
    request: Any = Dataset()
    request.RequestedProcedureDescription, request.ScheduledProcedureStepDescription = "for Ceshi", "T7351"
    dataset.RequestAttributesSequence = [request]
    source: Any = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "121322", "DCM", "Source image"
    local = Dataset()
    local.CodeValue, local.CodingSchemeDesignator, local.CodeMeaning = "1", "99SITE", "Ceshi 测试"
    source.PurposeOfReferenceCodeSequence = [purpose, local]
    source.PersonName = "Li^Na"
    dataset.SourceImageSequence = [source]
    original: Any = Dataset()
    original.ModifiedAttributesSequence = [other]
    dataset.OriginalAttributesSequence = [original]
    return dataset  # type: ignore[no-any-return]


def treated(archive: Archive, dataset: Dataset, tmp_path: Path, *, route: str = "research") -> Dataset | None:
    path = save(dataset, tmp_path / "in.dcm")
    content = treater(archive).treat(path, Treatment(route=route, pseudonymise=True))
    return None if content is None else pydicom.dcmread(io.BytesIO(content))


def everything(dataset: Dataset) -> Iterator[Any]:
    for element in dataset:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from everything(item)


def test_no_element_of_a_nasty_object_tells_of_the_patient(archive: Archive, tmp_path: Path) -> None:
    dataset = nasty()
    original = {str(element.value) for element in everything(dataset) if element.VR == "UI"}
    clean = treated(archive, dataset, tmp_path)
    assert clean is not None
    for element in everything(clean):
        assert element.tag.group % 2 == 0, element
        assert not 0x5000 <= element.tag.group <= 0x60FF, element
        assert element.VR not in {"LT", "ST", "UT", "UN", "UC"}, element
        text = str(element.value).casefold()
        assert not [mark for mark in MARKS if mark in text], element
        if element.VR == "UI":
            assert str(element.value).startswith(("1.2.840.10008.", "2.25.")), element
            assert str(element.value) not in original or str(element.value).startswith("1.2.840.10008."), element
    whole = io.BytesIO()
    clean.save_as(whole)
    assert not [mark for mark in MARKS if mark.encode() in whole.getvalue().lower()]


def test_what_research_needs_stays(archive: Archive, tmp_path: Path) -> None:
    dataset = nasty()
    clean: Any = treated(archive, dataset, tmp_path)
    for keyword in ("Rows", "PixelSpacing", "ImagePositionPatient", "RescaleIntercept", "KVP", "PatientSex", "PatientWeight", "ImageType"):
        assert clean[keyword].value == dataset[keyword].value, keyword
    assert clean.PixelData == dataset.PixelData
    assert clean.PatientAge == "090Y"
    assert "BodyPartExamined" not in clean, "the name stood in it"
    assert "ConvolutionKernel" not in clean, "the ID stood in it"
    assert [code.CodeValue for code in clean.SourceImageSequence[0].PurposeOfReferenceCodeSequence] == ["121322"]
    assert clean.SourceImageSequence[0].ReferencedSOPInstanceUID == clean.SOPInstanceUID == clean.file_meta.MediaStorageSOPInstanceUID
    assert (clean.PatientIdentityRemoved, clean.BurnedInAnnotation if "BurnedInAnnotation" in clean else None) == ("YES", None)
    assert [code.CodeValue for code in clean.DeidentificationMethodCodeSequence] == ["113100", "113104", "113107", "113108"]
    assert [clean[keyword].value for keyword in ("AccessionNumber", "StudyID", "PatientBirthDate")] == ["", "", ""]


def test_one_patient_is_one_pseudonym_with_one_shift_and_each_route_its_own(archive: Archive, tmp_path: Path) -> None:
    first: Any = treated(archive, nasty(), tmp_path)
    second: Any = treated(archive, nasty(index=1, StudyDate="20260111"), tmp_path)
    other: Any = treated(archive, nasty(), tmp_path, route="teaching")
    stranger_in: Any = nasty()
    stranger_in.PatientID = "T9999"
    stranger: Any = treated(archive, stranger_in, tmp_path)

    def at(dataset: Any, what: str = "Study") -> datetime:
        return datetime.strptime(dataset[f"{what}Date"].value + dataset[f"{what}Time"].value[:6], "%Y%m%d%H%M%S")  # noqa: DTZ007

    assert first.PatientID == second.PatientID == str(first.PatientName)
    assert re.fullmatch(r"P[0-9A-F]{12}", first.PatientID)
    assert (at(second) - at(first)).days == 10
    shift = at(first) - datetime(2026, 1, 1, 12)  # noqa: DTZ001
    assert shift.days < -1
    assert at(first, "Content") - datetime(2026, 1, 1, 23, 59, 59) == shift  # noqa: DTZ001
    assert datetime.strptime(first.AcquisitionDateTime[:14], "%Y%m%d%H%M%S") == at(first)  # noqa: DTZ007
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != other.SeriesInstanceUID
    assert len({first.PatientID, other.PatientID, stranger.PatientID}) == 3
    assert archive.pseudonyms.original_uid("research", first.SOPInstanceUID) == nasty().SOPInstanceUID
    assert treated(archive, nasty(), tmp_path) == first, "sent again it is the same object"


@pytest.mark.parametrize(
    "changes",
    [
        {"BurnedInAnnotation": "YES"},
        {"SOPClassUID": EncapsulatedPDFStorage},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"},
        {"SOPClassUID": SecondaryCaptureImageStorage},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
        {"Rows": 4800},
    ],
)
def test_objects_that_such_a_route_does_not_carry(archive: Archive, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert treated(archive, nasty(**changes), tmp_path) is None


def test_a_picture_that_says_it_shows_no_patient_is_carried(archive: Archive, tmp_path: Path) -> None:
    assert treated(archive, nasty(SOPClassUID=SecondaryCaptureImageStorage, BurnedInAnnotation="NO"), tmp_path) is not None


def test_overlays_in_spare_bits_and_bytes_behind_the_pixels_go(archive: Archive, tmp_path: Path) -> None:
    pixels = (np.arange(64, dtype=np.int16).reshape(8, 8) - 32) & 0x0FFF
    overlaid = pixels | np.int16(0x4000)
    dataset: Any = nasty(pixels=overlaid.astype(np.int16))
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.PixelData += b"Ceshi^Test"
    clean: Any = treated(archive, dataset, tmp_path)
    assert np.array_equal(clean.pixel_array, np.arange(64).reshape(8, 8) - 32)
    assert len(clean.PixelData) == 128


def test_compressed_pixels_are_written_anew(archive: Archive, tmp_path: Path) -> None:
    dataset = nasty()
    before = np.array(ct_slice().PixelData)
    path = save(dataset, tmp_path / "plain.dcm")
    compressed = pydicom.dcmread(path)
    compressed.compress(RLELossless, generate_instance_uid=False)
    compressed.save_as(tmp_path / "rle.dcm")
    content = treater(archive).treat(tmp_path / "rle.dcm", Treatment(route="research", pseudonymise=True))
    assert content is not None
    assert np.array(pydicom.dcmread(io.BytesIO(content)).PixelData) == before


# -- coercion


def test_coercion_sets_attributes_and_records_what_was_there(archive: Archive, tmp_path: Path) -> None:
    path = save(ct_slice(InstitutionName="OLD", SpecificCharacterSet="ISO_IR 100", PatientName="Test^Ceshi"), tmp_path / "in.dcm")
    before = path.read_bytes()
    order = Order(accession_number="A-77", patient_id="TEST-1")
    rules = (
        Coercion(attribute="InstitutionName", value="上海医院"),
        Coercion(attribute="AccessionNumber", from_order="accession_number"),
        Coercion(attribute="RequestedProcedureDescription", from_order="requested_procedure"),
    )
    content = treater(archive, order).treat(path, Treatment(route="r", coerce=rules))
    assert content is not None
    coerced: Any = pydicom.dcmread(io.BytesIO(content))
    assert (coerced.InstitutionName, coerced.AccessionNumber, str(coerced.PatientName)) == ("上海医院", "A-77", "Test^Ceshi")
    assert "RequestedProcedureDescription" not in coerced, "the order does not say"
    assert (coerced.SOPInstanceUID, coerced.PixelData) == (ct_slice().SOPInstanceUID, ct_slice().PixelData)
    (record,) = coerced.OriginalAttributesSequence
    (modified,) = record.ModifiedAttributesSequence
    assert (modified.InstitutionName, modified.AccessionNumber) == ("OLD", "")
    assert (record.ReasonForTheAttributeModification, record.ModifyingSystem) == ("COERCE", "CORONET")
    assert path.read_bytes() == before, "the kept file stays as it came"


def test_without_an_order_nothing_is_taken_from_one(archive: Archive, tmp_path: Path) -> None:
    path = save(ct_slice(AccessionNumber="MINE"), tmp_path / "in.dcm")
    rules = (Coercion(attribute="AccessionNumber", from_order="accession_number"),)
    content = treater(archive).treat(path, Treatment(route="r", coerce=rules))
    assert pydicom.dcmread(io.BytesIO(content or b"")).AccessionNumber == "MINE"


def test_a_file_that_cannot_be_treated_does_not_go_out(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"no DICOM")
    with pytest.raises(DicomError, match="DCM-060"):
        treater(archive).treat(tmp_path / "junk", Treatment(route="r", pseudonymise=True))
    path = save(ct_slice(), tmp_path / "in.dcm")
    with pytest.raises(DicomError, match="DCM-061"):
        treater(archive).treat(path, Treatment(route="r", coerce=(Coercion(attribute="Institution", value="x"),)))
