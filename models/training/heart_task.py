"""Training of heart-loc."""

from __future__ import annotations

from functools import partial

import numpy as np

from models.networks import heart_loc
from models.networks.deployed import DeployedHeartLoc
from models.networks.heart_loc import HeartLoc
from models.training.heart_volumes import draw_volume, heart_volumes
from models.training.losses import LossWeights
from models.training.patients import virtual_patient
from models.training.samples import Sample, Variation
from models.training.segmentation import blobs, segmentation_task
from models.training.task import Deployment, Task


def heart_task() -> Task:
    """Samples, loss and settings of heart-loc."""
    return segmentation_task(
        name="heart-loc",
        network=HeartLoc,
        source=heart_volumes,
        classes=heart_loc.CLASSES,
        hu_range=heart_loc.HU_RANGE,
        weights=LossWeights(classes=(1.0,) * len(heart_loc.CLASSES)),
        variation=Variation(flips=False, gain=0.08, offset_hu=25.0),
        development=_development_sample,
        deployment=Deployment(
            graph=DeployedHeartLoc,
            example=partial(blobs, 1, (48, 64, 64)),
            free_axes=(0, 1, 2),
            entry={
                "purpose": "heart chambers and great vessels in a whole scan; the soft masks that cor-seg takes",
                "spacing_mm": heart_loc.SPACING_MM,
                "multiple": heart_loc.MULTIPLE,
                "classes": list(heart_loc.CLASSES),
                "channels": [{"name": "hu", "unit": "HU", "low": heart_loc.HU_RANGE[0], "high": heart_loc.HU_RANGE[1], "padding": -1000.0}],
                "outputs": [
                    {"name": "classes", "role": "classes", "meaning": "structure of each voxel"},
                    {"name": "inside_pericardium", "role": "share", "meaning": "probability of any structure"},
                    {"name": "blood_pool", "role": "share", "meaning": "probability of chambers, aorta, pulmonary artery"},
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=4,
        learning_rate=2e-3,
        pool=256,
        reuse=3.0,
        share=0.12,
    )


def _development_sample(seed: int) -> Sample:
    return draw_volume(virtual_patient(seed), np.random.default_rng(seed))
