"""Gaps put before a network: what it is shown, that its word counts, and that the rules keep their veto."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from appliance.analysis.centrelines import trace
from appliance.analysis.repair import RepairRules, repair
from appliance.analysis.repair_network import Gap, GapJudge, end_map, gap_cube
from appliance.analysis.stages import Heart, Segmentation, Structure
from appliance.volume import Geometry, LabelMap
from tests.appliance.analysis.sessions import tiny_session
from tests.appliance.analysis.test_centrelines import AORTA, RADIUS, SIDE, TRUNK, distance_to, without
from tests.appliance.analysis.tubes import heart_with_aorta, render, segmentation_of


@pytest.fixture(scope="module")
def trunk() -> tuple[Heart, Segmentation]:
    volume, classes = render([TRUNK], spacing=(0.5, 0.5, 0.5))
    return heart_with_aorta(AORTA, RADIUS), segmentation_of(volume, classes)


@pytest.fixture(scope="module")
def broken(trunk) -> tuple[Heart, Segmentation]:
    """A gap of about 5 mm in the trunk."""
    heart, whole = trunk
    return heart, without(whole, TRUNK, 235, 265)


def flat(shape=(60, 60, 60), direction=None) -> Segmentation:
    geometry = Geometry(shape, (0.5, 0.5, 0.5), (10.0, -20.0, 30.0), np.eye(3) if direction is None else direction)
    blank = np.zeros(shape, np.uint8)
    return Segmentation(geometry=geometry, hu=np.full(shape, -90, np.int16), classes=blank, coronary=blank.copy())


@pytest.mark.parametrize("direction", [np.eye(3), np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])])
def test_the_cube_shows_image_and_ends_where_they_are(direction):
    segmentation = flat(direction=direction)
    geometry = segmentation.geometry
    near, far = np.array([20, 22, 14]), np.array([30, 28, 14])
    segmentation.hu[tuple(near)], segmentation.coronary[tuple(far)] = 500, 200
    channels, corner = gap_cube(segmentation, Gap(geometry.to_points(near), geometry.to_points(far)), shape=(48, 48, 48))
    for channel, place in ((0, near), (1, far), (2, near), (3, far)):
        assert tuple(np.unravel_index(channels[channel].argmax(), (48, 48, 48)) + corner) == tuple(place)
    assert channels[0].max() == 500
    assert channels[1].max() == 200
    assert channels[2].max() == channels[3].max() == 255
    middle = corner + 23.5
    assert np.abs(middle - (near + far) / 2).max() <= 0.5
    outside = np.indices((48, 48, 48)).reshape(3, -1).T + corner
    beyond = ((outside < 0) | (outside >= 60)).any(axis=1)
    assert beyond.any()
    assert (channels[0].reshape(-1)[beyond] == -1000).all()


def test_an_end_between_voxels_is_marked_between_them():
    marked = end_map(np.array([10.5, 8.25, 12.0]), (24, 24, 24), spacing_mm=0.5)
    where = np.indices(marked.shape).reshape(3, -1)
    assert np.allclose((where * marked.ravel()).sum(axis=1) / marked.sum(), [10.5, 8.25, 12.0], atol=0.02)


def test_a_verdict_gives_the_course_on_the_segmentations_grid():
    segmentation = flat()
    segmentation.hu[25, 26, 20:32] = 300
    geometry = segmentation.geometry
    gap = Gap(geometry.to_points([25, 26, 20]), geometry.to_points([25, 26, 31]))
    verdict, other = GapJudge(tiny_session("repair"), segmentation).verdicts([gap, gap])
    assert verdict.vessel == 1.0
    assert np.array_equal(verdict.course, other.course)
    asked = np.array([[25, 26, 24], [25, 27, 24], [59, 59, 59], [0, 0, 0]], np.int32)
    assert verdict.at(asked).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert GapJudge(tiny_session("repair"), segmentation).verdicts([]) == []


def test_a_gap_that_the_network_calls_a_vessel_is_bridged_along_its_course_and_marked(broken):
    heart, segmentation = broken
    lines = trace(heart, segmentation)
    assert lines.tree.orphans
    tree = repair(lines, segmentation, session=tiny_session("repair"))
    found = np.concatenate([branch.points_mm for branch in tree.branches])
    assert distance_to(TRUNK.points[5:], found).max() < 1.0
    marked = np.concatenate([b.points_mm[i:j] for b in tree.branches for i, j in b.repaired])
    gap = TRUNK.points[240:260]
    assert distance_to(gap, marked).max() < 1.5
    assert distance_to(marked, TRUNK.points[215:285]).max() < 1.0


def doubted(segmentation: Segmentation, *, brightness: float) -> Segmentation:
    """The broken trunk with a bright spot beside the gap, which is the tiny network's sign for no; its far piece as bright as said."""
    hu = segmentation.hu.copy()
    geometry = segmentation.geometry
    seen = np.argwhere(segmentation.coronary > 0)
    far = seen[
        cKDTree(TRUNK.points[265:]).query(geometry.to_points(seen))[0] < cKDTree(TRUNK.points[:235]).query(geometry.to_points(seen))[0]
    ]
    hu[tuple(far.T)] = (hu[tuple(far.T)] * brightness).astype(np.int16)
    near = geometry.to_index(TRUNK.points[250] + [0.0, 5.0, 0.0])
    hu[tuple(np.rint(near).astype(int))] = 1600
    return replace(segmentation, hu=hu)


