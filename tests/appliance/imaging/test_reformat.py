"""Geometry of the reformations: a marked place must appear at the pixel that the mathematics says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.geometry import arc_length, frames
from appliance.imaging.paths import SegmentSpan, VesselPath
from appliance.imaging.reformat import OUTSIDE_HU, curve, plane_of, section, slab_mip, straighten, to_grey
from appliance.volume import Geometry, Volume

TILT = np.linalg.qr(np.array([[1.0, 0.1, 0.05], [-0.08, 1.0, 0.1], [0.0, -0.1, 1.0]]))[0]
TILT = TILT * np.sign(np.diag(TILT))
GRID = Geometry(shape=(90, 100, 110), spacing=(0.9, 0.8, 1.0), origin=(-50.0, -40.0, -45.0), direction=TILT)


def path_through(points: NDArray[np.float64]) -> VesselPath:
    step = float(arc_length(points)[-1]) / (len(points) - 1)
    unknown = np.full(len(points), np.nan)
    return VesselPath("LAD", "LAD", points, step, (SegmentSpan("pLAD", 0.0, step * (len(points) - 1)),), (), unknown, unknown)


def bent_path() -> VesselPath:
    """A helix of 80 mm about the middle of the grid."""
    turn = np.linspace(0, 2.2, 320)
    centre = GRID.centre
    return path_through(centre + np.stack([18 * np.cos(turn), 18 * np.sin(turn), 34 - 30 * turn], axis=1))


def marked(place: NDArray[np.float64], *, sigma_mm: float = 1.2) -> Volume:
    """-100 HU everywhere, a soft ball of 1000 HU about an LPS place."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(GRID.to_points(index) - place, axis=-1)
    return Volume((1100 * np.exp(-((distance / sigma_mm) ** 2) / 2) - 100).astype(np.int16), GRID)


def centre_of_mass(picture: NDArray[np.floating]) -> tuple[float, float]:
    weight = np.clip(picture - 300.0, 0, None)
    rows, columns = np.indices(picture.shape)
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


@pytest.mark.parametrize("position_mm", [6.0, 33.0, 61.0])
@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_straightened_shows_a_place_on_the_curve_at_its_distance_from_the_ostium(position_mm: float, angle: float) -> None:
    path = bent_path()
    volume = marked(path.points[path.index_at(position_mm)])
    made = straighten(volume, path, angle_degrees=angle, half_width_mm=8.0, spacing_mm=0.2, before_mm=5.0)
    row, column = centre_of_mass(made.hu)
    assert row == pytest.approx(40, abs=1.0)
    assert column == pytest.approx((path.index_at(position_mm) * path.step_mm + 5.0) / 0.2, abs=1.5)
    assert made.place(position_mm) == pytest.approx((40, (position_mm + 5.0) / 0.2), abs=1.0)


def test_straightened_keeps_distance_from_the_curve_and_its_angles_are_a_quarter_turn_apart() -> None:
    along = np.stack([np.zeros(241), np.zeros(241), np.linspace(30, -30, 241)], axis=1) + GRID.centre
    path = path_through(along)
    _, normal, binormal = frames(along)
    for angle, side in ((0.0, normal), (90.0, binormal)):
        volume = marked(along[120] + 3.0 * side[120])
        made, other = (
            straighten(volume, path, angle_degrees=turned, half_width_mm=8.0, spacing_mm=0.1, before_mm=5.0)
            for turned in (angle, angle + 90)
        )
        assert centre_of_mass(made.hu) == pytest.approx((80 + 30, (30.0 + 5.0) / 0.1), abs=1.0)
        assert other.hu.max() < made.hu.max() / 3


@pytest.mark.parametrize("angle", [0.0, 90.0])
@pytest.mark.parametrize("position_mm", [5.0, 30.0, 60.0])
def test_curved_shows_a_place_where_it_says(angle: float, position_mm: float) -> None:
    path = bent_path()
    made = curve(marked(path.points[path.index_at(position_mm)]), path, angle_degrees=angle, size=(600, 360))
    row, column = made.place(position_mm)
    found = centre_of_mass(made.hu)
    assert found[0] == pytest.approx(row, abs=1.2 / made.spacing_mm)
    assert found[1] == pytest.approx(column, abs=1.2 / made.spacing_mm)


