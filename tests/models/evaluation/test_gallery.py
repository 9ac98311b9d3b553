"""The close-up pictures of virtual patients show what is there."""

from __future__ import annotations

import numpy as np

from appliance.volume import Geometry, Volume
from models.evaluation.gallery import STEP_MM, TILE_PX, straightened, tile

GRID = Geometry((120, 120, 120), (0.5, 0.5, 0.5), (-30.0, -30.0, -30.0))


def tube() -> Volume:
    """A vessel of 3 mm along z at x = 4, y = -2, with a bright grain beside it at z = 5."""
    z, y, x = np.mgrid[tuple(slice(0, n) for n in GRID.shape)]
    points = GRID.to_points(np.stack([z, y, x], axis=-1))
    hu = np.where(np.hypot(points[..., 0] - 4.0, points[..., 1] + 2.0) <= 1.5, 400, -90)
    hu[np.linalg.norm(points - np.array([6.5, -2.0, 5.0]), axis=-1) <= 1.0] = 1200
    return Volume(hu.astype(np.int16), GRID)


def test_a_tile_is_centred_on_its_place() -> None:
    shown = np.asarray(tile(tube(), np.array([4.0, -2.0, 0.0])))
    assert shown.shape == (TILE_PX, TILE_PX)
    bright = np.argwhere(shown > 128)
    assert np.abs(bright.mean(axis=0) - 0.5 * (TILE_PX - 1)).max() < 1.0
    assert abs(len(bright) * STEP_MM**2 - np.pi * 1.5**2) < 1.5


def test_a_straightened_vessel_is_a_band_with_its_grain_at_its_height() -> None:
    line = np.column_stack([np.full(80, 4.0), np.full(80, -2.0), np.linspace(-20.0, 20.0, 80)])
    both, section = (np.asarray(image) for image in straightened(tube(), line, 50))
    half = both.shape[0] // 2
    assert (both[half // 2, 5:-5] > 128).all(), "the vessel runs along the middle of the plane"
    grain = np.argwhere(both == 255)
    assert len(grain)
    assert abs(grain[:, 1].mean() * STEP_MM - 25.0) < 1.5, "the line begins at z = -20"
    assert section.shape == (TILE_PX, TILE_PX)
    assert section[TILE_PX // 2, TILE_PX // 2] > 128
