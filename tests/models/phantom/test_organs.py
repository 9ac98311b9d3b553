"""What lies about the heart: the left atrium's appendage and veins, which look like vessels, and fat from thin to thick."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.phantom.organs import draw_grid, draw_organs
from models.phantom.types import FloatArray, Grid

SEEDS = (0, 1, 3, 4, 5, 10)
"""Chosen so that a lean and a fat heart and a short and a long appendage are among them; nothing was tuned on them."""
LEAST_ML = 0.4


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Grid, dict[str, FloatArray]]]:
    organs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        grid = draw_grid(rng)
        organs.append((grid, draw_organs(rng, grid, size=1.0)[0]))
    return organs


def outgrowths(grid: Grid, organs: dict[str, FloatArray]) -> list[tuple[FloatArray, float]]:
    """What the left atrium has beyond its body: the middle of each piece from the atrium's own, (x, y, z) in mm LPS, and its mL."""
    core = organs["la_core"] < 0.0
    pieces, count = ndimage.label((organs["la"] < 0.0) & (organs["la_core"] > 2.0))
    middle = np.argwhere(core).mean(axis=0)
    found = []
    for piece in range(1, count + 1):
        voxels = np.argwhere(pieces == piece)
        ml = len(voxels) * grid.spacing**3 / 1000.0
        if ml >= LEAST_ML:
            found.append((((voxels.mean(axis=0) - middle) * grid.spacing)[::-1], ml))
    return found


def test_pulmonary_veins_leave_the_left_atrium_to_both_sides_and_backwards(drawn: list[tuple[Grid, dict[str, FloatArray]]]) -> None:
    for grid, organs in drawn:
        behind = [middle[0] for middle, _ in outgrowths(grid, organs) if middle[1] > -10.0]
        assert min(behind) < -30.0
        assert max(behind) > 20.0


def test_an_appendage_runs_forward_on_the_left_where_the_circumflex_runs_and_its_length_differs(
    drawn: list[tuple[Grid, dict[str, FloatArray]]],
) -> None:
    volumes = [sum(ml for middle, ml in outgrowths(*one) if middle[1] < -10.0 and middle[0] > 10.0) for one in drawn]
    assert sum(v > 1.0 for v in volumes) >= 3
    assert max(volumes) > 2.0 * min(volumes)


def test_blood_of_the_appendage_and_the_veins_mixes_with_no_great_vessel(drawn: list[tuple[Grid, dict[str, FloatArray]]]) -> None:
    for _, organs in drawn:
        for vessel in ("ao", "pa", "svc"):
            assert not ((organs["la"] < 0.0) & (organs[vessel] < 0.0)).any(), vessel


def test_fat_over_the_ventricles_goes_from_almost_none_to_more_than_a_centimetre(drawn: list[tuple[Grid, dict[str, FloatArray]]]) -> None:
    middles = []
    for grid, organs in drawn:
        outside = np.minimum(organs["wall"], organs["myocardium"])
        ventricles = np.minimum(organs["myocardium"], organs["rv"])
        far = np.minimum(organs["ao"], organs["pa"]) > 8.0
        depth = -organs["pericardium"][(outside > 0.0) & (outside < grid.spacing) & (ventricles < 4.0) & far]
        middles.append(float(np.median(depth)))
        assert np.quantile(depth, 0.9) - np.quantile(depth, 0.1) > 2.0, "fat is not a shell of one thickness"
    assert min(middles) < 2.0
    assert max(middles) > 10.0
