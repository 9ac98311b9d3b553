"""Development samples that are drawn once and kept beside a training's checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Kept = TypeVar("Kept")


def kept_samples(kind: Callable[..., Kept], draw: Callable[[int], Kept], seeds: Sequence[int], *, folder: Path) -> list[Kept]:
    """One sample per seed: from ``folder`` where it lies there, else drawn and put there. ``kind`` is a dataclass of arrays and numbers."""
    return [_kept(kind, draw, seed, folder / f"development-{seed}.npz") for seed in seeds]


def _kept(kind: Callable[..., Kept], draw: Callable[[int], Kept], seed: int, path: Path) -> Kept:
    if not path.exists():
        arrays: dict[str, Any] = vars(draw(seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
    with np.load(path) as stored:
        return kind(**{name: stored[name] for name in stored.files})
