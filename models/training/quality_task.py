"""Training of quality: regression of what the physics say, and the probabilities of vessel, step and streak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.analysis.quality_network import SCORES
from appliance.analysis.quality_places import PATCH_SHAPE, PATCH_SPACING_MM
from models.networks.quality import HU_RANGE, MIDDLES, MULTIPLE, UNITS, DeployedQuality, QualityNet
from models.phantom import draw_scan
from models.training.families import load_families
from models.training.patients import virtual_patient
from models.training.quality_samples import QualitySample, artery_points, draw_place, draw_sample, quality_samples, true_places, vary
from models.training.samples import scale_hu
from models.training.segmentation import blobs
from models.training.task import Arrays, Deployment, Score, Task, Tensors

MEASURED = len(UNITS)
DEVELOPMENT_PATIENTS = 2
DEVELOPMENT_SCANS = 6
DEVELOPMENT_PATCHES = 4
_LEAST_SPREAD = 1e-9


def quality_task() -> Task:
    """Samples, loss and settings of quality."""
    return Task(
        name="quality",
        network=QualityNet,
        source=quality_samples,
        make_batch=make_quality_batch,
        loss=quality_loss,
        score=development_score,
        deployment=Deployment(
            graph=DeployedQuality,
            example=_example,
            entry={
                "purpose": "image quality at places along the coronary grooves, and the choice of the cardiac phase",
                "spacing_mm": PATCH_SPACING_MM,
                "multiple": MULTIPLE,
                "tile": list(PATCH_SHAPE),
                "many": True,
                "classes": list(SCORES),
                "channels": [{"name": "hu", "unit": "HU", "low": HU_RANGE[0], "high": HU_RANGE[1], "padding": -1000.0}],
                "outputs": [
                    {
                        "name": "scores",
                        "role": "scores",
                        "axes": 0,
                        "meaning": "motion mm, noise HU, PSF sigma mm, contrast HU, grade 1-4; probability of vessel, step, streak",
                    },
                    {"name": "check", "role": "check", "meaning": "mean absolute answer before scaling"},
                ],
            },
        ),
        batch=12,
        learning_rate=1.5e-3,
        pool=3000,
        reuse=8.0,
        share=0.06,
    )


def make_quality_batch(samples: list[QualitySample], rng: np.random.Generator) -> Arrays:
    """Mirror each patch along random axes, exchange rows and columns at random: none of it changes how good a picture is."""
    turned = [_turned(sample, rng) for sample in samples]
    return {
        "channels": np.stack([scale_hu(hu.astype(np.float32), *HU_RANGE)[None] for hu, _ in turned]),
        "measured": np.stack([sample.measured for sample in samples]),
        "present": np.stack([sample.present for sample in samples]),
        "where": np.stack([where.ravel() for _, where in turned]),
    }


def _turned(sample: QualitySample, rng: np.random.Generator) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    order = (0, 2, 1) if rng.random() < 0.5 else (0, 1, 2)
    return np.flip(sample.hu, axes).transpose(order), np.flip(sample.where, axes).transpose(order)


def quality_loss(given: tuple[torch.Tensor, torch.Tensor], batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Smooth absolute error of what is known (NaN is not), in units of `UNITS`; cross-entropy of what is present and of where to look."""
    measured, present, where = batch["measured"], batch["present"], batch["where"]
    if measured is None or present is None or where is None:
        raise ValueError("a batch for quality needs what was measured, what is present and where")
    answers, looked = given[0].float(), given[1].float()
    target = (measured - torch.tensor(MIDDLES, device=measured.device)) / torch.tensor(UNITS, device=measured.device)
    known = torch.isfinite(target)
    errors = nn.functional.smooth_l1_loss(
        answers[:, :MEASURED], torch.where(known, target, torch.zeros_like(target)), reduction="none", beta=0.3
    )
    each = (errors * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
    crosses = nn.functional.binary_cross_entropy_with_logits(answers[:, MEASURED:], present, reduction="none").mean(dim=0)
    weights = torch.tensor((2.0, 1.0, 1.0, 1.0, 2.0), device=each.device)
    looking = -(where * torch.log_softmax(looked, dim=1)).sum() / where.sum().clamp(min=1.0)
    loss = (each * weights).sum() + 0.5 * crosses.sum() + 0.3 * looking
    terms = dict(zip(SCORES, [*each.detach().tolist(), *crosses.detach().tolist()], strict=True))
    return loss, {"loss": float(loss.detach()), **terms, "looking": float(looking.detach())}


def development_score(folder: Path) -> Score:
    """Errors on patches of development patients, rendered once and kept in ``folder``."""
    samples = [sample for seed in load_families()["development"].seeds(DEVELOPMENT_PATIENTS) for sample in _kept(seed, folder)]

    def score(network: nn.Module) -> dict[str, float]:
        return errors(answers_of(network, samples), samples)

    return score


def answers_of(network: nn.Module, samples: list[QualitySample]) -> npt.NDArray[np.float32]:
    """Scores (n, len(SCORES)) in their own units, as the deployed graph gives them."""
    graph = DeployedQuality(network).eval()
    device = next(network.parameters()).device
    graph.to(device)
    with torch.no_grad():
        runs = [graph(torch.from_numpy(sample.hu.astype(np.float32)[None, None]).to(device))[0].cpu().numpy() for sample in samples]
    return np.concatenate(runs)


def errors(scores: npt.NDArray[np.float32], samples: list[QualitySample]) -> dict[str, float]:
    """Mean absolute errors, rank correlation of motion and grade, share of right answers on what is present."""
    measured, present = np.stack([s.measured for s in samples]), np.stack([s.present for s in samples])
    known = np.isfinite(measured)
    found: dict[str, float] = {"patches": float(len(samples))}
    for column, name in enumerate(SCORES[:MEASURED]):
        rows = known[:, column]
        if not rows.any():
            continue
        found[f"error_{name}"] = float(np.abs(scores[rows, column] - measured[rows, column]).mean())
        if name in ("motion_mm", "grade"):
            found[f"rank_{name}"] = rank_correlation(scores[rows, column], measured[rows, column])
    right = (scores[:, MEASURED:] > 0.5) == (present > 0.5)
    return found | {f"right_{name}": float(right[:, column].mean()) for column, name in enumerate(SCORES[MEASURED:])}


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where either does not vary."""
    one, other = ranks(first), ranks(second)
    if min(one.std(), other.std()) < _LEAST_SPREAD:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Place of each value in the order of all, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - 0.5 * (counts - 1))[inverse], np.float64)


def development_samples(seed: int) -> list[QualitySample]:
    """The patches of one development patient; the same seed always gives the same ones."""
    patient, rng = virtual_patient(seed), np.random.default_rng(seed)
    places, samples = true_places(patient), []
    for _ in range(DEVELOPMENT_SCANS):
        scan = vary(draw_scan(int(rng.integers(2**31))), rng)
        arteries = artery_points(patient, scan)
        samples += [draw_sample(patient, scan, arteries, draw_place(places, arteries, rng), rng) for _ in range(DEVELOPMENT_PATCHES)]
    return samples


def _kept(seed: int, folder: Path) -> list[QualitySample]:
    path = folder / f"development-{seed}.npz"
    if not path.exists():
        samples = development_samples(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        hu, measured, present, where = (
            np.stack([getattr(each, name) for each in samples]) for name in ("hu", "measured", "present", "where")
        )
        np.savez_compressed(path, hu=hu, measured=measured, present=present, where=where)
    with np.load(path) as stored:
        return [QualitySample(*row) for row in zip(stored["hu"], stored["measured"], stored["present"], stored["where"], strict=True)]


def _example() -> torch.Tensor:
    return blobs(1, PATCH_SHAPE)
