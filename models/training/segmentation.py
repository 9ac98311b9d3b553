"""What the tasks of the segmenting networks have in common: their batches, loss, development score and example."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.training.development import DevelopmentScore, DrawSample
from models.training.feeder import SampleSource
from models.training.losses import LossWeights, segmentation_loss
from models.training.samples import Sample, Variation, make_batch
from models.training.task import Arrays, Deployment, Loss, Score, Task, Tensors


def segmentation_task(
    *,
    hu_range: tuple[float, float],
    classes: tuple[str, ...],
    weights: LossWeights,
    variation: Variation,
    development: DrawSample,
    source: SampleSource,
    deployment: Deployment,
    **settings: Any,
) -> Task:
    """The task of a network that gives each voxel a class.

    Args:
        hu_range: HU that the input is clipped and scaled to.
        classes: names of the classes, background first.
        weights: of the loss.
        variation: how samples are varied when they are drawn.
        development: draws the sample of a development patient.
        source: stream of training samples.
        deployment: how it is exported.
        settings: the other fields of `Task`.
    """
    return Task(
        source=source,
        make_batch=partial(_arrays, hu_range=hu_range, variation=variation),
        loss=segmentation_terms(weights),
        score=partial(_score, draw=development, hu_range=hu_range, classes=classes, vessels=weights.vessel_classes),
        deployment=deployment,
        **settings,
    )


def segmentation_terms(weights: LossWeights) -> Loss:
    """The segmentation loss with these weights, as a task wants it."""
    return partial(_loss, weights=weights)


def blobs(channels: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Smooth blobs of plausible attenuation (1, channels, *shape), so that a comparison meets every class."""
    rng = np.random.default_rng(7)
    coarse = torch.from_numpy(rng.normal(150.0, 250.0, (1, channels, *(size // 8 for size in shape)))).float()
    return nn.functional.interpolate(coarse, size=shape, mode="trilinear")


def _arrays(samples: list[Sample], rng: np.random.Generator, *, hu_range: tuple[float, float], variation: Variation) -> Arrays:
    return vars(make_batch(samples, hu_range=hu_range, variation=variation, rng=rng))


def _loss(logits: torch.Tensor, batch: Tensors, *, weights: LossWeights) -> tuple[torch.Tensor, dict[str, float]]:
    target = batch["target"]
    if target is None:
        raise ValueError("a segmentation batch needs a target")
    return segmentation_loss(logits, target, batch["skeleton"], weights)


def _score(folder: Path, *, draw: DrawSample, hu_range: tuple[float, float], classes: tuple[str, ...], vessels: tuple[int, ...]) -> Score:
    return DevelopmentScore(draw, folder=folder, hu_range=hu_range, classes=classes, vessels=vessels)
