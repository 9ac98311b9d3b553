"""What is trained: for each network its samples, loss, variation and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.networks import cor_seg, heart_loc
from models.networks.cor_seg import CorSeg
from models.networks.heart_loc import HeartLoc
from models.training.coronary_patches import coronary_patches
from models.training.feeder import SampleSource
from models.training.heart_volumes import heart_volumes
from models.training.losses import LossWeights
from models.training.samples import Variation


@dataclass(frozen=True)
class Task:
    """One network's training; ``reuse`` is how often a sample is drawn on average before it leaves the pool."""

    name: str
    network: Callable[[], nn.Module]
    source: SampleSource
    classes: tuple[str, ...]
    hu_range: tuple[float, float]
    weights: LossWeights
    variation: Variation
    batch: int
    learning_rate: float
    pool: int
    reuse: float


TASKS = {
    task.name: task
    for task in (
        Task(
            name="heart-loc",
            network=HeartLoc,
            source=heart_volumes,
            classes=heart_loc.CLASSES,
            hu_range=heart_loc.HU_RANGE,
            weights=LossWeights(classes=(1.0,) * len(heart_loc.CLASSES)),
            variation=Variation(flips=False, gain=0.08, offset_hu=25.0),
            batch=4,
            learning_rate=2e-3,
            pool=256,
            reuse=3.0,
        ),
        Task(
            name="cor-seg",
            network=CorSeg,
            source=coronary_patches,
            classes=cor_seg.CLASSES,
            hu_range=cor_seg.HU_RANGE,
            weights=LossWeights(classes=(1.0, 2.0, 2.0, 20.0, 2.0), vessel_classes=(1, 2, 3)),
            variation=Variation(flips=True, drop_context=0.15),
            batch=6,
            learning_rate=2e-3,
            pool=600,
            reuse=3.0,
        ),
    )
}
