"""The DICOM objects as other programs (dicom3tools, DCMTK, highdicom) read them."""

from __future__ import annotations

import functools
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from highdicom.ko import KeyObjectSelectionDocument
from highdicom.sr import ComprehensiveSR, MeasurementReport, srread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard

from appliance.anatomy import SEGMENTS
from appliance.findings import Entered, Findings, Graft, OtherSeries
from appliance.report import codes
from appliance.report.captures import burn_in
from appliance.report.objects import make_objects, write_objects
from appliance.report.pdf import make_pdf
from appliance.report.text import write_report
from appliance.study import DRAFT_NOTICE, NOT_VALIDATED_NOTICE, Approval, StudyHeader
from tests.appliance.report.studies import (
    CORRECTED,
    DECLINED,
    HEADER,
    KEY_VIEWS,
    KINDS,
    NOT_READABLE,
    NOW,
    PHYSICIAN,
    RADIOGRAPHER,
    SEVERAL,
    SOURCE,
    view,
)

SR, PDF, CAPTURE, SELECTION = (
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.88.59",
)


def uid_maker() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"1.2.826.0.1.3680043.10.2.{next(numbers)}"


@functools.cache
def any_pdf() -> bytes:
    """A real report; what stands in it does not matter to the objects."""
    return make_pdf(write_report(HEADER, DECLINED), HEADER, [], approval=None, findings=DECLINED)


def objects_of(findings: Findings, approval: Approval | None = None, header: StudyHeader = HEADER) -> list[Dataset]:
    report = write_report(header, findings, approval=approval)
    views = KEY_VIEWS if findings.status == "analysed" else []
    return make_objects(header, findings, report, any_pdf(), views, SOURCE, approval=approval, uids=uid_maker(), now=NOW)


def of_class(objects: list[Dataset], sop_class: str) -> list[Dataset]:
    return [item for item in objects if item.SOPClassUID == sop_class]


