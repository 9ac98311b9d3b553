"""The small tables that the kernels read, laid out as in ``kernels/common.cuh``, ``tiles.cu`` and ``blend.cu``."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from appliance.inference.catalog import Channel
from appliance.inference.cuda.memory import Memory
from appliance.inference.cuda.network import Tile
from appliance.inference.sliding import AxisTile, plan_axis, region_of
from appliance.inference.whole import Mask

FINE_HU, COARSE_MASK, CONSTANT = 0, 1, 2

_POINTERS = [(name, "u8") for name in ("voxels", "at_z", "at_y", "at_x")]
COARSE = np.dtype([*_POINTERS, *((name, "i4") for name in ("nz", "ny", "nx", "unused"))], align=True)
CHANNEL = np.dtype([("source", "i4"), ("constant", "f4"), ("padding", "f4"), ("unused", "i4"), ("mask", COARSE)], align=True)
AXIS = np.dtype(
    [("first", "u8"), ("last", "u8"), ("owner", "u8"), ("start", "u8"), ("weight", "u8"), ("count", "i4"), ("side", "i4")], align=True
)


def coarse(mask: Mask, memory: Memory) -> NDArray[np.void]:
    """A mask on the device: its record."""
    record = np.zeros(1, COARSE)
    record["voxels"] = memory.put(mask.voxels)
    for name, at in zip(("at_z", "at_y", "at_x"), mask.at, strict=True):
        record[name] = memory.put(at)
    record["nz"], record["ny"], record["nx"] = mask.voxels.shape
    return record


def channel_table(given: tuple[str | Mask | float, ...], wanted: tuple[Channel, ...], memory: Memory) -> int:
    """The records of the network's channels, on the device. A number stays a number."""
    table = np.zeros(len(wanted), CHANNEL)
    for record, source, channel in zip(table, given, wanted, strict=True):
        record["padding"] = channel.padding
        if isinstance(source, Mask):
            record["source"] = COARSE_MASK
            record["mask"] = coarse(source, memory)[0]
        elif isinstance(source, str):
            record["source"] = FINE_HU
        else:
            record["source"], record["constant"] = CONSTANT, source
    return memory.put(table.view(np.uint8))


class TileGrid:
    """The tiles of a volume: along each axis, and all of them.

    Args:
        shape: the volume's.
        tile: a tile's.
        overlap: voxels that neighbours share at least.
        border: outermost voxels that are not used where a neighbour covers them.
    """

    def __init__(self, shape: tuple[int, int, int], tile: Tile, *, overlap: int, border: int) -> None:
        self.shape = shape
        self.tile = tile
        self.axes = [plan_axis(size, side, overlap=overlap, border=border) for size, side in zip(shape, tile, strict=True)]
        self.places = list(product(*self.axes))

    def regions(self) -> NDArray[np.int32]:
        """The part of the volume in each tile: z, y, x from, z, y, x to; (tiles, 6)."""
        parts = [region_of(places, self.tile, self.shape) for places in self.places]
        return np.array([[*(p.start for p in part), *(p.stop for p in part)] for part in parts], np.int32)

    def origins(self, chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
        """Where the chosen tiles start, (n, 3)."""
        return np.array([[p.start for p in self.places[i]] for i in np.flatnonzero(chosen)], np.int32).reshape(-1, 3)

    def slots(self, chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
        """The number of each tile among the chosen, -1 of the others, (tiles,)."""
        return np.where(chosen, np.cumsum(chosen) - 1, -1).astype(np.int32)

    def axis_table(self, memory: Memory) -> int:
        """The records of the three axes, on the device."""
        table = np.zeros(3, AXIS)
        for record, tiles, size, side in zip(table, self.axes, self.shape, self.tile, strict=True):
            first, last, owner = _cover(tiles, size, side)
            record["first"], record["last"], record["owner"] = memory.put(first), memory.put(last), memory.put(owner)
            record["start"] = memory.put(np.array([tile.start for tile in tiles], np.int32))
            record["weight"] = memory.put(np.concatenate([tile.weight for tile in tiles]).astype(np.uint16))
            record["count"], record["side"] = len(tiles), side
        return memory.put(table.view(np.uint8))


def _cover(tiles: list[AxisTile], size: int, side: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """For each voxel of an axis: the first and the last tile that holds it, and the one that decides its class."""
    voxel = np.arange(size)
    start = np.array([tile.start for tile in tiles])
    last = np.searchsorted(start, voxel, side="right") - 1
    first = np.searchsorted(start, voxel - side, side="right")
    owner = np.searchsorted([tile.core.stop for tile in tiles[:-1]], voxel, side="right")
    return first.astype(np.int32), last.astype(np.int32), owner.astype(np.int32)
