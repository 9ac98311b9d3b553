"""A whole volume in one go: what an engine with a device of its own may take over from resampling and sliding window.

The caller describes what it would otherwise do step by step (``analysis.grids.interpolate_to``, then ``inference.sliding``); the answer is
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from appliance.inference.catalog import Model

Positions = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Where the fine grid's planes, rows and columns lie, as fractional indices (z, y, x) of an array."""


@dataclass(frozen=True)
class Image:
    """Attenuation on its own grid, int16 (z, y, x), and where the fine grid lies in it."""

    voxels: NDArray[np.int16]
    at: Positions


@dataclass(frozen=True)
class Mask:
    """Bytes 0..255 on a coarse grid (z, y, x), and where the fine grid lies in it."""

    voxels: NDArray[np.uint8]
    at: Positions


@dataclass(frozen=True)
class Whole:
    """What is to be segmented.

    Attributes:
        image: the CT.
        channels: per channel of the model ``"image"``, a mask, or one number that stands everywhere.
        reach: where an answer is wanted: mask above 127. None: everywhere.
        overlap, border: as for ``sliding_window``.
    """

    image: Image
    channels: tuple[str | Mask | float, ...]
    reach: Mask | None = None
    overlap: int = 16
    border: int = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """The fine grid's."""
        z, y, x = (len(axis) for axis in self.image.at)
        return z, y, x


@dataclass(frozen=True)
class Segmented:
    """All arrays (z, y, x) on the fine grid: the resampled image, and class and share as in ``sliding.Tiled``."""

    hu: NDArray[np.int16]
    classes: NDArray[np.uint8]
    share: NDArray[np.uint8]
    tiles_run: int
    tiles_skipped: int


@runtime_checkable
class WholeSession(Protocol):
    """A session that can take a whole volume."""

    @property
    def model(self) -> Model:
        """As ``Session.model``."""

    def whole_volume(self, whole: Whole, *, progress: Callable[[float], None] | None = None) -> Segmented | None:
        """Do it; None where the device cannot (the reason has been reported) and the caller must go on without it."""

    def run(self, channels: NDArray[np.float32]) -> Any:
        """As ``Session.run``."""
