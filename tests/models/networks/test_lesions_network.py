"""The network ``lesions``: shapes, size, how far it looks, and the graph that the appliance runs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from models.networks import lesions  # noqa: E402
from models.networks.blocks import parameter_count  # noqa: E402
from models.networks.lesions import CLASSES, DeployedLesions, Lesions  # noqa: E402

pytestmark = pytest.mark.train


def sections(length: int = 40, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    hu = torch.rand(2, 1, length, lesions.SIDE, lesions.SIDE, generator=generator) * 600.0 - 100.0
    return torch.cat([hu, torch.full_like(hu, 400.0)], dim=1)


@pytest.fixture(scope="module")
def network() -> Lesions:
    torch.manual_seed(0)
    return Lesions().eval()


def test_it_scores_every_section_and_is_small(network: Lesions) -> None:
    assert network(sections(40)).shape == (2, len(CLASSES) + 1 + len(lesions.FEATURES) + len(lesions.SIZES), 40)
    assert parameter_count(network) < 0.5e6


def test_an_untrained_network_guesses_how_common_each_class_is() -> None:
    torch.manual_seed(0)
    fresh = Lesions()
    with torch.no_grad():
        fresh.head.weight.zero_()
        probability = torch.softmax(fresh(sections())[:, : len(CLASSES)], dim=1)
    assert float(probability[:, 0].mean()) == pytest.approx(0.7, abs=0.01)


def test_it_looks_a_centimetre_and_a_half_along_the_vessel_and_no_further_than_its_window(network: Lesions) -> None:
    plain = sections(120)
    changed = plain.clone()
    changed[:, 0, 60] += 300.0
    with torch.no_grad():
        moved = (network(changed) - network(plain)).abs().amax(dim=(0, 1)) > 0
    assert bool(moved[60])
    assert bool(moved[40:81].all())
    assert not bool(moved[:10].any())
    assert not bool(moved[110:].any())


def test_the_deployed_graph_agrees_with_the_scores(network: Lesions) -> None:
    raw = sections(32)
    with torch.no_grad():
        scores = network(raw)
        plaque, stent, kinds, narrowing, features, sizes, check = DeployedLesions(network)(raw)
    probability = torch.softmax(scores[:, :5], dim=1)
    assert plaque.dtype == stent.dtype == torch.uint8
    assert plaque.shape == stent.shape == (2, 32)
    assert float((plaque.float() / 255 - probability[:, 1:4].sum(dim=1)).abs().max()) < 1.5 / 255
    assert float((stent.float() / 255 - probability[:, 4]).abs().max()) < 1.5 / 255
    assert kinds.shape == (2, 32, 3)
    given = probability[:, 1:4] / probability[:, 1:4].sum(dim=1, keepdim=True)
    torch.testing.assert_close(kinds, given.transpose(1, 2), atol=1e-5, rtol=1e-4)
    assert narrowing.shape == (2, 32, 1)
    torch.testing.assert_close(narrowing[..., 0], torch.sigmoid(scores[:, 5]))
    assert features.shape == (2, 32, 4)
    torch.testing.assert_close(features, torch.sigmoid(scores[:, 6:10]).transpose(1, 2))
    assert sizes.shape == (2, 32, 4)
    torch.testing.assert_close(sizes[..., 0], torch.relu(scores[:, 10] + 2.5))
    torch.testing.assert_close(sizes[..., 2], torch.relu(scores[:, 12] + 2.5))
    assert bool((sizes[..., (1, 3)] > 0).all())
    assert check.shape == (2,)


def test_attenuation_beyond_the_range_and_unknown_blood_change_nothing(network: Lesions) -> None:
    raw = sections(16)
    raw[:, 0, :, :3] = 1400.0
    brighter = raw.clone()
    brighter[:, 0, :, :3] = 3000.0
    with torch.no_grad():
        torch.testing.assert_close(network(raw), network(brighter))


def test_a_nan_inside_shows_in_the_check() -> None:
    broken = Lesions().eval()
    with torch.no_grad():
        broken.head.weight[0, 0] = float("nan")
        assert bool(torch.isnan(DeployedLesions(broken)(sections(16))[-1]).all())
