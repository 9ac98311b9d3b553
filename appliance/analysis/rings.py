"""What lies around a vessel: attenuation on rings across its centreline, by point, angle and radius."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.stages import Float
from appliance.geometry import frames, sample
from appliance.volume import Volume

ANGLES = 24


def rings(volume: Volume, points: Float, radii: Float, *, angles: int = ANGLES) -> NDArray[np.float32]:
    """HU on rings around a line: (n, angles, m).

    Args:
        volume: the scan.
        points: the line, LPS mm, (n, 3).
        radii: mm, (m,) the same at every point, or (n, m).
        angles: directions, evenly around.
    """
    _, normal, binormal = frames(points)
    turn = 2.0 * np.pi * np.arange(angles) / angles
    way = np.cos(turn)[None, :, None] * normal[:, None] + np.sin(turn)[None, :, None] * binormal[:, None]
    reach = np.broadcast_to(np.atleast_2d(radii), (len(points), np.atleast_2d(radii).shape[1]))
    places = points[:, None, None] + reach[:, None, :, None] * way[:, :, None]
    return sample(volume.voxels, volume.geometry, places)


def runs_of(mask: NDArray[np.bool_], *, gap: int = 0) -> list[tuple[int, int]]:
    """Half-open stretches that are True, joined across up to ``gap`` points."""
    closed = mask.copy()
    if gap and mask.any():
        first, last = int(np.argmax(mask)), len(mask) - int(np.argmax(mask[::-1]))
        closed[first:last] = ndimage.binary_closing(np.pad(mask[first:last], gap, constant_values=True), np.ones(gap + 1))[gap:-gap]
        closed |= mask
    edges = np.flatnonzero(np.diff(np.concatenate([[False], closed, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
