"""The sliding window: a network with tiles over a volume of any size.

Where the network's tiles may grow, they take the size that leaves the fewest voxels to compute: neighbours overlap, so fewer, larger tiles
compute less twice, but smaller ones leave out more of what the mask does not ask for. Each axis is covered by evenly spaced tiles. The
outermost voxels of a tile, which the network sees beside zero padding, are not used; between two tiles the shares pass from one to the
other linearly, and the class comes from the tile whose middle is nearer. The weights of the tiles add up to 1 everywhere by construction,
so no weight volume is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.engine import Session

_FIXED_POINT = 256
"""Weights are kept as 1/256: 255 * 256 fits the 16-bit accumulator, and shares are no finer than 1/255."""
THIN = 4
"""The choice of a tile's size looks at one voxel in ``THIN`` along each axis: what it misses can only make the choice a little worse."""


@dataclass(frozen=True)
class Tiled:
    """What a sliding window gives, arrays (z, y, x) of the input's shape.

    Attributes:
        classes: uint8 class per voxel; 0 outside the mask.
        share: uint8, 255 = 1, blended over the tiles; 0 outside the mask.
        tiles_run: tiles that went through the network.
        tiles_skipped: tiles left out because the mask is empty there.
    """

    classes: NDArray[np.uint8]
    share: NDArray[np.uint8]
    tiles_run: int
    tiles_skipped: int


@dataclass(frozen=True)
class AxisTile:
    """A tile along one axis: where it starts, which part of the axis it alone decides, and its weights * 256."""

    start: int
    core: slice
    weight: NDArray[np.uint16]


