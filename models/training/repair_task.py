"""Training of the repair network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.analysis.repair_network import LAST_BYTE, end_map
from models.networks import repair
from models.networks.repair import ANSWERS, SIDE, SPACING_MM, DeployedRepair, Repair
from models.training.families import load_families
from models.training.kept import kept_samples
from models.training.patients import virtual_patient
from models.training.repair_samples import RepairSample, draw_sample, find_site, repair_gaps
from models.training.samples import scale_hu
from models.training.segmentation import blobs
from models.training.task import Arrays, Deployment, Score, Task, Tensors

WATCHED_PATIENTS = 5
GAPS_PER_PATIENT = 16
_LARGEST_GAIN = 0.06
_LARGEST_OFFSET_HU = 25.0
_COURSE_WEIGHT = 20.0
_SHAPE = (SIDE, SIDE, SIDE)


def repair_task() -> Task:
    """Samples, loss and settings of the repair network."""
    byte = {"unit": "1/255", "low": 0.0, "high": LAST_BYTE, "padding": 0.0}
    return Task(
        name="repair",
        network=Repair,
        source=repair_gaps,
        make_batch=make_batch,
        loss=gap_loss,
        score=_score,
        deployment=Deployment(
            graph=DeployedRepair,
            example=_example,
            entry={
                "purpose": "whether a gap between two pieces of vessel is a vessel, and where it runs",
                "spacing_mm": SPACING_MM,
                "multiple": repair.MULTIPLE,
                "tile": [SIDE, SIDE, SIDE],
                "many": True,
                "classes": list(ANSWERS),
                "channels": [
                    {"name": "hu", "unit": "HU", "low": repair.HU_RANGE[0], "high": repair.HU_RANGE[1], "padding": -1000.0},
                    *({"name": name, **byte} for name in repair.CHANNELS[1:]),
                ],
                "outputs": [
                    {"name": "course", "role": "share", "meaning": "1 along the vessel's middle, within 0.8 mm of it"},
                    {"name": "vessel", "role": "scores", "axes": 0, "meaning": "probability that a vessel runs through the gap"},
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=4,
        learning_rate=2.5e-3,
        pool=400,
        reuse=5.0,
        share=0.1,
    )


def make_batch(samples: list[RepairSample], rng: np.random.Generator) -> Arrays:
    """Flip each sample, exchange its ends now and then, vary its attenuation: channels, course (n, z, y, x), vessel (n, 1)."""
    parts = [_vary(sample, rng) for sample in samples]
    return {
        "channels": np.stack([channels for channels, _ in parts]),
        "course": np.stack([course for _, course in parts]).astype(np.float32),
        "vessel": np.array([[float(sample.vessel)] for sample in samples], np.float32),
    }


def channels_of(sample: RepairSample, *, gain: float = 1.0, offset_hu: float = 0.0, exchanged: bool = False) -> npt.NDArray[np.float32]:
    """The network's scaled input (4, z, y, x)."""
    hu = scale_hu(sample.hu.astype(np.float32) * gain + offset_hu, *repair.HU_RANGE)
    ends = [end_map(end.astype(np.float64), _SHAPE, spacing_mm=SPACING_MM) for end in (sample.near, sample.far)]
    others = np.stack([sample.coronary.astype(np.float32), *(ends[::-1] if exchanged else ends)]) * np.float32(1.0 / LAST_BYTE)
    return np.concatenate([hu[None], others])


def _vary(sample: RepairSample, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    channels = channels_of(
        sample,
        gain=1.0 + rng.uniform(-_LARGEST_GAIN, _LARGEST_GAIN),
        offset_hu=rng.uniform(-_LARGEST_OFFSET_HU, _LARGEST_OFFSET_HU),
        exchanged=bool(rng.random() < 0.5),
    )
    # a gap has no left and right, no front and back: any turn of the cube is as good
    order = rng.permutation(3)
    axes = tuple(int(axis) for axis in range(3) if rng.random() < 0.5)
    turned = np.flip(channels.transpose(0, *(order + 1)), tuple(axis + 1 for axis in axes))
    return np.ascontiguousarray(turned), np.ascontiguousarray(np.flip(sample.course.transpose(order), axes))


def gap_loss(given: tuple[torch.Tensor, torch.Tensor], batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy of the answer, and of the course with Dice over the batch; the course of a gap that is none is empty."""
    course, vessel = batch["course"], batch["vessel"]
    if course is None or vessel is None:
        raise ValueError("a repair batch needs course and answer")
    logits, answer = given[0].float()[:, 0], given[1].float()
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, course, pos_weight=torch.tensor(_COURSE_WEIGHT, device=logits.device))
    share = torch.sigmoid(logits)
    dice = 1.0 - (2.0 * (share * course).sum() + 1.0) / (share.sum() + course.sum() + 1.0)
    decision = nn.functional.binary_cross_entropy_with_logits(answer, vessel)
    terms = {"answer": decision, "course": 10.0 * entropy, "dice": dice}
    return sum(terms.values(), torch.zeros((), device=logits.device)), {name: float(term.detach()) for name, term in terms.items()}


class RepairScore:
    """Right answers on development gaps, and how well the courses lie."""

    def __init__(self, samples: list[RepairSample]) -> None:
        self._samples = samples

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Share of true gaps taken and of false ones refused at one half, and the mean Dice of the true courses."""
        network.eval()
        device = next(network.parameters()).device
        taken: list[bool] = []
        refused: list[bool] = []
        overlap: list[float] = []
        for sample in self._samples:
            channels = torch.from_numpy(channels_of(sample)[None]).to(device)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                course, answer = network(channels)
            yes = float(answer[0, 0]) > 0.0
            if not float(sample.vessel):
                refused.append(not yes)
                continue
            taken.append(yes)
            shown, true = (course[0, 0] > 0).cpu().numpy(), sample.course > 0
            overlap.append(2.0 * float((shown & true).sum()) / max(1.0, float(shown.sum() + true.sum())))
        return {"taken": float(np.mean(taken)), "refused": float(np.mean(refused)), "course_dice": float(np.mean(overlap))}


def _score(folder: Path) -> Score:
    seeds = load_families()["development"].seeds(WATCHED_PATIENTS)
    draws = [seed * 100 + number for seed in seeds for number in range(GAPS_PER_PATIENT)]
    sites: dict[int, Any] = {}

    def draw(number: int) -> RepairSample:
        seed = number // 100
        if seed not in sites:
            sites.clear()
            sites[seed] = find_site(virtual_patient(seed), np.random.default_rng(seed))
        return draw_sample(sites[seed], np.random.default_rng(number))

    return RepairScore(kept_samples(RepairSample, draw, draws, folder=folder))


def _example() -> torch.Tensor:
    channels = blobs(4, _SHAPE)
    channels[:, 1] = (channels[:, 1] > 250.0).float() * LAST_BYTE
    for channel, place in ((2, (16.0, 20.0, 24.0)), (3, (30.0, 26.0, 24.0))):
        channels[0, channel] = torch.from_numpy(end_map(np.array(place), _SHAPE, spacing_mm=SPACING_MM))
    return channels
