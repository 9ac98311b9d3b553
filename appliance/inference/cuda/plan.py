"""How much memory a study takes on the card, and how many tiles go through the network at once; reckoned before anything large is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.inference.cuda.driver import too_little_memory
from appliance.inference.cuda.network import DeviceNetwork, Tile

SPARE_BYTES = 2 << 30
"""Left to the screen, the driver and whatever else draws on the card: an 8 GB card is used to 6."""
RESERVE_BYTES = 64 << 20
"""Of what is free now: allocations are rounded up and the driver takes some itself."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by what they are for, and tiles per run."""

    parts: Mapping[str, int]
    batch: int

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self.parts.values())


def budget(free: int, total: int) -> int:
    """Bytes that may be used of a card: all but the spare, on a small card half; never more than is free."""
    return max(min(free - RESERVE_BYTES, max(total - SPARE_BYTES, total // 2)), 0)


def plan_memory(
    network: DeviceNetwork,
    *,
    source_voxels: int,
    fine_voxels: int,
    tile: Tile,
    tiles: int,
    small_bytes: int,
    free: int,
    total: int,
) -> MemoryPlan:
    """The plan with the most tiles per run that fits.

    Args:
        network: the network.
        source_voxels: of the image, int16.
        fine_voxels: of the fine grid.
        tile: shape of a tile.
        tiles: that will run.
        small_bytes: tables and masks.
        free: bytes free on the card.
        total: bytes of the card.

    Raises:
        InferenceError: INF-060 where not even one tile at a time fits.
    """
    allowed = budget(free, total)
    for batch in range(max(min(network.largest_batch, tiles), 1), 0, -1):
        plan = _plan(network, source_voxels, fine_voxels, tile, tiles, small_bytes, batch)
        if plan.total <= allowed:
            return plan
    raise too_little_memory(plan.total, allowed)


def _plan(network: DeviceNetwork, source: int, fine: int, tile: Tile, tiles: int, small: int, batch: int) -> MemoryPlan:
    voxels = tile[0] * tile[1] * tile[2]
    item = 2 if network.input_type == "float16" else 4
    given = 2 * len(network.model.classes) if network.gives == "scores" else 2
    parts = {
        "image": 2 * source,
        "fine image": 2 * fine,
        "classes and share": 2 * fine,
        "answers of the tiles": 2 * max(tiles, 1) * voxels,
        "channels": batch * voxels * item * len(network.model.channels),
        "network's output": batch * voxels * given,
        "network": network.scratch_bytes(batch, tile),
        "tables and masks": small,
    }
    return MemoryPlan(parts, batch)