def sliding_window(
    session: Session,
    channels: Sequence[NDArray[Any]],
    *,
    mask: NDArray[np.bool_] | None = None,
    overlap: int = 16,
    border: int = 3,
    progress: Callable[[float], None] | None = None,
) -> Tiled:
    """Run a tiled model over a whole volume.

    Args:
        session: of a model with a tile, one output of classes and one share.
        channels: raw values, one array (z, y, x) per channel in the model's order, of any number type: they are
            turned into float32 tile by tile.
        mask: where a result is wanted; tiles without any of it are skipped. None: everywhere.
        overlap: voxels that neighbouring tiles share at least.
        border: outermost voxels of a tile that are not used where a neighbour covers them.
        progress: called with the part done, 0..1, after each tile.

    Raises:
        InferenceError: INF-040 for channels or a mask that do not fit the model or each other; and see Session.run.
    """
    model = session.model
    shape = _common_shape(session, channels, mask)
    if model.tile is None:
        raise InferenceError("INF-040", zh=f"模型 {model.name} 没有分块尺寸。", en=f"Model {model.name} has no tile size.")
    tile = best_tile(model, shape, mask=mask, overlap=overlap, border=border)
    class_name, share_name = (next(output.name for output in model.outputs if output.role == role) for role in ("classes", "share"))
    tiles = plan_tiles(shape, tile, overlap=overlap, border=border)
    chosen = [t for t in tiles if mask is None or mask[region_of(t, tile, shape)].any()]
    classes = np.zeros(shape, np.uint8)
    total = np.zeros(shape, np.uint16)
    padding = [channel.padding for channel in model.channels]
    for number, places in enumerate(chosen, start=1):
        region = region_of(places, tile, shape)
        outputs = session.run(_cut(channels, region, tile, padding)[None])
        used = tuple(slice(0, part.stop - part.start) for part in region)
        core = tuple(place.core for place in places)
        local = tuple(slice(p.core.start - p.start, p.core.stop - p.start) for p in places)
        classes[core] = outputs[class_name][0][local]
        total[region] += _weighted(outputs[share_name][0][used], places, used)
        if progress is not None:
            progress(number / len(chosen))
    share = ((total + np.uint16(_FIXED_POINT // 2 - 1)) // np.uint16(_FIXED_POINT)).astype(np.uint8)
    if mask is not None:
        classes *= mask
        share *= mask
    return Tiled(classes=classes, share=share, tiles_run=len(chosen), tiles_skipped=len(tiles) - len(chosen))


def best_tile(
    model: Model, shape: tuple[int, int, int], *, mask: NDArray[np.bool_] | None, overlap: int, border: int
) -> tuple[int, int, int]:
    """The size of tile, among those that the model takes, with which the fewest voxels go through the network."""
    thin = None if mask is None else mask[::THIN, ::THIN, ::THIN]
    return best_tile_of_thin(model, shape, thin=thin, overlap=overlap, border=border)


def best_tile_of_thin(
    model: Model, shape: tuple[int, int, int], *, thin: NDArray[np.bool_] | None, overlap: int, border: int
) -> tuple[int, int, int]:
    """As ``best_tile``, of the mask's every ``THIN``-th voxel along each axis."""
    if model.tile is None or model.largest_tile is None:
        return model.tile or shape
    limits = zip(shape, model.tile, model.largest_tile, strict=True)
    sides = [_sides(size, least, most, model.multiple, overlap) for size, least, most in limits]

    def computed(tile: tuple[int, int, int]) -> int:
        regions = [region_of(places, tile, shape) for places in plan_tiles(shape, tile, overlap=overlap, border=border)]
        run = [thin is None or thin[tuple(slice(r.start // THIN, -(-r.stop // THIN)) for r in region)].any() for region in regions]
        return int(sum(run)) * tile[0] * tile[1] * tile[2]

    return min(((z, y, x) for z in sides[0] for y in sides[1] for x in sides[2]), key=computed)


def _sides(size: int, least: int, most: int, multiple: int, overlap: int) -> list[int]:
    """The shortest tiles that cover ``size`` in 1, 2, 3 ... pieces, between the limits."""
    sides = set()
    for count in range(1, -(-size // max(least - overlap, 1)) + 1):
        side = -(-(size + (count - 1) * overlap) // count)
        sides.add(min(max(-(-side // multiple) * multiple, least), most))
    return sorted(sides)


def plan_tiles(shape: tuple[int, int, int], tile: tuple[int, int, int], *, overlap: int, border: int) -> list[tuple[AxisTile, ...]]:
    """All tiles that cover a volume, z slowest: their places along z, y and x."""
    return list(product(*(plan_axis(size, side, overlap=overlap, border=border) for size, side in zip(shape, tile, strict=True))))


def plan_axis(size: int, side: int, *, overlap: int, border: int) -> list[AxisTile]:
    """Tiles of ``side`` that cover ``size`` voxels, evenly spaced; their weights add up to 256 at every voxel.

    A volume smaller than the tile gets one tile that hangs over its end.
    """
    if not 0 <= 2 * border < overlap < side:
        raise ValueError(f"an overlap of {overlap} with a border of {border} does not fit tiles of {side}")
    count = 1 if size <= side else -(-(size - overlap) // (side - overlap))
    starts = [round(index * (size - side) / (count - 1)) for index in range(count)] if count > 1 else [0]
    rising = [np.full(side, _FIXED_POINT, np.int64) for _ in starts]
    edges = [0]
    for index in range(1, count):
        # the ramp runs over what both tiles hold, less the borders of both
        first, last = starts[index] + border, starts[index - 1] + side - border
        position = np.arange(side) + starts[index]
        ramp = np.clip(np.rint((position - first + 0.5) / (last - first) * _FIXED_POINT), 0, _FIXED_POINT)
        rising[index] = ramp.astype(np.int64)
        edges.append((first + last) // 2)
    edges.append(size)
    return [
        AxisTile(start, slice(edges[i], edges[i + 1]), _less_next(rising, starts, i, side).astype(np.uint16))
        for i, start in enumerate(starts)
    ]


def _less_next(rising: list[NDArray[np.int64]], starts: list[int], index: int, side: int) -> NDArray[np.int64]:
    """A tile's weight: its own ramp up, less the ramp of the next tile where that one has begun."""
    weight = rising[index].copy()
    if index + 1 < len(starts):
        offset = starts[index + 1] - starts[index]
        weight[offset:] -= rising[index + 1][: side - offset]
    return weight


def _weighted(share: NDArray[np.uint8], places: tuple[AxisTile, ...], used: tuple[slice, ...]) -> NDArray[np.uint16]:
    """Share times the product of the axis weights, rounded to 1/256 of a step."""
    weight_z, weight_y, weight_x = (place.weight[part].astype(np.float32) for place, part in zip(places, used, strict=True))
    plane = (weight_y[:, None] * weight_x[None, :]) / np.float32(_FIXED_POINT**2)
    weighted = share.astype(np.float32) * weight_z[:, None, None] * plane[None]
    return np.rint(weighted).astype(np.uint16)


def region_of(places: tuple[AxisTile, ...], tile: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of the volume that a tile holds."""
    return tuple(slice(place.start, min(place.start + side, size)) for place, side, size in zip(places, tile, shape, strict=True))


def _cut(
    channels: Sequence[NDArray[Any]], region: tuple[slice, ...], tile: tuple[int, int, int], padding: list[float]
) -> NDArray[np.float32]:
    cut = np.empty((len(channels), *tile), np.float32)
    inside = tuple(slice(0, part.stop - part.start) for part in region)
    for index, channel in enumerate(channels):
        cut[index] = padding[index]
        cut[index][inside] = channel[region]
    return cut


def _common_shape(session: Session, channels: Sequence[NDArray[Any]], mask: NDArray[np.bool_] | None) -> tuple[int, int, int]:
    shapes = {channel.shape for channel in channels} | ({mask.shape} if mask is not None else set())
    if len(channels) != len(session.model.channels) or len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise InferenceError(
            "INF-040",
            zh=f"模型 {session.model.name} 的输入通道不符。",
            en=f"Channels of shapes {sorted(shapes)} do not fit model {session.model.name}.",
        )
    z, y, x = next(iter(shapes))
    return z, y, x
