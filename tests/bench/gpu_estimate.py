"""What a study should take on cards that we do not have: reckoned on paper, the arithmetic shown.

Operations and bytes of the networks per study are counted from their ONNX files (`gpu_count`), our own kernels' bytes from their sources'
comments; each layer takes the longer of its arithmetic and its traffic, at an assumed share of the card's peak. What stays on the
processor is taken from the last `make bench` (build/bench.json, two cores).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.sliding import best_tile, plan_tiles
from tests.bench.gpu_count import Layer, count

ARITHMETIC_SHARE = 0.35
"""Of the tensor cores' peak that a 3-D convolution of 32 to 128 channels is taken to reach; well-tuned large ones reach twice that."""
TRAFFIC_SHARE = 0.60
"""Of the peak memory bandwidth; copies reach 0.85 to 0.92."""
HEART_MM = (130.0, 140.0, 150.0)
"""Box of a large heart with its vessels, z, y, x; the standard scan's is smaller (segment_heart_mvoxel of the benchmark)."""
SCAN_MM = (150.0, 220.0, 220.0)
PROCESSOR_STAGES = ("read", "quality", "phases", "centrelines", "name", "repair", "lumen", "lesions", "plaque", "cadrads", "report")
PICTURES = "key_views"
PICTURES_SHARE_ON_PROCESSOR = 0.5
"""Of the key views' time: text, lines, PNG; the rest is casting and reforming, which the card takes over."""


@dataclass(frozen=True)
class Card:
    """A card by its data sheet.

    Attributes:
        name: as sold.
        multiprocessors, clock_ghz, per_clock: their product is the dense FP16 tensor peak: per multiprocessor and clock 1024 operations on
            Ampere GA10x and Ada, 2048 on Orin.
        gb_s: memory bandwidth.
        link_gb_s: host to card, as usually reached; Orin's memory is shared.
        source: where the numbers are from.
    """

    name: str
    multiprocessors: int
    clock_ghz: float
    per_clock: int
    gb_s: float
    link_gb_s: float
    source: str

    @property
    def double_gops(self) -> float:
        """Sums or products in double precision, not contracted: two a clock and multiprocessor on all of these."""
        return 2 * self.multiprocessors * self.clock_ghz

    @property
    def peak_tflops(self) -> float:
        """Dense FP16 on the tensor cores."""
        return self.multiprocessors * self.clock_ghz * self.per_clock / 1000


CARDS = (
    Card("RTX A2000 12 GB", 26, 1.200, 1024, 288.0, 20.0, "data sheet: 3328 cores, 8.0 TFLOPS FP32, tensor 63.9 with sparsity, 288 GB/s"),
    Card("RTX 4000 Ada", 48, 2.175, 1024, 360.0, 20.0, "data sheet: 6144 cores, 26.7 TFLOPS FP32, 360 GB/s"),
    Card("Jetson AGX Orin 64 GB", 16, 1.300, 2048, 204.8, 100.0, "data sheet: 2048 cores at 1.3 GHz, 170 sparse INT8 TOPS, 204.8 GB/s"),
)


@dataclass(frozen=True)
class Work:
    """Of one network in one study."""

    network: str
    runs: int
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def flop(self) -> float:
        """All runs."""
        return self.runs * sum(layer.flop for layer in self.layers)

    @property
    def moved(self) -> float:
        """All runs."""
        return self.runs * sum(layer.moved for layer in self.layers)

    def seconds(self, card: Card) -> float:
        """Layer by layer, the longer of arithmetic and traffic."""
        arithmetic, traffic = card.peak_tflops * 1e12 * ARITHMETIC_SHARE, card.gb_s * 1e9 * TRAFFIC_SHARE
        return self.runs * sum(max(layer.flop / arithmetic, layer.moved / traffic) for layer in self.layers)


