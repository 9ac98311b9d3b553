"""cor-seg: coronary lumen, wall and plaque, calcium, and the veins, at 0.5 mm."""

from __future__ import annotations

import torch
from torch import nn

from models.networks.blocks import ResidualUNet, start_from_class_shares

CLASSES = ("none", "coronary_lumen", "coronary_wall_plaque", "coronary_calcium", "cardiac_vein")
CHANNELS = ("hu", "inside_pericardium", "blood_pool", "blood_hu")
HU_RANGE = (-200.0, 1400.0)
LEAST_BLOOD_HU = 100.0
"""Blood below this is not read at all (DEC-102); the bound keeps the division sound."""
SPACING_MM = 0.5
MULTIPLE = 8

_CLASS_SHARES = (0.98, 0.006, 0.009, 0.0005, 0.0045)


class CorSeg(nn.Module):
    """Normalised channels -> class scores at full resolution, computed at half of it.

    Input (n, 4, z, y, x), each axis a multiple of 8: attenuation scaled to [-1, 1], the two soft masks of the locator in
    [0, 1], and attenuation relative to arterial blood (`relative`): a vein or a wall is told from an artery by what the
    contrast medium reaches, and most tiles show no aorta to compare with. Output (n, 5, z, y, x): logits, one per entry of
    `CLASSES`. The stem folds each 2x2x2 block into channels without losing a value, so every costly convolution runs on an
    eighth of the voxels.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128)) -> None:
        super().__init__()
        self.stem = nn.Conv3d(len(CHANNELS), widths[0], 2, stride=2, bias=False)
        self.stem_norm = nn.BatchNorm3d(widths[0])
        self.body = ResidualUNet(widths)
        self.mix = nn.Conv3d(widths[0], 2 * widths[0], 1)
        self.head = nn.ConvTranspose3d(2 * widths[0], len(CLASSES), 2, stride=2)
        start_from_class_shares(self.head, _CLASS_SHARES)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        features = torch.relu(self.stem_norm(self.stem(channels)))
        logits: torch.Tensor = self.head(torch.relu(self.mix(self.body(features))))
        return logits


def relative(hu: torch.Tensor, blood_hu: torch.Tensor) -> torch.Tensor:
    """Attenuation in units of that of blood in the aorta, of one shape: -1 at none, 0 at blood, 1 at twice blood and more."""
    return (hu / blood_hu.clamp(min=LEAST_BLOOD_HU)).clamp(0.0, 2.0) - 1.0
