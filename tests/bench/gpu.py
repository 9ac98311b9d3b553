"""``make bench-gpu``: the segmentation of one study on the card at hand, by every engine that runs there, against the card's own ceilings.

Writes one object with the device's name and, each null with a reason beside it where it could not be measured:

    gpu_study_s                    seconds from the series in memory to the draft, all networks on the best engine
    gpu_segment_s                  seconds of the segmentation: upload, resampling, network, blending, download (gpu_segment_engine)
    gpu_segment_torch_compile_s    the same with PyTorch compiled, half precision, in place of that engine
    gpu_segment_torch_eager_s      likewise, PyTorch eager
    gpu_segment_ort_s              likewise, ONNX Runtime's CUDA provider
    gpu_lumen_dice_vs_cpu          lumen Dice to the processor's 32-bit answer, the worst of the engines in `engines`
    gpu_peak_mib                   device memory in use at most, beyond what was in use before
    gpu_fraction_of_ceiling        of the dominant kernel: the larger of arithmetic and traffic over what the card was measured to do
    gpu_copy_gb_s, gpu_gemm_tflops those ceilings

On a machine without a GPU it says so and writes nulls. Either way it prints the estimate on paper for the cards that we have not
(`gpu_estimate`). PyTorch is needed for the comparison only. On a machine with a GPU, unattended:

    python -m tests.bench.gpu --kernels FOLDER --keep models/gpu-DATE.json
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import sys
from pathlib import Path
from typing import Any

from appliance.errors import CoronetError
from appliance.inference.cuda.binary import image_for
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.pycuda_driver import open_driver
from tests.bench.gpu_estimate import estimate

KEYS = (
    "gpu_study_s", "gpu_segment_s", "gpu_segment_torch_compile_s", "gpu_segment_torch_eager_s", "gpu_segment_ort_s",
    "gpu_lumen_dice_vs_cpu", "gpu_peak_mib", "gpu_fraction_of_ceiling", "gpu_copy_gb_s", "gpu_gemm_tflops",
)  # fmt: skip

HEADING = """# A study on cards that we have not, on paper

Nothing here was measured on a GPU. Written by `python -m tests.bench.gpu --estimate models/gpu-estimate.md`; the counting is in
`tests/bench/gpu_count.py`, the assumptions and the cards' peak figures in `tests/bench/gpu_estimate.py`. FP16 peak: multiprocessors x
clock x dense half-precision operations of the tensor cores per clock. On a Jetson the processor's stages would take longer than on the two
cores that they were timed on if only two of its slower cores took part; it has twelve.
"""


def main() -> int:
    """Measure what can be measured, say what cannot."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu")
    parser.add_argument("--out", type=Path, default=Path("build/bench-gpu.json"))
    parser.add_argument("--kernels", type=Path, default=Path("build/kernels"), help="folder of the fatbin; else NVRTC compiles")
    parser.add_argument("--keep", type=Path, help="write the record of a real device here too")
    parser.add_argument("--estimate", type=Path, help="write the estimate on paper here")
    options = parser.parse_args()
    text, seconds = _estimated()
    if options.estimate is not None:
        options.estimate.write_text(f"{HEADING}\n{text}\n", encoding="utf-8")
    figures: dict[str, Any] = dict.fromkeys(KEYS) | {"estimate_study_s": seconds, "host": platform.machine()}
    try:
        driver = open_driver()
        driver.load(image_for(driver.device.capability, folders=(options.kernels,), cache=options.kernels))
    except CoronetError as error:
        figures |= {"device": None} | {f"{key}_reason": error.en for key in KEYS}
        print(f"no GPU: {error.en}\n")
    else:
        figures |= measured(driver)
    print(text)
    _write(options.out, figures)
    if options.keep is not None and figures["device"]:
        _write(options.keep, figures)
    return 0


def measured(driver: Driver) -> dict[str, Any]:
    """All figures of a real device, and the table on the screen."""
    from tests.bench.gpu_segment import segment_figures

    figures: dict[str, Any] = {
        "device": driver.device.name,
        "capability": ".".join(map(str, driver.device.capability)),
        "driver": driver.device.driver,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    figures |= segment_figures(driver)
    for key in KEYS:
        figures.setdefault(key, None)
        if figures[key] is None:
            figures.setdefault(f"{key}_reason", "not measured")
    return figures


def _estimated() -> tuple[str, dict[str, float]]:
    try:
        return estimate(Path("build/bench.json"))
    except ImportError as error:
        return f"no estimate on paper: {error}", {}


def _write(path: Path, figures: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
