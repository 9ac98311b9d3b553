"""motion: how far a piece of artery moved while the picture was taken, from rings across its line."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from appliance.analysis.motion_network import SECTIONS, WINDOW_SHAPE

CHANNELS = ("ring_hu", "blood_hu")
HU_RANGE = (-300.0, 1200.0)
BLOOD_RANGE = (100.0, 900.0)
FAT_HU = -90.0
LEAST, MOST = -0.4, 1.8
"""Attenuation relative to fat (0) and blood (1) is clipped here: air, and calcium or metal."""
UNIT_MM = 2.0


class MotionNet(nn.Module):
    """Windows (n, 2, sections, angles, radii), relative attenuation and a second channel that is not looked at -> answers (n, 2).

    The first answer is motion in `UNIT_MM`, the second a logit. A plane network over angles and radii with the sections as channels; the
    angles are a circle, so the plane is closed there, and nothing of the answer depends on where the circle begins (mean and largest over
    the angles).
    """

    def __init__(self, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = [Ring(SECTIONS, widths[0]), Ring(widths[0], widths[0])]
        for upper, lower in itertools.pairwise(widths):
            layers += [nn.AvgPool2d(2), Ring(upper, lower), Ring(lower, lower)]
        self.body = nn.Sequential(*layers)
        radii = WINDOW_SHAPE[2] // 2 ** (len(widths) - 1)
        self.hidden = nn.Linear(2 * widths[-1] * radii, 64)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(64, 2)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        features = self.body(channels[:, 0])
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1).flatten(1)
        answers: torch.Tensor = self.head(self.drop(torch.relu(self.hidden(pooled))))
        return answers


class Ring(nn.Module):
    """A 3 x 3 convolution, closed along the angles, open along the radii: (n, a, angles, radii) -> (n, b, angles, radii)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.step = nn.Conv2d(channels_in, channels_out, 3, padding=(0, 1), bias=False)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        closed = torch.cat([features[:, :, -1:], features, features[:, :, :1]], dim=2)
        return torch.relu(self.norm(self.step(closed)))


def relative(hu: torch.Tensor, blood_hu: torch.Tensor) -> torch.Tensor:
    """Attenuation between fat (0) and the aorta's blood (1)."""
    return ((hu - FAT_HU) / (blood_hu - FAT_HU)).clamp(LEAST, MOST)


class DeployedMotion(nn.Module):
    """Raw windows in HU (n, 2, sections, angles, radii) -> motion mm and the probability that it is too far (n, 2), check (n,)."""

    outputs = ("scores", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        hu, blood = channels[:, :1], channels[:, 1:].clamp(*BLOOD_RANGE)
        answers = self.network(relative(hu, blood))
        scores = torch.stack([answers[:, 0] * UNIT_MM, torch.sigmoid(answers[:, 1])], dim=1)
        return scores, answers.abs().mean(dim=1)
