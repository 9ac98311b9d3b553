"""Batches made on a device: the same patches as the CPU's, with their labels, centrelines and masks in place."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.networks.cor_seg import HU_RANGE  # noqa: E402
from models.training.device_patches import DevicePatches  # noqa: E402
from models.training.samples import Variation  # noqa: E402
from models.training.supply import StreamSupply  # noqa: E402

pytestmark = pytest.mark.train


def test_batches_hold_vessels_centrelines_and_masks() -> None:
    still = Variation(flips=False, gain=0.0, offset_hu=0.0)
    patches = DevicePatches(torch.device("cpu"), seed=3, batch=4, variation=still, size=24, patients=1, drawers=0)
    supply = StreamSupply(iter(patches), size=4)
    try:
        batches = [supply.batch() for _ in range(4)]
    finally:
        patches.close()
    assert supply.drawn == supply.rendered == 16
    channels, target, skeleton = (torch.cat([batch[name] for batch in batches]) for name in ("channels", "target", "skeleton"))
    assert channels.shape == (16, 4, 24, 24, 24)
    assert target.shape == skeleton.shape == (16, 24, 24, 24)
    assert float(channels[:, 0].abs().max()) <= 1.0
    assert float(channels[:, 1:3].min()) >= 0.0
    assert float(channels[:, 1:3].max()) <= 1.0 + 1e-5
    assert float(channels[:, 3].abs().max()) <= 1.0
    # in units of the aorta's blood the middle of a lumen is near 0, what is blurred below it, fat and muscle far below
    assert -0.5 < float(channels[:, 3][target == 1].median()) < 0.15
    assert float(channels[:, 3][target == 0].median()) < -0.6
    assert set(np.unique(target.numpy())) <= {0, 1, 2, 3, 4}
    assert bool(torch.isin(target[skeleton > 0], torch.tensor([1, 2, 3])).all())
    assert int((skeleton > 0).sum()) > 20
    low, high = HU_RANGE
    hu = (channels[:, 0] + 1.0) * 0.5 * (high - low) + low
    assert float(hu[target == 1].median()) > float(hu[target == 0].median()) + 60.0
    # arteries lie inside the pericardium, so the first mask is on there
    assert float(channels[:, 1][target == 1].mean()) > float(channels[:, 1][target == 0].mean())


def test_the_same_seed_makes_the_same_batch() -> None:
    def first() -> torch.Tensor:
        patches = DevicePatches(torch.device("cpu"), seed=5, batch=1, variation=Variation(flips=True), size=16, patients=1, drawers=0)
        try:
            return next(islice(iter(patches), 1))["channels"]
        finally:
            patches.close()

    assert torch.equal(first(), first())
