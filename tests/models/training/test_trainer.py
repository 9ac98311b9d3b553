"""A whole short training on a synthetic tube: it learns, is saved, resumed, and exported."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from appliance.inference.catalog import ModelCatalog  # noqa: E402
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine  # noqa: E402
from models.networks.cor_seg import HU_RANGE  # noqa: E402
from models.training.checkpoint import load_checkpoint  # noqa: E402
from models.training.curves import Curve  # noqa: E402
from models.training.development import predict  # noqa: E402
from models.training.export import export_models  # noqa: E402
from models.training.feeder import Feeder, FeederError  # noqa: E402
from models.training.samples import Sample  # noqa: E402
from models.training.sitting import minutes_of_first  # noqa: E402
from models.training.tasks import TASKS  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402

pytestmark = pytest.mark.train


def tube_samples(seed: int) -> Iterator[Sample]:
    """Vessels of random place and size along z, with a wall, in noise."""
    rng = np.random.default_rng(seed)
    while True:
        yield tube_sample(rng)


def tube_sample(rng: np.random.Generator, size: int = 32) -> Sample:
    _, y, x = np.mgrid[:size, :size, :size]
    radius = np.hypot(y - rng.uniform(10, 22), x - rng.uniform(10, 22))
    hu = np.select([radius < 4, radius < 6], [350, 60], -90) + rng.normal(0, 20, radius.shape)
    return Sample(
        hu=hu.astype(np.int16),
        target=np.select([radius < 4, radius < 6], [1, 2], 0).astype(np.uint8),
        skeleton=radius < 0.8,
        context=np.full((2, size, size, size), 255, np.uint8),
        blood_hu=350.0,
    )


def no_samples(seed: int) -> Iterator[Sample]:
    yield from ()


def test_training_learns_resumes_and_exports(tmp_path: Path) -> None:
    task = replace(TASKS["cor-seg"], source=tube_samples, batch=2, pool=32)
    held_out = tube_sample(np.random.default_rng(99))

    def score(network: torch.nn.Module) -> dict[str, float]:
        return {"right": float((predict(network, held_out, hu_range=HU_RANGE) == held_out.target).mean())}

    lines: list[str] = []
    folder = tmp_path / "cor-seg"
    schedule = Schedule(minutes=60.0, steps=60, log_every=0.0)
    Trainer(task, folder=folder, score=score, seed=1, log=lines.append).run(schedule)
    first, _ = load_checkpoint(folder / "checkpoint.pt")
    trainer = Trainer(task, folder=folder, score=score, seed=1, log=lines.append)
    assert vars(trainer.progress) == vars(first)
    trainer.run(schedule)
    second, _ = load_checkpoint(folder / "checkpoint.pt")
    assert (first.steps, second.steps) == (60, 120)
    assert second.sittings == 2
    assert second.samples_drawn == 2 * second.steps
    rows = Curve(folder / "training.csv").rows()
    assert len(rows) == 120
    assert np.mean([row["entropy"] for row in rows[-10:]]) < 0.5 * np.mean([row["entropy"] for row in rows[:10]])
    assert Curve(folder / "development.csv").rows()[-1]["right"] > 0.97
    assert (folder / "development.png").exists()

    list(export_models(folder=tmp_path, models=tmp_path / "models"))
    model = ModelCatalog.load(tmp_path / "models" / "catalog.toml")["cor-seg"]
    assert model.training["sittings"] == 2
    with Image.open(tmp_path / "models" / "cards" / "pictures" / "curve-cor-seg.png") as picture:
        assert np.asarray(picture.convert("L")).min() < 100, "the card shows a curve, not a blank"
    assert model.tile == (96, 96, 96)
    channels = np.zeros((1, 4, 96, 96, 96), np.float32)
    channels[0, 0] = -1000.0
    channels[0, 0, :32, :32, :32] = held_out.hu
    channels[0, 1:3, :32, :32, :32] = 255.0
    channels[0, 3] = 350.0
    outputs = OnnxRuntimeEngine(threads=2).load(model).run(channels)
    inner = outputs["classes"][0, 4:28, 4:28, 4:28]
    assert (inner == held_out.target[4:28, 4:28, 4:28]).mean() > 0.95
    assert (outputs["coronary"][0, 4:28, 4:28, 4:28][inner == 1] > 127).mean() > 0.95


def test_what_was_prepared_counts_and_a_sitting_without_time_makes_one_step(tmp_path: Path) -> None:
    task = replace(TASKS["cor-seg"], source=tube_samples, batch=1, pool=4)
    lines: list[str] = []
    trainer = Trainer(task, folder=tmp_path, score=lambda _: {"right": 0.5}, seed=1, log=lines.append)
    trainer.run(Schedule(minutes=30.0, begun=time.monotonic() - 3600.0))
    progress, _ = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (progress.steps, progress.sittings) == (1, 1)
    assert lines[0].startswith("cor-seg: prepared in 60.")
    assert lines[0].endswith("trains for 0.0")
    assert [row["steps"] for row in Curve(tmp_path / "development.csv").rows()] == [1]


def test_all_networks_together_get_the_minutes_that_were_asked_for() -> None:
    left, given = 120.0, {}
    for number, name in enumerate(names := list(TASKS)):
        given[name] = minutes_of_first(names[number:], left=left)
        left -= given[name] + 1.0  # a minute of scores, which comes out of what follows
    assert 0.0 < -left <= 1.0 + 1e-9, "only the last one's score is later than asked for"
    whole = sum(task.share for task in TASKS.values())
    assert given["heart-loc"] == pytest.approx(120.0 * TASKS["heart-loc"].share / whole)
    assert given["cor-seg"] < 120.0 * TASKS["cor-seg"].share / whole


def test_export_keeps_what_is_not_exported(tmp_path: Path) -> None:
    catalog = Path(__file__).parents[3] / "models" / "catalog.toml"
    (tmp_path / "catalog.toml").write_bytes(catalog.read_bytes())
    list(export_models(folder=tmp_path / "nothing", models=tmp_path))
    before, after = (tomllib.loads(path.read_text(encoding="utf-8")) for path in (catalog, tmp_path / "catalog.toml"))
    assert before == after


def test_a_feeder_that_ends_is_an_error() -> None:
    with Feeder(no_samples, seed=1) as feeder, pytest.raises(FeederError, match="no sample"):
        feeder.take(timeout_s=20.0)