def test_curved_keeps_lengths_along_the_vessel() -> None:
    path = bent_path()
    made = curve(marked(path.points[0]), path, angle_degrees=0.0, size=(600, 360))
    inside = (made.curve_mm >= 0) & (made.curve_mm <= path.length_mm)
    drawn = np.linalg.norm(np.diff(made.curve[inside], axis=0), axis=1).sum() * made.spacing_mm
    assert drawn == pytest.approx(path.length_mm, rel=0.03)


def test_curved_projection_finds_what_lies_beside_the_surface_only_in_a_slab() -> None:
    along = np.stack([np.zeros(241), np.zeros(241), np.linspace(30, -30, 241)], axis=1) + GRID.centre
    path = path_through(along)
    first, second = plane_of(path)
    volume = marked(along[120] + 2.0 * second, sigma_mm=0.5)
    thin = curve(volume, path, angle_degrees=0.0, size=(400, 240), thickness_mm=0.0)
    slab = curve(volume, path, angle_degrees=0.0, size=(400, 240), thickness_mm=5.0, projection="max")
    assert thin.hu.max() < 200 < 500 < slab.hu.max()
    assert abs(float(first @ second)) < 1e-9


def test_section_is_centred_on_the_curve_and_perpendicular_to_it() -> None:
    path = bent_path()
    at = path.index_at(30.0)
    made = section(marked(path.points[at]), path, 30.0, half_width_mm=7.0, size=141)
    assert centre_of_mass(made.hu) == pytest.approx((70.0, 70.0), abs=0.5)
    # attenuation that rises along the vessel only is the same all over a perpendicular section
    tangent = path.points[at + 3] - path.points[at - 3]
    tangent /= np.linalg.norm(tangent)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), axis=-1)
    ramp = Volume(np.round((GRID.to_points(index) - path.points[at]) @ tangent * 40).astype(np.int16), GRID)
    flat = section(ramp, path, 30.0, half_width_mm=7.0, size=141)
    assert np.abs(flat.hu).max() < 0.6 * 40 * 0.5  # well under half a millimetre of ramp at 7 mm from the curve
    assert made.across is not None
    assert made.down is not None
    assert abs(float(made.across @ tangent)) < 0.02
    assert abs(float(made.down @ tangent)) < 0.02


def test_slab_mip_shows_a_bright_voxel_at_its_place_only_if_the_slab_holds_it() -> None:
    voxels = np.full(GRID.shape, -100, np.int16)
    voxels[40, 50, 60] = 900
    volume = Volume(voxels, GRID)
    place = GRID.to_points([40, 50, 60])
    across, down = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    centre = place - 5.0 * across + 8.0 * down + np.array([0.0, 2.5, 0.0])
    made = slab_mip(volume, centre=centre, across=across, down=down, thickness_mm=8.0, size=(201, 201), spacing_mm=0.25)
    row, column = np.unravel_index(int(made.hu.argmax()), made.hu.shape)
    assert (row, column) == pytest.approx((100 - 8.0 / 0.25, 100 + 5.0 / 0.25), abs=1)
    assert made.hu.max() > 500
    aside = slab_mip(
        volume, centre=centre + np.array([0.0, 3.0, 0.0]), across=across, down=down, thickness_mm=8.0, size=(201, 201), spacing_mm=0.25
    )
    assert aside.hu.max() == pytest.approx(-100)


def test_outside_the_volume_is_air_not_an_error() -> None:
    path = path_through(np.stack([np.linspace(300, 340, 100), np.zeros(100), np.zeros(100)], axis=1))
    made = straighten(marked(GRID.centre), path, angle_degrees=0, half_width_mm=5, spacing_mm=0.5)
    assert (made.hu == OUTSIDE_HU).all()


def test_plane_is_stable_for_a_path_without_bends() -> None:
    straight = path_through(np.stack([np.zeros(50), np.zeros(50), np.linspace(0, -20, 50)], axis=1))
    first, second = plane_of(straight)
    assert np.linalg.norm(first) == pytest.approx(1)
    assert np.linalg.norm(second) == pytest.approx(1)
    assert abs(float(first @ second)) < 1e-9


def test_window_is_linear_between_its_ends() -> None:
    hu = np.array([-101.0, -100.0, 300.0, 700.0, 5000.0])
    assert to_grey(hu, (800.0, 300.0)).tolist() == [0, 0, 128, 255, 255]
