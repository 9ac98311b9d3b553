"""An exponential moving average of a network's weights and statistics: what is evaluated and exported."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """The average; it follows fast in the first steps and holds the last ``1 / (1 - decay)`` steps later."""

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network after a step."""
        self.steps += 1
        decay = min(self._decay, (1.0 + self.steps) / (10.0 + self.steps))
        for kept, current in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(current, 1.0 - decay)
            else:
                kept.copy_(current)
