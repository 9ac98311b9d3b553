"""The losses: weighted cross-entropy, Dice over the batch, and skeleton recall.

Skeleton recall (Kirchhoff et al., ECCV 2024) asks that the predicted vessel covers the true centreline, so that a thin
branch weighs as much as a thick one; it costs one product where clDice needs an iterated soft skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms.

    Attributes:
        classes: weigh the cross-entropy.
        vessel_classes: what a skeleton runs through.
        unions: what targets beyond the last class stand for: any class of the first union, of the second, ... (partly labelled data).
        union_weights: weigh their cross-entropy.
    """

    classes: tuple[float, ...]
    dice: float = 1.0
    skeleton: float = 0.5
    vessel_classes: tuple[int, ...] = ()
    unions: tuple[tuple[int, ...], ...] = ()
    union_weights: tuple[float, ...] = ()


def segmentation_loss(
    logits: torch.Tensor, target: torch.Tensor, skeleton: torch.Tensor | None, weights: LossWeights
) -> tuple[torch.Tensor, dict[str, float]]:
    """The sum of the terms and each term's value.

    Args:
        logits: (n, classes, z, y, x), any float type; computed in float32.
        target: (n, z, y, x) int64.
        skeleton: (n, z, y, x) 1.0 on true centrelines, or None.
        weights: of the classes and terms.
    """
    scores = logits.float()
    log_probability = torch.log_softmax(scores, dim=1)
    probability = log_probability.exp()
    # the probability of a union is the sum over its classes (marginal loss, Shi et al., Medical Image Analysis 2021)
    unions = [torch.logsumexp(log_probability[:, list(union)], dim=1, keepdim=True) for union in weights.unions]
    classes = torch.tensor((*weights.classes, *weights.union_weights), device=scores.device)
    entropy = functional.nll_loss(torch.cat([log_probability, *unions], dim=1), target, weight=classes)
    dice = dice_loss(probability, target) if not unions else partial_dice_loss(probability, target, weights.unions[0])
    total = entropy + weights.dice * dice
    terms = {"entropy": float(entropy.detach()), "dice": float(dice.detach())}
    if skeleton is not None and weights.vessel_classes:
        recall = skeleton_loss(probability[:, list(weights.vessel_classes)].sum(dim=1), skeleton)
        total = total + weights.skeleton * recall
        terms["skeleton"] = float(recall.detach())
    return total, terms


def dice_loss(probability: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - mean soft Dice over the classes after the first that the batch holds, pooled over the batch.

    A class that the batch does not hold is left out: its Dice would be 0 whatever the network says, and its false
    positives are already punished by the cross-entropy.
    """
    losses: list[torch.Tensor] = []
    for index in range(1, probability.shape[1]):
        truth = (target == index).to(probability.dtype)
        size = truth.sum()
        if float(size) == 0.0:
            continue
        predicted = probability[:, index]
        losses.append(1.0 - (2.0 * (predicted * truth).sum() + 1.0) / (predicted.sum() + size + 1.0))
    if not losses:
        return probability.sum() * 0.0
    return torch.stack(losses).mean()


def partial_dice_loss(probability: torch.Tensor, target: torch.Tensor, union: tuple[int, ...]) -> torch.Tensor:
    """The Dice loss of the classes where they are labelled, plus that of their ``union`` (the first one) where only it is."""
    count = probability.shape[1]
    known = (target < count).unsqueeze(1).to(probability.dtype)
    loss = dice_loss(probability * known, target)
    partly = (target >= count).to(probability.dtype)
    marked = (target == count).to(probability.dtype)
    size = marked.sum()
    if float(size) == 0.0:
        return loss
    # a wall may lie on either side of the mark: what the network calls wall outside it is not counted against the union
    predicted = probability[:, list(union)].sum(dim=1) * marked + probability[:, 1] * (partly - marked)
    return loss + 1.0 - (2.0 * (predicted * marked).sum() + 1.0) / (predicted.sum() + size + 1.0)


def skeleton_loss(vessel: torch.Tensor, skeleton: torch.Tensor) -> torch.Tensor:
    """1 - the share of the true centreline that the predicted vessel covers (0 where there is none)."""
    length = skeleton.sum()
    if float(length) == 0.0:
        return vessel.sum() * 0.0
    return 1.0 - (vessel * skeleton).sum() / length
