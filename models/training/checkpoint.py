"""What a training run leaves behind to be resumed or exported: one file, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass
class Progress:
    """How far a network's training has come, over all sittings.

    Attributes:
        began_with: version of the released weights that it began with; empty where it began with chance.
        hospital_cases: labelled scans of the hospital that it learned from, beside the virtual patients.
    """

    steps: int = 0
    samples_drawn: int = 0
    samples_rendered: int = 0
    minutes: float = 0.0
    sittings: int = 0
    began_with: str = ""
    hospital_cases: int = 0


def save_checkpoint(path: Path, *, progress: Progress, **states: dict[str, Any]) -> None:
    """Write the states (``network``, ``average``, ``optimizer``) so that a broken write leaves the last one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({"progress": vars(progress), **states}, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint; FileNotFoundError where there is none."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return Progress(**content.pop("progress")), content
