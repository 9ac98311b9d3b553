"""The losses on answers worked out by hand, and on their limits."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from models.training.losses import LossWeights, dice_loss, segmentation_loss, skeleton_loss  # noqa: E402

pytestmark = pytest.mark.train


def target() -> torch.Tensor:
    classes = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    classes[0, 1, 1, :] = 1
    return classes


def certain(classes: torch.Tensor, count: int = 3) -> torch.Tensor:
    return 40.0 * torch.nn.functional.one_hot(classes, count).movedim(-1, 1).float()


def test_the_right_answer_costs_nothing() -> None:
    weights = LossWeights(classes=(1.0, 1.0, 1.0), vessel_classes=(1, 2))
    loss, terms = segmentation_loss(certain(target()), target(), (target() == 1).float(), weights)
    assert float(loss) == pytest.approx(0.0, abs=1e-5)
    assert set(terms) == {"entropy", "dice", "skeleton"}


def test_an_even_guess_costs_the_logarithm_of_the_classes() -> None:
    weights = LossWeights(classes=(1.0, 1.0, 1.0), dice=0.0, skeleton=0.0)
    loss, _ = segmentation_loss(torch.zeros(1, 3, 4, 4, 4), target(), None, weights)
    assert float(loss) == pytest.approx(math.log(3.0))


def test_dice_by_hand_and_only_over_classes_that_are_there() -> None:
    probability = torch.zeros(1, 3, 4, 4, 4)
    probability[0, 1, 1, 1, :2] = 1.0  # half of the vessel's four voxels
    probability[0, 2] = 0.3  # a class that the truth does not hold
    assert float(dice_loss(probability, target())) == pytest.approx(1.0 - (2 * 2 + 1) / (2 + 4 + 1))
    assert float(dice_loss(probability, torch.zeros_like(target()))) == 0.0


def test_skeleton_loss_is_the_share_missed() -> None:
    skeleton = (target() == 1).float()
    vessel = torch.zeros_like(skeleton)
    vessel[0, 1, 1, :3] = 1.0
    assert float(skeleton_loss(vessel, skeleton)) == pytest.approx(0.25)
    assert float(skeleton_loss(vessel, torch.zeros_like(skeleton))) == 0.0


def test_every_term_pulls_on_the_scores() -> None:
    scores = torch.zeros(1, 3, 4, 4, 4, requires_grad=True)
    weights = LossWeights(classes=(1.0, 2.0, 2.0), vessel_classes=(1, 2))
    loss, _ = segmentation_loss(scores, target(), (target() == 1).float(), weights)
    loss.backward()
    assert scores.grad is not None
    assert bool((scores.grad[0, 1, 1, 1] < 0).all())  # the vessel's score must rise on the vessel
    assert bool((scores.grad[0, 0, 1, 1] > 0).all())