def study_work(catalog: ModelCatalog) -> list[Work]:
    """The two networks that take volumes; those of vessels and ostia are smaller than their launch times."""
    fine, coarse = catalog["cor-seg"], catalog["heart-loc"]
    z, y, x = (round(side / fine.spacing_mm) for side in HEART_MM)
    tile = best_tile(fine, (z, y, x), mask=None, overlap=16, border=3)
    tiles = len(plan_tiles((z, y, x), tile, overlap=16, border=3))
    scan = tuple(-(-round(side / coarse.spacing_mm) // coarse.multiple) * coarse.multiple for side in SCAN_MM)
    return [_work(fine, tiles, (1, len(fine.channels), *tile)), _work(coarse, 2, (1, len(coarse.channels), *scan))]


def _work(model: Model, runs: int, shape: tuple[int, ...]) -> Work:
    return Work(model.name, runs, shape, tuple(count(model.path, shape)))


def own_kernel_bytes(work: Work, channels: int, classes: int) -> float:
    """Of resampling, gathering, answering and blending, as the comments in ``kernels/`` have it."""
    fine = float(np.prod([round(side / 0.5) for side in HEART_MM]))
    source = float(np.prod([round(side / 0.4) for side in HEART_MM]))
    tiled = work.runs * float(np.prod(work.shape[2:]))
    return 2 * source + 2 * fine + tiled * (2 + 2 * channels) + tiled * (2 * classes + 2) + tiled + 3 * fine


def double_operations(work: Work) -> float:
    """Of the same kernels, in double precision: 24 per trilinear value; two masks per tile voxel, image and region per fine voxel."""
    fine = float(np.prod([round(side / 0.5) for side in HEART_MM]))
    tiled = work.runs * float(np.prod(work.shape[2:]))
    return 24 * (2 * tiled + 3 * fine)


def estimate(bench: Path, catalog: ModelCatalog | None = None) -> tuple[str, dict[str, float]]:
    """The text with the arithmetic, and seconds per card."""
    catalog = catalog or ModelCatalog.load(installed_catalog())
    works = study_work(catalog)
    fine = catalog["cor-seg"]
    own = own_kernel_bytes(works[0], len(fine.channels), len(fine.classes))
    double = double_operations(works[0])
    voxels = float(np.prod([round(side / 0.5) for side in HEART_MM]))
    carried = 2 * float(np.prod([round(side / 0.4) for side in HEART_MM])) + 4 * voxels
    rest, pictures, said = _processor(bench)
    lines = ["Work of one study", ""]
    for work in works:
        shape = "x".join(map(str, work.shape))
        lines.append(
            f"- {work.network}: {work.runs} x ({shape}): {work.flop / 1e12:.2f} TFLOP, {work.moved / 1e9:.1f} GB in half precision"
        )
    lines += [
        f"- our kernels: {own / 1e9:.2f} GB, and {double / 1e9:.1f} G operations in double precision at two a clock and multiprocessor",
        f"- carried between host and card: {carried / 1e9:.2f} GB",
        f"- processor: {rest:.1f} s, and {PICTURES_SHARE_ON_PROCESSOR:.0%} of {pictures:.1f} s of key views ({said})",
        f"- assumed: {ARITHMETIC_SHARE:.0%} of the arithmetic peak, {TRAFFIC_SHARE:.0%} of the bandwidth, the longer of the two per layer",
        "",
        "| card | FP16 peak | bandwidth | networks | our kernels | transfers | processor | study |",
        "|---|---|---|---|---|---|---|---|",
    ]
    seconds = {}
    for card in CARDS:
        networks = sum(work.seconds(card) for work in works)
        kernels = own / (card.gb_s * 1e9 * TRAFFIC_SHARE) + double / (card.double_gops * 1e9)
        transfers = carried / (card.link_gb_s * 1e9)
        processor = rest + PICTURES_SHARE_ON_PROCESSOR * pictures
        seconds[card.name] = networks + kernels + transfers + processor
        lines.append(
            f"| {card.name} | {card.multiprocessors} x {card.clock_ghz} GHz x {card.per_clock} = {card.peak_tflops:.1f} TFLOP/s "
            f"| {card.gb_s:.0f} GB/s | {networks:.2f} s | {kernels:.3f} s | {transfers:.3f} s | {processor:.1f} s "
            f"| **{seconds[card.name]:.1f} s** |"
        )
    lines += ["", *(f"- {card.name}: {card.source}" for card in CARDS)]
    return "\n".join(lines), seconds


def _processor(bench: Path) -> tuple[float, float, str]:
    """Seconds of the stages that stay on the processor, of the pictures, and where they are from."""
    if not bench.is_file():
        return 5.0, 7.0, "no build/bench.json: a round guess"
    figures = json.loads(bench.read_text())
    rest = sum(figures.get(f"stage_{name}_cpu_s", 0.0) for name in PROCESSOR_STAGES)
    rest += max(figures.get("study_cpu_s", 0.0) - figures.get("stage_total_cpu_s", 0.0), 0.0)
    return rest, figures.get(f"stage_{PICTURES}_cpu_s", 0.0), "make bench, two cores"
