"""lesions: plaque along a straightened vessel, its kind and features, how narrow and how wide it is, from cross-sections every 0.5 mm."""

from __future__ import annotations

import torch
from torch import nn

from appliance.analysis.lesion_network import CHANNELS, SIDE, STEP_MM, WINDOW
from models.networks.blocks import ResidualUnit

CLASSES = ("none", "calcified", "mixed", "noncalcified", "stent")
NONE, STENT = 0, 4
FEATURES = ("low_attenuation", "positive_remodeling", "spotty", "napkin_ring")
SIZES = ("lumen_mm", "lumen_error_mm", "healthy_mm", "healthy_error_mm")
"""Diameters of the lumen and of the lumen without disease, each with its expected absolute error (scale of a Laplace distribution)."""
HU_RANGE = (-200.0, 1400.0)
BLOOD_RANGE = (100.0, 900.0)
_SOFT_RANGE = (-150.0, 300.0)
_CLASS_SHARES = (0.7, 0.08, 0.08, 0.12, 0.02)
_USUAL_MM = 2.5
_USUAL_LOG_ERROR = -1.0
_LOG_ERRORS = (-4.0, 1.0)

__all__ = ["CHANNELS", "SIDE", "STEP_MM", "WINDOW", "DeployedLesions", "Lesions"]


class Lesions(nn.Module):
    """Raw sections (n, 2, z, 21, 21) -> scores (n, 14, z): 5 classes, narrowing, 4 features, 4 for the sizes; any z.

    Channel 0 is attenuation in HU, channel 1 that of the vessel's own blood. Residual units work on the sections and their neighbours
    while the sections shrink to one point each, then dilated convolutions look 15 mm to either side.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 56), line_width: int = 80) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = _conv(3, first, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.wide = ResidualUnit(first)
        self.halve = _conv(first, second, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.middle = ResidualUnit(second)
        self.quarter = _conv(second, third, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        self.narrow = ResidualUnit(third)
        self.gather = _conv(third, line_width, (1, 3, 3))
        self.line = nn.ModuleList(LineUnit(line_width, dilation) for dilation in (1, 2, 4, 8))
        self.head = nn.Conv3d(line_width, len(CLASSES) + 1 + len(FEATURES) + len(SIZES), 1)
        if self.head.bias is None:
            raise ValueError("the classifier needs a bias")
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[: len(CLASSES)] = torch.log(torch.tensor(_CLASS_SHARES))

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        features = self.wide(self.stem(scaled(channels)))
        features = self.middle(self.halve(features))
        features = self.gather(self.narrow(self.quarter(features)))
        for unit in self.line:
            features = unit(features)
        scores: torch.Tensor = self.head(features)
        return scores.flatten(2)


class LineUnit(nn.Module):
    """Two dilated convolutions along the vessel beside an identity path: (n, c, z, 1, 1) -> the same shape."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1)),
            nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        return torch.relu(features + self.body(features))


class DeployedLesions(nn.Module):
    """The graph that the appliance runs: raw sections -> plaque and stent as bytes, kinds, narrowing, features, sizes, check, per section.

    ``kinds`` are probabilities given that there is plaque; ``narrowing`` is the part of the healthy diameter that is missing; ``sizes`` are
    millimetres, see `SIZES`.
    """

    outputs = ("plaque", "stent", "kinds", "narrowing", "features", "sizes", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class for what goes in and comes out."""
        scores = self.network(channels)
        count = len(CLASSES)
        probability = torch.softmax(scores[:, :count], dim=1)
        kinds = torch.softmax(scores[:, 1:STENT], dim=1).transpose(1, 2)
        plaque = probability[:, 1] + probability[:, 2] + probability[:, 3]
        narrowing = torch.sigmoid(scores[:, count : count + 1]).transpose(1, 2)
        features = torch.sigmoid(scores[:, count + 1 : -len(SIZES)]).transpose(1, 2)
        sizes = sizes_of(scores).transpose(1, 2)
        return _byte(plaque), _byte(probability[:, STENT]), kinds, narrowing, features, sizes, scores.abs().mean(dim=(1, 2))


def sizes_of(scores: torch.Tensor) -> torch.Tensor:
    """Diameters and their errors in mm (n, 4, z), in the order of `SIZES`, from the network's scores (n, 14, z)."""
    lumen, lumen_error, healthy, healthy_error = scores[:, -len(SIZES) :].unbind(dim=1)
    return torch.stack(
        [torch.relu(lumen + _USUAL_MM), _error_mm(lumen_error), torch.relu(healthy + _USUAL_MM), _error_mm(healthy_error)], dim=1
    )


def _error_mm(score: torch.Tensor) -> torch.Tensor:
    return torch.exp((score + _USUAL_LOG_ERROR).clamp(*_LOG_ERRORS))


def scaled(channels: torch.Tensor) -> torch.Tensor:
    """Raw sections -> three looks at them: the whole range, the range of soft plaque and fat, and in parts of the vessel's own blood."""
    hu, blood = channels[:, :1], channels[:, 1:2].clamp(*BLOOD_RANGE)
    return torch.cat([_range(hu, *HU_RANGE), _range(hu, *_SOFT_RANGE), _range(hu / blood, -0.4, 2.4)], dim=1)


def _conv(into: int, out: int, kernel: tuple[int, int, int], **settings: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(into, out, kernel, bias=False, **settings), nn.BatchNorm3d(out), nn.ReLU())


def _range(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return (values.clamp(low, high) - 0.5 * (low + high)) * (2.0 / (high - low))


def _byte(share: torch.Tensor) -> torch.Tensor:
    return (share.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)
