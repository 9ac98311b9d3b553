"""The figures of one card: the standard virtual study, segmented by each engine that runs here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from appliance.analysis.locate import Located, locate
from appliance.analysis.segment import segment
from appliance.analysis.stages import Segmentation
from appliance.errors import InferenceError
from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.network import DeviceNetwork, Tile
from appliance.inference.cuda.session import Card, CudaSession
from appliance.inference.engine import Session
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.volume import Geometry, Volume
from models.phantom.standard import SHAPE, SPACING_MM, standard_patient, standard_scan, standard_volume
from tests.bench.gpu_count import count
from tests.bench.gpu_networks import OrtNetwork, TorchNetwork, WithoutGraphs
from tests.bench.gpu_timing import TimedDriver, TimedNetwork, copy_ceiling, gemm_ceiling, wall_seconds

LUMEN = 1


@dataclass
class Bench:
    """What all engines are measured on.

    Attributes:
        driver: the card, kernels loaded.
        volume, located: the study.
        model: the network.
        host: the processor's session in 32 bits, and its answer.
        wanted: that answer.
        runs: timed runs per engine.
    """

    driver: Driver
    volume: Volume
    located: Located
    model: Model
    host: Session
    wanted: Segmentation
    runs: int = 5
    figures: dict[str, Any] = field(default_factory=dict)

    def session(self, driver: Any, network: Any) -> CudaSession:
        """A session whose failures are raised: a benchmark must not fall back in silence."""
        return CudaSession(card=Card(driver), network=network, host=self.host, on_failure=_raised)

    def segment_by(self, session: Session) -> Segmentation:
        """The stage."""
        return segment(self.volume, self.located, session=session)


def _raised(error: InferenceError) -> None:
    raise error


def lumen_dice(found: Segmentation, wanted: Segmentation) -> float:
    """Of the lumen masks of two segmentations."""
    a, b = found.classes == LUMEN, wanted.classes == LUMEN
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def segment_figures(driver: Driver) -> dict[str, Any]:
    """All figures."""
    patient, scan = standard_patient(), standard_scan()
    x, y, z = np.mean(patient.heart_box, axis=0) - 0.5 * np.array(SPACING_MM) * (np.array(SHAPE[::-1]) - 1)
    volume = Volume(standard_volume(patient, scan).hu, Geometry(SHAPE, SPACING_MM, (float(x), float(y), float(z))))
    catalog = ModelCatalog.load(installed_catalog())
    processor = OnnxRuntimeEngine(threads=8)
    located = locate(volume, session=processor.load(catalog["heart-loc"]))
    host = processor.load(catalog["cor-seg"])
    started = time.perf_counter()
    wanted = segment(volume, located, session=host)
    figures: dict[str, Any] = {"segment_processor_s": time.perf_counter() - started}
    bench = Bench(driver, volume, located, catalog["cor-seg"], host, wanted)
    figures |= _ceilings(driver)
    figures |= engines(bench)
    figures |= stages(bench, figures)
    figures |= study_seconds()
    show(figures)
    return figures


def _ceilings(driver: Driver) -> dict[str, Any]:
    figures: dict[str, Any] = {"gpu_copy_gb_s": copy_ceiling(driver) / 1e9}
    try:
        figures["gpu_gemm_tflops"] = gemm_ceiling() / 1e12
    except ImportError as error:
        figures["gpu_gemm_tflops_reason"] = str(error)
    return figures


def candidates(bench: Bench) -> dict[str, Callable[[], tuple[Any, DeviceNetwork]]]:
    """The engines: each makes its driver and network, or raises."""
    plain = WithoutGraphs(bench.driver)

    def tensorrt() -> tuple[Any, DeviceNetwork]:
        from tests.bench.gpu_tensorrt import tensorrt_network

        return bench.driver, tensorrt_network(bench.driver, bench.model)

    def by_ort() -> tuple[Any, DeviceNetwork]:
        card = _OwnStream(plain)
        return card, OrtNetwork(bench.model, stream=card.compute)

    return {
        "tensorrt": tensorrt,
        "torch_compile": lambda: (plain, TorchNetwork(bench.model, compiled=True)),
        "torch_eager": lambda: (plain, TorchNetwork(bench.model, compiled=False)),
        "ort": by_ort,
    }


class _OwnStream:
    """A driver whose first stream is known beforehand: ONNX Runtime wants it when it is loaded."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.compute = driver.stream()
        self._given = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def stream(self) -> int:
        """The known one first, then new ones."""
        if not self._given:
            self._given = True
            return int(self.compute)
        return int(self._driver.stream())


def engines(bench: Bench) -> dict[str, Any]:
    """Seconds and Dice of every engine that runs; the message of every one that does not."""
    figures: dict[str, Any] = {}
    ran: dict[str, float] = {}
    for name, make in candidates(bench).items():
        try:
            driver, network = make()
            session = bench.session(driver, network)
            found = bench.segment_by(session)
            dice = lumen_dice(found, bench.wanted)
            ran[name] = wall_seconds(lambda session=session: bench.segment_by(session), runs=bench.runs)  # type: ignore[misc]
            figures[f"gpu_segment_{name}_s"], figures[f"gpu_lumen_dice_{name}"] = ran[name], dice
        except Exception as error:  # noqa: BLE001 - one engine that does not run must not hide the others; its message is the figure
            figures[f"gpu_segment_{name}_s"] = None
            figures[f"gpu_segment_{name}_s_reason"] = f"{type(error).__name__}: {error}"[:300]
    ours = "tensorrt" if "tensorrt" in ran else min(ran, key=lambda name: ran[name], default=None)
    figures |= {"engines": sorted(ran), "gpu_segment_engine": ours, "gpu_segment_s": ran.get(ours or "")}
    dices = [figures[f"gpu_lumen_dice_{name}"] for name in ran]
    figures["gpu_lumen_dice_vs_cpu"] = min(dices) if dices else None
    if not ran:
        figures["gpu_segment_s_reason"] = figures["gpu_lumen_dice_vs_cpu_reason"] = "no engine ran"
    return figures


