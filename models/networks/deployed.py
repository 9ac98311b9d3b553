"""The graphs as the appliance runs them: scaling in front, compact outputs behind.

Raw values go in and bytes come out, so no caller can scale wrongly, and the result of a whole heart at 0.5 mm is
tens of megabytes where float scores would be half a gigabyte.
"""

from __future__ import annotations

import torch
from torch import nn

from models.networks import cor_seg, heart_loc

_LAST_BYTE = 255.0


class DeployedCorSeg(nn.Module):
    """Raw channels (n, 4, z, y, x) -> classes, coronary share, check.

    Channel 0 is attenuation in HU, 1 and 2 are the locator's soft masks as bytes (0..255), 3 is the attenuation of blood in
    the aorta, the same HU everywhere. ``coronary`` is
    255 * (1 - p(none) - p(vein)); ``check`` is the mean absolute score, which is NaN if anything before it was.
    """

    outputs = ("classes", "coronary", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        hu = _scaled(channels[:, :1], *cor_seg.HU_RANGE)
        masks = channels[:, 1:3] * (1.0 / _LAST_BYTE)
        relative = cor_seg.relative(channels[:, :1], channels[:, 3:])
        logits = self.network(torch.cat([hu, masks, relative], dim=1))
        probability = torch.softmax(logits, dim=1)
        coronary = probability[:, 1] + probability[:, 2] + probability[:, 3]
        return logits.argmax(dim=1).to(torch.uint8), _byte(coronary), _check(logits)


class DeployedHeartLoc(nn.Module):
    """Raw attenuation (n, 1, z, y, x) -> structures, the two soft masks that cor-seg takes, check."""

    outputs = ("classes", "inside_pericardium", "blood_pool", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        logits = self.network(_scaled(channels, *heart_loc.HU_RANGE))
        probability = torch.softmax(logits, dim=1)
        inside = probability[:, 1:].sum(dim=1)
        blood = probability[:, 2:8].sum(dim=1)
        return logits.argmax(dim=1).to(torch.uint8), _byte(inside), _byte(blood), _check(logits)


def _scaled(hu: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return (hu.clamp(low, high) - 0.5 * (low + high)) * (2.0 / (high - low))


def _byte(share: torch.Tensor) -> torch.Tensor:
    return (share.clamp(0.0, 1.0) * _LAST_BYTE + 0.5).to(torch.uint8)


def _check(logits: torch.Tensor) -> torch.Tensor:
    return logits.abs().mean(dim=(1, 2, 3, 4))
