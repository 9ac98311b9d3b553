"""Peaks of heat maps, their way back into the patient, the rules that refuse them, and trees that begin at them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.analysis.centrelines import CentrelineRules, trace, vessel_mask
from appliance.analysis.ostia import find_ostia
from appliance.analysis.ostia_network import Peak, Root, apart, find_peaks, find_root, peaks_of, refusal, root_crop
from appliance.analysis.stages import Heart, Segmentation, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.volume import Geometry, LabelMap
from tests.appliance.analysis.sessions import tiny_session
from tests.appliance.analysis.tubes import Vessel, heart_with_aorta, render, segmentation_of

AORTA = np.array([0.0, 0.0, 0.0])
RADIUS = 12.0
OBLIQUE = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def heat(grid: Geometry, *points: np.ndarray, sigma: float = 1.5, height: float = 1.0) -> np.ndarray:
    """Gaussians about LPS points, as bytes."""
    where = grid.to_points(np.indices(grid.shape).reshape(3, -1).T)
    bumps = [np.exp(-0.5 * (np.linalg.norm(where - point, axis=1) / sigma) ** 2) for point in points]
    return np.rint(255 * height * np.max(bumps, axis=0)).astype(np.uint8).reshape(grid.shape)


def straight_from(start: tuple[float, float, float], end: tuple[float, float, float]) -> Vessel:
    line = np.linspace(start, end, 150)
    return Vessel(points=line, lumen=np.full(150, 1.6), outer=np.full(150, 2.1))


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE])
def test_a_peak_is_found_between_the_voxels_in_patient_coordinates(direction):
    grid = Geometry((40, 44, 48), (1.0, 1.0, 1.0), (-20.0, 35.0, 102.0), direction)
    rng = np.random.default_rng(3)
    for _ in range(20):
        true = grid.to_points(rng.uniform(8.0, 32.0, 3))
        (peak,) = peaks_of(heat(grid, true, height=0.7), grid, "left")
        assert np.linalg.norm(peak.point_mm - true) < 0.15
        assert peak.share == pytest.approx(0.7, abs=0.12)
        assert peak.side == "left"


def test_two_ostia_are_two_peaks_and_noise_is_none():
    grid = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    first, second = np.array([12.3, 20.0, 18.6]), np.array([25.0, 21.4, 20.0])
    share = np.maximum(heat(grid, first), heat(grid, second, height=0.6))
    share = np.maximum(share, np.random.default_rng(0).integers(0, 60, share.shape).astype(np.uint8))
    peaks = peaks_of(share, grid, "right")
    assert len(peaks) == 2
    assert np.linalg.norm(peaks[0].point_mm - first) < 0.3
    assert np.linalg.norm(peaks[1].point_mm - second) < 0.3
    assert peaks_of(np.zeros((8, 8, 8), np.uint8), grid, "left") == []


def test_a_peak_at_the_border_of_the_crop_is_kept():
    grid = Geometry((16, 16, 16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    (peak,) = peaks_of(heat(grid, np.array([0.2, 8.0, 15.0])), grid, "left")
    assert np.linalg.norm(peak.point_mm - [0.2, 8.0, 15.0]) < 1.0


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE])
def test_the_crop_shows_each_place_of_the_fine_grid_where_it_is(direction):
    fine = Geometry((60, 60, 60), (0.5, 0.5, 0.5), (10.0, -20.0, 30.0), direction)
    bright = (31, 27, 41)
    hu = np.full(fine.shape, -90, np.int16)
    hu[bright] = 710
    blank = np.zeros(fine.shape, np.uint8)
    coarse = Geometry((20, 20, 20), (3.0, 3.0, 3.0), (0.0, -30.0, 20.0), direction)
    heart = Heart(LabelMap(np.full(coarse.shape, int(Structure.AORTA), np.uint8), coarse), fine)
    segmentation = Segmentation(geometry=fine, hu=hu, classes=blank, coronary=blank)
    channels, grid = root_crop(heart, segmentation, fine.to_points(bright), shape=(32, 32, 32), spacing_mm=1.0)
    at = np.unravel_index(channels[0].argmax(), grid.shape)
    assert channels[0][at] == -90 + 800 / 8
    assert np.abs(grid.to_points(at) - fine.to_points(bright)).max() <= 0.5
    assert channels[0].min() == -1000  # the crop is wider than the fine grid
    assert (channels[1] == 255).all()


def test_the_root_lies_in_the_aorta_and_points_away_from_the_ventricle():
    heart = heart_with_aorta(AORTA, RADIUS)
    root = find_root(heart)
    assert root is not None
    assert np.linalg.norm(root.middle - AORTA) < RADIUS
    towards = np.array([35.0, 30.0, -30.0])
    assert root.upwards @ towards < 0
    without = np.where(heart.structures.labels == int(Structure.AORTA), 0, heart.structures.labels).astype(np.uint8)
    assert find_root(replace(heart, structures=LabelMap(without, heart.structures.geometry))) is None


def test_rules_refuse_a_peak_off_the_wall_and_one_under_the_annulus():
    heart = heart_with_aorta(AORTA, RADIUS)
    surroundings = Surroundings(heart)
    root = Root(middle=AORTA, annulus=np.array([0.0, 0.0, -6.0]), upwards=np.array([0.0, 0.0, 1.0]))
    on_wall = Peak(np.array([RADIUS, 0.0, 0.0]), "left", 0.9)
    assert refusal(on_wall, root, surroundings) is None
    assert refusal(replace(on_wall, point_mm=np.array([0.0, -RADIUS, 0.0])), root, surroundings) is None  # any sinus
    assert refusal(replace(on_wall, point_mm=np.array([22.0, 0.0, 0.0])), root, surroundings) == "off_the_aortic_wall"
    # in a scan of little contrast the map's aorta is too small: a peak that is well seen may lie somewhat farther from it
    beside = Peak(np.array([RADIUS + 7.0, 0.0, 0.0]), "left", 0.6)
    assert refusal(beside, root, surroundings) is None
    assert refusal(replace(beside, share=0.45), root, surroundings) == "off_the_aortic_wall"
    low = Root(middle=AORTA, annulus=np.array([0.0, 0.0, 9.0]), upwards=np.array([0.0, 0.0, 1.0]))
    assert refusal(on_wall, low, surroundings) == "under_the_annulus"


def test_one_peak_per_ostium_and_a_second_of_a_side_only_if_seen_well():
    strong, beside = Peak(np.array([10.0, 0, 0]), "left", 0.9), Peak(np.array([11.5, 0, 0]), "right", 0.8)
    weak, second = Peak(np.array([0.0, 12.0, 0]), "left", 0.35), Peak(np.array([0.0, 0, 12.0]), "left", 0.7)
    other = Peak(np.array([-12.0, 0, 0]), "right", 0.35)
    assert apart([weak, other, beside, second, strong]) == [strong, second, other]


@pytest.fixture(scope="module")
def two() -> tuple[Heart, Segmentation]:
    """A vessel that leaves the aorta on the left, and one that only passes by it on the right."""
    leaves = straight_from((12.2, 2.0, 0.0), (40.0, 20.0, -20.0))
    passes = straight_from((-14.0, -3.0, -12.0), (-14.0, -3.0, 24.0))
    volume, classes = render([leaves, passes], spacing=(0.5, 0.5, 0.5))
    return heart_with_aorta(AORTA, RADIUS), segmentation_of(volume, classes)


def ostia(two, peaks):
    heart, segmentation = two
    mask = vessel_mask(segmentation, rules=CentrelineRules())
    points = segmentation.geometry.to_points(mask.graph.voxels)
    return find_ostia(mask.graph, points, mask.label, mask.lumen, Surroundings(heart), peaks=peaks), points


def test_without_peaks_the_rules_take_what_touches(two):
    found, _ = ostia(two, [])
    assert [(o.side, o.evidence) for o in found] == [("left", "rules"), ("right", "rules")]


def test_a_tree_begins_at_a_peak_and_has_its_side(two):
    # the network says that the artery on the left feeds the right side: an anomalous origin
    peak = Peak(np.array([12.0, 2.5, 0.3]), "right", 0.9)
    found, points = ostia(two, [peak])
    assert [(o.side, o.evidence) for o in found] == [("right", "network")]
    assert np.linalg.norm(points[found[0].node] - peak.point_mm) < 1.5


def test_the_rules_keep_the_side_on_which_the_network_shows_none(two):
    found, points = ostia(two, [Peak(np.array([12.0, 2.5, 0.3]), "left", 0.9)])
    assert [(o.side, o.evidence) for o in found] == [("left", "network"), ("right", "rules")]
    assert points[found[1].node][0] < 0


def test_a_peak_off_the_mapped_aorta_and_a_second_one_need_a_vessel_that_begins_there(two):
    first = Peak(np.array([12.0, 2.5, 0.3]), "left", 0.9)
    along = Peak(np.array([20.0, 7.0, -5.5]), "left", 0.6)
    beside = Peak(np.array([16.0, -9.0, 4.0]), "right", 0.6)
    assert [o.evidence for o in ostia(two, [along])[0] if o.side == "left"] == ["network"]
    assert not [o for o in ostia(two, [beside])[0] if o.evidence == "network"]
    aside = Peak(np.array([12.0, 2.5, 7.0]), "left", 0.6)
    assert [o.evidence for o in ostia(two, [first, aside])[0] if o.side == "left"] == ["network"]


def test_an_unsure_peak_is_set_onto_the_middle_of_its_vessel(two):
    beside = np.array([12.4, 2.1, 1.5])
    (sure, unsure) = (ostia(two, [Peak(beside, "left", share)])[0][0].lead_mm for share in (0.9, 0.5))
    assert np.array_equal(sure, beside)
    assert np.linalg.norm(beside - [12.2, 2.0, 0.0]) > 1.5 > 1.2 > np.linalg.norm(unsure - [12.2, 2.0, 0.0])


def test_an_artery_that_passes_a_doubtful_peak_along_the_aorta_begins_where_it_ends_at_it():
    """From the left sinus along the front of the aorta, then away to the right."""
    angle = np.linspace(np.radians(20.0), np.radians(-115.0), 90)
    around = 13.5 * np.column_stack([np.cos(angle), np.sin(angle), np.zeros(90)])
    away = around[-1] + np.linspace(0.0, 1.0, 90)[1:, None] * np.array([-35.0, -10.0, -20.0])
    line = np.concatenate([around, away])
    vessel = Vessel(points=line, lumen=np.full(len(line), 1.5), outer=np.full(len(line), 2.0))
    volume, classes = render([vessel], spacing=(0.5, 0.5, 0.5))
    scene = heart_with_aorta(AORTA, RADIUS), segmentation_of(volume, classes)
    passed = around[60]
    doubtful, sure = (ostia(scene, [Peak(passed, "right", share)])[0] for share in (0.5, 0.9))
    assert [o.side for o in doubtful] == ["right"]
    assert np.linalg.norm(doubtful[0].lead_mm - line[0]) < 2.0
    assert np.linalg.norm(sure[0].lead_mm - passed) < 1e-6
    outward = ostia(scene, [Peak(line[1], "right", 0.5)])[0]
    assert np.linalg.norm(outward[0].lead_mm - line[0]) < 2.0


def test_a_peak_that_the_mask_does_not_reach_is_led_to_if_it_is_near_enough(two):
    found, points = ostia(two, [Peak(np.array([5.0, -4.0, 1.0]), "left", 0.9)])
    left = next(o for o in found if o.side == "left")
    assert left.evidence == "network"
    assert left.lead_mm is not None
    assert np.allclose(left.lead_mm, [5.0, -4.0, 1.0])
    assert points[left.node][0] > 10
    far, _ = ostia(two, [Peak(np.array([0.0, -40.0, 40.0]), "left", 0.9)])
    assert all(o.evidence == "rules" for o in far)


def test_the_line_begins_at_the_peak_and_the_way_to_the_mask_is_marked(two):
    # a real session: its heat map on the left is what is brighter than 1000 HU in the picture
    heart, segmentation = two
    ostium = np.array([9.0, 0.0, 1.0])
    glow = heat(segmentation.geometry, ostium) * 4.0 + 1000.0
    marked = replace(segmentation, hu=np.where(glow > 1004.0, glow, segmentation.hu).astype(np.int16))
    (peak,) = find_peaks(marked, Surroundings(heart), session=tiny_session("ostia"))
    assert np.linalg.norm(peak.point_mm - ostium) < 0.15
    tree = trace(heart, marked, session=tiny_session("ostia")).tree
    branch = next(b for b in tree.branches if b.side == "left")
    assert np.linalg.norm(branch.points_mm[0] - ostium) < 0.5
    ((start, end),) = branch.repaired
    assert start == 0
    away = np.linalg.norm(segmentation.geometry.to_points(np.argwhere(segmentation.classes > 0)) - branch.points_mm[end], axis=1)
    assert away.min() < 0.5
