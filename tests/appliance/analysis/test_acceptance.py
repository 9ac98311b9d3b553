"""The gate: one accepted series, and every way in which a series is turned away, each by its own code."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.analysis.acceptance import is_calcium_scan, is_complete, judge, warn
from appliance.analysis.kernels import sharpness
from appliance.analysis.reading import read_headers
from appliance.analysis.slices import SliceHeader
from tests.peers.datasets import ROOT, ct_slice, save

DATA = Path(__file__).parents[2] / "data"


def series(folder: Path, *, count: int = 200, leave_out: tuple[int, ...] = (), increment: float = 0.5, **changes: Any) -> list[SliceHeader]:
    """Headers of a CCTA as it should be - 200 slices of 0.5 mm, 0.4 mm pixels, 205 mm field of view - with changes.

    One small slice is written and read; the others are that header at their own places, with a full matrix.
    """
    folder.mkdir(exist_ok=True, parents=True)
    base = {"pixels": np.zeros((32, 32), np.int16), "PixelSpacing": [6.4, 6.4]}
    first = read_headers([save(ct_slice(**{**base, **changes}), folder / "first.dcm")])[0]
    if first.pixel_spacing is not None:
        fine = (first.pixel_spacing[0] / 16, first.pixel_spacing[1] / 16)
        first = replace(first, rows=16 * first.rows, columns=16 * first.columns, pixel_spacing=fine)
    x, y, z = first.position or (0.0, 0.0, 0.0)
    uid = first.sop_instance_uid
    return [
        replace(first, position=(x, y, z + index * increment), sop_instance_uid=f"{uid}.{index}" if uid else "", path=folder / f"{index}")
        for index in range(count)
        if index not in leave_out
    ]


def test_a_coronary_cta_is_accepted_without_a_warning(tmp_path: Path) -> None:
    headers = series(tmp_path)
    assert judge(headers) is None
    assert warn(headers) == ()
    assert is_complete(headers) is True


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        pytest.param({"Modality": "MR"}, "DEC-001", "MR", id="MR"),
        pytest.param({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "DEC-001", "no CT", id="secondary capture"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "DEC-002", "scout", id="localizer"),
        pytest.param({"SeriesDescription": "Topogram 0.6"}, "DEC-002", "scout", id="topogram"),
        pytest.param({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "DEC-003", "reformatted", id="secondary"),
        pytest.param({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, "DEC-003", "reformatted", id="MPR"),
        pytest.param({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MIP"]}, "DEC-003", "reformatted", id="MIP"),
        pytest.param({"Manufacturer": "SIEMENS", "ConvolutionKernel": ["Bl57d", "3"]}, "DEC-004", "Bl57d", id="lung kernel"),
        pytest.param({"Manufacturer": "GE MEDICAL SYSTEMS", "ConvolutionKernel": "LUNG"}, "DEC-004", "LUNG", id="GE lung"),
        pytest.param({"SeriesDescription": "Lung 1.0"}, "DEC-004", "lung", id="lung by name"),
        pytest.param({"SeriesDescription": "肺窗 1.0"}, "DEC-004", "lung", id="lung by Chinese name"),
        pytest.param(
            {"BodyPartExamined": "HEAD", "SeriesDescription": "CTA 0.6", "StudyDescription": "Head"}, "DEC-005", "HEAD", id="head"
        ),
        pytest.param({"BodyPartExamined": "LSPINE", "SeriesDescription": "0.6", "StudyDescription": ""}, "DEC-005", "LSPINE", id="spine"),
        pytest.param({"ContrastBolusAgent": "NONE"}, "DEC-006", "contrast", id="contrast none"),
        pytest.param({"ContrastBolusAgent": None, "SeriesDescription": "Heart non-contrast"}, "DEC-006", "contrast", id="non-contrast"),
        pytest.param({"ContrastBolusAgent": None, "SeriesDescription": "心脏平扫"}, "DEC-006", "contrast", id="unenhanced in Chinese"),
        pytest.param({"ContrastBolusAgent": None, "SeriesDescription": "CaSc 0.6"}, "DEC-006", "contrast", id="calcium score"),
        pytest.param({"SliceThickness": "1.25"}, "DEC-007", "1.25 mm", id="thick"),
        pytest.param({"increment": 0.9}, "DEC-008", "0.90 mm", id="far apart"),
        pytest.param({"leave_out": (17, 99)}, "DEC-009", "missing", id="missing slices"),
        pytest.param({"count": 120}, "DEC-010", "120 slices", id="too few"),
        pytest.param({"PixelSpacing": [2.5, 2.5]}, "DEC-010", "field of view", id="narrow field of view"),
        pytest.param({"StudyInstanceUID": ""}, "DEC-013", "UID", id="no UID"),
    ],
)
def test_what_is_declined_and_why(tmp_path: Path, changes: dict[str, Any], code: str, words: str) -> None:
    reason = judge(series(tmp_path, **changes))
    assert reason is not None
    assert reason.code == code
    assert words in reason.en
    assert reason.zh.startswith("不是可以分析的冠状动脉 CTA:")


def test_nothing_at_all_is_declined() -> None:
    reason = judge([])
    assert reason is not None
    assert reason.code == "DEC-012"


def test_a_coronal_series_is_declined(tmp_path: Path) -> None:
    folder = tmp_path / "coronal"
    folder.mkdir()
    paths = [
        save(
            ct_slice(index=index, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, -50 + 0.5 * index, 0]),
            folder / f"{index}",
        )
        for index in range(200)
    ]
    reason = judge(read_headers(paths))
    assert reason is not None
    assert reason.code == "DEC-011"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SliceThickness": "0.9"}, "DEC-051"),
        ({"increment": 0.6}, "DEC-052"),
        ({"PixelSpacing": [9.0, 9.0]}, "DEC-053"),
        ({"Manufacturer": "SIEMENS", "ConvolutionKernel": "Bv56d"}, "DEC-054"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "DEC-055"),
        ({"BodyPartExamined": "HEAD"}, "DEC-056"),
    ],
)
def test_what_is_only_unusual_is_accepted_with_a_warning(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    headers = series(tmp_path, **changes)
    assert judge(headers) is None
    assert [reason.code for reason in warn(headers)] == [code]


@pytest.mark.parametrize(
    "changes",
    [
        {"SliceThickness": "1.0"},
        {"increment": 0.8},
        {"ContrastBolusAgent": None},
        {"ContrastBolusAgent": None, "SeriesDescription": "", "StudyDescription": "", "BodyPartExamined": None, "ConvolutionKernel": None},
        {"BodyPartExamined": "CHEST"},
        {"SeriesDescription": "冠脉 CTA 75%", "BodyPartExamined": "CHEST"},
        {"Manufacturer": "UNKNOWN", "ConvolutionKernel": "X17"},
    ],
)
def test_limits_themselves_and_poor_headers_are_accepted(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert judge(series(tmp_path, **changes)) is None


@pytest.mark.parametrize(
    ("maker", "kernel", "expected"),
    [
        ("SIEMENS", "B26f", "fit"), ("SIEMENS", "Bv40d 3", "fit"), ("Siemens Healthineers", "Bv36f 3", "fit"),
            ("SIEMENS", "I26f 3", "fit"),
        ("SIEMENS", "Bv56d", "sharp"), ("Siemens Healthineers", "Bv72u 3", "sharp"), ("SIEMENS", "B46f", "sharp"),
            ("SIEMENS", "B60f", "unfit"),
        ("SIEMENS", "B70s", "unfit"), ("SIEMENS", "Br64d", "unfit"), ("SIEMENS", "Hr68h", "unfit"),
            ("GE MEDICAL SYSTEMS", "STANDARD", "fit"),
        ("GE MEDICAL SYSTEMS", "HD STD", "fit"), ("GE MEDICAL SYSTEMS", "DETAIL", "sharp"), ("GE MEDICAL SYSTEMS", "BONEPLUS", "unfit"),
        ("Philips", "XCB", "fit"), ("Philips", "B", "fit"), ("Philips", "XCD", "sharp"), ("Philips", "YC", "unfit"),
            ("Philips", "L", "unfit"),
        ("TOSHIBA", "FC43", "fit"), ("TOSHIBA", "FC08", "fit"), ("CANON_MEC", "FC03", "fit"), ("TOSHIBA", "FC05", "sharp"),
        ("TOSHIBA", "FC51", "unfit"), ("CANON_MEC", "LUNG", "unfit"), ("UIH", "C_SOFT_B", "fit"), ("UIH", "B_VSHARP_C", "unfit"),
        ("UIH", "B_SHARP_C", "sharp"), ("", "", "fit"), ("NEUSOFT", "LUNG20", "unfit"),
    ],
)  # fmt: skip
def test_kernels(maker: str, kernel: str, expected: str) -> None:
    assert sharpness(maker, kernel) == expected


# -- completeness


def test_a_series_with_a_hole_is_not_complete(tmp_path: Path) -> None:
    assert is_complete(series(tmp_path, leave_out=(50,))) is False


def test_a_series_of_two_phases_is_complete_when_both_are(tmp_path: Path) -> None:
    first = series(tmp_path / "a", count=100, NominalPercentageOfCardiacPhase=40.0)
    changes = {"SOPInstanceUID": f"{ROOT}77", "NominalPercentageOfCardiacPhase": 75.0}
    second = series(tmp_path / "b", count=100, **changes)
    assert is_complete([*first, *second]) is True
    assert is_complete([*first, *second[:50], *second[51:]]) is False


def test_a_scout_is_not_waited_for(tmp_path: Path) -> None:
    assert is_complete(series(tmp_path, count=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])) is True


# -- calcium


def test_a_calcium_scan_is_known(tmp_path: Path) -> None:
    scan = {"count": 40, "increment": 3.0, "SliceThickness": "3", "ContrastBolusAgent": None}
    assert is_calcium_scan(series(tmp_path / "a", **scan, SeriesDescription="CaScore 3.0"))
    assert is_calcium_scan(series(tmp_path / "b", **scan, SeriesDescription="心脏 3.0"))
    assert not is_calcium_scan(series(tmp_path / "c", **{**scan, "ContrastBolusAgent": "IODINE"}))
    assert not is_calcium_scan(series(tmp_path / "d", **{**scan, "count": 20}))
    assert not is_calcium_scan(series(tmp_path / "e"))


# -- real series


@pytest.mark.parametrize(("name", "code", "complete"), [("chest-ct-no-contrast", "DEC-004", True), ("empty-uids", "DEC-013", True),
                                                        ("tilt-and-gaps", "DEC-005", False), ("legacy-enhanced",
                                                            "DEC-007", True)])  # fmt: skip
def test_real_series_that_are_no_coronary_studies(tmp_path: Path, name: str, code: str, complete: bool) -> None:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(tmp_path)
    headers = read_headers(sorted(path for path in tmp_path.iterdir() if path.name != "LICENSE"))
    reason = judge(headers)
    assert reason is not None
    assert reason.code == code
    assert is_complete(headers) is complete
