"""A case is measured against the truth of the same grid: a perfect result scores perfectly, a shifted one does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from appliance.analysis.stages import Segmentation
from appliance.volume import Geometry
from models.evaluation.cases import centreline_mask, largest_piece, skeleton_lines, vessel_measures
from models.evaluation.measures import TrueBranch

GEOMETRY = Geometry((24, 24, 64), (0.5, 0.5, 0.5), (10.0, 20.0, 30.0))


def branch() -> TrueBranch:
    x = np.arange(10.0, 41.6, 0.25)
    points = np.stack([x, np.full_like(x, 26.0), np.full_like(x, 36.0)], axis=1)
    return TrueBranch(points=points, healthy_radius=np.full(len(x), 1.0), outer_radius=np.full(len(x), 1.5))


def truth() -> np.ndarray:
    z, y, _ = np.mgrid[:24, :24, :64]
    radius = np.hypot(z - 12, y - 12) * 0.5
    return np.select([radius <= 1.0, radius <= 1.5], [1, 2], 0).astype(np.uint8)


def result(classes: np.ndarray) -> Segmentation:
    return Segmentation(geometry=GEOMETRY, hu=np.zeros(classes.shape, np.int16), classes=classes, coronary=classes * 80)


def middle(mask: np.ndarray) -> np.ndarray:
    """The skeleton of a tube along x: the voxel nearest to the middle of each of its sections."""
    skeleton = np.zeros_like(mask)
    for x in np.flatnonzero(mask.any(axis=(0, 1))):
        z, y = np.rint(ndimage.center_of_mass(mask[:, :, x])).astype(int)
        skeleton[z, y, x] = True
    return skeleton


def test_a_perfect_result_scores_perfectly() -> None:
    measures = vessel_measures(result(truth()), truth(), [branch()], skeletonize=middle)
    assert measures["lumen_dice"] == measures["coronary_dice"] == measures["cl_dice"] == measures["mask_found_1_5mm"] == 1.0
    assert measures["mask_false_mm"] == 0.0
    assert measures["calcium_dice"] is None
    assert measures["vein_dice"] is None


def test_a_result_beside_the_vessel_is_false() -> None:
    measures = vessel_measures(result(np.roll(truth(), 6, axis=0)), truth(), [branch()], skeletonize=middle)
    assert measures["mask_found_1_5mm"] == 0.0
    assert measures["mask_false_mm"] == pytest.approx(31.5)
    assert measures["cl_dice"] == 0.0


def test_an_empty_result_finds_nothing_and_invents_nothing() -> None:
    measures = vessel_measures(result(np.zeros_like(truth())), truth(), [branch()], skeletonize=middle)
    assert measures["mask_found_1_5mm"] == 0.0
    assert measures["mask_false_mm"] == 0.0
    assert measures["lumen_dice"] == 0.0


def test_only_the_largest_piece_is_kept_with_its_labels() -> None:
    labels = np.zeros((6, 6, 20), np.uint8)
    labels[1:5, 1:5, 1:9] = 3
    labels[1:5, 1:5, 9:11] = 6
    labels[1:3, 1:3, 15:19] = 6
    kept = largest_piece(labels)
    assert not kept[:, :, 12:].any()
    np.testing.assert_array_equal(kept[:, :, :12], labels[:, :, :12])
    assert not largest_piece(np.zeros_like(labels)).any()


def test_centreline_mask_follows_the_geometry() -> None:
    mask = centreline_mask([branch()], GEOMETRY)
    assert mask[12, 12].all()
    assert mask.sum() == 64


def test_links_of_a_skeleton_have_the_length_of_the_line() -> None:
    skeleton = np.zeros((5, 5, 12), np.bool_)
    skeleton[2, 2, 1:11] = True
    skeleton[2, 3, 5] = True  # a bump beside the line closes two triangles
    length = sum(float(np.linalg.norm(b - a)) for a, b in skeleton_lines(skeleton, GEOMETRY))
    assert length == pytest.approx((9 + 1) * 0.5)
