"""Virtual scans as DICOM files, read back by pydicom and checked by dicom3tools where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.phantom import Patient, draw_patient, draw_scan, render
from models.phantom.series import heart_view, write_series


@lru_cache(maxsize=2)
def patient_of(seed: int) -> Patient:
    return draw_patient(seed)


@pytest.fixture(scope="module")
def ccta(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(patient_of(5), draw_scan(5), tmp_path_factory.mktemp("ccta"), slices=24, rows=64)


def test_files_hold_the_rendered_volume(ccta: list[Path]) -> None:
    sets = [pydicom.dcmread(f) for f in ccta]
    assert len(sets) == 24
    first = sets[0]
    origin, pixel = heart_view(patient_of(5), 64, None, 24)
    assert [float(v) for v in first.ImagePositionPatient] == pytest.approx(origin, abs=1e-5)
    volume = render(patient_of(5), draw_scan(5), origin=origin, spacing=(pixel, pixel, 0.5), shape=(24, 64, 64)).hu
    assert np.array_equal(np.stack([s.pixel_array for s in sets]), volume)
    z = [float(s.ImagePositionPatient[2]) for s in sets]
    assert np.allclose(np.diff(z), 0.5)


def test_header_is_that_of_a_coronary_angiogram(ccta: list[Path]) -> None:
    d = pydicom.dcmread(ccta[0])
    assert d.SOPClassUID == pydicom.uid.CTImageStorage
    assert list(d.ImageType)[:3] == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert d.BodyPartExamined == "HEART"
    assert d.ContrastBolusAgent
    assert d.NominalPercentageOfCardiacPhase == draw_scan(5).phase_percent
    assert float(d.TriggerTime) > 0
    assert d.PatientName.ideographic
    assert d.PatientName.alphabetic.isascii()


def test_uids_are_unique_and_repeatable(ccta: list[Path], tmp_path: Path) -> None:
    uids = [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in ccta]
    assert len(set(uids)) == len(uids)
    again = write_series(patient_of(5), draw_scan(5), tmp_path / "again", slices=24, rows=64)
    assert [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in again] == uids
    other = write_series(patient_of(5), draw_scan(5), tmp_path / "other", slices=24, rows=64, series_number=4)
    a, b = pydicom.dcmread(other[0], stop_before_pixels=True), pydicom.dcmread(ccta[0], stop_before_pixels=True)
    assert a.SeriesInstanceUID != b.SeriesInstanceUID
    assert a.StudyInstanceUID == b.StudyInstanceUID
    assert all(len(u) <= 64 for u in uids)


def test_truth_lies_beside_the_images(ccta: list[Path]) -> None:
    facts = json.loads((ccta[0].parent / "truth.json").read_text())
    assert facts["series_uid"] == pydicom.dcmread(ccta[0], stop_before_pixels=True).SeriesInstanceUID
    assert {b["name"] for b in facts["branches"]} >= {"LM", "LAD", "LCX", "RCA"}


def test_slices_can_be_missing(tmp_path: Path) -> None:
    files = write_series(patient_of(5), draw_scan(5), tmp_path, slices=12, rows=32, missing=(4, 5))
    numbers = [int(pydicom.dcmread(f, stop_before_pixels=True).InstanceNumber) for f in files]
    assert numbers == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("kind", ["ccta", "scout", "lung", "abdomen"])
def test_dicom3tools_finds_no_error(kind: str, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.fail("dciodvfy is not installed: make test installs it")
    file = write_series(patient_of(5), draw_scan(5), tmp_path, kind=kind, slices=6, rows=32)[0]
    checked = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        write_series(patient_of(5), draw_scan(5), tmp_path, kind="pet")
