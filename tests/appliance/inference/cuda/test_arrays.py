"""Kernels of pictures and measures against what computes them elsewhere: numba, scipy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from appliance.analysis.section_samples import RAYS, SAMPLE_MM, SAMPLES, label_rays, sample_rays
from appliance.imaging import reformat, render
from appliance.inference.cuda.arrays import CardArrays
from appliance.volume import Geometry
from tests.appliance.inference.cuda.hostcuda import HostDriver

RANDOM = np.random.default_rng(5)


@pytest.fixture
def card() -> Iterator[CardArrays]:
    driver = HostDriver()
    with CardArrays(driver, stream=driver.stream()) as arrays:
        yield arrays
    assert driver.held_bytes == 0
    driver.close()


def lumps(shape: tuple[int, int, int], sigma: float = 2.0) -> np.ndarray:
    smooth = gaussian_filter(RANDOM.normal(0, 1, shape), sigma)
    return np.clip(100 + 300 * smooth / smooth.std(), -1024, 3071).astype(np.int16)


@pytest.mark.parametrize("maximum", [False, True])
def test_slab_gives_what_the_processor_gives(card: CardArrays, maximum: bool) -> None:
    voxels = lumps((30, 40, 35))
    place = RANDOM.uniform(-3, 42, (4000, 3))
    place[:3] = [[0, 0, 0], [29, 39, 34], [29.0001, 39, 34]]
    several = RANDOM.normal(0, 1, (7, 3))
    which = RANDOM.integers(0, 7, len(place))
    offsets = np.linspace(-2, 2, 9)
    wanted = reformat._slab_kernel(voxels, place, several[which], offsets, maximum)
    found = card.slab(voxels, place, several, which, offsets, maximum=maximum, outside=reformat.OUTSIDE_HU)
    # at the volume's border a last-place difference decides between a voxel and nothing: at most a few pixels
    assert (np.abs(found - wanted) > 0.1).sum() <= 4
    assert np.ptp(wanted) > 500


def test_section_rays_and_labels_give_what_the_processor_gives(card: CardArrays) -> None:
    voxels, classes = lumps((40, 50, 45)), RANDOM.integers(0, 5, (40, 50, 45)).astype(np.uint8)
    centre = RANDOM.uniform(0, 45, (60, 3))
    across, up = np.linalg.qr(RANDOM.normal(0, 1, (60, 3, 2)))[0].transpose(2, 0, 1) * 2.0
    wanted = np.empty((60, RAYS, SAMPLES))
    sample_rays(voxels, centre, across, up, wanted)
    found = card.section_rays(voxels, centre, across, up, rays=RAYS, samples=SAMPLES, step_mm=SAMPLE_MM)
    inside = np.isfinite(wanted)
    assert (np.isfinite(found) != inside).mean() < 1e-3
    both = inside & np.isfinite(found)
    assert both.mean() > 0.5
    assert np.abs(found - wanted)[both].max() < 0.1
    marked = np.empty(wanted.shape, np.uint8)
    label_rays(classes, centre, across, up, marked)
    labels = card.section_labels(classes, centre, across, up, rays=RAYS, samples=SAMPLES, step_mm=SAMPLE_MM)
    assert (labels != marked).mean() < 1e-3


@pytest.mark.parametrize(("shape", "share"), [((20, 30, 25), 0.002), ((1, 12, 40), 0.05), ((17, 1, 9), 0.3), ((12, 13, 14), 1.0)])
def test_distance_is_exact(card: CardArrays, shape: tuple[int, int, int], share: float) -> None:
    mask = RANDOM.random(shape) < share
    mask[0, 0, 0] = True
    spacing = (0.8, 0.45, 0.5)
    found = card.distance(mask, spacing)
    np.testing.assert_allclose(found, distance_transform_edt(~mask, sampling=spacing), atol=1e-4)


def test_distance_to_nothing_is_far(card: CardArrays) -> None:
    assert (card.distance(np.zeros((5, 6, 7), np.bool_), (1.0, 1.0, 1.0)) >= 1e9).all()


@pytest.mark.parametrize(("lao", "cranial"), [(0.0, 0.0), (-30.0, 25.0), (90.0, 0.0), (45.0, -40.0)])
def test_rendering_gives_the_picture_that_the_processor_gives(card: CardArrays, lao: float, cranial: float) -> None:
    shape = (64, 72, 68)
    z, y, x = np.ogrid[:64, :72, :68]
    ball = (z - 30) ** 2 / 500 + (y - 36) ** 2 / 700 + (x - 33) ** 2 / 600
    field = np.where(ball < 1, 300 + lumps(shape) // 4, -700).astype(np.int16)
    field = gaussian_filter(field.astype(np.float32), 0.8).astype(np.int16)
    tone = (gaussian_filter((ball < 0.4).astype(np.float32), 1.0) * 255).astype(np.uint8)
    warm = [render.Stop(-100, (0.2, 0.1, 0.1), 0.0), render.Stop(100, (0.7, 0.3, 0.2), 0.008), render.Stop(300, (0.9, 0.6, 0.4), 0.6)]
    cool = [render.Stop(150, (0.9, 0.9, 0.6), 0.0), render.Stop(350, (1.0, 0.95, 0.8), 0.9)]
    geometry = Geometry(shape, (0.5, 0.5, 0.5), (-17.0, -18.0, -16.0))
    scene = render.make_scene(field, tone, (render.transfer_table(warm), render.transfer_table(cool)), geometry)
    camera = render.Camera(lao, cranial)
    wanted = render.render(scene, camera, size=120, width_mm=40.0, centre=geometry.centre)
    found = render.render(scene, camera, size=120, width_mm=40.0, centre=geometry.centre, caster=card)
    difference = np.abs(found.astype(int) - wanted)
    assert wanted.any(axis=2).mean() > 0.2
    assert difference.mean() < 0.1
    # a ray that starts a step earlier or later by rounding lands elsewhere on a steep edge: few, and still alike
    assert (difference.max(axis=2) > 2).mean() < 0.01
