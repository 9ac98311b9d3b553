"""The scan of an evaluated patient is what its family says, and covers the heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.measures import found_length
from models.evaluation.scans import designed_scan, scan_geometry
from models.evaluation.truths import Truth, clipped, conditions_of, inside, truth_of
from models.phantom import Patient, draw_scan
from models.training.families import Design, load_families
from tests.patients import drawn_patient

SEED = 100_003


@pytest.fixture(scope="module")
def patient() -> Patient:
    return drawn_patient(SEED)


def test_a_design_changes_what_it_names_and_nothing_else() -> None:
    drawn = draw_scan(SEED)
    assert designed_scan(SEED, Design("as-drawn", SEED, SEED)) == drawn
    changed = designed_scan(SEED, Design("x", SEED, SEED, set={"noise_hu": 48}, scale={"psf_sigma_mm": 1.5}))
    assert changed == replace(drawn, noise_hu=48.0, psf_sigma_mm=(1.5 * drawn.psf_sigma_mm[0], 1.5 * drawn.psf_sigma_mm[1]))
    with pytest.raises(ValueError, match="no field nosie_hu"):
        designed_scan(SEED, Design("x", SEED, SEED, set={"nosie_hu": 48}))


def test_every_committed_design_fits_the_scan() -> None:
    for design in load_families()["development"].designs:
        scan = designed_scan(SEED, design)
        assert (scan == draw_scan(SEED)) == (design.name == "as-drawn")
    moving = designed_scan(SEED, next(d for d in load_families()["development"].designs if d.name == "moving"))
    assert moving.motion_mm == {"LAD": 1.2, "LCX": 1.8, "RCA": 2.6}


def test_thicker_slices_blur_along_z_only() -> None:
    drawn = replace(draw_scan(SEED))
    thick = designed_scan(SEED, Design("thick", SEED, SEED, set={"slice_thickness_mm": 1.5}))
    assert thick.psf_sigma_mm[0] == drawn.psf_sigma_mm[0]
    added = thick.psf_sigma_mm[1] ** 2 - drawn.psf_sigma_mm[1] ** 2
    assert added == pytest.approx((1.5**2 - drawn.slice_thickness_mm**2) / 12.0)


def test_the_series_covers_the_heart_unless_it_is_cut(patient: Patient) -> None:
    scan = replace(draw_scan(SEED), fov_mm=0.0, cut_mm=(0.0, 0.0), steps=(), round_field=False, increment_mm=0.5)
    truth = truth_of(patient, scan)
    geometry = scan_geometry(patient, scan)
    assert geometry.shape[1:] == (512, 512)
    assert geometry.spacing[2] == 0.5
    assert inside(truth.native_points, geometry).all()
    cut = scan_geometry(patient, replace(scan, cut_mm=(10.0, 0.0)))
    assert cut.origin[2] == pytest.approx(geometry.origin[2] + 22.0)
    less = clipped(truth, cut)
    assert found_length(less.branches, np.zeros((0, 3))).whole < found_length(truth.branches, np.zeros((0, 3))).whole


def test_truth_is_the_patient_and_follows_the_steps_of_the_scan(patient: Patient) -> None:
    scan = replace(draw_scan(SEED), steps=())
    truth = truth_of(patient, scan)
    assert len(truth.branches) == len(patient.branches)
    assert truth.dominance == patient.dominance
    assert len(truth.lesions) == len(patient.lesions)
    for lesion, drawn in zip(truth.lesions, patient.lesions, strict=True):
        np.testing.assert_array_equal(lesion.points[lesion.minimum], patient.branches[drawn.branch].points_mm[drawn.minimum])
    np.testing.assert_array_equal(truth.branches[0].points, patient.branches[0].points_mm)
    assert isinstance(truth, Truth)


def test_conditions_tell_hard_scans_from_clean_ones(patient: Patient) -> None:
    clean = replace(
        draw_scan(SEED), noise_hu=20.0, vessel_hu=400.0, motion_mm={}, steps=(), ghost=None, cut_mm=(0.0, 0.0), round_field=False
    )
    assert "clean scan" in conditions_of(patient, clean)
    hard = set(conditions_of(patient, replace(clean, noise_hu=50.0, vessel_hu=250.0, motion_mm={"RCA": 2.0})))
    assert {"noise of 32 HU and more", "contrast under 300 HU", "motion of 1 mm and more"} <= hard
    assert "clean scan" not in hard
    assert f"heart {patient.heart_model}" in hard
