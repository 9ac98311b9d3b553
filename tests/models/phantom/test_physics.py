"""The physics of the virtual CT on a patient of two materials: exact expectations for blur, motion, steps, noise and artefacts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import curve_fit
from scipy.special import erf

from models.phantom import artefacts, draw_scan, motion, physics, render, sinogram
from models.phantom.noise import noise_block
from models.phantom.organs import CHANNELS
from models.phantom.phases import at_phase, contraction
from models.phantom.render import point_spread
from models.phantom.scan import VESSELS, calcium_scan, phase_scan, undisturbed, with_motion
from models.phantom.tissue import tissue_table
from models.phantom.types import Branch, FloatArray, Ghost, Grid, Patient, Scan, Step

#: Middle of the patient of two materials.
MIDDLE = np.array([0.0, 0.0, 0.0])
PLAIN = replace(undisturbed(draw_scan(1)), kvp=120.0, fat_hu=-100.0, vessel_hu=400.0, psf_sigma_mm=(0.35, 0.35), edge_enhancement=0.0)


def simple(inside: dict[str, FloatArray] | None = None, *, tube: FloatArray | None = None, size: int = 60) -> Patient:
    """Fat everywhere, the given distance fields (mm) in it, and an RCA of radius 1.5 mm along `tube` or in a far corner."""
    grid = Grid((-size + 0.0, -size + 0.0, -size + 0.0), 2.0, (size + 1, size + 1, size + 1))
    channels = np.full((*grid.shape, len(CHANNELS)), 3000, np.int16)
    channels[..., CHANNELS.index("pericardium")] = -3000
    for name, distance in (inside or {}).items():
        channels[..., CHANNELS.index(name)] = np.clip(distance * 100.0, -3000, 3000)
    line = np.column_stack([np.full(9, 50.0), np.full(9, 50.0), np.linspace(46.0, 50.0, 9)]) if tube is None else tube
    n = len(line)
    radius = np.full(n, 1.5)
    rca = Branch(0, None, None, "RCA", "RCA", line, radius, radius + 0.4, np.zeros((n, 3)), radius, ((0, n, "pRCA"),))
    far = (500.0, 500.0, 500.0)
    box = ((-40.0, -40.0, -40.0), (40.0, 40.0, 40.0))
    return Patient(1, "M", 60, "Test^Glass", grid, channels, CHANNELS, (rca,), (), "right", {"right": far}, (), box)


def axes(grid: Grid) -> tuple[FloatArray, FloatArray, FloatArray]:
    z, y, x = (grid.origin[a] + grid.spacing * np.arange(n) for a, n in zip((2, 1, 0), grid.shape, strict=True))
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return zz, yy, xx


def view(shape: tuple[int, int, int], spacing: float = 0.4, middle: FloatArray = MIDDLE) -> dict[str, Any]:
    corner = middle - 0.5 * spacing * (np.array(shape[::-1]) - 1)
    return {"origin": (float(corner[0]), float(corner[1]), float(corner[2])), "spacing": (spacing,) * 3, "shape": shape}


def upright() -> FloatArray:
    """A centreline along z, 45 mm and more from its beginning where the volume lies, so that it moves with its full amount."""
    z = np.arange(110.0, -60.0, -0.5)
    return np.column_stack([np.zeros(len(z)), np.zeros(len(z)), z])


@pytest.mark.parametrize(("axis", "sigma"), [(0, 0.45), (1, 0.45), (2, 0.6)])
def test_an_edge_is_as_blurred_as_the_scan_says(axis: int, sigma: float) -> None:
    """A plane between blood and fat, fitted by an error function; one voxel of linear partial volume adds h^2/12 to the variance."""
    grid = simple().grid
    patient = simple({"lv": axes(grid)[2 - axis] - 0.13})
    scan = replace(PLAIN, psf_sigma_mm=(0.45, 0.6))
    hu = render(patient, scan, **view((33, 33, 33)), noise=False).hu.astype(float)
    x = 0.4 * (np.arange(33) - 16)
    profile = np.moveaxis(hu, 2 - axis, 0)[:, 12:21, 12:21].mean(axis=(1, 2))

    def edge(x: FloatArray, place: float, width: float, low: float, high: float) -> FloatArray:
        return np.asarray(low + (high - low) * 0.5 * (1.0 - erf((x - place) / (np.sqrt(2.0) * width))))

    (place, width, _, _), _ = curve_fit(edge, x, profile, (0.0, 0.5, -100.0, 380.0))
    assert width == pytest.approx(np.hypot(sigma, 0.4 / np.sqrt(12.0)), rel=0.05)
    assert place == pytest.approx(0.13, abs=0.03)


def test_a_sharp_kernel_overshoots_and_a_gaussian_does_not() -> None:
    assert point_spread(0.8, 0.0).min() > 0.0
    assert point_spread(0.8, 0.5).min() < 0.0
    for enhancement in (0.0, 0.5):
        assert point_spread(0.8, enhancement).sum() == pytest.approx(1.0, abs=1e-5)
    frequencies = [np.abs(np.fft.rfft(point_spread(0.8, e), 64)) for e in (0.0, 0.5)]
    assert frequencies[1][16] > 1.15 * frequencies[0][16]


@pytest.mark.parametrize(("extent", "doubling"), [(2.0, 0.0), (4.0, 0.0), (4.0, 1.0)])
def test_a_moving_tube_is_spread_by_what_the_scan_says_and_its_label_stays(extent: float, doubling: float) -> None:
    """The second moment along the path grows by the variance of the places; that is what any sum of views must show."""
    patient = simple(tube=upright())
    still = replace(PLAIN, psf_sigma_mm=(0.3, 0.3))
    moving = replace(still, motion_mm={"RCA": extent}, motion_direction={"RCA": (1.0, 0.0, 0.0)}, motion_doubling=doubling)
    box = {**view((5, 81, 81)), "noise": False}
    one, other, fat = render(patient, still, **box), render(patient, moving, **box), render(simple(), still, **box)
    assert np.array_equal(one.vessels, other.vessels)
    x = 0.4 * (np.arange(81) - 40)

    def moments(hu: FloatArray) -> tuple[float, float, float]:
        weight = hu[2].astype(float) - fat.hu[2]
        mean = (weight * x).sum() / weight.sum()
        return weight.sum(), mean, (weight * (x - mean) ** 2).sum() / weight.sum()

    rest, moved = moments(one.hu), moments(other.hu)
    assert moved[0] == pytest.approx(rest[0], rel=0.02)
    assert moved[1] == pytest.approx(rest[1], abs=0.05)
    assert moved[2] - rest[2] == pytest.approx(extent**2 * float((motion.places(moving) ** 2).mean()), rel=0.12)


def test_places_on_the_path_have_their_mean_in_the_middle() -> None:
    for doubling in (0.0, 0.7, 1.0):
        share = motion.places(replace(PLAIN, motion_mm={"RCA": 3.0}, motion_doubling=doubling))
        assert share.sum() == pytest.approx(0.0, abs=1e-9)
        assert np.abs(share).max() <= 0.5
    assert np.abs(motion.places(replace(PLAIN, motion_doubling=1.0))).mean() > 0.35


def test_wedges_of_views_add_up_to_the_whole_picture() -> None:
    filters = motion.wedge_filters(5, 33.0, (0.4, 0.5))
    whole = filters.sum(axis=0)
    middle = np.zeros_like(whole)
    middle[whole.shape[0] // 2, whole.shape[1] // 2] = 1.0
    assert np.allclose(whole, middle, atol=1e-5)
    assert filters.sum(axis=(1, 2)) == pytest.approx(np.full(5, 0.2), abs=0.04)


def test_a_step_shifts_the_image_exactly_above_its_height() -> None:
    patient = simple(tube=upright())
    shift = (1.2, -0.8, 0.0)
    scan = replace(PLAIN, steps=(Step(0.0, shift),))
    r = render(patient, scan, **view((21, 41, 41)), noise=False)
    plain = render(patient, PLAIN, **view((21, 41, 41)), noise=False)
    heights = 0.4 * (np.arange(21) - 10)
    for k, z in enumerate(heights):
        y, x = (0.4 * (v.mean() - 20) for v in np.nonzero(r.vessels[k] == 1))
        assert (x, y) == pytest.approx(shift[:2] if z >= -1e-6 else (0.0, 0.0), abs=0.06)
    assert np.array_equal(r.hu[:6], plain.hu[:6])
    points = motion.seen(np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]), patient, scan)
    assert points == pytest.approx(np.array([[0.0, 0.0, -1.0], [1.2, -0.8, 1.0]]))


def test_points_are_seen_where_the_labels_are_whatever_the_step() -> None:
    patient = simple(tube=np.column_stack([np.zeros(200), np.linspace(-50.0, 50.0, 200), np.linspace(-18.0, 18.0, 200)]))
    scan = replace(PLAIN, steps=(Step(-6.0, (0.5, 0.5, 1.0)), Step(4.0, (-1.0, 0.3, -0.7))))
    box = view((91, 265, 41))
    labels = render(patient, scan, **box, noise=False).vessels
    seen = motion.as_seen(patient, scan).branches[0].points_mm
    index = np.rint((seen - np.array(box["origin"])) / 0.4).astype(int)
    hit = labels[index[:, 2], index[:, 1], index[:, 0]] == 1
    assert hit.mean() > 0.9
    borders = np.abs(seen[~hit, 2][:, None] - np.array([-6.0, 4.0])).min(axis=1)
    assert borders.max() < 1.2  # a point is missed only where two slabs leave it out between them


def test_a_ghost_lies_between_its_heights_only() -> None:
    patient = simple(tube=upright())
    scan = replace(PLAIN, ghost=Ghost(-2.0, 2.0, (4.8, 0.0, 0.0), 0.4))
    box = {**view((31, 21, 41)), "noise": False}
    r, plain = render(patient, scan, **box), render(patient, PLAIN, **box)
    fat = render(simple(), scan, **box).hu[:, 10, 20 + 12].astype(float)
    assert np.array_equal(r.vessels, plain.vessels)
    heights = 0.4 * (np.arange(31) - 15)
    for k in np.flatnonzero(np.abs(np.abs(heights) - 2.0) > 1.3):
        ghost = r.hu[k, 10, 20 + 12] - fat[k]
        assert ghost == pytest.approx(0.4 * 500.0 if abs(heights[k]) < 2.0 else 0.0, abs=12.0)


def test_noise_is_as_large_as_the_scan_says_in_the_middle_and_follows_the_map() -> None:
    patient = simple()
    quiet = replace(PLAIN, noise_hu=30.0, noise_coarseness=1.0)
    box = view((24, 48, 48), 0.5)
    clean = render(patient, quiet, **box, noise=False).hu.astype(float)
    assert (render(patient, quiet, **box, seed=3).hu - clean).std() == pytest.approx(30.0, rel=0.07)
    chest = replace(quiet, body_mm=(170.0, 110.0))
    for middle in (MIDDLE, np.array([0.0, -45.0, 0.0]), np.array([45.0, 0.0, 0.0])):
        box = view((24, 40, 40), 0.5, middle)
        clean = render(patient, chest, **box, noise=False).hu.astype(float)
        low, high = np.array(box["origin"]), np.array(box["origin"]) + 19.5
        gain = artefacts.fields(patient, chest, low, high).noise_gain
        measured = np.mean([(render(patient, chest, **box, seed=s).hu - clean).std() for s in (1, 2)])
        assert measured == pytest.approx(30.0 * np.sqrt((gain**2).mean()), rel=0.12)


def test_noise_is_strongest_where_least_light_comes_through() -> None:
    grid = simple().grid
    _, yy, xx = axes(grid)
    everywhere, nowhere = np.full(grid.shape, -30.0), np.full(grid.shape, 30.0)
    spine = simple({"body": everywhere, "pericardium": nowhere, "bone": np.hypot(xx, yy - 45.0) - 14.0})
    scan = replace(PLAIN, body_mm=(170.0, 110.0))
    whole = (np.array([-59.0, -59.0, 0.0]), np.array([59.0, 59.0, 0.0]))
    gain = artefacts.fields(spine, scan, *whole).noise_gain[0]
    plain = artefacts.fields(simple(), scan, *whole).noise_gain[0]
    assert gain[30, 30] == pytest.approx(1.0, abs=0.06)
    assert plain[30, 30] > plain[3, 30]
    assert plain[30, 30] > plain[30, 3] > plain[3, 3]
    assert gain[52, 30] / plain[52, 30] > 1.1
    arms = artefacts.fields(simple(), replace(scan, arms_down=True), *whole).noise_gain[0]
    assert arms[47, 30] / arms[5, 30] > 1.15 * plain[47, 30] / plain[5, 30]


def test_a_larger_grain_is_coarser_and_iterative_noise_lacks_high_frequencies() -> None:
    def high_share(block: FloatArray) -> float:
        spectrum = np.abs(np.fft.rfftn(block)) ** 2
        f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :])
        power = spectrum.sum(axis=0)
        return float(power[f > 0.12].sum() / power.sum())

    fine, coarse = noise_block("cardiac-standard", 1.0), noise_block("cardiac-standard", 1.5)
    iterative = noise_block("cardiac-standard", 1.0, None, "iterative", 0.75)
    sharp = noise_block("cardiac-sharp", 1.0)
    for block in (fine, coarse, iterative, sharp):
        assert block.std() == pytest.approx(1.0, abs=1e-3)
    assert high_share(sharp) > high_share(fine) > high_share(coarse)
    assert high_share(iterative) < high_share(fine)


def test_reconstruction_inverts_projection() -> None:
    y, x = np.mgrid[:61, :61] - 30.0
    image = ((np.hypot(x - 6.0, y + 4.0) < 10.0) * 0.4)[None].astype(np.float32)
    angles = sinogram.half_turn(120)
    paths = sinogram.project(image, angles, 2.0, 90)
    assert paths.sum(axis=2) * 2.0 == pytest.approx(np.full((1, 120), float(image.sum()) * 4.0), rel=1e-4)
    back = sinogram.reconstruct(paths, angles, 2.0, (61, 61), (20, 33, 30, 43))
    assert back[0, 6, 6] == pytest.approx(0.4, abs=0.01)
    assert sinogram.reconstruct(paths, angles, 2.0, (61, 61), (0, 5, 0, 5)) == pytest.approx(np.zeros((1, 5, 5)), abs=0.01)


def test_a_dark_band_joins_two_dense_things() -> None:
    grid = simple().grid
    _, yy, xx = axes(grid)
    patient = simple({"ao": np.hypot(xx - 30.0, yy) - 12.0, "lv": np.hypot(xx + 30.0, yy) - 12.0})
    scan = replace(PLAIN, beam_hardening=1.0, vessel_hu=600.0)
    added = artefacts.fields(patient, scan, np.array([-59.0, -59.0, 0.0]), np.array([59.0, 59.0, 0.0])).added_hu[0]
    assert added[30, 30] < -4.0
    assert added[30, 30] < added[12, 30] - 4.0
    assert np.abs(artefacts.fields(patient, PLAIN, MIDDLE, MIDDLE + 4.0).added_hu).max() == 0.0


def test_streaks_come_from_dense_streaming_blood_and_weaken_with_distance() -> None:
    grid = simple().grid
    _, yy, xx = axes(grid)
    patient = simple({"svc": np.hypot(xx, yy) - 9.0})
    scan = replace(PLAIN, right_heart_hu=600.0, streaks=1.0)
    box = (np.array([-59.0, -59.0, 0.0]), np.array([59.0, 59.0, 0.0]))
    added = artefacts.fields(patient, scan, *box).added_hu[0]
    y, x = np.mgrid[:61, :61] - 30.0
    away = 2.0 * np.hypot(x, y)
    near, far = added[(away > 12.0) & (away < 22.0)].std(), added[(away > 45.0) & (away < 58.0)].std()
    assert near > 8.0
    assert near > 1.25 * far
    empty = replace(scan, right_heart_hu=60.0)
    assert np.abs(artefacts.fields(patient, empty, *box).added_hu).max() < 1e-3


def test_a_window_of_the_fields_equals_the_whole() -> None:
    grid = simple().grid
    _, yy, xx = axes(grid)
    patient = simple({"svc": np.hypot(xx, yy) - 9.0})
    scan = replace(PLAIN, right_heart_hu=600.0, streaks=1.0, beam_hardening=0.5, body_mm=(160.0, 105.0))
    whole = artefacts.fields(patient, scan, np.array([-59.0, -59.0, -20.0]), np.array([59.0, 59.0, 20.0]))
    part = artefacts.fields(patient, scan, np.array([-10.0, 4.0, -3.0]), np.array([14.0, 30.0, 9.0]))
    i, j, k = np.rint((part.origin - whole.origin) / whole.spacing).astype(int)
    n = part.added_hu.shape
    box = (slice(k, k + n[0]), slice(j, j + n[1]), slice(i, i + n[2]))
    assert part.added_hu == pytest.approx(whole.added_hu[box], abs=1e-3)
    assert part.noise_gain == pytest.approx(whole.noise_gain[box], abs=1e-5)


def test_nothing_is_seen_outside_a_round_field() -> None:
    patient = simple(tube=upright())
    scan = replace(PLAIN, round_field=True, fov_mm=20.0)
    r = render(patient, scan, **view((5, 81, 81)))
    y, x = 0.4 * (np.mgrid[:81, :81] - 40)
    outside, inside = np.hypot(x, y) > 10.01, np.hypot(x, y) < 9.99
    assert (r.hu[:, outside] == -1024).all()
    assert (r.structures[:, outside] == 0).all()
    assert (r.hu[:, inside] > -300).all()


def test_thick_slices_average_what_lies_in_them() -> None:
    """A short piece of vessel loses contrast in a 6 mm slice; what the slices hold together stays."""
    z = np.arange(-0.5, 0.51, 0.5)
    patient = simple(tube=np.column_stack([np.zeros(len(z)), np.zeros(len(z)), z]))
    thin = replace(PLAIN, psf_sigma_mm=(0.3, 0.3))
    thick = replace(PLAIN, psf_sigma_mm=(0.3, 6.0 / np.sqrt(12.0)))
    columns = []
    for scan, pitch, count in ((thin, 0.4, 61), (thick, 3.0, 9)):
        box = {"origin": (-4.0, -4.0, -12.0), "spacing": (0.4, 0.4, pitch), "shape": (count, 21, 21), "noise": False}
        columns.append((render(patient, scan, **box).hu - render(simple(), scan, **box).hu.astype(float))[:, 10, 10])
    assert columns[1].sum() * 3.0 == pytest.approx(columns[0].sum() * 0.4, rel=0.05)
    assert columns[1].max() < columns[0].max() - 100.0


def test_attenuation_falls_with_voltage_and_iodine_falls_fastest() -> None:
    assert physics.iodine_factor(120.0) == physics.calcium_factor(120.0) == 1.0
    kvp = np.linspace(70.0, 140.0, 15)
    iodine, calcium = (np.array([f(v) for v in kvp]) for f in (physics.iodine_factor, physics.calcium_factor))
    assert (np.diff(iodine) < 0).all()
    assert (np.diff(calcium) < 0).all()
    assert (iodine >= calcium)[kvp < 120.0].all()
    assert tissue_table(replace(PLAIN, kvp=80.0))["bone"][0] == pytest.approx(1.42 * 620.0)
    assert physics.fat_hu(70.0) < physics.fat_hu(140.0) < -90.0


def test_scans_are_drawn_as_often_good_as_promised_and_within_range() -> None:
    scans = [draw_scan(seed) for seed in range(1500)]
    share = {
        "still": np.mean([not s.motion_mm for s in scans]),
        "bad": np.mean([max(s.motion_mm.values(), default=0.0) > 2.2 for s in scans]),
        "steps": np.mean([bool(s.steps) for s in scans]),
        "streaks": np.mean([s.streaks > 0.0 or s.ghost is not None for s in scans]),
        "poor": np.mean([s.vessel_hu < 300.0 for s in scans]),
    }
    assert share["still"] == pytest.approx(0.58, abs=0.05)
    assert share["bad"] == pytest.approx(0.135, abs=0.04)
    assert share["steps"] == pytest.approx(0.15, abs=0.04)
    assert share["streaks"] == pytest.approx(0.14, abs=0.05)
    assert 0.08 < share["poor"] < 0.3
    assert all(180.0 <= s.vessel_hu <= 650.0 and 10.0 <= s.noise_hu <= 60.0 and 60.0 <= s.myocardium_hu <= 140.0 for s in scans)
    assert all(0.4 <= s.slice_thickness_mm <= 1.0 and 160.0 <= s.fov_mm <= 260.0 for s in scans)
    assert {s.reconstruction for s in scans} == {"fbp", "iterative", "deep-learning"}
    assert min(s.right_heart_hu for s in scans) < 50.0 < 650.0 < max(s.right_heart_hu for s in scans)


def test_the_right_coronary_moves_most_and_hearts_that_race_move_more() -> None:
    moving = [s for s in map(draw_scan, range(1500)) if s.motion_mm and max(s.motion_mm.values()) <= 2.2]
    mean = {v: np.mean([s.motion_mm[v] for s in moving]) for v in VESSELS}
    assert mean["LAD"] < mean["LCX"] < mean["RCA"]
    rates = [np.mean([with_motion(draw_scan(k), {"RCA": mm}).heart_rate for k in range(60)]) for mm in (0.0, 4.0)]
    assert rates[1] > rates[0] + 10.0
    assert all(np.linalg.norm(d) == pytest.approx(1.0) for s in moving[:20] for d in s.motion_direction.values())


def test_a_branch_moves_with_its_parent_where_it_leaves_it() -> None:
    trunk = upright()
    n = 100
    side = trunk[200] + np.column_stack([np.linspace(0.0, 45.0, n), np.zeros(n), np.zeros(n)])
    patient = simple(tube=trunk)
    radius = np.full(n, 1.0)
    child = Branch(1, 0, 200, "AM", "RCA", side, radius, radius + 0.4, np.zeros((n, 3)), radius, ((0, n, "other"),))
    patient = replace(patient, branches=(*patient.branches, child))
    scan = replace(PLAIN, motion_mm={"RCA": 3.0}, motion_direction={"RCA": (0.0, 1.0, 0.0)})
    path = motion.paths(patient, scan)
    assert path[1][0] == pytest.approx(path[0][200])
    assert np.linalg.norm(path[0], axis=1).max() == pytest.approx(3.0)
    assert np.linalg.norm(path[0][0]) == pytest.approx(0.75)
    assert np.abs(np.diff(path[0], axis=0)).max() < 0.05


def test_the_calcium_scan_is_the_same_patient_without_contrast_medium() -> None:
    for seed in range(20):
        scan = calcium_scan(draw_scan(seed))
        assert scan.kvp == 120.0
        assert not scan.contrast
        assert scan.slice_thickness_mm in (2.5, 3.0)
        table = tissue_table(scan)
        assert all(20.0 < table[name][0] < 65.0 for name in ("ao", "lv", "la", "ra", "rv", "pa", "svc", "ivc", "myocardium", "wall"))


def test_another_phase_moves_more_and_is_reproducible() -> None:
    scan = replace(draw_scan(3), heart_rate=58.0, phase_percent=75.0, motion_mm={}, motion_direction={})
    rest, early = phase_scan(scan, 75.0), phase_scan(scan, 10.0)
    assert rest == scan
    assert min(early.motion_mm.values()) > 0.8
    assert phase_scan(scan, 10.0) == early
    assert early.heart_rate == scan.heart_rate
    assert contraction(38.0) == 1.0
    assert contraction(75.0) < 0.02


def test_a_heart_contracts_towards_its_apex_and_takes_its_vessels_along() -> None:
    grid = simple().grid
    zz, yy, xx = axes(grid)
    ventricle = np.sqrt(xx**2 + yy**2 + (zz / 1.6) ** 2) - 16.0
    atrium = np.sqrt(xx**2 + yy**2 + (zz - 36.0) ** 2) - 12.0
    wall = ventricle - 9.0
    tube = np.column_stack([np.full(121, 27.0), np.zeros(121), np.linspace(25.0, -25.0, 121)])
    sac = np.minimum(wall, atrium) - 6.0
    patient = simple({"lv": ventricle, "la": atrium, "myocardium": wall, "pericardium": sac}, tube=tube)
    systole = at_phase(patient, 38.0)
    before, after = ((p.channel("lv") < 0).sum() * 8.0 for p in (patient, systole))
    assert 0.35 < 1.0 - after / before < 0.75
    assert at_phase(patient, 75.0) is patient
    moved = systole.branches[0].points_mm - tube
    assert (moved[:, 0] < -1.0).all()
    assert moved[0, 2] < moved[-1, 2] - 2.0
    clearance = [sampled(p, "myocardium", p.branches[0].points_mm) for p in (patient, systole)]
    assert np.abs(clearance[1] - clearance[0]).max() < 1.0
    assert np.linalg.norm(np.diff(systole.branches[0].points_mm, axis=0), axis=1).max() < 0.5


def sampled(patient: Patient, name: str, points: FloatArray) -> FloatArray:
    index = (points - np.asarray(patient.grid.origin)) / patient.grid.spacing
    return np.asarray(ndimage.map_coordinates(patient.channel(name), index[:, ::-1].T, order=1))


def test_metal_lies_where_it_belongs() -> None:
    grid = simple().grid
    zz, yy, xx = axes(grid)
    patient = simple({
        "svc": np.maximum(np.hypot(xx + 20.0, yy) - 8.0, 20.0 - zz), "ra": np.sqrt((xx + 20.0) ** 2 + yy**2 + zz**2) - 16.0,
        "rv": np.sqrt((xx - 18.0) ** 2 + (yy + 5.0) ** 2 + (zz + 15.0) ** 2) - 18.0,
    })  # fmt: skip
    scan: Scan = replace(PLAIN, metal=("lead",), right_heart_hu=200.0)
    (lead, _, _), (tip, _, _) = artefacts.metal_tubes(patient, scan)
    assert lead[0, 2] > 50.0
    assert sampled(patient, "rv", tip[-1:])[0] < 2.0
    middle = lead[70]
    r = render(patient, scan, **view((21, 21, 21), 0.4, middle))
    assert r.hu.max() == 3071
    assert (r.vessels == 0).all()
