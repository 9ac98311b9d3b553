"""Training of naming."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from appliance.analysis.naming_table import COLUMNS, POINTS, naming_table
from models.networks import naming
from models.networks.naming import DeployedNaming, Naming
from models.training.families import load_families
from models.training.naming_cases import NamingCase, virtual_case
from models.training.naming_samples import IGNORED, NamingSample, make_batch, make_sample, naming_samples
from models.training.naming_trees import Damage, draw_tree, heart_of
from models.training.task import Deployment, Score, Task, Tensors

WATCHED_PATIENTS = 8
WATCHED_FOR_RAMUS = (100018, 100071, 100077)
"""Development patients with a long ramus: of the first eight only one has any, 17 mm."""
_TREES_PER_PATIENT = 3


def naming_task() -> Task:
    """Samples, loss and settings of naming."""
    return Task(
        name="naming",
        network=Naming,
        source=naming_samples,
        make_batch=make_batch,
        loss=label_loss,
        score=_score,
        deployment=Deployment(
            graph=DeployedNaming,
            example=example,
            free_axes=(0, 1),
            entry={
                "purpose": "what each point of the coronary tree belongs to, from its place in the heart and in the tree",
                "spacing_mm": 0.0,
                "multiple": naming.MULTIPLE,
                "spatial": 2,
                "many": True,
                "classes": list(naming.CLASSES),
                "channels": [{"name": c.name, "unit": c.unit, "low": c.low, "high": c.high, "padding": 0.0} for c in COLUMNS],
                "outputs": [
                    {"name": "probability", "role": "scores", "meaning": "probability of each label at each point of the table"},
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=16,
        learning_rate=1.5e-3,
        pool=1500,
        reuse=8.0,
        share=0.06,
    )


def label_loss(logits: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Weighted cross-entropy over the points of the pieces."""
    label, weight = batch["label"], batch["weight"]
    if label is None or weight is None:
        raise ValueError("a naming batch needs labels and weights")
    entropy = nn.functional.cross_entropy(logits.float(), label, ignore_index=IGNORED, reduction="none", label_smoothing=0.02)
    loss = (entropy * weight).sum() / weight.sum().clamp(min=1e-6)
    right = ((logits.argmax(dim=1) == label) * weight).sum() / weight.sum().clamp(min=1e-6)
    return loss, {"entropy": float(loss.detach()), "right": float(right.detach())}


def example() -> torch.Tensor:
    """Waves over each column's range: a table (1, c, 16, 3 * POINTS)."""
    phase = torch.arange(16.0).reshape(-1, 1) * 0.7 + torch.arange(3.0 * POINTS) * 0.11
    waves = [c.low + (c.high - c.low) * (0.5 + 0.5 * torch.sin(phase + number)) for number, c in enumerate(COLUMNS)]
    return torch.stack(waves)[None]


class LabelScore:
    """Share of the weight that gets the true label, on fixed damaged trees of development patients: over all, and for each label."""

    def __init__(self, samples: list[NamingSample]) -> None:
        self._samples = samples

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """The shares."""
        network.eval()
        device = next(network.parameters()).device
        right, whole = np.zeros(len(naming.CLASSES)), np.zeros(len(naming.CLASSES))
        for sample in self._samples:
            batch = make_batch([sample], None)
            channels = batch["channels"]
            with torch.no_grad():
                found = network(torch.from_numpy(channels).to(device)).argmax(dim=1)[0].cpu().numpy()[: len(sample.label)]
            for index in range(len(naming.CLASSES)):
                here = sample.label == index
                whole[index] += sample.weight[here].sum()
                right[index] += sample.weight[here & (found == index)].sum()
        shares = {f"right_{name}": float(right[i] / whole[i]) for i, name in enumerate(naming.CLASSES) if whole[i] > 0}
        return {"right": float(right.sum() / whole.sum()), **shares}


def development_trees(case: NamingCase, *, count: int = _TREES_PER_PATIENT) -> list[NamingSample]:
    """Fixed trees of one patient: the first whole, the others damaged."""
    samples = []
    for number in range(count):
        rng = np.random.default_rng((case.seed, number))
        heart = heart_of(case, rng if number else None)
        drawn = draw_tree(case, heart, rng, Damage(0.5 * number))
        table = naming_table(drawn.tree, heart) if drawn else None
        if drawn and table:
            samples.append(make_sample(drawn, table))
    return samples


def _score(folder: Path, *, patients: int = WATCHED_PATIENTS) -> Score:
    seeds = (*load_families()["development"].seeds(patients), *WATCHED_FOR_RAMUS)
    make = partial(virtual_case, folder=folder / "cases")
    return LabelScore([sample for seed in seeds for sample in development_trees(make(seed))])
