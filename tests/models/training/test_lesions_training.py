"""Samples of the network ``lesions``: exact labels, straight pieces, and that a short training learns from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from appliance.analysis.lesion_network import PADDING_HU, SIDE  # noqa: E402
from models.networks.lesions import CLASSES, FEATURES, NONE, SIZES, STENT  # noqa: E402
from models.phantom.types import Branch, Grid, Lesion, Patient, Stent  # noqa: E402
from models.training.lesions_samples import LENGTH, LesionSample, Truth, draw_places, true_labels, true_path, wander  # noqa: E402
from models.training.lesions_task import lesion_loss, lesions_task, make_batch, measure_pieces, read_piece  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.train


def branch(number: int, count: int, *, parent: int | None = None, parent_index: int | None = None, radius: float = 1.5) -> Branch:
    points = np.stack([np.full(count, 10.0 * number), np.zeros(count), np.arange(count) * 0.4], axis=1)
    lumen = np.full(count, radius)
    return Branch(
        id=number, parent=parent, parent_index=parent_index, name="LAD", vessel="LAD", points_mm=points, lumen_radius_mm=lumen,
        outer_radius_mm=lumen + 0.5, outer_offset_mm=np.zeros((count, 3)), healthy_radius_mm=np.full(count, radius),
        segments=((0, count, "pLAD"),),
    )  # fmt: skip


def plaque(number: int, start: int, end: int, kind: str, features: frozenset[str] = frozenset()) -> Lesion:
    return Lesion(number, start, (start + end) // 2, end, 50.0, kind, 1.0, {}, features=features)


@pytest.fixture
def patient() -> Patient:
    """A trunk with a half-closed mixed plaque and a stent, and a thin side branch with a calcified one."""
    trunk, side = branch(0, 100), branch(1, 60, parent=0, parent_index=70, radius=0.6)
    trunk.lumen_radius_mm[30:41] = 0.75
    stent = Stent(0, 60, 80, 3.0, 0.05, 1.0, 8000.0, 0.0, np.zeros((0, 7)))
    return Patient(
        seed=0, sex="F", age=60, name="A^B", grid=Grid((0.0, 0.0, 0.0), 2.0, (2, 2, 2)), channels=np.zeros((2, 2, 2, 1), np.int16),
        channel_names=("ao",), branches=(trunk, side), dominance="right", ostia={}, tubes=(), heart_box=((0, 0, 0), (1, 1, 1)),
        lesions=(plaque(0, 25, 45, "mixed", frozenset({"spotty", "positive_remodeling"})), plaque(1, 10, 30, "calcified")),
        stents=(stent,),
    )  # fmt: skip


def test_places_lie_within_vessels_that_are_shorter_than_the_stretch_after_an_origin(patient: Patient) -> None:
    short = replace(patient, branches=(patient.branches[0], branch(1, 14, parent=0, parent_index=70)), lesions=(plaque(1, 8, 13, "mixed"),))
    for seed in range(20):
        for path, at in draw_places(short, np.random.default_rng(seed)):
            assert 0 <= at < len(path.points)


def test_labels_are_what_was_drawn(patient: Patient) -> None:
    truth = true_labels(patient, 0)
    kind = np.full(100, NONE)
    kind[25:46], kind[60:81] = CLASSES.index("mixed"), STENT
    np.testing.assert_array_equal(truth.kind, kind)
    narrowing = np.zeros(100)
    narrowing[30:41] = 0.5
    np.testing.assert_allclose(truth.narrowing, narrowing)
    np.testing.assert_allclose(truth.diameters[:, 0], 3.0 * (1.0 - narrowing))
    np.testing.assert_allclose(truth.diameters[:, 1], 3.0)
    inside = dict(zip(FEATURES, truth.features[35], strict=True))
    assert inside == {"low_attenuation": 0.0, "positive_remodeling": 1.0, "spotty": 1.0, "napkin_ring": 0.0}
    assert (truth.features[kind != CLASSES.index("mixed")] == 0).all()
    # within 1 mm of a shoulder, 2 points to either side, nothing can be seen yet
    np.testing.assert_array_equal(np.flatnonzero(truth.weight < 1.0), [23, 24, 25, 26, 27, 43, 44, 45, 46, 47])


def test_thin_vessels_weigh_less(patient: Patient) -> None:
    assert true_labels(patient, 1).weight.max() < 0.5


def test_a_path_begins_in_the_parents(patient: Patient) -> None:
    labels = [true_labels(patient, number) for number in range(2)]
    path = true_path(patient, labels, 1)
    assert path.upstream == 70
    assert len(path.points) == len(path.truth.kind) == 70 + 60
    np.testing.assert_array_equal(path.points[69], patient.branches[0].points_mm[69])
    np.testing.assert_array_equal(path.points[70], patient.branches[1].points_mm[0])
    np.testing.assert_array_equal(path.truth.kind[70:], labels[1].kind)
    np.testing.assert_array_equal(path.truth.kind[:70], labels[0].kind[:70])


def test_lines_wander_across_by_the_wanted_amount() -> None:
    points = np.stack([np.zeros(400), np.zeros(400), np.arange(400) * 0.4], axis=1)
    error = wander(points, np.random.default_rng(0), 0.2)
    np.testing.assert_allclose(error[:, 2], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.sqrt((error[:, :2] ** 2).mean(axis=0)), 0.2, rtol=0.15)
    assert np.abs(np.diff(error, axis=0)).max() < 0.15
    assert (wander(points, np.random.default_rng(0), 0.0) == 0).all()


def drawn_sample(rng: np.random.Generator, length: int = LENGTH) -> LesionSample:
    """A made-up straight vessel; one in two has a stretch of calcium or of soft plaque in its wall."""
    axis = np.arange(SIDE) - SIDE // 2
    radius = np.hypot(axis[:, None], axis[None, :])
    hu = np.where(radius < 4, 400.0, np.where(radius < 5.5, 60.0, -90.0))[None].repeat(length, axis=0)
    kind = np.zeros(length, np.uint8)
    narrowing = np.zeros(length)
    diameters = np.full((length, 2), 2.8)
    if rng.random() < 0.7:
        start = int(rng.integers(5, length - 25))
        span = slice(start, start + int(rng.integers(10, 20)))
        kind[span] = rng.choice([CLASSES.index("calcified"), CLASSES.index("noncalcified")])
        if kind[start] == CLASSES.index("calcified"):
            hu[span, 14:17, 8:13] = 1000.0
        else:
            hu[span][:, radius >= 2] = np.where(radius[radius >= 2] < 6.5, 60.0, -90.0)
            narrowing[span] = 0.5
            diameters[span, 0] = 1.4
    hu += rng.normal(0.0, 25.0, hu.shape)
    count = np.zeros((length, len(FEATURES)))
    truth = Truth(
        kind=kind, narrowing=narrowing, features=count, diameters=diameters, weight=np.ones(length), blood=np.ones(length)
    )  # fmt: skip
    return LesionSample(hu=hu.astype(np.int16), blood_hu=np.full(length, 400.0, np.float32), truth=truth)


def drawn_samples(seed: int) -> Iterator[LesionSample]:
    rng = np.random.default_rng(seed)
    while True:
        yield drawn_sample(rng, 48)


def test_a_batch_turns_sections_and_leaves_padding_and_truth() -> None:
    rng = np.random.default_rng(3)
    sample = drawn_sample(rng)
    sample.hu[90:] = int(PADDING_HU)
    batch = make_batch([sample, sample], rng)
    assert batch["channels"].shape == (2, 2, LENGTH, SIDE, SIDE)
    assert (batch["channels"][:, 0, 90:] == PADDING_HU).all()
    np.testing.assert_array_equal(batch["kind"], np.stack([sample.truth.kind] * 2))
    # turned and mirrored about the middle: the mean over the section hardly moves
    before = sample.hu[:90].mean(axis=(1, 2))
    np.testing.assert_allclose(batch["channels"][0, 0, :90].mean(axis=(1, 2)), before, atol=35.0)


def test_the_loss_falls_with_the_truth_and_ignores_what_weighs_nothing() -> None:
    sample = drawn_sample(np.random.default_rng(1))
    batch = {name: torch.from_numpy(a) for name, a in make_batch([sample], np.random.default_rng(0)).items() if a is not None}
    scores = torch.zeros(1, len(CLASSES) + 1 + len(FEATURES) + len(SIZES), LENGTH)
    right = scores.clone()
    right[0, batch["kind"][0], torch.arange(LENGTH)] = 8.0
    assert float(lesion_loss(right, batch)[0]) < float(lesion_loss(scores, batch)[0])
    unsure = {**batch, "diameters": torch.full((1, 2, LENGTH), 2.5)}
    assert float(lesion_loss(scores, unsure)[0]) < float(lesion_loss(scores, {**unsure, "diameters": unsure["diameters"] + 1.0})[0])
    # a vein has no diameters to learn
    vein = {**batch, "diameters": torch.full((1, 2, LENGTH), torch.nan)}
    assert np.isfinite(float(lesion_loss(scores, vein)[0]))
    nowhere = {**batch, "weight": torch.zeros(1, LENGTH)}
    assert float(lesion_loss(right, nowhere)[0]) == 0.0


def test_measures_count_found_plaques_false_stretches_and_kinds() -> None:
    truth = Truth(
        kind=np.repeat(np.array([0, 1, 0, 3, 0, 0], np.uint8), 16), narrowing=np.repeat([0.0, 0.4, 0.0, 0.2, 0.0, 0.0], 16),
        features=np.zeros((LENGTH, 4)), diameters=np.tile([1.5, 3.0], (LENGTH, 1)), weight=np.ones(LENGTH), blood=np.ones(LENGTH),
    )  # fmt: skip
    piece = LesionSample(hu=np.zeros((LENGTH, SIDE, SIDE), np.int16), blood_hu=np.zeros(LENGTH, np.float32), truth=truth)
    plaque_share = np.repeat([0.0, 0.9, 0.0, 0.1, 0.0, 0.8], 16)
    reading = {
        "plaque": plaque_share, "kinds": np.tile([0.1, 0.7, 0.2], (LENGTH, 1)), "narrowing": np.full((LENGTH, 1), 0.5),
        "sizes": np.tile([1.75, 0.1, 2.5, 0.1], (LENGTH, 1)),
    }  # fmt: skip
    measures = measure_pieces([piece], [reading])
    assert measures["found"] == 0.5
    assert measures["kind_right"] == 0.0  # calcified was called mixed
    assert measures["false_in_100mm"] == pytest.approx(1 / 0.48)
    assert measures["narrowing_error"] == pytest.approx(0.1)
    assert measures["degree_error"] == pytest.approx(0.1)  # 1 - 1.75 / 2.5 = 0.3 where 0.4 is true
    assert measures["lumen_error_mm"] == pytest.approx(0.25)
    assert measures["healthy_error_mm"] == pytest.approx(0.5)


def test_a_short_training_learns_to_find_and_to_type(tmp_path: Path) -> None:
    task = replace(lesions_task(), source=drawn_samples, batch=6, pool=64)
    rng = np.random.default_rng(99)
    held_out = [drawn_sample(rng, 48) for _ in range(12)]

    def score(network: torch.nn.Module) -> dict[str, float]:
        return measure_pieces(held_out, [read_piece(network, piece) for piece in held_out])

    trainer = Trainer(task, folder=tmp_path, score=score, seed=1, log=lambda _: None)
    trainer.run(Schedule(minutes=60.0, steps=80, log_every=1e9))
    # the running mean of the weights lags behind in so short a run
    measures = score(trainer.network)
    assert measures["found"] > 0.8
    assert measures["kind_right"] > 0.8
    # always saying the mean of all diameters would be off by 0.3 mm and more
    assert measures["lumen_error_mm"] < 0.25
