"""``python -m tests.bench.gpu_half``: what half precision does to the lumen, worked out on the processor.

Tensor cores multiply halves and add in single precision; what lies between two layers is a half. So each value that a layer leaves, and
each weight, is rounded to half here, the sums stay single. The lumen masks of that and of single precision are held against each other
on virtual studies of the development family. A card's own order of adding is not in it: the last word is ``make bench-gpu`` on one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.locate import Located, locate
from appliance.analysis.segment import segment
from appliance.inference.catalog import Model, ModelCatalog, installed_catalog
from appliance.inference.engine import Outputs, check_outputs
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.volume import Geometry, Volume
from models.phantom.patient import draw_patient
from models.phantom.render import render
from models.phantom.scan import draw_scan
from tests.bench.gpu_networks import SHARE_CLASSES, OnTorch
from tests.bench.gpu_segment import lumen_dice

SPACING_MM = (0.4, 0.4, 0.5)
SHAPE = (280, 512, 512)
SIDE = 168
"""Voxels of 0.5 mm of the cube in the middle of the heart that is segmented: two tiles along each axis."""


class RoundedSession:
    """The network in PyTorch on the processor, its weights and all that passes between layers rounded to half if ``half``."""

    def __init__(self, model: Model, *, half: bool) -> None:
        import onnx
        import torch

        self._model = model
        self._torch = torch
        rounded = (lambda value: value.half().float()) if half else None
        self._network = OnTorch(torch, onnx.load(model.path), device="cpu", dtype=torch.float32, rounded=rounded)

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``."""
        torch = self._torch
        with torch.inference_mode():
            scores = self._network(torch.from_numpy(channels))
            share = torch.softmax(scores, dim=1)[:, list(SHARE_CLASSES)].sum(dim=1).clamp(0, 1)
            outputs: dict[str, NDArray[Any]] = {
                "classes": scores.argmax(dim=1).to(torch.uint8).numpy(),
                "coronary": (share * 255 + 0.5).to(torch.uint8).numpy(),
                "check": scores.abs().mean(dim=(1, 2, 3, 4)).numpy(),
            }
        return check_outputs(self._model, channels, outputs)


def half_dice(seed: int, catalog: ModelCatalog) -> float:
    """Of one virtual study."""
    patient, scan = draw_patient(seed), draw_scan(seed)
    x, y, z = np.mean(patient.heart_box, axis=0) - 0.5 * np.array(SPACING_MM) * (np.array(SHAPE[::-1]) - 1)
    origin = (float(x), float(y), float(z))
    voxels = render(patient, scan, origin=origin, spacing=SPACING_MM, shape=SHAPE, seed=1).hu
    volume = Volume(voxels, Geometry(SHAPE, SPACING_MM, origin))
    located = _middle(locate(volume, session=OnnxRuntimeEngine(threads=1).load(catalog["heart-loc"])))
    single, half = (segment(volume, located, session=RoundedSession(catalog["cor-seg"], half=half)) for half in (False, True))
    return lumen_dice(half, single)


def _middle(located: Located) -> Located:
    """The same heart with a smaller fine box."""
    roi = located.heart.roi
    corner = roi.to_points((np.array(roi.shape) - SIDE) / 2)
    smaller = Geometry((SIDE,) * 3, roi.spacing, (float(corner[0]), float(corner[1]), float(corner[2])), roi.direction)
    return dataclasses.replace(located, heart=dataclasses.replace(located.heart, roi=smaller))


def main() -> int:
    """Some studies, and the worst of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu_half")
    parser.add_argument("--first", type=int, default=100000)
    parser.add_argument("--studies", type=int, default=3)
    options = parser.parse_args()
    catalog = ModelCatalog.load(installed_catalog())
    found = []
    for seed in range(options.first, options.first + options.studies):
        found.append(half_dice(seed, catalog))
        print(f"{seed}: lumen Dice of half to single precision {found[-1]:.5f}", flush=True)
    print(f"worst of {len(found)}: {min(found):.5f} (cor-seg {catalog['cor-seg'].version})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
