"""The whole chain on a still, well timed scan of a virtual patient of the development family, with the exact segmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from appliance.analysis.measure import STAGES, measure
from appliance.analysis.stages import Heart, Measured, Segmentation
from appliance.findings import Branch
from appliance.volume import Geometry, LabelMap, Volume
from models.phantom import draw_patient, draw_scan, render, truth
from models.phantom.scan import undisturbed

SEED = 100013


@dataclass(frozen=True)
class Case:
    volume: Volume
    heart: Heart
    segmentation: Segmentation
    truth: dict[str, Any]
    measured: Measured


@pytest.fixture(scope="module")
def case() -> Case:
    patient, scan = draw_patient(SEED), replace(undisturbed(draw_scan(SEED)), vessel_hu=400.0, myocardium_hu=100.0)
    facts = truth(patient)
    points = np.concatenate([np.array(branch["points_mm"]) for branch in facts["branches"]])
    low, high = points.min(axis=0) - 10.0, points.max(axis=0) + 10.0

    def seen(spacing: tuple[float, float, float], margin: float = 0.0) -> tuple[Any, Geometry]:
        origin = low - margin
        size = np.ceil((high - low + 2 * margin) / np.asarray(spacing)).astype(int) + 1
        shape = (int(size[2]), int(size[1]), int(size[0]))
        where = (float(origin[0]), float(origin[1]), float(origin[2]))
        return render(patient, scan, origin=where, spacing=spacing, shape=shape, seed=1), Geometry(shape, spacing, where)

    scanned, scan_grid = seen((0.4, 0.4, 0.5))
    fine, fine_grid = seen((0.5, 0.5, 0.5))
    coarse, coarse_grid = seen((3.0, 3.0, 3.0), 20.0)
    heart = Heart(LabelMap(coarse.structures, coarse_grid), fine_grid)
    coronary = np.where(np.isin(fine.vessels, (1, 2, 3)), 255, 0).astype(np.uint8)
    segmentation = Segmentation(fine_grid, fine.hu, fine.vessels, coronary)
    volume = Volume(scanned.hu, scan_grid)
    return Case(volume, heart, segmentation, facts, measure(volume, heart, segmentation))


def branch_name(branch: Branch) -> str:
    first = branch.name
    return {"pLAD": "LAD", "pLCx": "LCX", "pRCA": "RCA"}.get(first, first)


def found_name(case: Case, points: np.ndarray) -> str:
    """The name that most of the true ``points`` got."""
    lines = np.concatenate([np.array(branch.points_mm) for branch in case.measured.branches])
    names = np.concatenate([[branch_name(branch)] * len(branch.points_mm) for branch in case.measured.branches])
    distance, nearest = cKDTree(lines).query(points)
    values, counts = np.unique(names[nearest[distance < 1.5]], return_counts=True)
    return str(values[counts.argmax()])


def test_the_tree_overlaps_the_true_one(case):
    lines = np.concatenate([np.array(branch.points_mm) for branch in case.measured.branches])
    for branch in case.truth["branches"]:
        radius = np.array(branch["healthy_diameter_mm"]) / 2
        distance = cKDTree(lines).query(np.array(branch["points_mm"]))[0]
        if radius.mean() > 0.75:
            assert (distance < np.maximum(radius, 0.5)).mean() > 0.9, branch["name"]


def test_the_main_vessels_and_the_dominance_are_named(case):
    for branch in case.truth["branches"]:
        if branch["name"] in ("LAD", "LCX", "RCA", "R-PDA"):
            assert found_name(case, np.array(branch["points_mm"])[10:]) == branch["name"]
    assert case.measured.dominance == case.truth["dominance"]


def test_diameters_have_little_bias(case):
    true_points = np.concatenate([np.array(branch["points_mm"]) for branch in case.truth["branches"]])
    true_lumen = np.concatenate([branch["lumen_diameter_mm"] for branch in case.truth["branches"]])
    search = cKDTree(true_points)
    error = []
    for branch in case.measured.branches:
        distance, nearest = search.query(np.array(branch.points_mm))
        lumen = np.array([np.nan if d is None else d for d in branch.lumen_diameter_mm])
        usable = (distance < 0.5) & (true_lumen[nearest] >= 1.5)
        error.append((lumen - true_lumen[nearest])[usable])
    every = np.concatenate(error)
    assert abs(np.median(every)) < 0.08
    # behind the occlusion of this patient blood is half as dense, and his lumens are not round
    assert np.median(np.abs(every)) < 0.14


def test_every_stenosis_of_half_or_more_is_found_and_graded_nearly_right(case):
    """Within a band's width; purely calcified ones, whose calcium here is four times as dense as the blood around it, within 20 points."""
    claimed = [one for one in case.truth["lesions"] if one["diameter_stenosis_percent"] >= 50.0]
    assert {one["plaque_type"] for one in claimed} == {"mixed", "calcified"}
    for lesion in claimed:
        place = np.array(case.truth["branches"][lesion["branch"]]["points_mm"])[lesion["minimum"]]
        near = [
            one
            for one in case.measured.lesions
            if np.linalg.norm(np.array(case.measured.branches[one.branch].points_mm)[one.start : one.end] - place, axis=1).min() < 3.0
        ]
        assert near, lesion["segment"]
        worst = max(one.diameter_stenosis_percent or 0.0 for one in near)
        assert worst == pytest.approx(lesion["diameter_stenosis_percent"], abs=20.0 if lesion["plaque_type"] == "calcified" else 15.0)


