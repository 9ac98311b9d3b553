"""Samples of a virtual patient: vessels, skeleton, context and coarse scan fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")  # the networks' own files say at what spacing and size they are trained

from appliance.analysis.heart_bulk import CARDIAC
from models.phantom import Patient, draw_patient, draw_scan, render
from models.training.coronary_patches import Sites, draw_centre, draw_patch, find_sites, scanned_patch, without_artefacts
from models.training.heart_volumes import PADDING_HU, SHAPE, draw_volume

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(7)


@pytest.fixture(scope="module")
def sites(patient: Patient) -> Sites:
    return find_sites(patient, np.random.default_rng(0))


def test_sites_are_where_they_say(patient: Patient, sites: Sites) -> None:
    low, high = np.asarray(patient.heart_box)
    for points in (sites.centreline, sites.near_heart, sites.surfaces, sites.lung_vessels):
        assert len(points) > 20
        assert (points > low - 45).all()
        assert (points < high + 45).all()
    first = np.asarray(patient.branches[0].points_mm)
    assert min(np.linalg.norm(sites.centreline - point, axis=1).min() for point in first[::20]) < 5.0


def test_about_half_of_the_patches_are_centred_off_the_arteries(patient: Patient, sites: Sites) -> None:
    rng = np.random.default_rng(1)
    arteries = np.concatenate([np.asarray(branch.points_mm) for branch in patient.branches])
    distance = [np.linalg.norm(arteries - draw_centre(sites, rng, spread_mm=0.0), axis=1).min() for _ in range(400)]
    assert 0.3 < np.mean(np.array(distance) > 5.0) < 0.6


def test_patch_on_a_vessel_has_its_skeleton_and_context(patient: Patient, sites: Sites) -> None:
    rng = np.random.default_rng(2)
    only = dict.fromkeys(("lesions", "calcium", "veins", "surfaces", "near_heart", "lung_vessels"), sites.centreline)
    on_vessels = Sites(centreline=sites.centreline, coarse=sites.coarse, **only)
    samples = [draw_patch(patient, on_vessels, draw_scan(k), rng, size=48) for k in range(12)]
    lengths = 0
    for sample in samples:
        assert sample.hu.shape == sample.target.shape == (48, 48, 48)
        assert sample.skeleton is not None
        assert sample.context is not None
        assert sample.context.shape == (2, 48, 48, 48)
        assert np.isin(sample.target[sample.skeleton], (1, 2, 3)).all()
        lengths += int(sample.skeleton.sum())
    assert lengths > 12 * 10
    lumen = np.concatenate([sample.hu[sample.target == 1] for sample in samples])
    rest = np.concatenate([sample.hu[sample.target == 0] for sample in samples])
    assert np.median(lumen) > np.median(rest) + 100


def test_the_same_seed_draws_the_same_patch(patient: Patient, sites: Sites) -> None:
    first, second = (draw_patch(patient, sites, draw_scan(1), np.random.default_rng(4), size=32) for _ in range(2))
    np.testing.assert_array_equal(first.hu, second.hu)
    np.testing.assert_array_equal(first.target, second.target)


def test_labels_are_the_same_without_artefacts_and_the_picture_is_not(patient: Patient) -> None:
    points = np.asarray(patient.branches[1].points_mm)
    pictures = []
    for number in range(6):
        scan = replace(draw_scan(number), beam_hardening=1.0, streaks=1.0)
        x, y, z = (float(value) for value in points[40 + 20 * number] - 12.0)
        full, bare = (
            render(patient, each, origin=(x, y, z), spacing=(0.5, 0.5, 0.5), shape=(48, 48, 48), noise=False)
            for each in (scan, without_artefacts(scan))
        )
        np.testing.assert_array_equal(full.vessels, bare.vessels)
        pictures.append(np.abs(full.hu.astype(float) - bare.hu).mean())
    assert np.mean(pictures) > 1.0


def test_coarse_scan_holds_a_heart_and_padding_outside_its_field(patient: Patient) -> None:
    sample = draw_volume(patient, np.random.default_rng(5))
    assert sample.hu.shape == sample.target.shape == SHAPE
    assert {int(c) for c in CARDIAC} <= set(np.unique(sample.target))
    assert not sample.target[sample.hu == PADDING_HU].any()
    assert np.median(sample.hu[sample.target == 3]) > 120  # blood of the left ventricle is enhanced


def test_a_patch_from_the_scans_own_grid_lies_where_the_other_does(patient: Patient) -> None:
    scan = draw_scan(3)
    origin = np.asarray(patient.branches[1].points_mm)[40] - 10.0
    x, y, z = (float(value) for value in origin)
    direct = render(patient, scan, origin=(x, y, z), spacing=(0.5, 0.5, 0.5), shape=(40, 40, 40), seed=5, noise=False).hu
    scanned = scanned_patch(patient, scan, origin=origin, size=40, seed=5).astype(np.float64)
    assert scanned.shape == direct.shape
    inner = scanned[4:-4, 4:-4, 4:-4]

    def likeness(dz: int, dy: int, dx: int) -> float:
        moved = direct[4 + dz : 36 + dz, 4 + dy : 36 + dy, 4 + dx : 36 + dx]
        return float(np.corrcoef(moved.ravel(), inner.ravel())[0, 1])

    best = likeness(0, 0, 0)
    assert best > 0.9
    for shift in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
        assert likeness(*shift) < best
