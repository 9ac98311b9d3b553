"""The device's sliding window against the processor's, kernels and all: same image, same tiles, same classes, same shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from appliance.analysis.grids import interpolate_to, positions_in
from appliance.errors import InferenceError
from appliance.inference.cuda.session import Card, CudaSession
from appliance.inference.sliding import Tiled, sliding_window
from appliance.inference.whole import Image, Mask, Whole
from appliance.volume import Geometry
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.appliance.inference.cuda.networks import HostNetwork, ProcessorSession, made_model

LEVEL = 412.0
CT = Geometry((40, 60, 52), (0.4, 0.4, 0.6), (-10.0, 3.0, 7.0))
LOOK = Geometry((10, 11, 12), (3.0, 3.0, 3.0), (-14.0, 0.0, 4.0))


@pytest.fixture
def driver() -> Iterator[HostDriver]:
    made = HostDriver()
    yield made
    made.close()


def fine(shape: tuple[int, int, int]) -> Geometry:
    """Partly beyond the CT on every side that the shape reaches."""
    return Geometry(shape, (0.5, 0.5, 0.5), (-11.2, 1.9, 6.3))


def ct(seed: int = 1) -> NDArray[np.int16]:
    random = np.random.default_rng(seed)
    lumps = gaussian_filter(random.normal(0, 1, CT.shape), 2.0)
    return np.clip(150 + 200 * lumps / lumps.std() + random.normal(0, 60, CT.shape), -1024, 3071).astype(np.int16)


def mask(kind: str, seed: int = 2) -> NDArray[np.uint8]:
    if kind == "blob":
        z, y, x = np.ogrid[: LOOK.shape[0], : LOOK.shape[1], : LOOK.shape[2]]
        return np.where((z - 5) ** 2 + (y - 4) ** 2 + (x - 4) ** 2 < 12, 255, 0).astype(np.uint8)
    return np.random.default_rng(seed).integers(0, 256, LOOK.shape).astype(np.uint8)


def asked(grid: Geometry, *, reach: str | None, overlap: int = 6, border: int = 2) -> Whole:
    at = positions_in(LOOK, grid)
    return Whole(
        image=Image(ct(), positions_in(CT, grid)),
        channels=("image", Mask(mask("noise", 3), at), Mask(mask("noise", 4), at), LEVEL),
        reach=Mask(mask(reach), at) if reach else None,
        overlap=overlap,
        border=border,
    )


def on_processor(grid: Geometry, *, reach: str | None, session: ProcessorSession, overlap: int = 6, border: int = 2) -> tuple[Any, Tiled]:
    hu = interpolate_to(ct(), CT, grid)
    inside, blood = (interpolate_to(mask("noise", seed), LOOK, grid) for seed in (3, 4))
    wanted = interpolate_to(mask(reach), LOOK, grid) > 127 if reach else None
    level = np.broadcast_to(np.float32(LEVEL), hu.shape)
    return hu, sliding_window(session, (hu, inside, blood, level), mask=wanted, overlap=overlap, border=border)


@pytest.mark.parametrize(
    ("shape", "reach", "gives", "input_type", "largest"),
    [
        ((40, 36, 44), "blob", "scores", "float16", (32, 32, 32)),
        ((40, 36, 44), None, "bytes", "float32", (32, 32, 32)),
        ((33, 70, 20), "noise", "scores", "float32", None),
        ((9, 50, 12), "noise", "bytes", "float16", None),
    ],
)
def test_device_answers_as_the_processor_does(
    driver: HostDriver,
    shape: tuple[int, int, int],
    reach: str | None,
    gives: Literal["bytes", "scores"],
    input_type: Literal["float16", "float32"],
    largest: tuple[int, int, int] | None,
) -> None:
    model, grid = made_model(largest=largest), fine(shape)
    host = ProcessorSession(model)
    hu, wanted = on_processor(grid, reach=reach, session=host)
    network = HostNetwork(driver, model, gives=gives, input_type=input_type)
    failures: list[InferenceError] = []
    session = CudaSession(card=Card(driver), network=network, host=host, on_failure=failures.append)
    found = session.whole_volume(asked(grid, reach=reach))
    assert not failures
    assert found is not None
    assert (found.tiles_run, found.tiles_skipped) == (wanted.tiles_run, wanted.tiles_skipped)
    assert wanted.tiles_run > 0
    np.testing.assert_array_equal(found.hu, hu)
    np.testing.assert_array_equal(found.classes, wanted.classes)
    # exp differs in its last place between the libraries; a share may then round the other way
    assert np.abs(found.share.astype(int) - wanted.share).max() <= (1 if gives == "scores" else 0)
    assert len(np.unique(found.classes)) >= 3
    assert found.share.max() > 200


def test_repeated_batches_are_one_recorded_graph_and_progress_rises(driver: HostDriver) -> None:
    model, grid = made_model(largest=None), fine((40, 36, 44))
    network = HostNetwork(driver, model, largest_batch=2)
    seen: list[float] = []
    session = CudaSession(card=Card(driver), network=network, host=ProcessorSession(model), on_failure=pytest.fail)
    found = session.whole_volume(asked(grid, reach=None), progress=seen.append)
    assert found is not None
    runs = -(-found.tiles_run // 2)
    assert found.tiles_run % 2 == 0 or runs > 2
    assert driver.replayed == runs - 1
    assert driver.launched["gather_half"] == 2  # once done, once recorded
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_without_graphs_the_answer_is_the_same() -> None:
    model, grid = made_model(largest=None), fine((40, 36, 20))
    results = []
    for capturing in (True, False):
        driver = HostDriver(capturing=capturing)
        session = CudaSession(card=Card(driver), network=HostNetwork(driver, model), host=ProcessorSession(model), on_failure=pytest.fail)
        results.append(session.whole_volume(asked(grid, reach=None)))
        assert bool(driver.replayed) == capturing
        driver.close()
    np.testing.assert_array_equal(results[0].classes, results[1].classes)
    np.testing.assert_array_equal(results[0].share, results[1].share)


def test_only_the_part_of_the_image_under_the_heart_goes_up_and_nothing_but_answers_comes_down(driver: HostDriver) -> None:
    model = made_model()
    grid = Geometry((16, 16, 16), (0.5,) * 3, (0.0, 10.0, 15.0))
    session = CudaSession(card=Card(driver), network=HostNetwork(driver, model), host=ProcessorSession(model), on_failure=pytest.fail)
    assert session.whole_volume(asked(grid, reach="noise")) is not None
    voxels = 16**3
    assert driver.downloaded_bytes < 4 * voxels + voxels // 4
    assert driver.uploaded_bytes < ct().nbytes / 3


def test_an_empty_reach_runs_nothing(driver: HostDriver) -> None:
    model, grid = made_model(), fine((24, 24, 24))
    whole = asked(grid, reach="blob")
    assert whole.reach is not None
    whole.reach.voxels[:] = 0
    network = HostNetwork(driver, model)
    found = CudaSession(card=Card(driver), network=network, host=ProcessorSession(model), on_failure=pytest.fail).whole_volume(whole)
    assert found is not None
    assert (found.tiles_run, found.classes.any(), found.share.any()) == (0, False, False)
    np.testing.assert_array_equal(found.hu, interpolate_to(ct(), CT, grid))
