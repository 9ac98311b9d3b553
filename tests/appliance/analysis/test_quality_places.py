"""Places in the grooves of the heart, and the patches cut there, on made-up hearts and scans whose truth is exact."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.quality_places import (
    GROOVES,
    PATCH_SHAPE,
    PATCH_SPACING_MM,
    TOLERANCE_MM,
    Place,
    find_places,
    patch_grid,
    patches,
    spread,
)
from appliance.analysis.stages import Heart, Structure
from appliance.volume import Geometry, LabelMap, Volume

GRID = Geometry((40, 44, 60), (3.0, 3.0, 3.0), (-90.0, -66.0, 100.0))


def box_heart() -> Heart:
    """Four chambers as boxes with furrows between them, in fat: right ones on the patient's right (low x), ventricles in front."""
    labels = np.full(GRID.shape, int(Structure.BACKGROUND), np.uint8)
    labels[4:36, 4:40, 4:56] = int(Structure.PERICARDIUM)
    labels[8:20, 8:20, 8:26] = int(Structure.RV)
    labels[24:34, 8:20, 8:26] = int(Structure.RIGHT_ATRIUM)
    labels[8:20, 12:36, 30:52] = int(Structure.LV_MYOCARDIUM)
    labels[10:18, 15:33, 33:49] = int(Structure.LV)
    labels[24:34, 24:36, 34:52] = int(Structure.LEFT_ATRIUM)
    return Heart(LabelMap(labels, GRID), GRID)


def distance_to(point: tuple[float, float, float], heart: Heart, *structures: Structure) -> float:
    return float(np.linalg.norm(heart.points(*structures) - np.asarray(point), axis=1).min())


def test_places_lie_in_their_grooves_outside_every_chamber() -> None:
    heart = box_heart()
    places = find_places(heart, count=5)
    assert [place.vessel for place in places] == ["LAD"] * 5 + ["LCX"] * 5 + ["RCA"] * 5
    for place in places:
        z, y, x = np.rint(GRID.to_index(place.point)).astype(int)
        assert heart.structures.labels[z, y, x] == int(Structure.PERICARDIUM)
        groove = GROOVES[place.vessel]
        off = [abs(distance_to(place.point, heart, *structures) - mm) for structures, mm in groove.walls]
        assert np.mean(off) <= TOLERANCE_MM + 1e-4
        assert all(distance_to(place.point, heart, *structures) >= mm for structures, mm in groove.away if len(heart.points(*structures)))


def test_the_anterior_descending_runs_in_front() -> None:
    heart = box_heart()
    middle = heart.centroid(Structure.LV, Structure.LV_MYOCARDIUM)
    assert middle is not None
    chosen = [np.asarray(place.point) for place in find_places(heart) if place.vessel == "LAD"]
    assert chosen
    assert all((point - middle) @ np.array([0.0, -1.0, 1.0]) > 0 for point in chosen)


def test_a_heart_without_chambers_has_no_places() -> None:
    empty = Heart(LabelMap(np.zeros(GRID.shape, np.uint8), GRID), GRID)
    assert find_places(empty) == ()


def test_points_are_spread_from_the_cheapest_on() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [4, 0, 0]])
    assert spread(points, np.array([2, 1, 3, 3], np.float32), 3).tolist() == [1, 2, 3]
    assert spread(points, np.array([2, 1, 3, 3], np.float32), 9).tolist() == [1, 2, 3, 0]
    assert spread(np.zeros((0, 3)), np.zeros(0, np.float32), 3).tolist() == []


@pytest.mark.parametrize("turn", [0.0, 12.0])
def test_a_patch_shows_the_scan_about_its_place(turn: float) -> None:
    """A scan whose HU grow linearly along the axes is resampled without error, whatever its voxels and direction are."""
    angle = np.radians(turn)
    direction = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    geometry = Geometry((90, 130, 150), (0.4, 0.45, 0.6), (-20.0, 30.0, -200.0), direction)
    slope = np.array([2.0, -3.0, 4.0])
    z, y, x = np.mgrid[tuple(slice(0, n) for n in geometry.shape)]
    points = geometry.to_points(np.stack([z, y, x], axis=-1))
    volume = Volume(np.rint(points @ slope).astype(np.int16), geometry)
    place = Place("RCA", tuple(float(value) for value in geometry.centre))  # type: ignore[arg-type]
    patch = patches(volume, (place,))
    grid = patch_grid(place, direction)
    assert patch.shape == (1, 1, *PATCH_SHAPE)
    np.testing.assert_allclose(grid.centre, place.point)
    assert grid.extent_mm == tuple(PATCH_SPACING_MM * n for n in PATCH_SHAPE[::-1])
    z, y, x = np.mgrid[tuple(slice(0, n) for n in PATCH_SHAPE)]
    truth = grid.to_points(np.stack([z, y, x], axis=-1)) @ slope
    assert np.abs(patch[0, 0] - truth).max() <= 1.01
