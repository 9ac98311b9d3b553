"""The GPU benchmark where there is no GPU: nulls with reasons; and its logic on the host's stand-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.cuda.driver import no_device
from tests.appliance.inference.cuda.hostcuda import HostDriver
from tests.bench import gpu, gpu_estimate
from tests.bench.gpu_timing import TimedDriver, copy_ceiling


def test_without_a_card_every_figure_is_null_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> Any:
        raise no_device("no card number 0")

    monkeypatch.setattr(gpu, "open_driver", none)
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path / "a" / "b.json"), "--keep", str(tmp_path / "kept.json")])
    assert gpu.main() == 0
    figures = json.loads((tmp_path / "a" / "b.json").read_text())
    assert figures["device"] is None
    for key in gpu.KEYS:
        assert figures[key] is None
        assert "no card" in figures[f"{key}_reason"]
    assert not (tmp_path / "kept.json").exists()
    assert "no GPU" in capsys.readouterr().out


def test_events_are_put_around_every_kernel_and_the_ceiling_is_what_was_copied() -> None:
    driver = TimedDriver(HostDriver())
    size = 1 << 20
    assert copy_ceiling(driver, size=size) == pytest.approx(2 * size / 1e-3)
    assert driver.seconds() == pytest.approx({"copy_ceiling": 7e-3})
    assert driver.least_free == (8 << 30) - 2 * size


def test_operations_are_counted_as_by_hand() -> None:
    pytest.importorskip("onnx")
    from tests.bench.gpu_count import count

    model = ModelCatalog.load(installed_catalog())["cor-seg"]
    layers = {layer.name: layer for layer in count(model.path, (1, len(model.channels), 32, 48, 64))}
    half = 16 * 24 * 32
    first = layers["/network/body/encoders.0/first/Conv"]
    assert first.flop == 2 * half * 27 * 32 * 32
    assert first.moved == 2 * (2 * 32 * half + 27 * 32 * 32)
    head = layers["/network/head/ConvTranspose"]
    assert head.flop == 2 * half * 8 * 64 * 5


def test_the_estimate_shows_its_arithmetic(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps({"stage_read_cpu_s": 1.5, "stage_key_views_cpu_s": 4.0, "study_cpu_s": 20.0, "stage_total_cpu_s": 19.0}))
    text, seconds = gpu_estimate.estimate(bench)
    assert set(seconds) == {card.name for card in gpu_estimate.CARDS}
    assert all(4.5 < took < 20 for took in seconds.values())
    works = gpu_estimate.study_work(ModelCatalog.load(installed_catalog()))
    card = gpu_estimate.CARDS[0]
    slower = gpu_estimate.Card("half", 13, 1.2, 1024, 144.0, 20.0, "")
    assert works[0].seconds(slower) == pytest.approx(2 * works[0].seconds(card))
    assert card.peak_tflops == pytest.approx(31.95, abs=0.01)
    assert "TFLOP" in text
    assert np.isfinite(list(seconds.values())).all()
