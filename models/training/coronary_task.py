"""Training of cor-seg."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from models.networks import cor_seg
from models.networks.cor_seg import CorSeg
from models.networks.deployed import DeployedCorSeg
from models.phantom import render
from models.training.context import coarse_map, noisy_context
from models.training.coronary_patches import coronary_patches, skeleton_mask
from models.training.designs import designed_scan
from models.training.device_patches import DevicePatches
from models.training.families import load_families
from models.training.losses import LossWeights
from models.training.patients import virtual_patient
from models.training.samples import Sample, Variation
from models.training.segmentation import blobs, segmentation_task
from models.training.task import Deployment, Task, Tensors

_REGION = (128, 176, 176)
"""Voxels of 0.5 mm round the heart's middle that a development patient is scored on."""


CORONARY_WEIGHTS = LossWeights(classes=(1.0, 2.0, 2.0, 20.0, 2.0), vessel_classes=(1, 2, 3))


VARIATION = Variation(flips=True, drop_context=0.15)


def coronary_task() -> Task:
    """Samples, loss and settings of cor-seg."""
    masks = [{"name": name, "unit": "1/255", "low": 0.0, "high": 255.0, "padding": 0.0} for name in ("inside_pericardium", "blood_pool")]
    return segmentation_task(
        name="cor-seg",
        network=CorSeg,
        source=coronary_patches,
        classes=cor_seg.CLASSES,
        hu_range=cor_seg.HU_RANGE,
        weights=CORONARY_WEIGHTS,
        variation=VARIATION,
        development=_development_sample,
        deployment=Deployment(
            graph=DeployedCorSeg,
            example=_example,
            free_axes=(0, 1, 2),
            entry={
                "purpose": "coronary lumen, wall and plaque, calcium, and cardiac veins",
                "spacing_mm": cor_seg.SPACING_MM,
                "multiple": cor_seg.MULTIPLE,
                "tile": [96, 96, 96],
                "largest_tile": [160, 160, 160],
                "classes": list(cor_seg.CLASSES),
                "channels": [
                    {"name": "hu", "unit": "HU", "low": cor_seg.HU_RANGE[0], "high": cor_seg.HU_RANGE[1], "padding": -1000.0},
                    *masks,
                    {"name": "blood_hu", "unit": "HU", "low": cor_seg.LEAST_BLOOD_HU, "high": 1000.0, "padding": cor_seg.LEAST_BLOOD_HU},
                ],
                "outputs": [
                    {"name": "classes", "role": "classes", "meaning": "class of each voxel"},
                    {"name": "coronary", "role": "share", "meaning": "1 - p(none) - p(cardiac_vein)"},
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=6,
        learning_rate=2e-3,
        pool=600,
        reuse=3.0,
        share=0.5,
        on_device=_patches_on,
    )


def _example() -> torch.Tensor:
    """Blobs with one attenuation of blood."""
    channels = blobs(4, (96, 96, 96))
    channels[:, 3] = 400.0
    return channels


def _patches_on(device: torch.device, seed: int, batch: int) -> Iterator[Tensors]:
    return iter(DevicePatches(device, seed=seed, batch=batch, variation=VARIATION))


def _development_sample(seed: int) -> Sample:
    patient, scan = virtual_patient(seed), designed_scan(seed, load_families()["development"].design_of(seed))
    origin = np.mean(patient.heart_box, axis=0) - 0.5 * cor_seg.SPACING_MM * np.array(_REGION[::-1])
    x, y, z = (float(value) for value in origin)
    rendered = render(patient, scan, origin=(x, y, z), spacing=(cor_seg.SPACING_MM,) * 3, shape=_REGION, seed=seed)
    return Sample(
        hu=rendered.hu,
        target=rendered.vessels,
        skeleton=skeleton_mask(patient, origin, rendered.vessels),
        context=noisy_context(coarse_map(patient), origin=origin, shape=_REGION, rng=np.random.default_rng(seed)),
        blood_hu=scan.vessel_hu,
    )
