"""Averaging and interpolation against fields whose values are known everywhere."""

import numpy as np
import pytest

from appliance.analysis.grids import average_to, covering_grid, interpolate_to, sub_grid
from appliance.volume import Geometry, Volume

SCAN = Geometry((60, 80, 90), (0.4, 0.45, 0.5), (-20.0, -15.0, 7.0))


def ramp(geometry: Geometry) -> np.ndarray:
    z, y, x = np.indices(geometry.shape)
    return (20 * z + 3 * y - 5 * x).astype(np.int16)


def test_the_covering_grid_covers_and_is_no_larger_than_needed() -> None:
    grid = covering_grid(SCAN, 3.0)
    edges = SCAN.to_index(grid.to_points(np.array([[-0.5] * 3, np.asarray(grid.shape) - 0.5])))
    assert np.allclose(edges[0], -0.5)
    assert (edges[1] >= np.asarray(SCAN.shape) - 0.5 - 1e-9).all()
    assert (edges[1] < np.asarray(SCAN.shape) - 0.5 + 3.0 / np.asarray(SCAN.spacing)[::-1]).all()


def test_averaging_a_linear_field_gives_its_value_at_the_centre() -> None:
    grid = covering_grid(SCAN, 3.0)
    coarse = average_to(Volume(ramp(SCAN), SCAN), grid)
    inner = np.stack(np.meshgrid(*(np.arange(1, n - 1) for n in grid.shape), indexing="ij"), axis=-1)
    z, y, x = np.moveaxis(SCAN.to_index(grid.to_points(inner)), -1, 0)
    # a voxel that is cut by an edge counts with its own centre's value: at most 1/24 of a voxel per axis
    assert np.allclose(coarse[1:-1, 1:-1, 1:-1], 20 * z + 3 * y - 5 * x, atol=(20 + 3 + 5) / 24)


def test_averaging_keeps_the_total() -> None:
    voxels = np.random.default_rng(0).integers(-200, 900, SCAN.shape).astype(np.int16)
    grid = covering_grid(Geometry((60, 80, 90), (0.5, 0.5, 0.5), (0, 0, 0)), 5.0)
    scan = Geometry((60, 80, 90), (0.5, 0.5, 0.5), (0, 0, 0))
    assert average_to(Volume(voxels, scan), grid).mean() == pytest.approx(voxels.mean(), rel=1e-5)


def test_where_there_is_no_image_the_fill_value_stands() -> None:
    grid = Geometry((4, 4, 4), (3, 3, 3), (500.0, 500.0, 500.0))
    assert (average_to(Volume(ramp(SCAN), SCAN), grid, fill=-1000) == -1000).all()


def test_interpolating_a_linear_field_is_exact_to_rounding() -> None:
    grid = sub_grid(SCAN, np.array([3.2, 4.1, 5.7]), np.array([40.0, 60.0, 70.0]), 0.37)
    fine = interpolate_to(ramp(SCAN), SCAN, grid)
    z, y, x = np.moveaxis(SCAN.to_index(grid.to_points(np.moveaxis(np.indices(grid.shape), 0, -1))), -1, 0)
    assert fine.dtype == np.int16
    inside = (z <= 59) & (y <= 79) & (x <= 89)
    assert np.abs(fine - (20 * z + 3 * y - 5 * x))[inside].max() <= 0.51


def test_grids_of_another_direction_are_refused() -> None:
    turned = Geometry((4, 4, 4), (1, 1, 1), (0, 0, 0), np.diag([1.0, -1.0, -1.0]))
    with pytest.raises(ValueError, match="direction"):
        interpolate_to(ramp(SCAN), SCAN, turned)
