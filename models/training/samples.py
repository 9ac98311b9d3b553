"""Training samples, the pool they are drawn from, and what is varied each time one is drawn."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.networks.cor_seg import LEAST_BLOOD_HU


@dataclass(frozen=True)
class Sample:
    """One rendered piece of a virtual patient, all arrays of one shape (z, y, x).

    Args:
        hu: attenuation, int16.
        target: class per voxel, uint8.
        skeleton: True on coronary centrelines, or None where the network has no use for it.
        context: soft masks times 255, uint8 (channels, z, y, x), or None.
        blood_hu: attenuation of blood in the aorta as the appliance would measure it, or None where the network has no use for it.
    """

    hu: npt.NDArray[np.int16]
    target: npt.NDArray[np.uint8]
    skeleton: npt.NDArray[np.bool_] | None = None
    context: npt.NDArray[np.uint8] | None = None
    blood_hu: float | None = None


@dataclass(frozen=True)
class Batch:
    """Network input (n, channels, z, y, x) float32, targets (n, z, y, x) int64, skeletons (n, z, y, x) float32 or None."""

    channels: npt.NDArray[np.float32]
    target: npt.NDArray[np.int64]
    skeleton: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class Variation:
    """How a sample is varied when it is drawn; the physics are varied by the generator, not here."""

    flips: bool
    gain: float = 0.05
    offset_hu: float = 20.0
    drop_context: float = 0.0


class SamplePool:
    """The latest samples, drawn at random, each about ``reuse`` times."""

    def __init__(self, *, capacity: int, reuse: float, rng: np.random.Generator) -> None:
        self._samples: deque[Any] = deque(maxlen=capacity)
        self._reuse = reuse
        self._rng = rng
        self.added = 0
        self.drawn = 0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Any) -> None:
        """Take in a sample; the oldest leaves when the pool is full."""
        self._samples.append(sample)
        self.added += 1

    @property
    def hungry(self) -> bool:
        """Whether fresh samples are wanted: always while filling, then to keep the reuse."""
        filling = len(self._samples) < (self._samples.maxlen or 0) // 4
        return filling or self.drawn > self.added * self._reuse

    def draw(self, count: int) -> list[Any]:
        """Draw samples at random, no one twice in the same batch."""
        chosen = self._rng.choice(len(self._samples), size=count, replace=len(self._samples) < count)
        self.drawn += count
        return [self._samples[int(index)] for index in chosen]


def scale_hu(hu: npt.NDArray[np.floating], low: float, high: float) -> npt.NDArray[np.float32]:
    """Clip attenuation to [low, high] and scale it to [-1, 1], as the exported graphs do."""
    half = 0.5 * (high - low)
    scaled: npt.NDArray[np.float32] = ((np.clip(hu, low, high) - low) / half - 1.0).astype(np.float32)
    return scaled


def relative_hu(hu: npt.NDArray[np.float32], blood_hu: float) -> npt.NDArray[np.float32]:
    """As `models.networks.cor_seg.relative`."""
    scaled: npt.NDArray[np.float32] = np.clip(hu / np.float32(max(blood_hu, LEAST_BLOOD_HU)), 0.0, 2.0) - np.float32(1.0)
    return scaled


def make_batch(samples: list[Sample], *, hu_range: tuple[float, float], variation: Variation, rng: np.random.Generator) -> Batch:
    """Vary each sample and stack them."""
    varied = [_vary(sample, hu_range=hu_range, variation=variation, rng=rng) for sample in samples]
    skeletons = [skeleton for _, _, skeleton in varied if skeleton is not None]
    return Batch(
        channels=np.stack([channels for channels, _, _ in varied]),
        target=np.stack([target for _, target, _ in varied]).astype(np.int64),
        skeleton=np.stack(skeletons).astype(np.float32) if len(skeletons) == len(varied) else None,
    )


def _vary(
    sample: Sample, *, hu_range: tuple[float, float], variation: Variation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
    gain = 1.0 + rng.uniform(-variation.gain, variation.gain)
    offset = rng.uniform(-variation.offset_hu, variation.offset_hu)
    hu = sample.hu.astype(np.float32) * gain + offset
    channels = [scale_hu(hu, *hu_range)[None]]
    if sample.context is not None:
        kept = 0.0 if rng.random() < variation.drop_context else 1.0 / 255.0
        channels.append(sample.context.astype(np.float32) * np.float32(kept))
    if sample.blood_hu is not None:
        channels.append(relative_hu(hu, float(sample.blood_hu) * gain + offset)[None])
    stacked = np.concatenate(channels)
    axes = tuple(int(axis) for axis in range(3) if variation.flips and rng.random() < 0.5)
    if not axes:
        return stacked, sample.target, sample.skeleton
    return (
        np.flip(stacked, tuple(axis + 1 for axis in axes)),
        np.flip(sample.target, axes),
        None if sample.skeleton is None else np.flip(sample.skeleton, axes),
    )