def stages(bench: Bench, figures: dict[str, Any]) -> dict[str, Any]:
    """Time, operations and bytes of each kernel, of the best engine; peak memory; the dominant kernel's part of its ceiling."""
    if figures["gpu_segment_engine"] is None:
        return {}
    driver, network = candidates(bench)[figures["gpu_segment_engine"]]()
    before = bench.driver.memory()[0]
    timed = TimedDriver(driver)
    watched = TimedNetwork(network, timed)
    session = bench.session(timed, watched)
    bench.segment_by(session)
    timed.forget()
    watched.runs.clear()
    bench.segment_by(session)
    seconds = timed.seconds()
    work = work_of(bench, watched.runs)
    copy, gemm = figures["gpu_copy_gb_s"] * 1e9, (figures.get("gpu_gemm_tflops") or 0.0) * 1e12
    rows = {}
    for name, took in seconds.items():
        flop, moved = work.get(name, (0.0, 0.0))
        fraction = max(flop / took / gemm if gemm else 0.0, moved / took / copy) if took else 0.0
        rows[name] = {"s": took, "tflop_s": flop / took / 1e12, "gb_s": moved / took / 1e9, "of_ceiling": fraction}
    dominant = max(seconds, key=lambda name: seconds[name])
    return {
        "stages": rows,
        "gpu_dominant_kernel": dominant,
        "gpu_fraction_of_ceiling": rows[dominant]["of_ceiling"],
        "gpu_peak_mib": (before - timed.least_free) / (1 << 20),
    }


def work_of(bench: Bench, runs: Sequence[tuple[int, Tile]]) -> dict[str, tuple[float, float]]:
    """(operations, bytes) of each kernel of one segmentation, as its comment counts them."""
    model, shape = bench.model, bench.wanted.geometry.shape
    tile, tiles = runs[0][1], sum(batch for batch, _ in runs)
    fine, tiled = float(np.prod(shape)), tiles * float(np.prod(tile))
    source = 2 * fine * 0.5**3 / float(np.prod(bench.volume.geometry.spacing))
    layers = count(model.path, (1, len(model.channels), *tile))
    return {
        "resample_volume": (0.0, source + 2 * fine),
        "gather_half": (0.0, tiled * (2 + 2 * len(model.channels))),
        "gather_float": (0.0, tiled * (2 + 4 * len(model.channels))),
        "network": (tiles * sum(layer.flop for layer in layers), tiles * sum(layer.moved for layer in layers)),
        "answer_scores": (0.0, tiled * (2 * len(model.classes) + 2)),
        "answer_bytes": (0.0, tiled * 4),
        "blend": (0.0, tiled + 3 * fine),
    }


def study_seconds() -> dict[str, Any]:
    """Seconds from the series in memory to the draft by the product's own engine, where all that the product needs is installed."""
    try:
        from appliance.analysis.pipeline import Models
        from appliance.settings import Settings
        from appliance.workflow.draft import make_draft
        from models.evaluation.scans import scanned_study

        models = Models.load(engine="tensorrt")
        study = scanned_study(standard_patient(), standard_scan())
        with TemporaryDirectory() as folder:
            number = iter(range(9))
            seconds = wall_seconds(lambda: make_draft(study, Path(folder) / str(next(number)), models=models, settings=Settings()), runs=3)
    except Exception as error:  # noqa: BLE001 - whatever is missing here, the message is the figure
        return {"gpu_study_s": None, "gpu_study_s_reason": f"{type(error).__name__}: {error}"[:300]}
    return {"gpu_study_s": seconds, "gpu_study_engine": models.engine.describe()}


def show(figures: dict[str, Any]) -> None:
    """The table on the screen."""
    print(f"{'engine':16s} {'segmentation':>12s} {'lumen Dice':>11s}")
    for name in ("tensorrt", "torch_compile", "torch_eager", "ort"):
        took = figures.get(f"gpu_segment_{name}_s")
        print(
            f"{name:16s} {took:10.4f} s {figures[f'gpu_lumen_dice_{name}']:11.5f}"
            if took
            else f"{name:16s} {figures.get(f'gpu_segment_{name}_s_reason')}"
        )
    print(f"\nceilings: copy {figures['gpu_copy_gb_s']:.0f} GB/s, matrix product {figures.get('gpu_gemm_tflops') or 0:.0f} TFLOP/s")
    print(f"{'kernel':16s} {'seconds':>9s} {'TFLOP/s':>9s} {'GB/s':>9s} {'of ceiling':>10s}   ({figures.get('gpu_segment_engine')})")
    for name, row in figures.get("stages", {}).items():
        print(f"{name:16s} {row['s']:9.5f} {row['tflop_s']:9.1f} {row['gb_s']:9.1f} {row['of_ceiling']:10.2f}")
    print()
