"""Building blocks shared by the networks: residual units and the steps between resolutions.

Every block keeps to operations that TensorRT, OpenVINO and ONNX Runtime all run well (dense 3-D convolution,
batch normalisation that folds into it, ReLU, addition), so that one ONNX file serves every engine.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn


class ResidualUnit(nn.Module):
    """Two 3x3x3 convolutions beside an identity path: (n, c, z, y, x) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm3d(channels)
        self.second = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm3d(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        inner = torch.relu(self.first_norm(self.first(features)))
        return torch.relu(features + self.second_norm(self.second(inner)))


class Down(nn.Module):
    """Halve each axis and change the channels: (n, a, 2z, 2y, 2x) -> (n, b, z, y, x)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.step = nn.Conv3d(channels_in, channels_out, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        return torch.relu(self.norm(self.step(features)))


class Up(nn.Module):
    """Double each axis, add the encoder's features of that resolution: (n, a, z, y, x) -> (n, b, 2z, 2y, 2x)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.step = nn.ConvTranspose3d(channels_in, channels_out, 2, stride=2, bias=False)
        self.norm = nn.BatchNorm3d(channels_out)

    def forward(self, features: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        return torch.relu(self.norm(self.step(features)) + skip)


class ResidualUNet(nn.Module):
    """A residual U-Net with additive skips: (n, widths[0], z, y, x) -> the same shape.

    Each axis must be a multiple of 2 ** (len(widths) - 1).
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.encoders = nn.ModuleList(ResidualUnit(width) for width in widths)
        self.downs = nn.ModuleList(Down(upper, lower) for upper, lower in pairs)
        self.ups = nn.ModuleList(Up(lower, upper) for upper, lower in reversed(pairs))
        self.decoders = nn.ModuleList(ResidualUnit(upper) for upper, _ in reversed(pairs))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        skips: list[torch.Tensor] = []
        for encoder, down in zip(list(self.encoders)[:-1], self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.encoders[-1](features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(up(features, skips.pop()))
        return features


def parameter_count(network: nn.Module) -> int:
    """Number of trained values in a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def start_from_class_shares(head: nn.Conv3d | nn.ConvTranspose3d, shares: tuple[float, ...]) -> None:
    """Set a classifier's bias so that its first guess is how common each class is.

    Without it the first hundreds of steps are spent on learning that most voxels are background
    (the prior initialisation of Lin et al., Focal loss, 2017, for a softmax).
    """
    if head.bias is None:
        raise ValueError("the classifier needs a bias")
    with torch.no_grad():
        head.bias.copy_(torch.log(torch.tensor(shares)))
        head.weight.mul_(0.1)
