"""quality: how well a piece of coronary artery is shown, from a patch of the scan around the place where the artery must run."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from appliance.analysis.quality_network import SCORES
from models.networks.blocks import Down, ResidualUnit

UNITS = (2.0, 20.0, 0.2, 300.0, 1.0)
"""The measured scores (the first of `SCORES`) are learned in these steps, so that each weighs about the same."""
MIDDLES = (1.0, 25.0, 0.35, 450.0, 2.5)
"""Where each of them lies when the network knows nothing."""
CHANNELS = ("hu",)
HU_RANGE = (-500.0, 900.0)
MULTIPLE = 8


class QualityNet(nn.Module):
    """Normalised patches (n, 1, z, y, x) -> answers (n, len(SCORES)): five in `UNITS` about `MIDDLES`, three logits; and where it looked.

    The second output (n, z / 8 * y / 8 * x / 8) are logits over the places of the coarse map; training tells it where arteries run.

    Three halvings (a fourth, to 2 x 4 x 4, now and then gives gradients that are not finite in bf16 on a CPU); then each place of the
    coarse map says how much it has to tell (a softmax over places), so that the vessel speaks and not the muscle beside it; the plain mean
    stands beside it for what is everywhere alike, such as noise.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = [Down(len(CHANNELS), widths[0]), ResidualUnit(widths[0])]
        for upper, lower in itertools.pairwise(widths):
            layers += [Down(upper, lower), ResidualUnit(lower)]
        self.body = nn.Sequential(*layers, ResidualUnit(widths[-1]))
        self.telling = nn.Parameter(torch.zeros(1, widths[-1], 1))
        self.hidden = nn.Linear(2 * widths[-1], 96)
        self.head = nn.Linear(96, len(SCORES))

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class for shapes."""
        flat = self.body(channels).flatten(2)
        looked = (flat * self.telling).sum(dim=1, keepdim=True)
        weight = torch.softmax(looked, dim=2)
        pooled = torch.cat([(flat * weight).sum(dim=2), flat.mean(dim=2)], dim=1)
        return self.head(torch.relu(self.hidden(pooled))), looked.squeeze(1)


class DeployedQuality(nn.Module):
    """Raw patches in HU (n, 1, z, y, x) -> scores (n, len(SCORES)) in their own units, check (n,)."""

    outputs = ("scores", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("units", torch.tensor(UNITS))
        self.register_buffer("middles", torch.tensor(MIDDLES))

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        low, high = HU_RANGE
        answers, _ = self.network((channels.clamp(low, high) - 0.5 * (low + high)) * (2.0 / (high - low)))
        measured = answers[:, : len(UNITS)] * self.units + self.middles
        scores = torch.cat([measured, torch.sigmoid(answers[:, len(UNITS) :])], dim=1)
        return scores, answers.abs().mean(dim=1)
