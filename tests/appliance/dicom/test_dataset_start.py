"""The two UIDs at the start of a data set: right in every transfer syntax, and never more than a typed error for anything else."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from appliance.dicom.dataset_start import DEFLATED, EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN, NotDicomError, is_uid, read_start
from tests.peers.datasets import ct_slice, encode

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
SYNTAXES = [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED]


def encoded(dataset: Dataset, syntax: str) -> bytes:
    if syntax == EXPLICIT_BIG_ENDIAN:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = False, False
        write_dataset(buffer, dataset)
        return buffer.getvalue()
    data = encode(dataset, implicit=syntax == IMPLICIT_LITTLE_ENDIAN)
    if syntax != DEFLATED:
        return data
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


def with_language(*, undefined: bool) -> Dataset:
    """A data set with a sequence before the UIDs: (0008,0006), itself holding one."""
    inner: Any = Dataset()
    inner.CodeValue = "zh-CN"
    item: Any = Dataset()
    item.CodeValue = "zh"
    item.EquivalentCodeSequence = Sequence([inner])
    dataset: Any = ct_slice()
    dataset.LanguageCodeSequence = Sequence([item])
    for sequence in (dataset["LanguageCodeSequence"], item["EquivalentCodeSequence"]):
        sequence.is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return dataset  # type: ignore[no-any-return]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_uids_are_found_in_every_syntax(syntax: str) -> None:
    dataset = ct_slice()
    start = read_start(encoded(dataset, syntax), syntax)
    assert (start.sop_class_uid, start.sop_instance_uid) == (dataset.SOPClassUID, dataset.SOPInstanceUID)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_sequence_before_the_uids_is_stepped_over(syntax: str, undefined: bool) -> None:
    dataset = with_language(undefined=undefined)
    assert read_start(encoded(dataset, syntax), syntax).sop_instance_uid == dataset.SOPInstanceUID


def test_empty_uids_are_empty() -> None:
    start = read_start(encode(ct_slice(SOPClassUID="", SOPInstanceUID="")), EXPLICIT_LITTLE_ENDIAN)
    assert (start.sop_class_uid, start.sop_instance_uid) == ("", "")


@pytest.mark.parametrize(("made", "read"), [(made, read) for made in SYNTAXES for read in SYNTAXES if made != read])
def test_another_syntax_than_agreed_is_noticed(made: str, read: str) -> None:
    with pytest.raises(NotDicomError):
        read_start(encoded(ct_slice(), made), read)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_start_cut_anywhere_is_an_error_or_incomplete(syntax: str) -> None:
    dataset = ct_slice()
    whole = encoded(dataset, syntax)
    for length in range(140):
        try:
            start = read_start(whole[:length], syntax)
        except NotDicomError:
            continue
        assert start.sop_instance_uid in ("", dataset.SOPInstanceUID)


def test_sequences_without_end_do_not_recurse_without_end() -> None:
    bomb = (b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 1000
    with pytest.raises(NotDicomError, match="deep"):
        read_start(bomb, EXPLICIT_LITTLE_ENDIAN)


@given(data=st.binary(max_size=400), syntax=st.sampled_from(SYNTAXES))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes, syntax: str) -> None:
    try:
        read_start(data, syntax)
    except NotDicomError:
        return


@given(at=st.integers(0, 120), value=st.integers(0, 255), syntax=st.sampled_from(SYNTAXES))
@settings(max_examples=300, deadline=None)
def test_one_wrong_byte_raises_nothing_else(at: int, value: int, syntax: str) -> None:
    data = bytearray(encoded(ct_slice(), syntax))
    data[at] = value
    try:
        read_start(bytes(data), syntax)
    except NotDicomError:
        return


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.840.10008.1.2", True), ("2.25.1", True), ("", False), ("1..2", False), (".1", False), ("1.2.", False), ("1.2a", False),
        ("1" * 64, True), ("1" * 65, False), ("../x", False), ("1.2\n", False), ("1.02", True),
    ],
)  # fmt: skip
def test_what_a_uid_is(text: str, valid: bool) -> None:
    assert is_uid(text) is valid
