"""Where the trainer's batches come from: samples that a process renders and a pool draws again, or batches made on the GPU itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from models.training.feeder import Feeder
from models.training.samples import SamplePool
from models.training.task import Task, Tensors

_FIRST_SAMPLE_TIMEOUT_S = 300.0


class Supply(Protocol):
    """Batches, and how many samples they have cost."""

    @property
    def drawn(self) -> int:
        """Samples that went into batches."""

    @property
    def rendered(self) -> int:
        """Samples that were rendered for them."""

    def batch(self) -> Tensors:
        """The next batch, on any device."""


class PooledSupply:
    """Fresh samples as they come, each drawn about `Task.reuse` times from a pool."""

    def __init__(self, task: Task, feeder: Feeder, rng: np.random.Generator) -> None:
        self._task = task
        self._feeder = feeder
        self._rng = rng
        self._pool = SamplePool(capacity=task.pool, reuse=task.reuse, rng=rng)
        while len(self._pool) < 4 * task.batch:
            self._pool.add(feeder.take(timeout_s=_FIRST_SAMPLE_TIMEOUT_S))

    @property
    def drawn(self) -> int:
        """Samples that went into batches."""
        return self._pool.drawn

    @property
    def rendered(self) -> int:
        """Samples that were rendered for them."""
        return self._pool.added

    def batch(self) -> Tensors:
        """See `Supply.batch`."""
        while self._pool.hungry and (sample := self._feeder.take()) is not None:
            self._pool.add(sample)
        arrays = self._task.make_batch(self._pool.draw(self._task.batch), self._rng)
        return {name: None if array is None else torch.from_numpy(array) for name, array in arrays.items()}


class StreamSupply:
    """Batches of a stream, each sample used once."""

    def __init__(self, batches: Iterator[Tensors], *, size: int) -> None:
        self._batches = batches
        self._size = size
        self._drawn = 0

    @property
    def drawn(self) -> int:
        """Samples that went into batches."""
        return self._drawn

    @property
    def rendered(self) -> int:
        """As many as went into batches."""
        return self._drawn

    def batch(self) -> Tensors:
        """See `Supply.batch`."""
        self._drawn += self._size
        return next(self._batches)


@contextmanager
def supply_for(task: Task, *, device: torch.device, seed: int) -> Iterator[Supply]:
    """The supply that suits the device; what it started ends with the block."""
    if device.type == "cuda" and task.on_device is not None:
        yield StreamSupply(task.on_device(device, seed, task.batch), size=task.batch)
        return
    with Feeder(task.source, seed=seed) as feeder:
        yield PooledSupply(task, feeder, np.random.default_rng(seed))
