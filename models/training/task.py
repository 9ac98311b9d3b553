"""What it takes to train a network: where samples come from, how they become batches, the loss, the score, and the way it is exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.feeder import SampleSource

Arrays = Mapping[str, npt.NDArray[Any] | None]
"""A batch: ``channels`` is the network's scaled input (n, c, ...) float32, the rest is for the loss; None where a batch has none of it."""

Tensors = Mapping[str, torch.Tensor | None]
MakeBatch = Callable[[list[Any], np.random.Generator], Arrays]
Loss = Callable[[Any, Tensors], tuple[torch.Tensor, dict[str, float]]]
"""What the network gave, and the batch -> the loss and its terms."""

Score = Callable[[nn.Module], dict[str, float]]
"""Scores the averaged network on development patients."""


@dataclass(frozen=True)
class Deployment:
    """How a network is exported.

    Attributes:
        graph: wraps the trained network into the graph that the appliance runs (scaling in front, compact outputs behind); the graph has
            ``outputs``, their names in order.
        example: raw input (1, c, *spatial) that meets every class, to trace the graph and to compare ONNX Runtime with torch.
        entry: the fixed part of the catalog entry: purpose, spacing_mm, multiple, classes, channels, outputs and what else `Model` has.
        free_axes: spatial axes of the input whose size is free (counted from 0), and which outputs have them as their own spatial axes.
    """

    graph: Callable[[nn.Module], nn.Module]
    example: Callable[[], torch.Tensor]
    entry: dict[str, Any]
    free_axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Task:
    """One network's training.

    Attributes:
        network: makes a fresh network.
        source, make_batch, loss: see the types.
        score: given the task's folder (for samples that are rendered once and kept), the development score.
        batch, learning_rate: of all workers together.
        pool: samples kept; reuse: how often a sample is drawn on average before it leaves the pool.
        share: of the minutes of ``python -m models.training all``.
        on_device: given device, seed and batch, an endless stream of batches made on a GPU; None where the CPU makes them there too.
    """

    name: str
    network: Callable[[], nn.Module]
    source: SampleSource
    make_batch: MakeBatch
    loss: Loss
    score: Callable[[Path], Score]
    deployment: Deployment
    batch: int
    learning_rate: float
    pool: int
    reuse: float
    share: float
    on_device: Callable[[torch.device, int, int], Iterator[Tensors]] | None = None
