"""Intake's questions to the analysis, on files: a whole CCTA, one with a gap, a scout, a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import CoronetError
from appliance.workflow.examiner import examine
from tests.appliance.archive.fakes import encode, make_dataset

SLICES = 250


def slice_file(folder: Path, number: int, **changes: object) -> Path:
    attributes: dict[str, object] = {
        "Rows": 512,
        "Columns": 512,
        "PixelSpacing": [0.4, 0.4],
        "SliceThickness": 0.6,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-100, -100, -900 + 0.5 * number],
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SeriesDescription": "CorCTA 0.5 75 %",
        "BodyPartExamined": "HEART",
        "ContrastBolusAgent": "Iopromide",
        "ConvolutionKernel": "Bv40",
        **changes,
    }
    path = folder / f"{number}.dcm"
    path.write_bytes(encode(make_dataset(number=number, **attributes)))
    return path


@pytest.fixture(scope="module")
def ccta(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ccta")
    return [slice_file(folder, number) for number in range(SLICES)]


def test_a_whole_ccta_may_be_analysed(ccta: list[Path]) -> None:
    verdict = examine("1.2.3.1", ccta)
    assert (verdict.reason, verdict.complete, verdict.slices) == (None, True, SLICES)
    assert verdict.from_diastole == 0.0
    assert verdict.header is not None
    assert verdict.header.phase_percent == 75.0


def test_a_gap_is_waited_for_and_not_analysed(ccta: list[Path]) -> None:
    verdict = examine("1.2.3.1", ccta[:100] + ccta[101:])
    assert not verdict.complete
    assert verdict.reason is not None


def test_the_first_half_of_a_scan_is_no_study(ccta: list[Path]) -> None:
    verdict = examine("1.2.3.1", ccta[:120])
    assert verdict.reason is not None
    assert verdict.reason.code == "DEC-010"


def test_a_scout_is_whole_and_declined(tmp_path: Path) -> None:
    path = slice_file(tmp_path, 1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesDescription="Topogram")
    verdict = examine("1.2.3.9", [path])
    assert verdict.complete
    assert verdict.reason is not None


def test_what_is_no_image_is_declined_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(encode(make_dataset(Modality="SR")))
    verdict = examine("1.2.3.1", [path])
    assert verdict.complete
    assert verdict.reason is not None


def test_damaged_files_are_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "noise.dcm"
    path.write_bytes(b"\0" * 500)
    with pytest.raises(CoronetError):
        examine("1.2.3.1", [path])
