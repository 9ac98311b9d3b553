"""Pictures of a study drawn on the card, and by the processor: the same; and the processor's when the card is lost midway."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from appliance.imaging.on_card import VolumeOnCard, card_of, drawn_by
from appliance.imaging.reformat import curve, section, slab_mip, straighten
from appliance.inference.cuda.arrays import CardArrays
from appliance.inference.cuda.session import Card
from appliance.inference.guarded import Guard
from appliance.inference.tensorrt_engine import TensorRtEngine
from appliance.volume import Volume
from tests.appliance.imaging.test_reformat import GRID, bent_path
from tests.appliance.inference.cuda.hostcuda import HostDriver


class Engine:
    """An engine with a card that draws."""

    def __init__(self, driver: HostDriver) -> None:
        self.card = Card(driver)

    def arrays(self) -> AbstractContextManager[CardArrays]:
        return self.card.arrays()


@pytest.fixture(scope="module")
def volume() -> Volume:
    lumps = gaussian_filter(np.random.default_rng(8).normal(0, 1, GRID.shape), 2.0)
    return Volume((100 + 250 * lumps / lumps.std()).astype(np.int16), GRID)


def reformations(volume: Volume) -> list[NDArray[np.float32]]:
    """One of each kind."""
    path, across, down = bent_path(), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])
    return [
        curve(volume, path, angle_degrees=30.0, size=(60, 40)).hu,
        curve(volume, path, angle_degrees=90.0, size=(60, 40), thickness_mm=5.0, projection="max").hu,
        straighten(volume, path, angle_degrees=90.0, half_width_mm=5.0, spacing_mm=0.5).hu,
        section(volume, path, 20.0, half_width_mm=6.0, size=41).hu,
        slab_mip(volume, centre=GRID.centre, across=across, down=down, thickness_mm=10.0, size=(50, 50), spacing_mm=1.5).hu,
    ]


def test_the_card_makes_the_reformations_that_the_processor_makes(volume: Volume) -> None:
    driver = HostDriver()
    found, wanted = drawn_by(Engine(driver), volume, reformations), reformations(volume)
    assert driver.launched["slab"] == len(wanted)
    assert driver.uploaded_bytes < 2 * volume.voxels.nbytes  # the volume went up once
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        # single precision: at the volume's border a last place decides between a voxel and nothing, for at most a few pixels
        assert (np.abs(one - other) > 0.5).mean() < 0.003
        assert np.ptp(other) > 300
    assert driver.held_bytes == 0
    driver.close()


def test_a_card_lost_midway_leaves_all_pictures_to_the_processor(volume: Volume) -> None:
    driver = HostDriver()
    drawn: list[bool] = []

    def draw(given: Volume) -> list[NDArray[np.float32]]:
        drawn.append(isinstance(given, VolumeOnCard))
        first = reformations(given)
        if card_of(given) is not None:
            driver.fail_at = 0
        return first + reformations(given)

    found = drawn_by(Engine(driver), volume, draw)
    assert drawn == [True, False]
    for one, other in zip(found, 2 * reformations(volume), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_engine_of_the_product_draws_until_its_card_fails(volume: Volume) -> None:
    driver, guard = HostDriver(), Guard()
    nothing: Any = None
    engine = TensorRtEngine(library=nothing, driver=driver, cache=nothing, processor=nothing, guard=guard)
    assert drawn_by(engine, volume, lambda given: card_of(given) is not None)
    driver.fail_at = 0
    assert len(drawn_by(engine, volume, reformations)) == 5
    assert guard.trouble is not None
    assert guard.trouble.code == "INF-061"
    assert not drawn_by(engine, volume, lambda given: card_of(given) is not None)


def test_an_engine_without_a_card_draws_nothing_itself(volume: Volume) -> None:
    seen: list[CardArrays | None] = []
    drawn_by(object(), volume, lambda given: seen.append(card_of(given)))
    assert seen == [None]
