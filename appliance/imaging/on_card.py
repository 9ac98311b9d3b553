"""Drawing on a graphics card: the pictures of a study by the card where there is one, by the processor where it will not.

Both draw the same picture; the card works in single precision (tests/appliance/inference/cuda/test_arrays.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.cuda.arrays import CardArrays
from appliance.volume import Volume

log = logging.getLogger(__name__)

Drawn = TypeVar("Drawn")


@runtime_checkable
class DrawingEngine(Protocol):
    """An engine with a card that draws too."""

    def arrays(self) -> AbstractContextManager[CardArrays | None]:
        """The card for the pictures of one study; None where it is not to be used. Raises InferenceError INF-060, INF-061, INF-063."""


@dataclass(frozen=True)
class VolumeOnCard(Volume):
    """A volume whose reformations a card makes."""

    card: CardArrays

    def slab(
        self, place: NDArray[np.float64], direction: NDArray[np.float64], direction_of: NDArray[np.intp], offsets: NDArray[np.float64],
        *, maximum: bool, outside: float,
    ) -> NDArray[np.float32]:  # fmt: skip
        """Mean or maximum of a slab per pixel; see ``CardArrays.slab``."""
        return self.card.slab(self.voxels, place, direction, direction_of, offsets, maximum=maximum, outside=outside)


def card_of(volume: Volume) -> CardArrays | None:
    """The card that draws this volume, if any."""
    return volume.card if isinstance(volume, VolumeOnCard) else None


def drawn_by(engine: Any, volume: Volume, draw: Callable[[Volume], Drawn]) -> Drawn:
    """What ``draw`` makes of the volume, on the engine's card if it has one; all of it on the processor if the card fails in the middle."""
    if isinstance(engine, DrawingEngine):
        try:
            with engine.arrays() as card:
                if card is not None:
                    return draw(VolumeOnCard(volume.voxels, volume.geometry, card))
        except InferenceError as error:
            log.warning("pictures are drawn by the processor: %s", error)
    return draw(volume)