def test_what_the_network_refuses_is_not_joined_and_is_told(broken):
    heart, segmentation = broken
    # paler than an artery: the network's word counts
    marked = doubted(segmentation, brightness=0.5)
    lines = trace(heart, marked)
    refused = repair(lines, marked, session=tiny_session("repair"))
    assert distance_to(TRUNK.points[-10:], np.concatenate([b.points_mm for b in refused.branches])).min() > 10.0
    assert "not_connected" in {one.rule for one in refused.dropped}


def test_a_long_piece_as_bright_as_the_arteries_is_joined_whatever_the_network_says(broken):
    heart, segmentation = broken
    marked = doubted(segmentation, brightness=1.0)
    lines = trace(heart, marked)
    assert lines.tree.orphans[0].length_mm > 20.0
    # this one counts as long
    joined = repair(lines, marked, rules=RepairRules(allowance_per_mm=1.0), session=tiny_session("repair"))
    assert distance_to(TRUNK.points[-10:], np.concatenate([b.points_mm for b in joined.branches])).max() < 1.0


def test_what_is_far_brighter_than_the_arteries_is_a_catheter_or_lead(broken):
    heart, segmentation = broken
    marked = doubted(segmentation, brightness=2.0)
    refused = repair(trace(heart, marked), marked, session=tiny_session("repair"))
    assert "not_arterial" in {one.rule for one in refused.dropped}


def test_no_word_of_the_network_leads_through_a_chamber(broken):
    heart, segmentation = broken
    grid = heart.structures.geometry
    labels = heart.structures.labels.copy()
    centres = grid.to_points(np.indices(grid.shape).reshape(3, -1).T)
    inside = cKDTree(TRUNK.points[243:258]).query(centres)[0] < 7.0
    labels.reshape(-1)[inside] = int(Structure.RV)
    blocked = replace(heart, structures=LabelMap(labels, grid))
    lines = trace(blocked, segmentation)
    tree = repair(lines, segmentation, session=tiny_session("repair"))
    assert distance_to(TRUNK.points[-10:], np.concatenate([b.points_mm for b in tree.branches])).min() > 10.0


def test_a_short_side_branch_whose_origin_is_lost_is_joined_to_the_trunks_side(trunk):
    heart, _ = trunk
    volume, classes = render([TRUNK, SIDE], spacing=(0.5, 0.5, 0.5))
    whole = segmentation_of(volume, classes)
    # nothing is left of it up to the trunk's own edge: the trunk's side is the only place to join it
    away = np.linalg.norm(SIDE.points - SIDE.points[0], axis=1)
    lost = np.flatnonzero((away > 4.8) & (away < 5.5))
    segmentation = without(whole, SIDE, int(lost[0]), int(lost[-1]))
    lines = trace(heart, segmentation)
    end = SIDE.points[-30:]
    by_rules, with_network = (repair(lines, segmentation, session=session) for session in (None, tiny_session("repair")))
    for tree in (by_rules, with_network):
        assert distance_to(end, np.concatenate([b.points_mm for b in tree.branches])).max() < 1.0
        assert any(branch.repaired for branch in tree.branches)
