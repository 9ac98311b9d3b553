"""The same vessel in another frame, stored the other way round, or on another grid is the same vessel: what is seen beside plaque stays."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from appliance.analysis.bridges import find_bridges
from appliance.analysis.grids import interpolate_to
from appliance.analysis.quality_segments import look_at_segments
from appliance.analysis.stages import Heart
from appliance.analysis.stents import find_stents
from appliance.findings import Branch
from appliance.volume import Geometry, LabelMap, Volume
from tests.appliance.analysis.test_describe import GOOD, ground, muscle_below
from tests.appliance.analysis.vessels import branch, disc, ring, volume

Frame = Callable[[np.ndarray], np.ndarray]
TURN = Rotation.from_euler("zyx", (37.0, -21.0, 64.0), degrees=True).as_matrix()
SHIFT = np.array([-41.5, 112.25, -733.0])


def turned(geometry: Geometry, turn: np.ndarray, shift: np.ndarray) -> Geometry:
    """The grid of the same voxels when the patient is turned and moved."""
    origin = turn @ np.asarray(geometry.origin) + shift
    return Geometry(geometry.shape, geometry.spacing, (float(origin[0]), float(origin[1]), float(origin[2])), turn @ geometry.direction)


def flipped(scan: Volume, axis: int) -> Volume:
    """The same scan with its slices, rows or columns (0, 1, 2) stored in reverse."""
    geometry, column = scan.geometry, 2 - axis
    direction = geometry.direction.copy()
    last = np.zeros(3)
    last[axis] = geometry.shape[axis] - 1
    origin = geometry.to_points(last)
    direction[:, column] *= -1.0
    where = (float(origin[0]), float(origin[1]), float(origin[2]))
    return Volume(np.ascontiguousarray(np.flip(scan.voxels, axis)), Geometry(geometry.shape, geometry.spacing, where, direction))


def carried(line: Branch, turn: np.ndarray, shift: np.ndarray) -> Branch:
    points = np.asarray(line.points_mm) @ turn.T + shift
    return msgspec.structs.replace(line, points_mm=tuple((float(x), float(y), float(z)) for x, y, z in points))


def told(scan: Volume, heart: Heart, line: Branch) -> tuple[list[float], list[float], list[tuple[str, str]]]:
    """Stents (start, end, diameter), bridges (start, end, depth) and what cannot be read."""
    stents = find_stents(scan, [line], noise_hu=15.0)
    bridges = find_bridges(scan, heart, [line])
    segments = look_at_segments(scan, [line], GOOD, stents=stents)
    return (
        [value for stent in stents for value in (stent.start, stent.end, stent.diameter_mm or 0.0)],
        [float(value) for _, *values in bridges for value in values],
        [(each.segment, each.reason) for each in segments.not_assessable],
    )


SCENES = {
    "stent": (volume(disc(1.8), ring(1.8, 900.0, first=12.0, last=24.0), noise_hu=15.0), branch(1.8)),
    "small stent": (volume(disc(1.2), ring(1.2, 1500.0, first=12.0, last=24.0), noise_hu=15.0), branch(1.2)),
    "bridge": (volume(ground(3.9, first=10.0, last=26.0), disc(1.5), noise_hu=10.0), branch(1.5)),
    "leaving": (volume(disc(1.5)), branch(1.5, last=35.0)),
}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> tuple[Volume, Branch]:
    return SCENES[request.param]


def test_each_scene_has_something_to_tell() -> None:
    seen = {name: told(scan, muscle_below(), line) for name, (scan, line) in SCENES.items()}
    assert [len(seen["stent"][0]), len(seen["bridge"][1])] == [3, 3]
    assert (seen["small stent"][2], seen["leaving"][2]) == ([("mLAD", "stent")], [("mLAD", "truncated")])


@pytest.mark.parametrize(("turn", "tolerance"), [(np.eye(3), 1e-6), (TURN, 0.35)], ids=["moved", "turned and moved"])
def test_a_patient_who_lies_elsewhere_or_askew_has_the_same_vessels(
    scene: tuple[Volume, Branch], turn: np.ndarray, tolerance: float
) -> None:
    scan, line = scene
    heart = muscle_below()
    grid = turned(heart.structures.geometry, turn, SHIFT)
    there = Heart(LabelMap(heart.structures.labels, grid), grid)
    before = told(scan, heart, line)
    after = told(Volume(scan.voxels, turned(scan.geometry, turn, SHIFT)), there, carried(line, turn, SHIFT))
    assert after[2] == before[2]
    for kept, found in zip(before[:2], after[:2], strict=True):
        # a section's angles begin elsewhere where the frame is turned: an end may move by a point
        np.testing.assert_allclose(found, kept, atol=1.0 if tolerance > 0.1 else tolerance)
        np.testing.assert_allclose(found[2::3], kept[2::3], atol=tolerance)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["slices", "rows", "columns"])
def test_the_order_in_which_a_scan_is_stored_changes_nothing(scene: tuple[Volume, Branch], axis: int) -> None:
    scan, line = scene
    before, after = told(scan, muscle_below(), line), told(flipped(scan, axis), muscle_below(), line)
    assert after[2] == before[2]
    for kept, found in zip(before[:2], after[:2], strict=True):
        np.testing.assert_allclose(found, kept, atol=1e-3)


def test_another_grid_changes_little(scene: tuple[Volume, Branch]) -> None:
    scan, line = scene
    spacing = (0.37, 0.41, 0.45)
    size = [int(n * old / new) for n, old, new in zip(scan.geometry.shape[::-1], scan.geometry.spacing, spacing, strict=True)]
    grid = Geometry((size[2], size[1], size[0]), spacing, scan.geometry.origin)
    other = Volume(interpolate_to(scan.voxels, scan.geometry, grid), grid)
    before, after = told(scan, muscle_below(), line), told(other, muscle_below(), line)
    assert after[2] == before[2]
    for kept, found in zip(before[:2], after[:2], strict=True):
        np.testing.assert_allclose(found, kept, atol=3.0)
        np.testing.assert_allclose(found[2::3], kept[2::3], atol=0.4)
