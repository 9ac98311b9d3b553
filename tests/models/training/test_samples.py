"""The pool of samples and what is varied when one is drawn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from appliance.analysis.heart_bulk import limit_to_heart
from models.training.context import CoarseMap, noisy_context
from models.training.samples import Sample, SamplePool, Variation, make_batch, scale_hu

pytestmark = pytest.mark.train


def tube(shape: tuple[int, int, int] = (24, 16, 20)) -> Sample:
    """A straight vessel along z, off the middle, so that a flip shows."""
    _, y, x = np.mgrid[tuple(slice(0, n) for n in shape)]
    radius = np.hypot(y - 4, x - 6)
    return Sample(
        hu=np.where(radius < 3, 400, -90).astype(np.int16),
        target=(radius < 3).astype(np.uint8),
        skeleton=radius < 0.5,
        context=np.full((2, *shape), 255, np.uint8),
    )


def test_scaling_maps_the_range_to_minus_one_to_one() -> None:
    np.testing.assert_allclose(scale_hu(np.array([-1000.0, -200.0, 300.0, 800.0, 3000.0]), -200, 800), [-1, -1, 0, 1, 1])


def test_flips_move_all_arrays_of_a_sample_together() -> None:
    batch = make_batch(
        [tube()] * 16,
        hu_range=(-200, 800),
        variation=Variation(flips=True, gain=0.0, offset_hu=0.0),
        rng=np.random.default_rng(0),
    )
    assert batch.skeleton is not None
    np.testing.assert_array_equal(batch.channels[:, 0] > 0, batch.target == 1)
    assert (batch.target[batch.skeleton > 0] == 1).all()
    assert len({item.tobytes() for item in batch.target}) == 4  # a tube along z: flips of y and of x show


def test_attenuation_is_varied_within_its_bounds() -> None:
    batch = make_batch(
        [tube()] * 20,
        hu_range=(-1000, 1000),
        variation=Variation(flips=False, gain=0.05, offset_hu=20.0),
        rng=np.random.default_rng(0),
    )
    lumen = batch.channels[:, 0, 0, 4, 6] * 1000.0
    assert lumen.std() > 3
    assert (np.abs(lumen - 400) <= 0.05 * 400 + 20).all()


def test_context_is_dropped_as_often_as_asked() -> None:
    variation = Variation(flips=False, drop_context=0.25)
    batch = make_batch([tube()] * 400, hu_range=(-200, 800), variation=variation, rng=np.random.default_rng(0))
    whole = batch.channels[:, 1:].reshape(400, -1)
    assert set(np.unique(whole)) == {0.0, 1.0}
    assert 0.18 < 1.0 - whole.mean() < 0.32


def test_pool_asks_for_fresh_samples_when_they_were_drawn_often_enough() -> None:
    pool = SamplePool(capacity=8, reuse=2.0, rng=np.random.default_rng(0))
    while pool.hungry:
        pool.add(tube())
    assert len(pool) == 2
    pool.draw(3)
    assert not pool.hungry
    pool.draw(2)
    assert pool.hungry
    for _ in range(20):
        pool.add(tube())
    assert len(pool) == 8


def block() -> CoarseMap:
    """A heart of 36 mm with a chamber of 18 mm in it, on a grid that starts at (-30, -30, -30) mm."""
    structures = np.zeros((20, 20, 20), np.uint8)
    structures[4:16, 4:16, 4:16] = 8
    structures[7:13, 7:13, 7:13] = 3
    return CoarseMap(origin=np.array([-30.0, -30.0, -30.0]), structures=structures)


def test_context_resembles_the_truth_and_is_soft() -> None:
    origin = np.array([-24.0, -16.0, -8.0])
    x, y, z = (origin[axis] + 0.5 * np.arange(64) for axis in range(3))
    position = np.stack(np.meshgrid(z, y, x, indexing="ij"))
    # voxel 4 reaches from -19.5 mm, voxel 15 to 16.5 mm
    inside_truth = ((position > -19.5) & (position < 16.5)).all(axis=0)
    blood_truth = ((position > -10.5) & (position < 7.5)).all(axis=0)
    agreement = []
    for seed in range(12):
        inside, blood = noisy_context(block(), origin=origin, shape=(64, 64, 64), rng=np.random.default_rng(seed)) / 255.0
        agreement.append([((inside > 0.5) == inside_truth).mean(), ((blood > 0.5) == blood_truth).mean()])
        assert ((inside > 0.05) & (inside < 0.95)).any()
    assert np.mean(agreement) > 0.93
    assert np.mean(agreement) < 1.0


def test_context_outside_the_map_is_its_edge() -> None:
    far = noisy_context(block(), origin=np.array([500.0, 500.0, 500.0]), shape=(8, 8, 8), rng=np.random.default_rng(0))
    assert far.shape == (2, 8, 8, 8)
    assert far.max() < 128


def test_heart_classes_are_kept_only_near_the_bulk_of_the_heart() -> None:
    structures = np.zeros((60, 40, 40), np.uint8)
    structures[4:20, 10:26, 10:26] = 4
    structures[20:58, 17:19, 17:19] = 4  # a caval vein leaving it
    structures[20:58, 30:33, 30:33] = 6  # an aorta keeps its whole course
    limited = limit_to_heart(structures, spacing_mm=3.0)
    assert (limited[4:20, 10:26, 10:26] == 4).all()
    assert (limited[20:24, 17:19, 17:19] == 4).all()
    assert not limited[35:, 17:19, 17:19].any()
    assert (limited[20:58, 30:33, 30:33] == 6).all()
