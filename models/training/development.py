"""Scores on a few development patients, to watch a run; the figures of a release come from models.evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.training.families import load_families
from models.training.samples import Sample, Variation, make_batch

DrawSample = Callable[[int], Sample]
"""Draws the sample of one development patient."""

_UNVARIED = Variation(flips=False, gain=0.0, offset_hu=0.0)


class DevelopmentScore:
    """Scores a segmenting network on fixed samples of the development family; rendered once, kept in ``folder``."""

    def __init__(
        self,
        draw: DrawSample,
        *,
        folder: Path,
        hu_range: tuple[float, float],
        classes: tuple[str, ...],
        vessels: tuple[int, ...] = (),
    ) -> None:
        self._hu_range = hu_range
        self._classes = classes
        self._vessels = vessels
        self._samples = [_cached(draw, seed, folder) for seed in watched_patients()]

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Mean Dice per class over the patients, and for vessels the share of centreline found and of result true."""
        rows = [self._score(network, sample) for sample in self._samples]
        names = sorted({name for row in rows for name in row}, key=list(rows[0]).index)
        return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}

    def _score(self, network: nn.Module, sample: Sample) -> dict[str, float]:
        predicted = predict(network, sample, hu_range=self._hu_range)
        scores = {f"dice_{name}": dice(predicted == index, sample.target == index) for index, name in enumerate(self._classes) if index > 0}
        if sample.skeleton is not None:
            coronary = np.isin(predicted, self._vessels)
            truth = np.isin(sample.target, self._vessels)
            scores["dice_coronary"] = dice(coronary, truth)
            scores["centreline_found"] = float(coronary[sample.skeleton].mean())
            scores["result_true"] = float(truth[coronary].mean()) if coronary.any() else 0.0
        return scores


def watched_patients(*, as_drawn: int = 3) -> list[int]:
    """Seeds of the development family: the first as drawn, and one of each other design, where networks fail first."""
    first, *others = load_families()["development"].designs
    return [*range(first.first, first.first + as_drawn), *(design.first for design in others)]


def predict(network: nn.Module, sample: Sample, *, hu_range: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """The class of each voxel, in one forward pass over the whole sample."""
    batch = make_batch([sample], hu_range=hu_range, variation=_UNVARIED, rng=np.random.default_rng(0))
    device = next(network.parameters()).device
    channels = torch.from_numpy(batch.channels).to(device).to(memory_format=torch.channels_last_3d)
    network.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        classes: npt.NDArray[np.uint8] = network(channels).argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
    return classes


def dice(predicted: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    """Dice overlap of two masks; 1 where both are empty."""
    size = int(predicted.sum()) + int(truth.sum())
    return 2.0 * int((predicted & truth).sum()) / size if size else 1.0


def _cached(draw: DrawSample, seed: int, folder: Path) -> Sample:
    path = folder / f"development-{seed}.npz"
    if not path.exists():
        sample = draw(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: value for name, value in vars(sample).items() if value is not None}
        np.savez_compressed(path, **arrays)
    with np.load(path) as stored:
        return Sample(**{name: stored[name] for name in stored.files})
