"""ostia: where the coronary arteries leave the aorta, in a crop about the aortic root at 1 mm."""

from __future__ import annotations

import torch
from torch import nn

from models.networks.blocks import ResidualUNet

CHANNELS = ("hu", "aorta")
SIDES = ("left", "right")
"""Of the heat maps: by the arteries that an ostium feeds, whatever sinus it lies in."""
HU_RANGE = (-300.0, 900.0)
SPACING_MM = 1.0
SIDE = 64
MULTIPLE = 16

_LAST_BYTE = 255.0
_FIRST_SHARE = 4e-4


class Ostia(nn.Module):
    """Normalised channels -> heat maps of the left and the right ostia.

    Input (n, 2, z, y, x), each axis a multiple of 16: attenuation scaled to [-1, 1], and the locator's aorta in [0, 1]. Output
    (n, 2, z, y, x): logits of the heat maps in the order of `SIDES`. Costly layers run at 2 mm and below, so that every voxel sees the
    whole root: left from right is told by what lies around it.
    """

    def __init__(self, widths: tuple[int, ...] = (12, 24, 36, 48)) -> None:
        super().__init__()
        self.stem = nn.Conv3d(len(CHANNELS), widths[0], 2, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm3d(widths[0])
        self.body = ResidualUNet(widths)
        self.mix = nn.Conv3d(widths[0], 2 * widths[0], 1)
        self.head = nn.ConvTranspose3d(2 * widths[0], len(SIDES), 2, stride=2)
        with torch.no_grad():
            assert self.head.bias is not None  # noqa: S101 - for the type checker
            self.head.bias.fill_(float(torch.logit(torch.tensor(_FIRST_SHARE))))
            self.head.weight.mul_(0.1)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        features = torch.relu(self.stem_norm(self.stem(channels)))
        logits: torch.Tensor = self.head(torch.relu(self.mix(self.body(features))))
        return logits


class DeployedOstia(nn.Module):
    """Raw channels (n, 2, z, y, x): HU and the aorta as bytes -> a heat map of bytes for each side (255 on an ostium), check."""

    outputs = (*SIDES, "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        low, high = HU_RANGE
        hu = (channels[:, :1].clamp(low, high) - 0.5 * (low + high)) * (2.0 / (high - low))
        logits = self.network(torch.cat([hu, channels[:, 1:] * (1.0 / _LAST_BYTE)], dim=1))
        share = (torch.sigmoid(logits) * _LAST_BYTE + 0.5).to(torch.uint8)
        return share[:, 0], share[:, 1], logits.abs().mean(dim=(1, 2, 3, 4))
