"""The virtual CT: exact labels, linear attenuation, the same place looks the same in any volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.phantom import draw_scan, render
from models.phantom.noise import noise_block
from models.phantom.scan import undisturbed
from models.phantom.types import Branch, Scan
from tests.patients import drawn_patient

SEEDS = (5, 17)


def good(seed: int) -> Scan:
    return undisturbed(draw_scan(seed))


def around(point: np.ndarray, half: float) -> tuple[float, float, float]:
    return (float(point[0] - half), float(point[1] - half), float(point[2] - half))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_patch_equals_the_same_region_of_a_larger_volume(seed: int) -> None:
    patient, scan = drawn_patient(seed), good(seed)
    origin = around(patient.branches[1].points_mm[40], 24.0)
    whole = render(patient, scan, origin=origin, spacing=(0.5, 0.5, 0.5), shape=(96, 96, 96), noise=False)
    inner = (origin[0] + 10.0, origin[1] + 12.0, origin[2] + 8.0)
    patch = render(patient, scan, origin=inner, spacing=(0.5, 0.5, 0.5), shape=(40, 40, 40), noise=False)
    region = (slice(16, 56), slice(24, 64), slice(20, 60))
    assert np.array_equal(patch.vessels, whole.vessels[region])
    assert np.array_equal(patch.structures, whole.structures[region])
    assert np.abs(patch.hu.astype(int) - whole.hu[region]).max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_lumen_volume_equals_the_truth(seed: int) -> None:
    """Volume of stretches without side branches counted in voxels against the sum of their cross-sections."""
    patient, scan = drawn_patient(seed), good(seed)

    def places(b: Branch) -> list[int]:
        joints = [x.parent_index or 0 for x in patient.branches if x.parent == b.id]
        return [a for a in range(30, len(b.points_mm) - 10, 8) if all(abs(j - a) >= 30 for j in joints)]

    vessel = max(patient.branches, key=lambda b: len(places(b)))
    lo, hi = vessel.points_mm.min(0) - 6.0, vessel.points_mm.max(0) + 6.0
    shape = tuple(int(n) for n in np.ceil((hi - lo) / 0.3)[::-1])
    labels = render(patient, scan, origin=(lo[0], lo[1], lo[2]), spacing=(0.3, 0.3, 0.3), shape=shape, noise=False).vessels
    k, j, i = np.nonzero(labels == 1)
    points = np.column_stack([i, j, k]) * 0.3 + lo
    counted = expected = 0.0
    for a in places(vessel):
        p, q = vessel.points_mm[a], vessel.points_mm[a + 4]
        length = float(np.linalg.norm(q - p))
        along = (points - p) @ ((q - p) / length)
        near = np.linalg.norm(points - 0.5 * (p + q), axis=1) < 2.0 * vessel.healthy_radius_mm[a] + 1.0
        counted += float(((along >= 0) & (along < length) & near).sum()) * 0.3**3
        expected += length * np.pi * float((vessel.lumen_radius_mm[a : a + 5] ** 2).mean())
    assert expected > 5.0
    assert counted == pytest.approx(expected, rel=0.08)


def test_blood_has_the_attenuation_that_the_scan_says() -> None:
    patient, scan = drawn_patient(5), replace(good(5), vessel_hu=400.0)
    middle = patient.channel("lv")
    k, j, i = np.unravel_index(int(middle.argmin()), middle.shape)
    centre = np.asarray(patient.grid.origin) + patient.grid.spacing * np.array([i, j, k])
    r = render(patient, scan, origin=around(centre, 4.0), spacing=(0.5, 0.5, 0.5), shape=(16, 16, 16), noise=False)
    assert (r.structures == 3).all()
    assert r.hu.mean() == pytest.approx(0.96 * 400.0, abs=20.0)


def test_noise_has_the_asked_size_and_differs_between_seeds() -> None:
    patient, scan = drawn_patient(5), replace(good(5), noise_hu=30.0)
    middle = patient.channel("la")
    k, j, i = np.unravel_index(int(middle.argmin()), middle.shape)
    centre = np.asarray(patient.grid.origin) + patient.grid.spacing * np.array([i, j, k])
    view = {"origin": around(centre, 12.0), "spacing": (0.5, 0.5, 0.5), "shape": (48, 48, 48)}
    clean = render(patient, scan, **view, noise=False).hu.astype(float)
    one, two = (render(patient, scan, **view, seed=s).hu - clean for s in (1, 2))
    assert 20.0 < one.std() < 40.0
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.2
    assert np.corrcoef(one[:, :, 1:].ravel(), one[:, :, :-1].ravel())[0, 1] > 0.2


def test_noise_block_is_normalised() -> None:
    block = noise_block("cardiac-standard", 1.0)
    assert block.std() == pytest.approx(1.0, abs=1e-3)
    assert abs(block.mean()) < 0.02


def test_occlusion_has_no_lumen() -> None:
    patient = drawn_patient(5)
    b = next(x for x in patient.branches if x.name == "RCA")
    children = [x.parent_index or 0 for x in patient.branches if x.parent == b.id]
    middle = next(i for i in range(30, len(b.points_mm) - 15) if all(abs(i - c) > 25 for c in children))
    lumen = b.lumen_radius_mm.copy()
    lumen[middle - 10 : middle + 10] = 0.0
    closed = replace(b, lumen_radius_mm=lumen)
    branches = tuple(closed if x.id == b.id else x for x in patient.branches)
    blocked = replace(patient, branches=branches, cache={})
    corner = around(b.points_mm[middle], 4.0)
    r = render(blocked, good(5), origin=corner, spacing=(0.4, 0.4, 0.4), shape=(21, 21, 21), noise=False)
    index = np.round((b.points_mm[middle - 5 : middle + 5] - np.asarray(corner)) / 0.4).astype(int)
    assert (r.vessels[index[:, 2], index[:, 1], index[:, 0]] >= 2).all()