def test_the_findings_fit_together(case):
    for number, branch in enumerate(case.measured.branches):
        assert branch.id == number
        assert branch.parent is None or branch.parent < number
        assert branch.segments[0][0] == 0
        assert branch.segments[-1][1] == len(branch.points_mm) == len(branch.lumen_diameter_mm) == len(branch.vessel_diameter_mm)
        assert all(one[1] == other[0] for one, other in zip(branch.segments[:-1], branch.segments[1:], strict=True))
        steps = np.linalg.norm(np.diff(np.array(branch.points_mm), axis=0), axis=1)
        assert steps.max() <= 0.6
    for lesion in case.measured.lesions:
        assert lesion.start <= lesion.minimum < lesion.end
        assert lesion.segment == case.measured.branches[lesion.branch].segment_at(lesion.minimum)
        assert lesion.volume_mm3.total == pytest.approx(lesion.volume_mm3.calcified + lesion.volume_mm3.noncalcified, abs=0.02)
    assert set(case.measured.timing_s) == {name for name, _ in STAGES}


def test_the_same_input_gives_the_same_findings(case):
    again = measure(case.volume, case.heart, case.segmentation)
    assert again.branches == case.measured.branches
    assert again.lesions == case.measured.lesions
    assert again.dominance == case.measured.dominance


def test_a_patient_who_lies_elsewhere_has_the_same_findings_there(case):
    """Everything moved by whole and part millimetres: the same tree, names and degrees, beside the new place."""
    shift = np.array([112.25, -41.5, -733.0])

    def there(grid: Geometry) -> Geometry:
        x, y, z = np.asarray(grid.origin) + shift
        return Geometry(grid.shape, grid.spacing, (float(x), float(y), float(z)), grid.direction)

    heart = Heart(LabelMap(case.heart.structures.labels, there(case.heart.structures.geometry)), there(case.heart.roi))
    moved = measure(
        Volume(case.volume.voxels, there(case.volume.geometry)),
        heart,
        replace(case.segmentation, geometry=there(case.segmentation.geometry)),
    )
    assert [branch.segments for branch in moved.branches] == [branch.segments for branch in case.measured.branches]
    for branch, kept in zip(moved.branches, case.measured.branches, strict=True):
        np.testing.assert_allclose(np.asarray(branch.points_mm) - shift, kept.points_mm, atol=2e-3)
    assert [(one.segment, one.grade, one.plaque_type) for one in moved.lesions] == [
        (one.segment, one.grade, one.plaque_type) for one in case.measured.lesions
    ]
    assert moved.dominance == case.measured.dominance
