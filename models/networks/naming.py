"""naming: what each point of an extracted coronary tree belongs to, from a table of the tree's pieces described against the heart."""

from __future__ import annotations

import math

import torch
from torch import nn

from appliance.analysis.naming_network import LABELS
from appliance.analysis.naming_table import COLUMNS

CLASSES = LABELS
MULTIPLE = 1
_HEADS = 4
_OWN = [column.name for column in COLUMNS].index("own")
_FILLED = [column.name for column in COLUMNS].index("filled")
_NO_ATTENTION = -1e4


class Naming(nn.Module):
    """Scaled table -> class scores of every point.

    Input (n, c, rows, points), the columns of `appliance.analysis.naming_table` scaled to [-1, 1] but for the last three, which are 0 or 1.
    Output (n, k, rows, points): logits. Convolutions run along each row's line (the way from the ostium, the piece, what hangs on it);
    rows then look at one another by attention, which knows no order of the rows, and each point is labelled from its own features and
    those of its row. Rows without a piece are looked at by no other.
    """

    def __init__(self, *, points: int = 48, rows: int = 80, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(len(COLUMNS), points, 1)
        self.along = nn.ModuleList(Along(points) for _ in range(3))
        self.gather = nn.Conv2d(3 * points, rows, 1)
        self.across = nn.ModuleList(Across(rows) for _ in range(depth))
        self.join = nn.Conv2d(points + rows, points, 1)
        self.last = Along(points)
        self.head = nn.Conv2d(points, len(CLASSES), 1)

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        own, filled = table[:, _OWN : _OWN + 1], table[:, _FILLED : _FILLED + 1]
        features = self.stem(table)
        for step in self.along:
            features = step(features)
        share = own / (own.sum(dim=3, keepdim=True) + 1e-3)
        pooled = torch.cat([(features * share).sum(dim=3), features.mean(dim=3), features.amax(dim=3)], dim=1)
        rows = self.gather(pooled.unsqueeze(3)).squeeze(3).transpose(1, 2)
        hidden = (1.0 - filled.amax(dim=3)) * _NO_ATTENTION
        for step in self.across:
            rows = step(rows, hidden)
        context = rows.transpose(1, 2).unsqueeze(3).expand(-1, -1, -1, table.shape[3])
        logits: torch.Tensor = self.head(self.last(torch.relu(self.join(torch.cat([features, context], dim=1)))))
        return logits


class Along(nn.Module):
    """Two convolutions over five points of a row beside an identity path: (n, c, rows, points) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, axis=1)
        self.first = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2))
        self.second = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """See the class for shapes."""
        shown: torch.Tensor = self.second(torch.relu(self.first(self.norm(features))))
        return features + shown


class Across(nn.Module):
    """Attention over the rows and a small network for each, both beside an identity path: (n, rows, c) -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, axis=2)
        self.ask = nn.Linear(channels, 3 * channels)
        self.mix = nn.Linear(channels, channels)
        self.inner_norm = ChannelNorm(channels, axis=2)
        self.inner = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))

    def forward(self, rows: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Rows, and what is added to the score of looking at each (n, 1, rows)."""
        width = rows.shape[2] // _HEADS
        asked = self.ask(self.norm(rows))
        heads = []
        for head in range(_HEADS):
            query, key, value = (asked[..., part * rows.shape[2] + head * width :][..., :width] for part in range(3))
            weight = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(width) + hidden, dim=2)
            heads.append(weight @ value)
        rows = rows + self.mix(torch.cat(heads, dim=2))
        inner: torch.Tensor = self.inner(self.inner_norm(rows))
        return rows + inner


class ChannelNorm(nn.Module):
    """Layer normalisation over one axis, written in the basic operations that every engine has."""

    def __init__(self, channels: int, *, axis: int) -> None:
        super().__init__()
        self.axis = axis
        shape = (1, channels, 1, 1) if axis == 1 else (1, 1, channels)
        self.gain = nn.Parameter(torch.ones(shape))
        self.offset = nn.Parameter(torch.zeros(shape))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Any shape whose ``axis`` has the channels."""
        centred = features - features.mean(dim=self.axis, keepdim=True)
        spread = torch.sqrt((centred * centred).mean(dim=self.axis, keepdim=True) + 1e-5)
        return centred / spread * self.gain + self.offset


class DeployedNaming(nn.Module):
    """Raw table (n, c, rows, points) -> probabilities (n, rows, points, k) and check."""

    outputs = ("probability", "check")

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        low, scale = scaling()
        self.register_buffer("low", low)
        self.register_buffer("scale", scale)

    def forward(self, channels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class for what goes in and comes out."""
        logits = self.network(scaled(channels, self.low, self.scale))
        probability = torch.softmax(logits, dim=1).permute(0, 2, 3, 1)
        return probability, logits.abs().mean(dim=(1, 2, 3))


def scaling() -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest value and factor of each column, (c, 1, 1): all to [-1, 1], the three marks to [0, 1]."""
    marks = len(COLUMNS) - 3
    low = torch.tensor([0.5 * (c.low + c.high) if i < marks else 0.0 for i, c in enumerate(COLUMNS)])
    scale = torch.tensor([2.0 / (c.high - c.low) if i < marks else 1.0 for i, c in enumerate(COLUMNS)])
    return low.reshape(-1, 1, 1), scale.reshape(-1, 1, 1)


def scaled(table: torch.Tensor, low: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The network's input from raw values."""
    return (table - low) * scale
