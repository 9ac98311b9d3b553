"""repair: whether a gap between two pieces of vessel is a vessel, and where it runs, in a cube of 24 mm about the gap."""

from __future__ import annotations

import torch
from torch import nn

from models.networks.blocks import ResidualUNet

CHANNELS = ("hu", "coronary", "near_end", "far_end")
ANSWERS = ("vessel",)
HU_RANGE = (-250.0, 900.0)
SPACING_MM = 0.5
SIDE = 48
MULTIPLE = 8

_LAST_BYTE = 255.0
_FIRST_SHARE = 0.01
_PER_COURSE = 0.08
"""A course of usual length counts about 1 in the answer (its voxels, at half the resolution)."""


class Repair(nn.Module):
    """Normalised channels -> the vessel's course through the gap, and whether there is one.

    Input (n, 4, z, y, x), each axis a multiple of 8: attenuation scaled to [-1, 1]; in [0, 1] what cor-seg takes for coronary, and a
    Gaussian on either end of the gap. Output: logits of the course (n, 1, z, y, x), and of 'this gap is a vessel' (n, 1). That answer
    is drawn from the course that the network itself proposes: how much of it there is, the features along it and those at the ends.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.stem = nn.Conv3d(len(CHANNELS), widths[0], 2, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm3d(widths[0])
        self.body = ResidualUNet(widths)
        self.mix = nn.Conv3d(widths[0], 2 * widths[0], 1)
        self.head = nn.ConvTranspose3d(2 * widths[0], 1, 2, stride=2)
        self.first = nn.Linear(4 * widths[0] + 1, 2 * widths[0])
        self.last = nn.Linear(2 * widths[0], len(ANSWERS))
        with torch.no_grad():
            assert self.head.bias is not None  # noqa: S101 - for the type checker
            self.head.bias.fill_(float(torch.logit(torch.tensor(_FIRST_SHARE))))
            self.head.weight.mul_(0.1)

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class for shapes."""
        features = torch.relu(self.mix(self.body(torch.relu(self.stem_norm(self.stem(channels))))))
        course = self.head(features)
        ends = nn.functional.avg_pool3d(channels[:, 2:].sum(dim=1, keepdim=True), 2)
        share = nn.functional.avg_pool3d(torch.sigmoid(course), 2)
        length = share.sum(dim=(2, 3, 4)) * _PER_COURSE
        drawn = [length, self._mean(features, share + 0.01 * ends), self._mean(features, ends)]
        answer = self.last(torch.relu(self.first(torch.cat(drawn, dim=1))))
        return course, answer

    @staticmethod
    def _mean(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the cube: (n, c, z, y, x), (n, 1, z, y, x) -> (n, c)."""
        return (features * weight).sum(dim=(2, 3, 4)) / (weight.sum(dim=(2, 3, 4)) + 1e-3)


class DeployedRepair(nn.Module):
    """Raw channels (n, 4, z, y, x): HU, then three of bytes -> course (bytes), probability that the gap is a vessel (n, 1), check."""

    outputs = ("course", "vessel", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        low, high = HU_RANGE
        hu = (channels[:, :1].clamp(low, high) - 0.5 * (low + high)) * (2.0 / (high - low))
        course, answer = self.network(torch.cat([hu, channels[:, 1:] * (1.0 / _LAST_BYTE)], dim=1))
        share = (torch.sigmoid(course[:, 0]) * _LAST_BYTE + 0.5).to(torch.uint8)
        return share, torch.sigmoid(answer), course.abs().mean(dim=(1, 2, 3, 4)) + answer.abs().mean(dim=1)
