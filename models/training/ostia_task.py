"""Training of the ostia network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.analysis.ostia_network import peaks_of
from appliance.volume import Geometry
from models.networks import ostia
from models.networks.ostia import SIDE, SIDES, SPACING_MM, DeployedOstia, Ostia
from models.training.families import load_families
from models.training.kept import kept_samples
from models.training.ostia_samples import SPARE, OstiaSample, draw_crop, find_site, heat_maps, ostia_crops
from models.training.patients import virtual_patient
from models.training.samples import scale_hu
from models.training.segmentation import blobs
from models.training.task import Arrays, Deployment, Score, Task, Tensors

WATCHED_PATIENTS = 8
TRAINED_SIDE = 48
"""Voxels of the cubes it is trained on: the outer part of the product's cube seldom holds anything but costs more than half of the time."""
_LARGEST_GAIN = 0.06
_LARGEST_OFFSET_HU = 25.0
_WITHOUT_AORTA = 0.1
_FAR_MM = 30.0


def ostia_task() -> Task:
    """Samples, loss and settings of the ostia network."""
    return Task(
        name="ostia",
        network=Ostia,
        source=ostia_crops,
        make_batch=make_batch,
        loss=heat_loss,
        score=_score,
        deployment=Deployment(
            graph=DeployedOstia,
            example=_example,
            entry={
                "purpose": "where the left and the right coronary arteries leave the aorta",
                "spacing_mm": SPACING_MM,
                "multiple": ostia.MULTIPLE,
                "tile": [SIDE, SIDE, SIDE],
                "many": True,
                "classes": list(SIDES),
                "channels": [
                    {"name": "hu", "unit": "HU", "low": ostia.HU_RANGE[0], "high": ostia.HU_RANGE[1], "padding": -1000.0},
                    {"name": "aorta", "unit": "1/255", "low": 0.0, "high": 255.0, "padding": 0.0},
                ],
                "outputs": [
                    {"name": "left", "role": "share", "meaning": "ostia of LM, LAD, LCX: 1 on the ostium, Gaussian of 1.5 mm about it"},
                    {"name": "right", "role": "share", "meaning": "ostia of the RCA, likewise"},
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=4,
        learning_rate=2e-3,
        pool=240,
        reuse=5.0,
        share=0.1,
    )


def make_batch(samples: list[OstiaSample], rng: np.random.Generator) -> Arrays:
    """Cut each sample somewhere, vary its attenuation, and stack: channels (n, 2, z, y, x), heat (n, 2, z, y, x)."""
    inner = (SIDE - TRAINED_SIDE) // 2
    parts = [_cut(sample, inner + rng.integers(0, 2 * SPARE + 1, 3), TRAINED_SIDE, rng) for sample in samples]
    return {"channels": np.stack([channels for channels, _ in parts]), "heat": np.stack([heat for _, heat in parts])}


def _cut(
    sample: OstiaSample, first: npt.NDArray[np.int64], side: int, rng: np.random.Generator | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    part = tuple(slice(int(a), int(a) + side) for a in first)
    gain = 1.0 + (rng.uniform(-_LARGEST_GAIN, _LARGEST_GAIN) if rng else 0.0)
    offset = rng.uniform(-_LARGEST_OFFSET_HU, _LARGEST_OFFSET_HU) if rng else 0.0
    hu = scale_hu(sample.hu[part].astype(np.float32) * gain + offset, *ostia.HU_RANGE)
    kept = 0.0 if rng and rng.random() < _WITHOUT_AORTA else 1.0 / 255.0
    peaks = sample.peaks - np.array([*first, 0], np.float32)
    return np.stack([hu, sample.aorta[part].astype(np.float32) * np.float32(kept)]), heat_maps(peaks, (side, side, side))


def heat_loss(logits: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy with the heat, each voxel weighed by the square of its error (quality focal loss, Li et al., NeurIPS 2020).

    Nearly all voxels are far from any ostium and soon right: without the weight they would outvote the few that matter.
    """
    heat = batch["heat"]
    if heat is None:
        raise ValueError("an ostia batch needs heat maps")
    scores = logits.float()
    error = (torch.sigmoid(scores) - heat).square()
    entropy = nn.functional.binary_cross_entropy_with_logits(scores, heat, reduction="none")
    loss = (error * entropy).sum() / heat.sum().clamp(min=1.0)
    return loss, {"heat": float(loss.detach())}


class OstiaScore:
    """Distance from each true ostium to the nearest peak of its side on development crops, and how many peaks too many."""

    def __init__(self, samples: list[OstiaSample]) -> None:
        self._samples = samples

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Share within 2 mm, median and worst distance (30 mm where none is shown), further peaks a patient."""
        distances: list[float] = []
        extra = 0
        for sample in self._samples:
            for side, (found, true) in enumerate(self._peaks(network, sample)):
                gaps = np.linalg.norm(true[:, None] - found[None], axis=2) if len(found) else np.full((len(true), 1), _FAR_MM)
                distances += [min(_FAR_MM, float(row.min())) for row in gaps]
                extra += max(0, len(found) - int((sample.peaks[:, 3] == side).sum()))
        return {
            "within_2mm": float(np.mean(np.array(distances) <= 2.0)),
            "median_mm": float(np.median(distances)),
            "worst_mm": float(np.max(distances)),
            "too_many": extra / len(self._samples),
        }

    def _peaks(self, network: nn.Module, sample: OstiaSample) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        """Per side the points shown and the true ones, mm in the crop (x, y, z)."""
        first = np.full(3, SPARE)
        channels, _ = _cut(sample, first, SIDE, None)
        device = next(network.parameters()).device
        network.eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            given = torch.sigmoid(network(torch.from_numpy(channels[None]).to(device)).float())
        share = (given[0].cpu().numpy() * 255.0 + 0.5).astype(np.uint8)
        grid = Geometry((SIDE,) * 3, (SPACING_MM,) * 3, (0.0, 0.0, 0.0))
        pairs = []
        for number, side in enumerate(SIDES):
            true = sample.peaks[sample.peaks[:, 3] == number][:, :3] - first
            found = [peak.point_mm for peak in peaks_of(share[number], grid, "left" if side == "left" else "right")]
            pairs.append((np.array(found).reshape(-1, 3), grid.to_points(true).reshape(-1, 3)))
        return pairs


def development_crop(seed: int) -> OstiaSample:
    """The crop of a development patient that a run is watched on."""
    rng = np.random.default_rng(seed)
    return draw_crop(find_site(virtual_patient(seed), rng, scans=1), rng)


def _score(folder: Path) -> Score:
    seeds = load_families()["development"].seeds(WATCHED_PATIENTS)
    return OstiaScore(kept_samples(OstiaSample, development_crop, seeds, folder=folder))


def _example() -> Any:
    channels = blobs(2, (SIDE, SIDE, SIDE))
    channels[:, 1] = (channels[:, 1] > 150.0).float() * 255.0
    return channels
