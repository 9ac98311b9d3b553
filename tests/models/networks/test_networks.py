"""Shapes, sizes and invariances of the networks and of their deployed graphs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from models.networks import cor_seg, heart_loc  # noqa: E402
from models.networks.blocks import parameter_count  # noqa: E402
from models.networks.cor_seg import CorSeg  # noqa: E402
from models.networks.deployed import DeployedCorSeg, DeployedHeartLoc  # noqa: E402
from models.networks.heart_loc import HeartLoc  # noqa: E402

pytestmark = pytest.mark.train


def test_cor_seg_scores_every_voxel_and_is_small() -> None:
    network = CorSeg()
    assert network(torch.zeros(2, 4, 16, 24, 32)).shape == (2, len(cor_seg.CLASSES), 16, 24, 32)
    assert 1.3e6 < parameter_count(network) < 1.8e6


def test_heart_loc_scores_every_voxel_and_is_small() -> None:
    network = HeartLoc()
    assert network(torch.zeros(1, 1, 16, 24, 32)).shape == (1, len(heart_loc.CLASSES), 16, 24, 32)
    assert parameter_count(network) < 1.5e6


def test_first_guess_is_how_common_each_class_is() -> None:
    torch.manual_seed(0)
    probability = torch.softmax(CorSeg()(torch.zeros(1, 4, 16, 16, 16)), dim=1)
    assert float(probability[:, 0].detach().mean()) > 0.9


def test_an_untrained_network_already_passes_gradients_to_its_first_layer() -> None:
    network = CorSeg()
    network(torch.randn(1, 4, 16, 16, 16)).square().mean().backward()
    assert network.stem.weight.grad is not None
    assert float(network.stem.weight.grad.abs().sum()) > 0


def test_deployed_cor_seg_gives_bytes_that_agree_with_the_scores() -> None:
    torch.manual_seed(0)
    network = CorSeg().eval()
    raw = torch.rand(1, 4, 16, 16, 16) * 255.0
    with torch.no_grad():
        classes, coronary, check = DeployedCorSeg(network)(raw)
    against_blood = (raw[:, :1] / raw[:, 3:].clamp(min=100.0)).clamp(0.0, 2.0) - 1.0
    scaled = torch.cat([(raw[:, :1] + 200.0) / 800.0 - 1.0, raw[:, 1:3] / 255.0, against_blood], dim=1)
    with torch.no_grad():
        probability = torch.softmax(network(scaled), dim=1)
    assert classes.dtype == coronary.dtype == torch.uint8
    assert torch.equal(classes.long(), probability.argmax(dim=1))
    wanted = 1.0 - probability[:, 0] - probability[:, 4]
    assert float((coronary.float() / 255.0 - wanted).abs().max()) < 1.5 / 255.0
    assert check.shape == (1,)


def test_deployed_heart_loc_gives_the_masks_that_cor_seg_takes() -> None:
    torch.manual_seed(0)
    classes, inside, blood, _ = DeployedHeartLoc(HeartLoc().eval())(torch.randn(1, 1, 16, 16, 16) * 300.0)
    assert classes.shape == inside.shape == blood.shape == (1, 16, 16, 16)
    assert bool((blood <= inside).all())


def test_attenuation_beyond_the_range_changes_nothing() -> None:
    graph = DeployedCorSeg(CorSeg().eval())
    air = torch.zeros(1, 4, 16, 16, 16)
    air[:, 0] = -1000.0
    fat = air.clone()
    fat[:, 0] = -200.0
    assert torch.equal(graph(air)[1], graph(fat)[1])


def test_a_nan_inside_shows_in_the_check() -> None:
    network = CorSeg().eval()
    with torch.no_grad():
        network.mix.weight[0, 0] = float("nan")
    assert bool(torch.isnan(DeployedCorSeg(network)(torch.zeros(1, 4, 16, 16, 16))[2]).all())
