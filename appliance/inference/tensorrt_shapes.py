"""Which input shapes an engine is made for: the optimisation profile of each network, from its catalog entry."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np

from appliance.inference.catalog import Model

Shape = tuple[int, ...]

LARGEST_VOLUME = (192, 192, 192)
"""A whole chest at 3 mm is about (130, 130, 130)."""
LARGEST_TABLE = (64, 512)
"""Branches and points of a tree."""
_OPTIMAL = {3: (112, 112, 112), 2: (24, 128), 1: (128,)}
_MOST_INPUT_BYTES = 256 << 20
_MOST_ITEMS = 16
_TILES_AT_ONCE = 4


class Shapes(msgspec.Struct, frozen=True):
    """Least, usual and largest input (n, c, *spatial)."""

    least: Shape
    usual: Shape
    largest: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether an engine of these shapes takes this input."""
        fits = (low <= size <= high for low, size, high in zip(self.least, shape, self.largest, strict=True))
        return len(shape) == len(self.largest) and all(fits)

    def most_items(self, shape: Shape) -> int:
        """How many items of an input may go in at once; 0 where its spatial shape does not fit."""
        return self.largest[0] if self.takes((1, *shape[1:])) else 0


def shapes_of(model: Model) -> Shapes:
    """The shapes that the analysis feeds this network."""
    channels = len(model.channels)
    least: Shape
    largest: Shape
    if model.tile is not None:
        least, largest = model.tile, model.largest_tile or model.tile
        usual = tuple(round((low + high) / 2 / model.multiple) * model.multiple for low, high in zip(least, largest, strict=True))
    else:
        free = {3: LARGEST_VOLUME, 2: LARGEST_TABLE, 1: LARGEST_TABLE[1:]}[model.spatial]
        largest = tuple(size // model.multiple * model.multiple for size in free)
        least = (model.multiple,) * model.spatial
        usual = _OPTIMAL[model.spatial]
    items = _items(model, largest)
    return Shapes(least=(1, channels, *least), usual=(items if model.many else 1, channels, *usual), largest=(items, channels, *largest))


def _items(model: Model, largest: Shape) -> int:
    """Items at once: bounded by the memory of the input, and one where a run has only one."""
    if model.many:
        size = 4 * len(model.channels) * math.prod(largest)
        return max(1, min(_MOST_ITEMS, _MOST_INPUT_BYTES // size))
    return _TILES_AT_ONCE if model.largest_tile is not None else 1


def output_shapes(model: Model, shape: Shape) -> Mapping[str, tuple[Shape, np.dtype[np.generic]]]:
    """Shape and type of each output for an input of this shape, as the engine protocol has them."""
    count, spatial = shape[0], shape[2:]
    found: dict[str, tuple[Shape, np.dtype[np.generic]]] = {}
    for output in model.outputs:
        sides: Shape = (count,) if output.role == "check" else (count, *spatial[: output.axes])
        sides += (len(output.classes or model.classes),) if output.role == "scores" else ()
        found[output.name] = sides, np.dtype(np.float32 if output.role in ("check", "scores") else np.uint8)
    return found
