"""The calcium rule on cases worked out by hand, and the place of deposits in a heart of simple shapes."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.calcium import above_noise, noise_limit, not_scored, score_calcium
from appliance.analysis.calcium_score import agatston, category, density_weight, find_deposits, mass_mg, volume_mm3
from appliance.analysis.rigid import Placement, place_heart
from appliance.analysis.stages import Structure
from appliance.findings import Branch, Calcium, Stent
from appliance.volume import Geometry, Volume
from tests.appliance.analysis.hearts import MIDDLE, ROOT, heart

BLOOD, FAT = 45, -100


def slices(*planes: dict[tuple[int, int], int], increment: float = 3.0, pixel: float = 0.5, size: int = 12) -> Volume:
    """Planes of blood with single pixels of other attenuation."""
    voxels = np.full((len(planes), size, size), BLOOD, np.int16)
    for plane, pixels in zip(voxels, planes, strict=True):
        for place, hu in pixels.items():
            plane[place] = hu
    return Volume(voxels, Geometry(voxels.shape, (pixel, pixel, increment), (0.0, 0.0, 0.0)))


def block(height: int, width: int, hu: int, *, peak: int | None = None, at: tuple[int, int] = (2, 2)) -> dict[tuple[int, int], int]:
    pixels = {(at[0] + row, at[1] + column): hu for row in range(height) for column in range(width)}
    if peak is not None:
        pixels[at] = peak
    return pixels


@pytest.mark.parametrize(
    ("peak", "weight"),
    [(129, 0), (130, 1), (199, 1), (200, 2), (299, 2), (300, 3), (399, 3), (400, 4), (1500, 4)],
)
def test_the_weight_follows_the_peak(peak: int, weight: int) -> None:
    assert density_weight(peak) == weight


def test_area_times_weight_of_the_peak_in_that_slice() -> None:
    """3 x 4 pixels of 0.25 mm2 are 3 mm2: weight 1 at 150 HU, 2 with one pixel of 260 HU; the slices are weighed apart and added."""
    volume = slices(block(3, 4, 150), block(3, 4, 150, peak=260))
    deposits = find_deposits(volume)
    assert [(each.area_mm2, each.weight) for each in deposits] == [(3.0, 1), (3.0, 2)]
    assert agatston(deposits, increment_mm=3.0) == pytest.approx(9.0)


def test_the_classic_example() -> None:
    """A deposit of 8 mm2 with a peak of 420 HU in one slice and of 5 mm2 with 210 HU in the next one: 8 x 4 + 5 x 2 = 42."""
    volume = slices(block(4, 8, 250, peak=420), block(4, 5, 180, peak=210))
    assert agatston(find_deposits(volume), increment_mm=3.0) == pytest.approx(42.0)


def test_pieces_under_a_square_millimetre_are_noise() -> None:
    volume = slices({**block(1, 3, 500), **block(2, 2, 180, at=(8, 8))})
    (only,) = find_deposits(volume)
    assert (only.area_mm2, only.peak_hu) == (1.0, 180)


def test_two_pieces_in_a_slice_have_a_weight_each() -> None:
    volume = slices({**block(2, 2, 150), **block(2, 2, 410, at=(8, 8))})
    assert agatston(find_deposits(volume), increment_mm=3.0) == pytest.approx(1.0 * 1 + 1.0 * 4)


def test_pixels_that_touch_at_a_corner_only_are_apart() -> None:
    volume = slices({**block(2, 2, 150), **block(2, 2, 410, at=(4, 4))})
    assert len(find_deposits(volume)) == 2


def test_other_increments_count_in_proportion() -> None:
    """The same body in slices of 1.5 mm shows twice as often and scores the same."""
    thick = slices(block(4, 4, 300))
    thin = slices(block(4, 4, 300), block(4, 4, 300), increment=1.5)
    assert agatston(find_deposits(thick), increment_mm=3.0) == pytest.approx(agatston(find_deposits(thin), increment_mm=1.5))


@pytest.mark.parametrize(
    ("score", "name"),
    [(0.0, "0"), (0.2, "1-10"), (10.4, "1-10"), (10.6, "11-100"), (100.4, "11-100"), (101, "101-400"), (400.4, "101-400"), (401, ">400")],
)
def test_categories_by_the_whole_number(score: float, name: str) -> None:
    assert category(score) == name


def test_volume_between_slices_is_interpolated() -> None:
    """A block of 215 HU in one slice of 3 mm beside blood of 45 HU falls to 130 HU half way to its neighbours: 3 mm stay 3 mm."""
    volume = slices({}, block(4, 4, 215), {})
    assert volume_mm3(find_deposits(volume), volume) == pytest.approx(4 * 4 * 0.25 * 3.0)


def test_volume_of_a_neighbour_is_left_out() -> None:
    volume = slices({**block(4, 4, 600), **block(4, 4, 600, at=(7, 7))})
    first, second = find_deposits(volume)
    assert volume_mm3([first], volume) == pytest.approx(volume_mm3([second], volume)) == pytest.approx(12.0)
    assert volume_mm3([], volume) == 0.0


def test_mass_is_factor_times_mean_times_volume() -> None:
    """200 HU over 12 mm3 at 0.8 mg per cm3 and HU: 0.8 x 200 x 0.012 = 1.92 mg."""
    volume = slices(block(4, 4, 200))
    assert mass_mg(find_deposits(volume), increment_mm=3.0, factor=0.8) == pytest.approx(1.92)


@pytest.mark.parametrize(("kvp", "reason"), [(120.0, None), (121.0, None), (100.0, "kvp_not_120"), (None, "kvp_unknown")])
def test_the_rule_holds_at_120_kv_only(kvp: float | None, reason: str | None) -> None:
    assert not_scored(kvp) == reason


# -- in a heart


HEART = heart()
LINE = MIDDLE + np.array([0.0, -34.0, 0.0]) + np.linspace(-20.0, 20.0, 81)[:, None] * np.array([1.0, 0.0, 0.0])
"""A coronary artery in front of the made-up heart."""


def angiogram(contrast: int = 350, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), spacing: float = 1.5, *, seed: int = 1) -> Volume:
    """The made-up heart in fat and lung, its blood at some attenuation, moved by ``shift``."""
    size = int(150 / spacing)
    grid = Geometry((size, size, size), (spacing,) * 3, (0.0, 0.0, 0.0))
    points = grid.to_points(np.argwhere(np.ones(grid.shape, np.bool_))) - np.asarray(shift)
    index = np.rint(HEART.structures.geometry.to_index(points)).astype(int)
    labels = HEART.structures.labels[tuple(np.clip(index, 0, 49).T)].reshape(grid.shape)
    hu = np.where(labels == 0, FAT, contrast)
    hu = np.where(labels == Structure.LV_MYOCARDIUM, 100 if contrast > 100 else 50, hu)
    noise = np.random.default_rng(seed).normal(0.0, 10.0, grid.shape)
    return Volume((hu + noise).astype(np.int16), grid)


def calcium_scan(places: list[np.ndarray], *, shift: tuple[float, float, float] = (0.0, 0.0, 0.0), hu: int = 420) -> Volume:
    """The same heart without contrast in slices of 3 mm with blocks of 3 x 3 mm at some places."""
    fine = angiogram(BLOOD, shift, 1.5, seed=2)
    voxels = fine.voxels[::2].copy()
    grid = Geometry(voxels.shape, (1.5, 1.5, 3.0), (0.0, 0.0, 0.0))
    for place in places:
        z, y, x = np.rint(grid.to_index(place + np.asarray(shift))).astype(int)
        voxels[z, y : y + 2, x : x + 2] = hu
    return Volume(voxels, grid)


BRANCHES = (
    Branch(
        id=0,
        parent=None,
        parent_index=None,
        vessel="LAD",
        points_mm=tuple((float(x), float(y), float(z)) for x, y, z in LINE),
        segments=((0, 81, "pLAD"),),
        name_confidence=1.0,
        lumen_diameter_mm=(3.0,) * 81,
        vessel_diameter_mm=(4.0,) * 81,
    ),
)
AORTIC = ROOT + np.array([14.0, 0.0, 20.0])


def scored(scan: Volume, **more: object) -> Calcium:
    result = score_calcium(scan, angiogram(), HEART, BRANCHES, series_uid="1.2.3", **more)  # type: ignore[arg-type]
    assert isinstance(result, Calcium)
    return result


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (6.0, -8.0, 5.0), (-12.0, 9.0, -9.0)])
def test_a_shifted_scan_is_laid_on_the_angiogram(shift: tuple[float, float, float]) -> None:
    placement = place_heart(calcium_scan([], shift=shift), angiogram(), HEART)
    assert placement.found
    moved = placement.apply(LINE + np.asarray(shift))
    assert float(np.linalg.norm(moved - LINE, axis=1).max()) < 1.0
    np.testing.assert_allclose(placement.invert(moved), LINE + np.asarray(shift), atol=1e-9)


def test_a_scan_of_something_else_is_not_scored() -> None:
    noise = np.random.default_rng(5).normal(0.0, 80.0, (50, 100, 100)).astype(np.int16)
    scan = Volume(noise, Geometry(noise.shape, (1.5, 1.5, 3.0), (0.0, 0.0, 0.0)))
    assert score_calcium(scan, angiogram(), HEART, BRANCHES, series_uid="1") == "not_registered"


def test_coronary_calcium_is_scored_and_that_of_the_aorta_is_not() -> None:
    result = scored(calcium_scan([LINE[40], AORTIC]))
    assert result.agatston == pytest.approx(4 * 1.5 * 1.5 * 4)
    assert result.vessels == {"LM": 0.0, "LAD": result.agatston, "LCX": 0.0, "RCA": 0.0}
    assert (result.category, result.mass_mg, result.mass_mg_reason) == ("11-100", None, "not_calibrated")
    assert (result.percentile, result.percentile_reason) == (None, "no_reference_table")


def test_no_calcium_is_zero_with_its_category() -> None:
    result = scored(calcium_scan([AORTIC]))
    assert (result.agatston, result.volume_mm3, result.category) == (0.0, 0.0, "0")


def test_a_calibrated_scanner_gives_a_mass() -> None:
    assert scored(calcium_scan([LINE[40]]), mass_factor=0.8).mass_mg == pytest.approx(0.8 * 420 * 27.0 / 1000.0, rel=1e-3)


def test_what_lies_in_a_stent_is_no_calcium() -> None:
    stent = Stent(branch=0, start=30, end=50, assessable=True)
    assert scored(calcium_scan([LINE[40]]), stents=(stent,)).agatston == 0.0
    assert scored(calcium_scan([LINE[4]]), stents=(stent,)).agatston > 0.0


def test_a_faint_speck_that_noise_would_make_is_left_out() -> None:
    scan = calcium_scan([])
    still = Placement(np.eye(3), MIDDLE, np.zeros(3), 1.0)
    limit = noise_limit(scan, still, HEART)
    assert limit == pytest.approx(BLOOD + 4.5 * 10.0, abs=4.0)
    speck = slices(block(2, 2, 150), block(2, 2, 190), block(4, 4, 150))
    assert len(above_noise(find_deposits(speck), 170.0)) == 2