def errors_of(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    result = subprocess.run(["dciodvfy", path], capture_output=True, check=False)
    lines = (result.stdout + result.stderr).decode("utf-8", "replace").splitlines()
    assert lines, "dciodvfy said nothing"
    return [line for line in lines if line.startswith("Error")]


@pytest.fixture(params=[None, RADIOGRAPHER, PHYSICIAN], ids=["draft", "radiographer", "physician"])
def approval(request: pytest.FixtureRequest) -> Approval | None:
    chosen: Approval | None = request.param
    return chosen


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error_in_any_object(kind: str, tmp_path: Path) -> None:
    paths = write_objects(objects_of(KINDS[kind]), tmp_path)
    assert {path.name: errors_of(path) for path in paths} == {path.name: [] for path in paths}


def test_dciodvfy_finds_no_error_after_approval(approval: Approval | None, tmp_path: Path) -> None:
    for path in write_objects(objects_of(SEVERAL, approval), tmp_path):
        assert errors_of(path) == []


def test_dciodvfy_finds_no_error_with_an_empty_header(tmp_path: Path) -> None:
    header = StudyHeader(study_uid=HEADER.study_uid, series_uid=HEADER.series_uid, patient_age="58", patient_sex="?")
    for path in write_objects(objects_of(SEVERAL, PHYSICIAN, header), tmp_path):
        assert errors_of(path) == []


def test_kinds_series_and_identification() -> None:
    objects = objects_of(SEVERAL)
    assert [item.SOPClassUID for item in objects] == [SR, PDF, *[CAPTURE] * len(KEY_VIEWS), SELECTION]
    assert len({item.SOPInstanceUID for item in objects}) == len(objects)
    series = {sop_class: {item.SeriesInstanceUID for item in of_class(objects, sop_class)} for sop_class in (SR, PDF, CAPTURE, SELECTION)}
    assert all(len(uids) == 1 for uids in series.values())
    assert len(set.union(*series.values())) == 4
    for item in objects:
        assert item.StudyInstanceUID == HEADER.study_uid
        assert item.PatientName == HEADER.patient_name
        assert item.PatientID == HEADER.patient_id
        assert item.AccessionNumber == HEADER.accession_number
        assert item.StudyDate == HEADER.study_date
        assert item.SpecificCharacterSet == "ISO_IR 192"
        assert item.SeriesDescription.endswith("(AI draft)")
        assert (item.ContentDate, item.ContentTime) == ("20261122", "163005")


def test_same_input_same_objects(tmp_path: Path) -> None:
    first, second = (write_objects(objects_of(SEVERAL), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_files_appear_whole_and_alone(tmp_path: Path) -> None:
    paths = write_objects(objects_of(SEVERAL), tmp_path / "objects")
    assert sorted((tmp_path / "objects").iterdir()) == sorted(paths)
    for path in paths:
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert path.name == f"{dataset.SOPInstanceUID}.dcm"


def test_flags_follow_the_approval() -> None:
    draft, released, final = (of_class(objects_of(SEVERAL, item), SR)[0] for item in (None, RADIOGRAPHER, PHYSICIAN))
    for report in (draft, released):
        assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")
        assert "VerifyingObserverSequence" not in report
    assert (final.CompletionFlag, final.VerificationFlag, final.PreliminaryFlag) == ("COMPLETE", "VERIFIED", "FINAL")
    observer = final.VerifyingObserverSequence[0]
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("=张医师^", "示范医院")
    assert observer.VerificationDateTime == "20261122163005+0800"
    documents = [of_class(objects_of(SEVERAL, item), PDF)[0].VerificationFlag for item in (None, RADIOGRAPHER, PHYSICIAN)]
    assert documents == ["UNVERIFIED", "UNVERIFIED", "VERIFIED"]


def test_dcmtk_reads_the_report_with_chinese(approval: Approval | None, tmp_path: Path) -> None:
    path = write_objects(of_class(objects_of(SEVERAL, approval), SR), tmp_path)[0]
    result = subprocess.run(["dsrdump", "+Pl", path], capture_output=True, check=True)
    assert not [line for line in result.stderr.decode().splitlines() if line.startswith(("E:", "F:"))]
    text = result.stdout.decode()
    assert NOT_VALIDATED_NOTICE in text
    assert (DRAFT_NOTICE in text) == (approval is None or not approval.final)
    assert "右冠状动脉近段及中段混合斑块" in text
    assert "Coronary Artery Disease Assessment" in text


def read_back(findings: Findings, tmp_path: Path, approval: Approval | None = None) -> MeasurementReport:
    path = write_objects(of_class(objects_of(findings, approval), SR), tmp_path)[0]
    document = srread(path)
    assert isinstance(document, ComprehensiveSR)
    content = document.content
    assert isinstance(content, MeasurementReport)
    return content


def test_highdicom_reads_every_measurement_of_every_lesion(tmp_path: Path) -> None:
    content = read_back(SEVERAL, tmp_path)
    groups = {group.tracking_identifier: group for group in content.get_image_measurement_groups()}
    assert list(groups) == ["study", "lesion-0", "lesion-1", "lesion-2", "lesion-3", "bridge-0", "stent-0"]
    assert len({group.tracking_uid for group in groups.values()}) == len(groups)
    for item in SEVERAL.lesions:
        group = groups[f"lesion-{item.id}"]
        assert [site.value.value for site in group.finding_sites] == [SEGMENTS[item.segment].snomed]
        found = {measurement.name.meaning: (measurement.value, measurement.unit.value) for measurement in group.get_measurements()}
        assert item.minimum_lumen_diameter_mm is not None
        assert item.area_stenosis_percent is not None
        assert found == {
            "Lumen Diameter Stenosis": (item.diameter_stenosis_percent, "%"),
            "Lumen Area Stenosis": (pytest.approx(item.area_stenosis_percent, abs=5e-4), "%"),
            "Stenotic Lesion Length": (item.length_mm, "mm"),
            "Vessel lumen diameter": (pytest.approx(item.minimum_lumen_diameter_mm, abs=5e-4), "mm"),
            "Reference lumen diameter": (3.0, "mm"),
            "Remodeling Index": (1.15, "{ratio}"),
            "Plaque Burden": (62.0, "%"),
            "Total Plaque Volume": (64.0, "mm3"),
            "Calcified plaque volume": (20.0, "mm3"),
            "Non-calcified plaque volume": (44.0, "mm3"),
            "Low-attenuation plaque volume": (6.5, "mm3"),
        }
    kinds = [groups[f"lesion-{number}"].finding_type.value for number in range(4)]
    assert kinds == ["415582006", "1522000", "415582006", "415582006"]
    features = [item.value.value for item in groups["lesion-0"].get_qualitative_evaluations(name=codes.HIGH_RISK_FEATURE)]
    assert features == ["LAP", "PR"]


def test_the_study_group_holds_cad_rads_calcium_and_what_made_it(tmp_path: Path) -> None:
    study = read_back(SEVERAL, tmp_path).get_image_measurement_groups()[0]
    evaluated = [(item.name.meaning, item.value.value, item.value.scheme_designator) for item in study.get_qualitative_evaluations()]
    assert evaluated == [
        ("Summary of Analyses", "111222", "DCM"),
        ("Overall study quality", "122741", "DCM"),
        ("Coronary dominance", "253728007", "SCT"),
        ("Coronary Artery Disease Assessment", "130728", "DCM"),
        ("CAD-RADS 2.0 plaque burden category", "P2", "99CCTA"),
        ("Coronary Artery Disease Stenosis Assessment Modifier", "MODIFIER-HRP", "99CCTA"),
        ("Coronary Artery Disease Stenosis Assessment Modifier", "130733", "DCM"),
    ]
    scores = [item.value for item in study.get_measurements(name=codes.CALCIUM_SCORE)]
    assert scores == [256.2, 0.0, 180.1, 30.0, 46.1]
    texts = [str(item.value) for item in study[0].ContentSequence if item.ValueType == "TEXT"]
    assert "CAD-RADS 4A/P2/HRP/S" in texts
    assert f"model coronary 1, not validated on patients, sha256 {'cd' * 32}" in texts
    assert "engine openvino on CPU, fp32" in texts


def test_a_corrected_grade_is_marked_and_the_measurement_stays(tmp_path: Path) -> None:
    group = read_back(CORRECTED, tmp_path, PHYSICIAN).get_image_measurement_groups()[1]
    assert [item.value for item in group.get_qualitative_evaluations(name=codes.GRADE_SOURCE)] == [codes.GRADE_CORRECTED]
    assert [item.value for item in group.get_qualitative_evaluations(name=codes.STENOSIS_GRADE)] == [codes.GRADES["severe"]]
    assert [item.value for item in group.get_measurements(name=codes.DIAMETER_STENOSIS)] == [62.7]


def test_segments_that_cannot_be_assessed_are_coded(tmp_path: Path) -> None:
    groups = read_back(NOT_READABLE, tmp_path).get_image_measurement_groups()
    named = {group.tracking_identifier: group for group in groups}
    assert list(named) == ["study", "not-assessable-mRCA", "not-assessable-dRCA"]
    reasons = named["not-assessable-mRCA"].get_qualitative_evaluations(name=codes.NOT_ASSESSABLE_REASON)
    assert [item.value for item in reasons] == [codes.NOT_ASSESSABLE_REASONS["motion"]]


def test_grafts_are_groups_of_their_own_and_what_a_person_entered_is_marked(tmp_path: Path) -> None:
    graft = Graft(
        id=0, kind="venous", origin="aorta", target="mLAD", points_mm=((0.0, 0.0, 0.0), (0.0, 3.0, 4.0)), lumen_diameter_mm=3.4,
        patency="narrowed", confidence=0.8,
    )  # fmt: skip
    lost = msgspec.structs.replace(graft, id=1, kind="arterial", target=None, target_reason="not_traced", patency=None)
    found = msgspec.structs.replace(SEVERAL, grafts=(graft, lost), entered=Entered(exceptions=True))
    groups = {group.tracking_identifier: group for group in read_back(found, tmp_path).get_image_measurement_groups()}
    one, other = groups["graft-0"], groups["graft-1"]
    assert one.finding_type == codes.GRAFT
    assert [site.value.value for site in one.finding_sites] == [SEGMENTS["mLAD"].snomed]
    assert {item.name.meaning: item.value for item in one.get_measurements()} == {"Length": 5.0, "Vessel lumen diameter": 3.4}
    assert [item.value for item in one.get_qualitative_evaluations(name=codes.PATENCY)] == [codes.PATENCIES["narrowed"]]
    assert [site.value for site in other.finding_sites] == [codes.CORONARY_ARTERY]
    assert list(other.get_qualitative_evaluations(name=codes.PATENCY)) == []
    texts = [str(item.value) for item in groups["study"][0].ContentSequence if item.ValueType == "TEXT"]
    assert "Entered by the physician: disease other than atherosclerosis (E)." in texts
    path = write_objects(of_class(objects_of(found), SR), tmp_path)[0]
    assert errors_of(path) == []
    rejected = read_back(msgspec.structs.replace(found, entered=Entered(grafts=False)), tmp_path / "again")
    assert not any(group.tracking_identifier.startswith("graft") for group in rejected.get_image_measurement_groups())


def test_a_declined_study_says_why(tmp_path: Path) -> None:
    (study,) = read_back(DECLINED, tmp_path).get_image_measurement_groups()
    (state,) = study.get_qualitative_evaluations()
    assert (state.name, state.value) == (codes.SUMMARY_OF_ANALYSES, codes.STATUSES["declined"])
    assert any("DEC-004" in str(item.value) for item in study[0].ContentSequence if item.ValueType == "TEXT")


def test_observers(approval: Approval | None, tmp_path: Path) -> None:
    contexts = read_back(SEVERAL, tmp_path, approval).get_observer_contexts()
    assert [context.observer_type.meaning for context in contexts] == (["Device"] if approval is None else ["Person", "Device"])
    if approval is not None:
        assert str(contexts[0].observer_identifying_attributes.name) == f"={approval.user_name}^"


def test_all_source_images_are_evidence() -> None:
    report = of_class(objects_of(SEVERAL), SR)[0]
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == HEADER.series_uid
    assert tuple((item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence) == SOURCE


def test_every_series_that_was_read_is_evidence(tmp_path: Path) -> None:
    """A calcium score and an artery of another phase rest on images of their own."""
    score, phase = ("1.2.826.0.1.3680043.10.1.7", SOURCE[:2]), ("1.2.826.0.1.3680043.10.1.8", SOURCE[2:5])
    report = write_report(HEADER, SEVERAL)
    made = make_objects(
        HEADER, SEVERAL, report, any_pdf(), KEY_VIEWS, SOURCE, further=[score, phase], approval=None, uids=uid_maker(), now=NOW
    )
    (study,) = of_class(made, SR)[0].CurrentRequestedProcedureEvidenceSequence
    named = [
        (each.SeriesInstanceUID, tuple((item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in each.ReferencedSOPSequence))
        for each in study.ReferencedSeriesSequence
    ]
    assert named == [(HEADER.series_uid, SOURCE), score, phase]
    assert len(of_class(made, PDF)[0].SourceInstanceSequence) == len(SOURCE) + 5
    assert {path.name: errors_of(path) for path in write_objects(made, tmp_path)} == {path.name: [] for path in tmp_path.iterdir()}


def test_what_was_measured_in_another_phase_says_so(tmp_path: Path) -> None:
    series = OtherSeries(series_uid="1.2.826.0.1.3680043.10.1.8", role="phase", phase_percent=40.0, read=True)
    branches = tuple(
        msgspec.structs.replace(each, series_uid=series.series_uid) if each.vessel == "LAD" else each for each in SEVERAL.branches
    )
    found = msgspec.structs.replace(SEVERAL, branches=branches, other_series=(series,))
    phase = (series.series_uid, SOURCE[2:5])
    report = write_report(HEADER, found)
    made = make_objects(HEADER, found, report, any_pdf(), KEY_VIEWS, SOURCE, further=[phase], approval=None, uids=uid_maker(), now=NOW)
    groups = of_class(made, SR)[0].ContentSequence
    said = {
        next(part.TextValue for part in group.ContentSequence if part.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier")
        for measurements in groups
        for group in measurements.get("ContentSequence", ())
        if any(part.get("TextValue") == "Measured in another phase (40%)." for part in group.get("ContentSequence", ()))
    }
    assert said == {"lesion-0", "lesion-1", "bridge-0"}
    assert {path.name: errors_of(path) for path in write_objects(made, tmp_path)} == {path.name: [] for path in tmp_path.iterdir()}


def test_the_pdf_comes_back_byte_for_byte() -> None:
    document = of_class(objects_of(SEVERAL), PDF)[0]
    assert document.EncapsulatedDocument[: document.EncapsulatedDocumentLength] == any_pdf()
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert NOT_VALIDATED_NOTICE in document.DocumentTitle


def test_captures_hold_the_pictures_uncovered_and_the_texts_burnt_in() -> None:
    captures = of_class(objects_of(SEVERAL), CAPTURE)
    for picture, capture in zip(KEY_VIEWS, captures, strict=True):
        pixels = capture.pixel_array
        rows, columns, _ = picture.image.shape
        assert capture.BurnedInAnnotation == "YES"
        left = (pixels.shape[1] - columns) // 2
        top = next(row for row in range(pixels.shape[0]) if np.array_equal(pixels[row : row + rows, left : left + columns], picture.image))
        assert pixels[:top].max() > 0  # the patient line
        assert pixels[top + rows :].max() > 0  # caption and notices
        assert NOT_VALIDATED_NOTICE in capture.DerivationDescription


def test_each_notice_adds_its_own_line() -> None:
    picture = view("x", "cpr", size=(900, 100))
    heights = [burn_in(picture, header=HEADER, notices=notices).shape[0] for notices in ((), ("一",), ("一", "二"))]
    assert heights[0] < heights[1] < heights[2]
    assert heights[1] - heights[0] == heights[2] - heights[1]


def test_a_narrow_picture_gets_margins_for_the_texts() -> None:
    pixels = burn_in(view("x", "section", size=(101, 101)), header=HEADER, notices=(DRAFT_NOTICE, NOT_VALIDATED_NOTICE))
    assert pixels.shape[1] == 512


def test_the_selection_names_every_capture() -> None:
    objects = objects_of(SEVERAL)
    selection = KeyObjectSelectionDocument.from_dataset(of_class(objects, SELECTION)[0])
    captures = [item.SOPInstanceUID for item in of_class(objects, CAPTURE)]
    assert [item.referenced_sop_instance_uid for item in selection.content.get_references()] == captures
    assert selection.resolve_reference(captures[0])[1] == of_class(objects, CAPTURE)[0].SeriesInstanceUID


def test_segment_codes_are_those_of_the_standard() -> None:
    known = {
        code.value: code.meaning
        for group in (standard.cid3014, standard.cid3015)
        for code in (getattr(group, name) for name in dir(group))
        if hasattr(code, "value")
    }
    for name, segment in SEGMENTS.items():
        if segment.snomed is not None:
            site = codes.segment_site(name)
            assert known[site.value] == site.meaning
