"""The motion network's samples, whose truth is the physics of the virtual scan, and that it learns from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from appliance.analysis.motion_network import RADII_MM, WINDOW_SHAPE  # noqa: E402
from models.phantom import Patient, Scan, draw_patient, draw_scan  # noqa: E402
from models.phantom.scan import VESSELS, undisturbed, with_motion  # noqa: E402
from models.training.arteries import THIN_MM, ArteryPoints, artery_points, render_box  # noqa: E402
from models.training.motion_regions import (  # noqa: E402
    REGION_SHAPE,
    SPACING_MM,
    Region,
    draw_region,
    draw_regions,
    keep_regions,
    lines_of,
    load_regions,
)
from models.training.motion_samples import MotionSample, windows_of  # noqa: E402
from models.training.motion_task import answers_of, errors, make_motion_batch, motion_task, raw, separation  # noqa: E402
from models.training.ranks import rank_correlation  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.train


def two_tubes() -> Region:
    """Two still vessels along z, of 3 and 4 mm, that moved by 1 and 5 mm says the truth."""
    _, y, x = np.mgrid[-7.75:8:0.5, -15.75:16:0.5, -15.75:16:0.5]
    inside = (np.hypot(x + 6, y) <= 1.5) | (np.hypot(x - 6, y) <= 2.0)
    along = np.arange(-9.0, 9.0, 0.5)
    rows = [
        np.column_stack([np.full_like(along, at), 0 * along, along, 0 * along + d, 0 * along + m]) for at, d, m in ((-6, 3, 1), (6, 4, 5))
    ]
    return Region(np.where(inside, 400, -90).astype(np.int16), np.array([0, 0.3, 400], np.float32), np.concatenate(rows).astype(np.float32))


def test_each_artery_is_a_line_of_its_own_inside_the_region() -> None:
    lines = lines_of(two_tubes())
    assert [line[0, 3] for line in lines] == [3.0, 4.0]
    assert all(np.abs(line[:, 2]).max() <= 7.75 for line in lines)


def test_windows_show_their_artery_and_carry_its_truth() -> None:
    samples = windows_of(two_tubes(), np.random.default_rng(0))
    assert {(sample.diameter_mm, sample.motion_mm) for sample in samples} == {(3.0, 1.0), (4.0, 5.0)}
    for sample in samples:
        assert sample.hu.shape == WINDOW_SHAPE
        reach = RADII_MM[(sample.hu < 155).argmax(axis=2)].mean()
        assert reach == pytest.approx(0.5 * sample.diameter_mm, abs=0.5)


def test_regions_survive_the_disk(tmp_path: Path) -> None:
    regions = [two_tubes(), replace(two_tubes(), arteries=np.zeros((0, 5), np.float32)), two_tubes()]
    keep_regions(regions, tmp_path / "7.npz")
    back = load_regions(tmp_path / "7.npz")
    assert [len(region.arteries) for region in back] == [len(region.arteries) for region in regions]
    np.testing.assert_array_equal(back[2].hu, regions[2].hu)
    assert [path.name for path in tmp_path.iterdir()] == ["7.npz"]


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(7)


@pytest.fixture(scope="module")
def still() -> Scan:
    return replace(undisturbed(draw_scan(7)), vessel_hu=500.0, fat_hu=-100.0, noise_hu=20.0, edge_enhancement=0.0)


def test_the_truth_is_that_of_the_scan(patient: Patient, still: Scan) -> None:
    moving = with_motion(still, dict.fromkeys(VESSELS, 4.0))
    arteries = artery_points(patient, moving)
    fastest = arteries.points_mm[int(np.argmax(arteries.motion_mm))]
    region = draw_region(patient, moving, arteries, fastest, np.random.default_rng(1))
    assert region.arteries[:, 4].max() == pytest.approx(4.0, abs=1e-3)
    assert region.whole[2] == pytest.approx(moving.vessel_hu)
    (calm,) = {float(each.arteries[:, 4].max(initial=0.0)) for each in draw_regions(patient, np.random.default_rng(1), scans=[still])}
    assert calm == 0.0


def test_only_what_is_wide_enough_is_judged_and_a_still_scan_moves_nothing(patient: Patient, still: Scan) -> None:
    arteries = artery_points(patient, still)
    assert (arteries.motion_mm == 0).all()
    assert (arteries.diameter_mm >= THIN_MM).all()
    assert artery_points(patient, with_motion(still, dict.fromkeys(VESSELS, 4.0))).motion_mm.max() == pytest.approx(4.0, abs=1e-3)


def test_a_region_shows_the_noise_of_its_scan(patient: Patient, still: Scan) -> None:
    """Two renderings differ by noise alone; resampling to 0.5 mm takes some of it away, never adds any."""

    def box(noise_hu: float) -> np.ndarray:
        scan = replace(still, noise_hu=noise_hu, fov_mm=256.0, increment_mm=0.5)
        centre = middle_of(artery_points(patient, still))
        return render_box(patient, scan, centre, np.random.default_rng(3), shape=REGION_SHAPE, spacing_mm=SPACING_MM)

    first = box(20.0)
    np.testing.assert_array_equal(first, box(20.0))
    assert 8.0 < float((first - box(0.0)).std()) < 20.5
    assert first.shape == REGION_SHAPE


def middle_of(arteries: ArteryPoints) -> np.ndarray:
    point: np.ndarray = arteries.points_mm[len(arteries.points_mm) // 2]
    return point


def made_up(rng: np.random.Generator) -> MotionSample:
    """A vessel of 3 mm smeared to both sides by half its motion, in noise."""
    moved = float(rng.uniform(0.0, 5.0))
    angle = 2 * np.pi * np.arange(WINDOW_SHAPE[1]) / WINDOW_SHAPE[1]
    edge = 1.5 + 0.5 * moved * np.abs(np.cos(angle - rng.uniform(0, np.pi)))
    hu = np.where(edge[:, None] > RADII_MM, 400.0, -90.0) + rng.normal(0.0, 20.0, WINDOW_SHAPE)
    return MotionSample(hu.astype(np.int16), 400.0, moved, 3.0)


def made_up_samples(seed: int) -> Iterator[MotionSample]:
    rng = np.random.default_rng(seed)
    while True:
        yield made_up(rng)


def test_a_batch_is_what_the_deployed_graph_computes_for_itself() -> None:
    """Turning aside (it changes no mean over the angles), training sees what the graph makes of raw windows."""
    rng = np.random.default_rng(0)
    samples = [made_up(rng) for _ in range(3)]
    batch = make_motion_batch(samples, rng)
    channels = batch["channels"]
    assert channels is not None
    assert channels.shape == (3, 1, *WINDOW_SHAPE)
    hu = raw(samples)[:, 0].numpy()
    relative = np.clip((hu + 90.0) / 490.0, -0.4, 1.8)
    np.testing.assert_allclose(channels[:, 0].mean(axis=(1, 2)), relative.mean(axis=(1, 2)), atol=1e-3)
    assert batch["far"] is not None
    assert batch["far"].tolist() == [float(sample.motion_mm > 3.0) for sample in samples]


def test_it_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    held = [made_up(rng) for _ in range(64)]
    task = replace(motion_task(), source=made_up_samples, pool=512, batch=32)
    trainer = Trainer(task, folder=tmp_path, score=lambda network: errors(answers_of(network, held), held), seed=3, log=lambda _: None)
    before = errors(answers_of(trainer.network, held), held)
    trainer.run(Schedule(minutes=3.0, steps=60))
    after = errors(answers_of(trainer.network, held), held)
    assert after["error_mm"] < 0.6 * before["error_mm"]
    assert after["rank"] > 0.8


def test_rank_correlation_shares_ranks() -> None:
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([10.0, 20, 30], np.float32)) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([3.0, 2, 1], np.float32)) == pytest.approx(-1.0)
    assert rank_correlation(np.array([1.0, 1, 2], np.float32), np.array([5.0, 5, 9], np.float32)) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([7.0, 7, 7], np.float32)) == 0.0


def test_separation_is_the_area_under_the_curve() -> None:
    assert separation(np.array([1.0, 2.0, 3.0]), np.array([False, False, True])) == 1.0
    assert separation(np.array([1.0, 2.0, 2.0]), np.array([False, True, False])) == 0.75
    assert separation(np.array([1.0]), np.array([True])) == 0.5
