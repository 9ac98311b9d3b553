"""heart-loc: the heart's chambers and great vessels in a whole scan at 3 mm."""

from __future__ import annotations

import torch
from torch import nn

from models.networks.blocks import ResidualUNet, start_from_class_shares

CLASSES = (
    "background",
    "lv_myocardium",
    "la",
    "lv",
    "ra",
    "rv",
    "aorta",
    "pulmonary_artery",
    "other_pericardial",
)
CHANNELS = ("hu",)
HU_RANGE = (-500.0, 800.0)
SPACING_MM = 3.0
MULTIPLE = 8

_CLASS_SHARES = (0.72, 0.06, 0.035, 0.045, 0.035, 0.045, 0.025, 0.02, 0.015)


class HeartLoc(nn.Module):
    """Normalised attenuation -> class scores of the structures.

    Input (n, 1, z, y, x) scaled to [-1, 1], each axis a multiple of 8. Output (n, 9, z, y, x): logits, one per entry
    of `CLASSES`. Four resolutions give every voxel a view of about 20 cm: a chamber is known by its neighbours.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.stem = nn.Conv3d(len(CHANNELS), widths[0], 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm3d(widths[0])
        self.body = ResidualUNet(widths)
        self.head = nn.Conv3d(widths[0], len(CLASSES), 1)
        start_from_class_shares(self.head, _CLASS_SHARES)

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        features = torch.relu(self.stem_norm(self.stem(channels)))
        logits: torch.Tensor = self.head(self.body(features))
        return logits
