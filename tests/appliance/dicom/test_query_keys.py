"""Identifiers of queries: what each kind of key means, and what cannot be asked."""

from __future__ import annotations

from typing import Any

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from appliance.archive.search import Criterion
from appliance.dicom.query_answer import character_set_for
from appliance.dicom.query_keys import KeyMismatchError, parse_query, parse_retrieval


def identifier(level: str = "STUDY", **keys: Any) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        vr = pydicom.datadict.dictionary_VR(keyword)
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag is not None
        dataset[keyword] = DataElement(tag, vr, value, validation_mode=pydicom.config.IGNORE)
    return dataset


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientID", "P1", [Criterion("patient_id", "is", ("P1",))]),
        ("PatientID", "P*", [Criterion("patient_id", "like", ("P*",))]),
        ("PatientID", "*", []),
        ("PatientID", "", []),
        ("StudyInstanceUID", ["1.2", "1.3"], [Criterion("study_uid", "is", ("1.2", "1.3"))]),
        ("StudyDate", "20260101", [Criterion("study_date", "between", ("20260101", "20260101"))]),
        ("StudyDate", "20260101-", [Criterion("study_date", "between", ("20260101", None))]),
        ("StudyDate", "-20260131", [Criterion("study_date", "between", (None, "20260131"))]),
        ("StudyTime", "08-0930", [Criterion("study_time", "between", ("08", "093059.999999"))]),
        ("StudyTime", "120000", [Criterion("study_time", "between", ("120000", "120000.999999"))]),
        ("ModalitiesInStudy", ["CT", "SR"], [Criterion("modalities", "has", ("CT", "SR"))]),
        ("PatientName", "WANG^Xiao*", [Criterion("names", "like", ("*\nwang xiao*\n*",))]),
        ("PatientName", "Wang*=王^小?", [Criterion("names", "like", (f"*\n{each}\n*",)) for each in ("wang*", "王小?")]),
        ("NumberOfStudyRelatedInstances", 5, []),
        ("RequestedProcedureDescription", "not in the table", []),
    ],
)
def test_what_a_key_means(keyword: str, value: Any, expected: list[Criterion]) -> None:
    query = parse_query(identifier(**{keyword: value}), root="study")
    assert [each for each in query.criteria if each.column != "x"] == expected


def test_unique_keys_are_always_answered_and_unknown_ones_never() -> None:
    query = parse_query(identifier("SERIES", Modality="", BitsStored=12, OtherPatientIDs="x"), root="patient")
    assert query.returned == ("Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID")


def test_sequences_are_ignored() -> None:
    query = parse_query(identifier(RequestAttributesSequence=[Dataset()]), root="study")
    assert query.returned == ("StudyInstanceUID",)


def test_counts_belong_to_their_own_level() -> None:
    query = parse_query(identifier("SERIES", NumberOfStudyRelatedInstances="", NumberOfSeriesRelatedInstances=""), root="study")
    assert query.counted == ("series_instances",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": ""},
        {"level": "FRAME"},
        {"level": "PATIENT"},
        {"StudyDate": "2026-01-01"},
        {"StudyDate": "-"},
        {"StudyTime": "noon"},
    ],
)
def test_what_does_not_fit_is_said(wrong: dict[str, str]) -> None:
    with pytest.raises(KeyMismatchError):
        parse_query(identifier(wrong.pop("level", "STUDY"), **wrong), root="study")


def test_a_number_that_is_none_is_said() -> None:
    dataset = identifier("SERIES")
    dataset.add_new("SeriesNumber", "LO", "first")
    with pytest.raises(KeyMismatchError):
        parse_query(dataset, root="study")


@pytest.mark.parametrize("keys", [{}, {"StudyInstanceUID": ""}, {"StudyInstanceUID": "1.2.*"}, {"PatientID": "P1"}])
def test_a_retrieval_must_name_what_it_wants(keys: dict[str, str]) -> None:
    with pytest.raises(KeyMismatchError):
        parse_retrieval(identifier("STUDY", **keys), root="study")


def test_a_retrieval_uses_unique_keys_only() -> None:
    wanted = identifier("SERIES", StudyInstanceUID="1.2", SeriesInstanceUID=["1.2.1", "1.2.2"], Modality="MR")
    expected = [Criterion("study_uid", "is", ("1.2",)), Criterion("series_uid", "is", ("1.2.1", "1.2.2"))]
    assert parse_retrieval(wanted, root="study") == expected


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("Wang", ("", "ISO_IR 192"), "ISO_IR 192"),
        ("王小东", ("ISO_IR 100", "ISO_IR 192"), "ISO_IR 192"),
        ("王小东", ("GB18030", "ISO_IR 192"), "GB18030"),
        ("Müller", ("ISO_IR 100", "ISO_IR 192"), "ISO_IR 100"),
        ("王", ("\\ISO 2022 IR 58", "GB18030"), "GB18030"),
        ("王", ("nonsense",), "ISO_IR 192"),
    ],
)
def test_the_answer_is_in_a_set_that_holds_it(text: str, wanted: tuple[str, ...], expected: str) -> None:
    assert character_set_for(text, wanted) == expected
