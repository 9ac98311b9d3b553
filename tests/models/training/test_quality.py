"""The quality network's samples, whose truth is the physics of the virtual scan, and that it learns from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from models.phantom import Patient, Scan, draw_patient, draw_scan  # noqa: E402
from models.phantom.scan import VESSELS, undisturbed, with_motion  # noqa: E402
from models.phantom.types import Step  # noqa: E402
from models.training.quality_samples import (  # noqa: E402
    THIN_MM,
    VIEW_MM,
    ArteryPoints,
    QualitySample,
    artery_points,
    cells,
    has_step,
    render_patch,
    sharpness_mm,
    truth_at,
)
from models.training.quality_task import answers_of, errors, make_quality_batch, quality_loss, quality_task, rank_correlation  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.train

SHAPE = (32, 64, 64)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(7)


@pytest.fixture(scope="module")
def still(patient: Patient) -> Scan:
    return replace(undisturbed(draw_scan(7)), vessel_hu=500.0, fat_hu=-100.0, noise_hu=20.0, edge_enhancement=0.0)


def on(arteries: ArteryPoints) -> np.ndarray:
    """A point in the middle of an artery."""
    point: np.ndarray = arteries.points_mm[len(arteries.points_mm) // 2]
    return point


def test_a_still_artery_is_excellent(patient: Patient, still: Scan) -> None:
    arteries = artery_points(patient, still)
    assert (arteries.motion_mm == 0).all()
    assert (arteries.diameter_mm >= THIN_MM).all()
    truth = truth_at(patient, still, arteries, on(arteries))
    motion, noise, sigma, contrast, grade = truth["measured"]
    assert (motion, grade) == (0.0, 4.0)
    assert noise == pytest.approx(20.0)
    assert sigma == pytest.approx(still.psf_sigma_mm[0])
    assert contrast == pytest.approx(600.0, rel=0.2)  # the blood of a branch may be a little less bright than the aorta's
    assert truth["present"].tolist() == [1.0, 0.0, 0.0]


def test_motion_is_that_of_the_artery_in_the_middle(patient: Patient, still: Scan) -> None:
    moving = with_motion(still, dict.fromkeys(VESSELS, 4.0))
    arteries = artery_points(patient, moving)
    assert arteries.motion_mm.max() == pytest.approx(4.0, abs=1e-3)
    fastest = arteries.points_mm[int(np.argmax(arteries.motion_mm))]
    measured = truth_at(patient, moving, arteries, fastest)["measured"]
    assert measured[0] == pytest.approx(4.0, abs=1e-3)
    assert measured[4] <= 2.0


def test_away_from_arteries_there_is_nothing_to_judge(patient: Patient, still: Scan) -> None:
    arteries = artery_points(patient, still)
    truth = truth_at(patient, still, arteries, arteries.points_mm.max(axis=0) + 2 * np.asarray(VIEW_MM))
    assert truth["present"][0] == 0.0
    assert np.isnan(truth["measured"][[0, 3, 4]]).all()
    assert np.isfinite(truth["measured"][[1, 2]]).all()


def test_where_arteries_run_is_given_by_cells() -> None:
    """The first cell along x, the middle of y, the last along z; x, y, z in millimetres from the middle of the patch."""
    shares = cells(np.array([[-15.9, 0.1, 7.9], [-15.9, 0.1, 7.9], [-15.9, 0.1, -7.9]]))
    assert shares.shape == (4, 8, 8)
    assert shares[3, 4, 0] == pytest.approx(2 / 3)
    assert shares[0, 4, 0] == pytest.approx(1 / 3)
    assert cells(np.zeros((0, 3))).sum() == 0


def test_a_step_counts_where_slabs_meet_with_a_shift(patient: Patient, still: Scan) -> None:
    middle = patient.grid.origin[2] + 0.5 * patient.grid.spacing * (patient.grid.shape[0] - 1)
    stepped = replace(still, steps=(Step(-20.0, (1.5, 0.0, 0.0)), Step(10.0, (1.5, 0.0, 0.9))))
    assert has_step(patient, stepped, middle - 18.0)
    assert not has_step(patient, stepped, middle - 10.0)
    assert not has_step(patient, stepped, middle + 10.0)  # the second step moves by less than a millimetre from the first
    assert not has_step(patient, still, middle - 18.0)


def test_the_width_of_an_edge_enhancing_kernel_is_that_at_half_its_height(still: Scan) -> None:
    scan = replace(still, edge_enhancement=0.5, psf_sigma_mm=(0.4, 0.4))
    half = sharpness_mm(scan) * np.sqrt(2 * np.log(2))
    profile = [1.5 * np.exp(-0.5 * (x / 0.4) ** 2) / 0.4 - 0.5 * np.exp(-0.5 * (x / 0.68) ** 2) / 0.68 for x in (0.0, half)]
    assert profile[1] / profile[0] == pytest.approx(0.5, abs=0.005)
    assert sharpness_mm(scan) < 0.4


def test_a_patch_shows_the_noise_that_its_truth_names(patient: Patient, still: Scan) -> None:
    """Two renderings differ by noise alone; resampling to 0.5 mm takes some of it away, never adds any."""
    arteries = artery_points(patient, still)
    first, second = (
        render_patch(patient, replace(still, fov_mm=256.0, increment_mm=0.5), on(arteries), np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    quiet = render_patch(patient, replace(still, noise_hu=0.0, fov_mm=256.0, increment_mm=0.5), on(arteries), np.random.default_rng(3))
    assert 8.0 < float((first - quiet).std()) < 20.5
    assert first.shape == SHAPE


def made_up(rng: np.random.Generator) -> QualitySample:
    """A bar across fat whose smear along x is the motion, in noise that is the noise."""
    motion, noise = float(rng.uniform(0.0, 5.0)), float(rng.uniform(8.0, 50.0))
    x = 0.5 * (np.arange(SHAPE[2]) - rng.uniform(20, 44))
    y = 0.5 * (np.arange(SHAPE[1]) - 32)
    smeared = np.clip((2.0 + motion / 2 - np.abs(x)) / (0.5 + motion), 0, 1) * np.clip(2.5 - np.abs(y), 0, 1)[:, None]
    hu = np.broadcast_to(-100 + 500 * smeared, SHAPE) + rng.normal(0.0, noise, SHAPE)
    measured = np.array([motion, noise, 0.35, 500.0, 4.0 - motion / 2], np.float32)
    where = np.zeros((4, 8, 8), np.float32)
    where[:, 3:5, int(np.abs(x).argmin()) // 8] = 1 / 8
    return QualitySample(hu.astype(np.int16), measured, np.array([1, 0, noise > 30], np.float32), where)


def made_up_samples(seed: int) -> Iterator[QualitySample]:
    rng = np.random.default_rng(seed)
    while True:
        yield made_up(rng)


def test_what_is_not_known_does_not_teach() -> None:
    rng = np.random.default_rng(0)
    samples = [made_up(rng) for _ in range(4)]
    for sample in samples:
        sample.measured[2] = np.nan
    batch = make_quality_batch(samples, rng)
    tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in batch.items()}
    answers, looked = torch.zeros(4, 8, requires_grad=True), torch.zeros(4, 256, requires_grad=True)
    loss, terms = quality_loss((answers, looked), tensors)
    loss.backward()
    assert terms["psf_sigma_mm"] == 0.0
    assert answers.grad is not None
    assert (answers.grad[:, 2] == 0).all()
    assert (answers.grad[:, 0] != 0).all()


def test_rank_correlation_shares_ranks() -> None:
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([10.0, 20, 30], np.float32)) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([3.0, 2, 1], np.float32)) == pytest.approx(-1.0)
    assert rank_correlation(np.array([1.0, 1, 2], np.float32), np.array([5.0, 5, 9], np.float32)) == pytest.approx(1.0)
    assert rank_correlation(np.array([1.0, 2, 3], np.float32), np.array([7.0, 7, 7], np.float32)) == 0.0


def test_it_learns_motion_and_noise(tmp_path: Path) -> None:
    held_out = [made_up(np.random.default_rng(1000 + number)) for number in range(10)]

    def score(network: nn.Module) -> dict[str, float]:
        return errors(answers_of(network, held_out), held_out)

    task = replace(quality_task(), source=made_up_samples, batch=4, pool=64, learning_rate=1.5e-3)
    trainer = Trainer(task, folder=tmp_path, score=score, seed=1, log=lambda _: None)
    trainer.run(Schedule(minutes=10.0, steps=60))
    scores, truth = answers_of(trainer.network, held_out), np.stack([sample.measured for sample in held_out])
    for column in (0, 1):
        assert rank_correlation(scores[:, column], truth[:, column]) > 0.6
