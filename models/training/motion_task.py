"""Training of motion: how far an artery moved, and whether that is farther than it is wide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.analysis.motion_network import SCORES, STEP_MM, WINDOW_SHAPE
from models.networks.motion import BLOOD_RANGE, HU_RANGE, UNIT_MM, DeployedMotion, MotionNet, relative
from models.phantom import Scan
from models.training.designs import designed_scan
from models.training.families import load_families
from models.training.motion_regions import Region, disturbed_scan, draw_regions, keep_regions, load_regions
from models.training.motion_samples import MotionSample, motion_samples, windows_of
from models.training.patients import virtual_patient
from models.training.ranks import rank_correlation
from models.training.task import Arrays, Deployment, Score, Task, Tensors

DEVELOPMENT_PATIENTS = 20
DEVELOPMENT_SCANS = 3
"""Scans of each: one by the design of its family, the others disturbed as in training."""
_FAR_WEIGHT = 0.5


def motion_task() -> Task:
    """Samples, loss and settings of motion."""
    return Task(
        name="motion",
        network=MotionNet,
        source=motion_samples,
        make_batch=make_motion_batch,
        loss=motion_loss,
        score=development_score,
        deployment=Deployment(
            graph=DeployedMotion,
            example=example,
            entry={
                "purpose": "image quality along a traced artery: how far it moved while the picture was taken",
                "spacing_mm": STEP_MM,
                "multiple": 1,
                "tile": list(WINDOW_SHAPE),
                "many": True,
                "classes": list(SCORES),
                "channels": [
                    {"name": "ring_hu", "unit": "HU", "low": HU_RANGE[0], "high": HU_RANGE[1], "padding": -1000.0},
                    {"name": "blood_hu", "unit": "HU", "low": BLOOD_RANGE[0], "high": BLOOD_RANGE[1], "padding": 400.0},
                ],
                "outputs": [
                    {
                        "name": "scores",
                        "role": "scores",
                        "axes": 0,
                        "meaning": "motion mm; probability that it is farther than the vessel is wide",
                    },
                    {"name": "check", "role": "check", "meaning": "mean absolute answer before scaling"},
                ],
            },
        ),
        batch=64,
        learning_rate=2e-3,
        pool=8000,
        reuse=8.0,
        share=0.05,
    )


def make_motion_batch(samples: list[MotionSample], rng: np.random.Generator) -> Arrays:
    """Turn each window about its line, mirror it, take it from its other end: none of it changes how far the artery moved."""
    hu = np.stack([_turned(sample.hu, rng) for sample in samples]).astype(np.float32)
    blood = np.array([sample.blood_hu for sample in samples], np.float32)[:, None, None, None]
    channels = relative(torch.from_numpy(hu), torch.from_numpy(blood)).numpy()[:, None]
    moved = np.array([sample.motion_mm for sample in samples], np.float32)
    wide = np.array([sample.diameter_mm for sample in samples], np.float32)
    return {"channels": channels, "motion": moved, "far": (moved > wide).astype(np.float32)}


def _turned(hu: npt.NDArray[np.int16], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    mirrored = np.flip(hu, tuple(axis for axis in (0, 1) if rng.random() < 0.5))
    return np.roll(mirrored, int(rng.integers(hu.shape[1])), axis=1)


def motion_loss(answers: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Smooth absolute error of the motion, and cross-entropy of its being too far."""
    motion, far = batch["motion"], batch["far"]
    if motion is None or far is None:
        raise ValueError("a batch for motion needs how far each artery moved")
    answers = answers.float()
    error = nn.functional.smooth_l1_loss(answers[:, 0], motion / UNIT_MM, beta=0.3)
    cross = nn.functional.binary_cross_entropy_with_logits(answers[:, 1], far)
    return error + _FAR_WEIGHT * cross, {"motion": float(error.detach()), "far": float(cross.detach())}


