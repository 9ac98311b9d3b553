"""Virtual scans as DICOM files, read back by pydicom and checked by dicom3tools where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.phantom import draw_scan, render
from models.phantom.series import heart_view, write_phases, write_series
from tests.patients import drawn_patient


@pytest.fixture(scope="module")
def ccta(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(drawn_patient(5), draw_scan(5), tmp_path_factory.mktemp("ccta"), slices=24, rows=64)


def test_files_hold_the_rendered_volume(ccta: list[Path]) -> None:
    sets = [pydicom.dcmread(f) for f in ccta]
    assert len(sets) == 24
    first = sets[0]
    origin, pixel = heart_view(drawn_patient(5), 64, None, 24)
    assert [float(v) for v in first.ImagePositionPatient] == pytest.approx(origin, abs=1e-5)
    volume = render(drawn_patient(5), draw_scan(5), origin=origin, spacing=(pixel, pixel, 0.5), shape=(24, 64, 64)).hu
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
    again = write_series(drawn_patient(5), draw_scan(5), tmp_path / "again", slices=24, rows=64)
    assert [pydicom.dcmread(f, stop_before_pixels=True).SOPInstanceUID for f in again] == uids
    other = write_series(drawn_patient(5), draw_scan(5), tmp_path / "other", slices=24, rows=64, series_number=4)
    a, b = pydicom.dcmread(other[0], stop_before_pixels=True), pydicom.dcmread(ccta[0], stop_before_pixels=True)
    assert a.SeriesInstanceUID != b.SeriesInstanceUID
    assert a.StudyInstanceUID == b.StudyInstanceUID
    assert all(len(u) <= 64 for u in uids)


def test_truth_lies_beside_the_images(ccta: list[Path]) -> None:
    facts = json.loads((ccta[0].parent / "truth.json").read_text())
    assert facts["series_uid"] == pydicom.dcmread(ccta[0], stop_before_pixels=True).SeriesInstanceUID
    assert {b["name"] for b in facts["branches"]} >= {"LM", "LAD", "LCX", "RCA"}


def test_slices_can_be_missing(tmp_path: Path) -> None:
    files = write_series(drawn_patient(5), draw_scan(5), tmp_path, slices=12, rows=32, missing=(4, 5))
    numbers = [int(pydicom.dcmread(f, stop_before_pixels=True).InstanceNumber) for f in files]
    assert numbers == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("kind", ["ccta", "calcium", "scout", "lung", "abdomen"])
def test_dicom3tools_finds_no_error(kind: str, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.fail("dciodvfy is not installed: make test installs it")
    file = write_series(drawn_patient(5), draw_scan(5), tmp_path, kind=kind, slices=6, rows=32)[0]
    checked = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        write_series(drawn_patient(5), draw_scan(5), tmp_path, kind="pet")


def test_calcium_series_shows_calcium_but_no_bright_blood(tmp_path: Path) -> None:
    files = write_series(drawn_patient(5), draw_scan(5), tmp_path, kind="calcium", rows=64)
    sets = [pydicom.dcmread(f) for f in files]
    assert "ContrastBolusAgent" not in sets[0]
    assert float(sets[0].KVP) == 120.0
    assert float(sets[0].SliceThickness) in (2.5, 3.0)
    assert np.allclose(np.diff([float(s.ImagePositionPatient[2]) for s in sets]), float(sets[0].SliceThickness))
    low, high = (np.asarray(corner) for corner in drawn_patient(5).heart_box)
    assert float(sets[0].ImagePositionPatient[2]) <= low[2]
    assert float(sets[-1].ImagePositionPatient[2]) >= high[2]
    origin = np.array([float(v) for v in sets[0].ImagePositionPatient])
    spacing = (float(sets[0].PixelSpacing[1]), float(sets[0].PixelSpacing[0]), float(sets[0].SliceThickness))
    calm = replace(draw_scan(5), motion_mm={})
    where = render(drawn_patient(5), calm, origin=tuple(origin), spacing=spacing, shape=(len(sets), 64, 64), noise=False).structures
    volume = np.stack([s.pixel_array for s in sets]).astype(float)
    blood = volume[(where == 2) | (where == 3) | (where == 6)]
    assert blood.mean() == pytest.approx(42.0, abs=14.0)
    assert np.quantile(blood, 0.99) < 130.0
    assert (tmp_path / "truth.json").is_file()


def test_phases_are_one_study_of_a_heart_that_beats(tmp_path: Path) -> None:
    files = write_phases(drawn_patient(5), draw_scan(5), tmp_path, phases=(40.0, 75.0), slices=4, rows=32)
    systole, diastole = (pydicom.dcmread(tmp_path / f"phase-{p}" / "0001.dcm") for p in (40, 75))
    assert len(files) == 8
    assert systole.StudyInstanceUID == diastole.StudyInstanceUID
    assert systole.FrameOfReferenceUID == diastole.FrameOfReferenceUID
    assert systole.SeriesInstanceUID != diastole.SeriesInstanceUID
    assert [systole.NominalPercentageOfCardiacPhase, diastole.NominalPercentageOfCardiacPhase] == [40.0, 75.0]
    assert systole.HeartRate == diastole.HeartRate
    assert float(systole.TriggerTime) / float(diastole.TriggerTime) == pytest.approx(40.0 / 75.0, rel=1e-3)
    contracted, rest = (json.loads((tmp_path / f"phase-{p}" / "truth.json").read_text()) for p in (40, 75))
    moved = np.linalg.norm(np.asarray(contracted["ostia_mm"]["right"]) - rest["ostia_mm"]["right"])
    assert 2.0 < moved < 15.0


def test_own_geometry_follows_the_scan_and_misses_what_it_misses(tmp_path: Path) -> None:
    scan = replace(draw_scan(5), increment_mm=2.0, slice_thickness_mm=1.0, fov_mm=192.0, cut_mm=(10.0, 0.0))
    files = write_series(drawn_patient(5), scan, tmp_path, rows=32, own_geometry=True)
    first, last = pydicom.dcmread(files[0]), pydicom.dcmread(files[-1])
    assert float(first.PixelSpacing[0]) * 32 == pytest.approx(192.0, abs=0.01)
    assert float(first.ReconstructionDiameter) == pytest.approx(192.0, abs=0.01)
    assert float(first.SliceThickness) == 1.0
    assert float(first.SpacingBetweenSlices) == 2.0
    bottom = min(drawn_patient(5).heart_box[0][2], *(b.points_mm[:, 2].min() for b in drawn_patient(5).branches))
    assert float(first.ImagePositionPatient[2]) == pytest.approx(bottom + 10.0, abs=0.06)
    assert float(last.ImagePositionPatient[2]) > drawn_patient(5).heart_box[1][2]
