"""The ray caster and its scenes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import ImagingError
from appliance.imaging.render import TABLE_FROM, Camera, Scene, Stop, framed, make_scene, project, render, transfer_table
from appliance.imaging.scenes import AIR, heart_box, heart_scene, tree_scene, tube_mask
from appliance.volume import Geometry, LabelMap
from tests.appliance.imaging.made_study import RIB_MM, MadeStudy

GRID = Geometry(shape=(80, 90, 100), spacing=(0.5, 0.5, 0.5), origin=(-25.0, -22.0, -20.0))
PLAIN = transfer_table([Stop(0, (1, 1, 1), 0.0), Stop(200, (1, 1, 1), 0.9), Stop(800, (1, 1, 1), 0.99)])


def ball_scene(place: tuple[float, float, float], radius_mm: float = 2.0) -> Scene:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(GRID.to_points(index) - np.array(place), axis=-1)
    field = np.clip(400 * (radius_mm - distance) + 200, AIR, 600).astype(np.int16)
    return make_scene(field, np.zeros(GRID.shape, np.uint8), (PLAIN, PLAIN), GRID)


def test_transfer_table_is_linear_and_holds_beer_lambert() -> None:
    table = transfer_table([Stop(0, (0.0, 0.5, 1.0), 0.0), Stop(100, (1.0, 0.5, 0.0), 0.5)])
    assert table[50 - TABLE_FROM, :3] == pytest.approx([0.5, 0.5, 0.5])
    assert 1 - np.exp(-table[100 - TABLE_FROM, 3]) == pytest.approx(0.5)
    assert table[-50 - TABLE_FROM, 3] == 0


@pytest.mark.parametrize(
    ("camera", "right", "up", "toward"),
    [
        (Camera(0, 0), (1, 0, 0), (0, 0, 1), (0, -1, 0)),
        (Camera(90, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0)),
        (Camera(180, 0), (-1, 0, 0), (0, 0, 1), (0, 1, 0)),
        (Camera(0, 90), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ],
)
def test_cameras_stand_where_angiography_says(camera: Camera, right: object, up: object, toward: object) -> None:
    for axis, expected in zip(camera.axes(), (right, up, toward), strict=True):
        assert axis == pytest.approx(np.array(expected, float), abs=1e-9)


@pytest.mark.parametrize("camera", [Camera(0, 0), Camera(50, 20), Camera(180, 0), Camera(10, -70)])
def test_a_ball_is_drawn_where_it_is_projected(camera: Camera) -> None:
    place, centre = (9.0, -4.0, 6.0), np.array([2.0, 1.0, -1.0])
    picture = render(ball_scene(place), camera, size=200, width_mm=50.0, centre=centre)
    rows, columns = np.nonzero(picture.sum(axis=2) > 60)
    row, column, _ = project(camera, np.array([place]), size=200, width_mm=50.0, centre=centre)[0]
    assert (rows.min() + rows.max()) / 2 == pytest.approx(row, abs=1.5)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(column, abs=1.5)
    assert np.ptp(columns) * 0.25 == pytest.approx(2 * 2.3, abs=0.8)


def test_skipping_empty_space_changes_nothing() -> None:
    scene = ball_scene((5.0, 3.0, -6.0))
    everywhere = Scene(scene.field, scene.tone, scene.tables, scene.geometry, np.zeros_like(scene.blocks), scene.coarse)
    assert (scene.blocks > 1).mean() > 0.5
    centre = GRID.centre
    fast = render(scene, Camera(30, 10), size=128, width_mm=50.0, centre=centre).astype(int)
    slow = render(everywhere, Camera(30, 10), size=128, width_mm=50.0, centre=centre).astype(int)
    assert np.abs(fast - slow).max() <= 12  # the samples fall elsewhere by less than a step
    assert (np.abs(fast - slow).sum(axis=2) > 0).mean() < 0.02


def test_an_empty_scene_is_black() -> None:
    scene = make_scene(np.full(GRID.shape, AIR, np.int16), np.zeros(GRID.shape, np.uint8), (PLAIN, PLAIN), GRID)
    assert render(scene, Camera(0, 0), size=64, width_mm=40, centre=GRID.centre).max() == 0


def test_frame_holds_all_points() -> None:
    points = np.random.default_rng(3).normal(0, 20, (500, 3))
    camera = Camera(35, 15)
    centre, width = framed(camera, points)
    seen = project(camera, points, size=100, width_mm=width, centre=centre)
    assert seen[:, :2].min() >= -1
    assert seen[:, :2].max() <= 100


def distance_from_middle(geometry: Geometry) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), axis=-1)
    return np.asarray(np.linalg.norm(geometry.to_points(index), axis=-1))


def test_heart_is_cut_out_of_ribs_and_lungs(made_study: MadeStudy) -> None:
    box = heart_box(made_study.volume, made_study.structures, made_study.findings)
    scene = heart_scene(box, made_study.findings.branches)
    away = distance_from_middle(box.geometry)
    ribs = np.abs(away - RIB_MM) < 4
    assert ribs.any()
    assert box.hu[ribs].max() > 500
    assert scene.field[ribs].max() < 0
    assert scene.field[away < 30].min() > 0


def test_coronary_arteries_stay_in_the_heart_and_alone_in_the_tree(made_study: MadeStudy) -> None:
    box = heart_box(made_study.volume, made_study.structures, made_study.findings)
    branches = made_study.findings.branches
    heart, tree = heart_scene(box, branches), tree_scene(box, branches)
    for point in branches[1].points_mm[20::40]:
        z, y, x = np.round(box.geometry.to_index(point)).astype(int)
        assert heart.tone[z, y, x] == 255
        assert heart.field[z, y, x] > 250
        assert tree.field[z, y, x] > 250
    away = distance_from_middle(box.geometry)
    muscle = (away < 25) & (tube_mask(box.geometry, branches, extra_mm=3, soft_mm=1) == 0)
    root = np.array([0.0, -8.0, 30.0])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in box.geometry.shape], indexing="ij"), axis=-1)
    muscle &= np.linalg.norm(box.geometry.to_points(index) - root, axis=-1) > 34
    assert tree.field[muscle].max() <= AIR + 1


def test_tube_mask_has_the_outer_width_of_the_vessel(made_study: MadeStudy) -> None:
    geometry = heart_box(made_study.volume, made_study.structures, made_study.findings).geometry
    branch = made_study.findings.branches[3]
    mask = tube_mask(geometry, [branch], extra_mm=0.0, soft_mm=0.01)
    length = 0.4 * (len(branch.points_mm) - 1)
    volume = (mask > 127).sum() * 0.125
    assert volume == pytest.approx(np.pi * 2.1**2 * length, rel=0.12)


def test_same_study_same_picture(made_study: MadeStudy) -> None:
    box = heart_box(made_study.volume, made_study.structures, made_study.findings)
    scene = tree_scene(box, made_study.findings.branches)
    first, second = (render(scene, Camera(20, 0), size=200, width_mm=120, centre=np.zeros(3)) for _ in range(2))
    assert first.max() > 100
    assert (first == second).all()


def test_no_heart_is_a_failure_not_a_black_picture(made_study: MadeStudy) -> None:
    empty = LabelMap(np.zeros((10, 10, 10), np.uint8), Geometry(shape=(10, 10, 10), spacing=(3.0, 3.0, 3.0), origin=(0, 0, 0)))
    with pytest.raises(ImagingError) as caught:
        heart_box(made_study.volume, empty, made_study.findings)
    assert caught.value.code == "IMG-001"
