"""The sliding window against an exact answer: a model that looks at one voxel at a time must not see the tiles."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InferenceError
from appliance.inference.catalog import Model, ModelCatalog
from appliance.inference.engine import Outputs, Session, check_input
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.sliding import best_tile, plan_axis, sliding_window


@pytest.fixture
def session(catalog: ModelCatalog) -> Session:
    return OnnxRuntimeEngine(threads=1).load(catalog["threshold"])


def volume(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.int16)


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 40, 61), (5, 16, 33), (3, 2, 1)])
def test_voxelwise_model_gives_the_same_as_without_tiles(session: Session, shape: tuple[int, int, int]) -> None:
    channel = volume(shape)
    result = sliding_window(session, [channel], overlap=6, border=2)
    np.testing.assert_array_equal(result.classes, (channel > 100).astype(np.uint8))
    assert np.abs(result.share.astype(int) - channel).max() <= 1
    assert result.tiles_skipped == 0


def test_empty_tiles_are_skipped_and_nothing_is_reported_outside_the_mask(session: Session) -> None:
    channel = volume((16, 16, 64))
    mask = np.zeros(channel.shape, np.bool_)
    mask[4:9, 3:12, 2:7] = True
    result = sliding_window(session, [channel], mask=mask, overlap=4, border=1)
    assert result.tiles_run == 1
    assert result.tiles_skipped == 4
    np.testing.assert_array_equal(result.classes, (channel > 100) * mask)
    assert np.abs(result.share.astype(int) - channel * mask).max() <= 1


def test_empty_mask_runs_nothing(session: Session) -> None:
    channel = volume((16, 16, 40))
    result = sliding_window(session, [channel], mask=np.zeros(channel.shape, np.bool_), overlap=4, border=1)
    assert result.tiles_run == 0
    assert not result.classes.any()


def test_progress_rises_to_one(session: Session) -> None:
    seen: list[float] = []
    result = sliding_window(session, [volume((16, 30, 40))], overlap=4, border=1, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == result.tiles_run == 9


def test_borders_of_tiles_are_not_used_where_a_neighbour_covers_them(catalog: ModelCatalog) -> None:
    """A model that is wrong on the outermost two voxels of every tile must be right inside the volume."""

    class WrongAtBorders:
        model: Model = catalog["threshold"]

        def run(self, channels: np.ndarray) -> Outputs:
            good = np.zeros(channels.shape[2:], np.uint8)
            good[2:-2, 2:-2, 2:-2] = 1
            return {"classes": good[None], "share": good[None] * 255, "check": np.ones(1, np.float32)}

    result = sliding_window(WrongAtBorders(), [volume((40, 41, 47))], overlap=8, border=2)
    assert (result.classes[2:-2, 2:-2, 2:-2] == 1).all()
    assert (result.share[2:-2, 2:-2, 2:-2] == 255).all()


@given(size=st.integers(1, 200), side=st.integers(8, 48), overlap=st.integers(0, 7), border=st.integers(0, 3))
def test_weights_add_up_and_cores_partition_the_axis(size: int, side: int, overlap: int, border: int) -> None:
    if 2 * border >= overlap:
        with pytest.raises(ValueError, match="overlap"):
            plan_axis(size, side, overlap=overlap, border=border)
        return
    tiles = plan_axis(size, side, overlap=overlap, border=border)
    total = np.zeros(max(size, side), int)
    for tile in tiles:
        total[tile.start : tile.start + side] += tile.weight
        assert tile.start <= tile.core.start < tile.core.stop <= tile.start + side
    assert (total[:size] == 256).all()
    assert [tile.core.start for tile in tiles[1:]] == [tile.core.stop for tile in tiles[:-1]]
    assert (tiles[0].core.start, tiles[-1].core.stop) == (0, size)
    assert all(a.start + side - b.start >= overlap for a, b in pairwise(tiles))


def test_channels_that_do_not_fit_are_refused(session: Session) -> None:
    with pytest.raises(InferenceError, match="INF-040"):
        sliding_window(session, [volume((16, 16, 16))] * 2)
    with pytest.raises(InferenceError, match="INF-040"):
        sliding_window(session, [volume((16, 16, 16))], mask=np.ones((16, 16, 17), np.bool_))


@pytest.fixture
def growing(catalog: ModelCatalog) -> Model:
    return msgspec.structs.replace(catalog["threshold"], largest_tile=(40, 40, 40), multiple=4)


@pytest.mark.parametrize(
    ("shape", "best"),
    [((30, 30, 30), (32, 32, 32)), ((38, 70, 16), (40, 40, 16)), ((5, 5, 5), (16, 16, 16)), ((100, 100, 100), (36, 36, 36))],
)
def test_tiles_grow_to_what_leaves_least_to_compute(growing: Model, shape: tuple[int, int, int], best: tuple[int, int, int]) -> None:
    assert best_tile(growing, shape, mask=None, overlap=4, border=1) == best


def test_small_tiles_where_little_is_asked_for(growing: Model) -> None:
    mask = np.zeros((80, 80, 80), np.bool_)
    mask[2:7, 2:7, 2:7] = True
    assert best_tile(growing, (80, 80, 80), mask=mask, overlap=4, border=1) == (16, 16, 16)


def test_a_model_that_does_not_say_so_keeps_its_tile(catalog: ModelCatalog) -> None:
    assert best_tile(catalog["threshold"], (30, 30, 30), mask=None, overlap=4, border=1) == (16, 16, 16)


def test_grown_tiles_give_the_same(growing: Model) -> None:
    channel = volume((33, 70, 41))
    mask = channel > 20
    result = sliding_window(_Voxelwise(growing), [channel], mask=mask, overlap=6, border=2)
    np.testing.assert_array_equal(result.classes, (channel > 100) * mask)


class _Voxelwise:
    """The threshold model on an engine that takes every shape that the model takes."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, channels: np.ndarray) -> Outputs:
        check_input(self.model, channels)
        value = channels[:, 0]
        return {"classes": (value > 100).astype(np.uint8), "share": np.clip(value, 0, 255).astype(np.uint8)}
