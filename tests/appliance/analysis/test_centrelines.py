"""Centre lines of a synthetic fork: course, origin, gaps, false pieces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from appliance.analysis.centrelines import trace
from appliance.analysis.repair import repair
from appliance.analysis.stages import Heart, Segmentation
from appliance.analysis.verify import verify
from appliance.errors import AnalysisError
from appliance.geometry import arc_length
from tests.appliance.analysis.tubes import Vessel, heart_with_aorta, render, segmentation_of

AORTA = np.array([0.0, 0.0, 0.0])
RADIUS = 12.0


def curve(start: tuple[float, float, float], *way: tuple[float, float, float], diameter: float, end: float) -> Vessel:
    """A smooth vessel through the points given, tapering."""
    corners = np.array([start, *way])
    u = np.linspace(0, 1, 400)
    fit = np.polynomial.polynomial.polyfit(np.linspace(0, 1, len(corners)), corners, min(3, len(corners) - 1))
    line = np.stack([np.polynomial.polynomial.polyval(u, fit[:, axis]) for axis in range(3)], axis=1)
    lumen = np.linspace(diameter, end, len(line)) / 2
    return Vessel(points=line, lumen=lumen, outer=lumen + 0.5)


TRUNK = curve((12.2, 4.0, 0.0), (24.0, 10.0, -4.0), (34.0, 8.0, -16.0), (38.0, 2.0, -34.0), diameter=3.6, end=2.2)
SIDE = curve(tuple(TRUNK.points[150]), (34.0, 18.0, -10.0), (42.0, 26.0, -20.0), diameter=2.2, end=1.6)


@pytest.fixture(scope="module")
def fork() -> tuple[Heart, Segmentation]:
    volume, classes = render([TRUNK, SIDE], spacing=(0.5, 0.5, 0.5))
    return heart_with_aorta(AORTA, RADIUS), segmentation_of(volume, classes)


def distance_to(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    return np.asarray(cKDTree(line).query(points)[0])


def without(segmentation: Segmentation, vessel: Vessel, start: int, end: int) -> Segmentation:
    """A gap: what lies nearest to the points ``start`` to ``end`` of the vessel is lost."""
    where = segmentation.geometry.to_points(np.argwhere(segmentation.classes > 0))
    gone = cKDTree(vessel.points[start:end]).query(where)[0] < 3.0
    index = np.argwhere(segmentation.classes > 0)[gone]
    classes, coronary = segmentation.classes.copy(), segmentation.coronary.copy()
    classes[tuple(index.T)] = 0
    coronary[tuple(index.T)] = 20
    return replace(segmentation, classes=classes, coronary=coronary)


def with_blob(segmentation: Segmentation, centre: np.ndarray, radius: float, *, hu: int = 400) -> Segmentation:
    index = np.indices(segmentation.classes.shape).reshape(3, -1).T
    near = index[np.linalg.norm(segmentation.geometry.to_points(index) - centre, axis=1) < radius]
    classes, coronary, values = segmentation.classes.copy(), segmentation.coronary.copy(), segmentation.hu.copy()
    classes[tuple(near.T)], coronary[tuple(near.T)], values[tuple(near.T)] = 1, 255, hu
    return replace(segmentation, classes=classes, coronary=coronary, hu=values)


def test_the_fork_is_found_centred_and_without_loops(fork):
    tree = trace(*fork).tree
    assert [branch.parent for branch in tree.branches] == [None, 0]
    assert {branch.side for branch in tree.branches} == {"left"}
    truth = np.concatenate([TRUNK.points, SIDE.points])
    for branch in tree.branches:
        assert np.median(distance_to(branch.points_mm, truth)) < 0.2
        assert np.diff(arc_length(branch.points_mm)).max() <= 0.5
    found = np.concatenate([branch.points_mm for branch in tree.branches])
    assert (distance_to(truth, found) < 1.0).mean() > 0.96


def test_a_branch_begins_on_its_parent(fork):
    tree = trace(*fork).tree
    for branch in tree.branches:
        if branch.parent is not None:
            assert np.allclose(branch.points_mm[0], tree.branches[branch.parent].points_mm[branch.parent_index])


def test_the_line_begins_at_the_aorta(fork):
    first = trace(*fork).tree.branches[0].points_mm[0]
    assert np.linalg.norm(first - TRUNK.points[0]) < 2.5


def test_a_gap_is_bridged_and_marked(fork):
    heart, whole = fork
    broken = without(whole, TRUNK, 230, 260)
    lines = trace(heart, broken)
    assert lines.tree.orphans
    tree = repair(lines, broken)
    found = np.concatenate([branch.points_mm for branch in tree.branches])
    assert distance_to(TRUNK.points[-10:], found).max() < 1.0
    marked = [
        branch.points_mm[(a + b) // 2]
        for branch in tree.branches
        for a, b in branch.repaired
        if np.linalg.norm(branch.points_mm[a] - AORTA) > 20
    ]
    assert marked
    assert distance_to(np.array(marked), TRUNK.points[225:265]).min() < 1.5


def test_a_piece_far_from_the_tree_is_dropped_with_its_reason(fork):
    heart, whole = fork
    far = AORTA + np.array([12.0, 26.0, -34.0])
    segmentation = whole
    for step in range(8):
        segmentation = with_blob(segmentation, far + np.array([0.0, 0.0, 1.6 * step - 6.0]), 1.3)
    before = trace(heart, whole).tree
    tree = repair(trace(heart, segmentation), segmentation)
    assert len(tree.branches) == len(before.branches)
    assert {one.rule for one in tree.dropped} == {"not_connected"}


def test_a_vessel_without_arterial_blood_is_taken_off(fork):
    heart, whole = fork
    lines = trace(heart, whole)
    pale = whole.hu.copy()
    points = whole.geometry.to_points(np.argwhere(whole.classes > 0))
    beside = (cKDTree(SIDE.points[60:]).query(points)[0] < 2.5) & (cKDTree(TRUNK.points).query(points)[0] > 3.0)
    pale[tuple(np.argwhere(whole.classes > 0)[beside].T)] = 60
    segmentation = replace(whole, hu=pale)
    kept = verify(lines.tree, heart, segmentation)
    assert len(kept.branches) == len(lines.tree.branches) - 1
    assert [one.rule for one in kept.dropped] == ["not_arterial"]


def test_a_wide_branch_is_not_too_bright_beside_a_root_that_pales_as_it_thins(fork):
    """Blur takes light from thin vessels: a wide branch is as bright as the root's beginning, not as its median."""
    heart, whole = fork
    lines = trace(heart, whole)
    voxels = np.argwhere(whole.classes > 0)
    points = whole.geometry.to_points(voxels)
    thinned = (cKDTree(TRUNK.points[len(TRUNK.points) // 4 :]).query(points)[0] < 3.0) & (cKDTree(SIDE.points).query(points)[0] > 3.0)
    pale = whole.hu.copy()
    pale[tuple(voxels[thinned].T)] = (0.6 * pale[tuple(voxels[thinned].T)]).astype(pale.dtype)
    kept = verify(lines.tree, heart, replace(whole, hu=pale))
    assert len(kept.branches) == len(lines.tree.branches)
    bright = whole.hu.copy()
    beside = (cKDTree(SIDE.points[60:]).query(points)[0] < 2.5) & (cKDTree(TRUNK.points).query(points)[0] > 3.0)
    bright[tuple(voxels[beside].T)] = 1500
    kept = verify(lines.tree, heart, replace(whole, hu=bright))
    assert [one.rule for one in kept.dropped] == ["not_arterial"]


def test_a_leak_into_a_chamber_is_cut_off(fork):
    heart, whole = fork
    leaky = with_blob(whole, SIDE.points[-1] + np.array([-4.0, -1.0, -5.0]), 6.0)
    tree = trace(heart, leaky).tree
    truth = np.concatenate([TRUNK.points, SIDE.points])
    found = np.concatenate([branch.points_mm for branch in tree.branches])
    assert distance_to(found, truth).max() < 6.0


def test_nothing_segmented_is_an_error_not_an_empty_tree(fork):
    heart, whole = fork
    empty = replace(whole, classes=np.zeros_like(whole.classes), coronary=np.zeros_like(whole.coronary))
    with pytest.raises(AnalysisError) as caught:
        trace(heart, empty)
    assert caught.value.code == "ANA-101"


def test_vessels_far_from_the_aorta_are_an_error(fork):
    _, whole = fork
    with pytest.raises(AnalysisError) as caught:
        trace(heart_with_aorta(AORTA - 45.0, RADIUS), whole)
    assert caught.value.code == "ANA-102"
