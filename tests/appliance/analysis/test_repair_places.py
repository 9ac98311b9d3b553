"""Where a lost piece may hang: its tips, how they face the tree, and which join wins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from appliance.analysis.centrelines import trace
from appliance.analysis.repair import repair
from appliance.analysis.repair_places import Facing, Sources, Tips, facing_cost, places_of, tips_of
from appliance.analysis.stages import Segmentation, VesselClass
from appliance.analysis.verify import verify
from appliance.volume import Geometry
from tests.appliance.analysis.test_centrelines import AORTA, RADIUS, SIDE, TRUNK, curve, distance_to, without
from tests.appliance.analysis.tubes import heart_with_aorta, render, segmentation_of

GRID = Geometry((60, 60, 120), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0), np.eye(3))


def cone(wide: float, thin: float, length: int = 80) -> np.ndarray:
    """Voxels of a straight vessel along x from 20, radius from ``wide`` to ``thin`` voxels."""
    z, y, x = np.indices(GRID.shape)
    along = np.clip((x - 20) / length, 0.0, 1.0)
    radius = wide + (thin - wide) * along
    return np.argwhere((np.hypot(z - 30, y - 30) <= radius) & (x >= 20) & (x < 20 + length)).astype(np.int32)


def test_a_straight_piece_has_two_tips_that_lead_out_of_it_and_the_wide_one_is_wider():
    tips = tips_of(cone(4.0, 1.5), GRID)
    assert len(tips.points) == 2
    wide, thin = (int(i) for i in np.argsort(tips.points[:, 0]))
    assert tips.points[wide] == pytest.approx([10.0, 15.0, 15.0], abs=2.5)
    assert tips.points[thin] == pytest.approx([49.5, 15.0, 15.0], abs=1.5)
    assert tips.outward[wide, 0] < -0.8
    assert tips.outward[thin, 0] > 0.8
    assert tips.radius_mm[wide] > tips.radius_mm[thin] + 0.4


def test_the_wide_end_met_head_on_costs_less_than_the_thin_one():
    voxels = cone(4.0, 1.5)
    tips, points = tips_of(voxels, GRID), GRID.to_points(voxels)
    ends = np.array([[6.0, 15.0, 15.0], [53.5, 15.0, 15.0]])
    sources = replace(Sources.bare(ends, ends[:0]), onward=np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    places = [place for place in places_of(tips, points, sources, longest_mm=8.0) if place.tip is not None]
    assert len(places) == 2
    cost = {place.source[0] < 30.0: facing_cost(place, Facing()) for place in places}
    assert cost[True] < 3.0 < cost[False]


def test_what_was_joined_offers_its_other_tips_and_its_sides():
    tips = Tips(np.arange(9.0).reshape(3, 3), np.eye(3), np.array([1.0, 2.0, 3.0]))
    fresh = Sources.of_piece(tips, 1, np.zeros((4, 3)))
    assert fresh.kinds.tolist() == ["end", "end", "side", "side", "side", "side"]
    assert fresh.points[:2].tolist() == tips.points[[0, 2]].tolist()
    assert len(Sources.of_piece(tips, None, np.zeros((0, 3))).points) == 3


def plugged(segmentation: Segmentation) -> Segmentation:
    """The trunk's gap filled with plaque, as an occlusion is."""
    voxels = np.argwhere(segmentation.coronary == 0)
    gap = voxels[cKDTree(TRUNK.points[225:275]).query(segmentation.geometry.to_points(voxels))[0] < 1.3]
    hu = segmentation.hu.copy()
    hu[tuple(gap.T)] = 70
    return replace(segmentation, hu=hu)


def test_a_lost_piece_goes_on_from_the_end_before_it_and_not_from_the_vessel_beside_it():
    beside = curve((0.0, 12.2, 4.0), (14.0, 22.0, 0.0), (30.0, 16.0, -12.0), (44.0, 8.0, -20.0), diameter=3.0, end=2.0)
    volume, classes = render([TRUNK, beside], spacing=(0.5, 0.5, 0.5))
    segmentation = plugged(without(segmentation_of(volume, classes), TRUNK, 235, 265))
    heart = heart_with_aorta(AORTA, RADIUS)
    tree = repair(trace(heart, segmentation), segmentation)
    marked = np.concatenate([b.points_mm[i:j] for b in tree.branches for i, j in b.repaired if np.linalg.norm(b.points_mm[i] - AORTA) > 20])
    assert distance_to(marked, TRUNK.points[215:285]).max() < 1.0
    (holder,) = [b for b in tree.branches if distance_to(TRUNK.points[-10:], b.points_mm).max() < 1.0]
    assert distance_to(TRUNK.points[20:], holder.points_mm).max() < 1.5


def test_no_bridge_leads_through_a_vein_because_it_is_bright():
    volume, classes = render([TRUNK], spacing=(0.5, 0.5, 0.5))
    segmentation = plugged(without(segmentation_of(volume, classes), TRUNK, 235, 265))
    geometry = segmentation.geometry
    voxels = np.indices(geometry.shape).reshape(3, -1).T
    # a bright vein that leads round the gap
    detour = TRUNK.points[228:272] + np.sin(np.linspace(0.0, np.pi, 44))[:, None] * np.array([0.0, 4.0, 0.0])
    vein = voxels[(cKDTree(detour).query(geometry.to_points(voxels))[0] < 1.0) & (segmentation.coronary.reshape(-1) == 0)]
    classes, hu = segmentation.classes.copy(), segmentation.hu.copy()
    classes[tuple(vein.T)], hu[tuple(vein.T)] = VesselClass.VEIN, 400
    crossed = replace(segmentation, classes=classes, hu=hu)
    tree = repair(trace(heart_with_aorta(AORTA, RADIUS), crossed), crossed)
    marked = np.concatenate([b.points_mm[i:j] for b in tree.branches for i, j in b.repaired if np.linalg.norm(b.points_mm[i] - AORTA) > 20])
    assert distance_to(marked, TRUNK.points[215:285]).max() < 1.5


def test_a_branch_far_brighter_than_the_blood_is_no_artery():
    volume, classes = render([TRUNK, SIDE], spacing=(0.5, 0.5, 0.5))
    whole, heart = segmentation_of(volume, classes), heart_with_aorta(AORTA, RADIUS)
    tree = trace(heart, whole).tree
    assert len(verify(tree, heart, whole).branches) == len(tree.branches) == 2
    seen = np.argwhere(whole.classes > 0)
    points = whole.geometry.to_points(seen)
    own = seen[(cKDTree(SIDE.points).query(points)[0] < 3.0) & (cKDTree(TRUNK.points).query(points)[0] > 3.0)]
    hu = whole.hu.copy()
    hu[tuple(own.T)] = 700
    kept = verify(tree, heart, replace(whole, hu=hu))
    assert len(kept.branches) == 1
    assert kept.dropped[-1].rule == "not_arterial"