def development_score(folder: Path) -> Score:
    """Errors on windows of development patients, rendered once and kept in ``folder``."""
    samples = [
        sample for seed in load_families()["development"].spread(DEVELOPMENT_PATIENTS) for sample in development_samples(seed, folder)
    ]

    def score(network: nn.Module) -> dict[str, float]:
        return errors(answers_of(network, samples), samples)

    return score


def answers_of(network: nn.Module, samples: list[MotionSample], *, at_once: int = 256) -> npt.NDArray[np.float32]:
    """Scores (n, 2) in their own units, as the deployed graph gives them."""
    graph = DeployedMotion(network).eval()
    device = next(network.parameters()).device
    graph.to(device)
    with torch.no_grad():
        runs = [graph(raw(samples[at : at + at_once]).to(device))[0].cpu().numpy() for at in range(0, len(samples), at_once)]
    return np.concatenate(runs)


def raw(samples: list[MotionSample]) -> torch.Tensor:
    """What the deployed graph takes."""
    hu = np.stack([sample.hu for sample in samples]).astype(np.float32)
    blood = np.array([sample.blood_hu for sample in samples], np.float32)[:, None, None, None]
    return torch.from_numpy(np.stack([hu, np.broadcast_to(blood, hu.shape)], axis=1))


def errors(scores: npt.NDArray[np.float32], samples: list[MotionSample]) -> dict[str, float]:
    """Mean absolute error, rank correlation, and how well what moved too far is told from the rest (area under the curve)."""
    moved = np.array([sample.motion_mm for sample in samples], np.float32)
    far = moved > np.array([sample.diameter_mm for sample in samples])
    return {
        "windows": float(len(samples)),
        "error_mm": float(np.abs(scores[:, 0] - moved).mean()),
        "rank": rank_correlation(scores[:, 0], moved),
        "too_far": separation(scores[:, 1], far),
    }


def separation(values: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    """Chance that a positive has a larger value than a negative (area under the curve), ties half; 0.5 where there is only one kind."""
    yes, no = values[positive], values[~positive]
    if not len(yes) or not len(no):
        return 0.5
    return float((yes[:, None] > no[None, :]).mean() + 0.5 * (yes[:, None] == no[None, :]).mean())


def development_samples(seed: int, folder: Path) -> list[MotionSample]:
    """The windows of one development patient; the same seed always gives the same ones."""
    rng = np.random.default_rng(seed)
    return [sample for region in development_regions(seed, folder) for sample in windows_of(region, rng)]


def development_regions(seed: int, folder: Path) -> list[Region]:
    """The regions of one development patient, from ``folder`` if they are there, else rendered and kept."""
    path = folder / f"regions-{seed}.npz"
    if not path.exists():
        rng = np.random.default_rng((seed, 3))
        keep_regions(draw_regions(virtual_patient(seed), rng, scans=development_scans(seed, rng)), path)
    return load_regions(path)


def development_scans(seed: int, rng: np.random.Generator) -> list[Scan]:
    """One scan by the design that the patient's family has, the others as in training."""
    designed = designed_scan(seed, load_families()["development"].design_of(seed))
    return [designed, *(disturbed_scan(rng) for _ in range(DEVELOPMENT_SCANS - 1))]


def example() -> torch.Tensor:
    """A tube of blood in fat, smeared more and more: one window (1, 2, *WINDOW_SHAPE)."""
    angles = torch.arange(WINDOW_SHAPE[1]).float().reshape(1, -1, 1) * (2.0 * torch.pi / WINDOW_SHAPE[1])
    edge = 6.0 + 4.0 * torch.cos(angles) ** 2 * torch.arange(WINDOW_SHAPE[0]).reshape(-1, 1, 1) / WINDOW_SHAPE[0]
    hu = -90.0 + 450.0 * torch.sigmoid(edge - torch.arange(WINDOW_SHAPE[2]).reshape(1, 1, -1))
    return torch.stack([hu, torch.full(WINDOW_SHAPE, 400.0)])[None]
