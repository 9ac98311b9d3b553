"""Samples for heart-loc: whole scans at about 3 mm, with fields of view from tight to wide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.heart_bulk import limit_to_heart
from models.networks.heart_loc import SPACING_MM
from models.phantom import Patient, draw_scan, render
from models.training.patients import training_patient
from models.training.samples import Sample

SHAPE = (64, 88, 88)
SCANS_PER_PATIENT = 10
PADDING_HU = -1000
"""What stands where the scan holds no image, in training and wherever the network is used."""


def heart_volumes(seed: int) -> Iterator[Sample]:
    """An endless stream of coarse scans of the train family; ``seed`` decides the patients and their scans."""
    rng = np.random.default_rng(seed)
    while True:
        patient = training_patient(rng)
        for _ in range(SCANS_PER_PATIENT):
            yield draw_volume(patient, rng)


def draw_volume(patient: Patient, rng: np.random.Generator) -> Sample:
    """Render one coarse scan: size of the patient, place of the heart, field of view and smoothing vary."""
    spacing = SPACING_MM * rng.uniform(0.88, 1.15)
    centre = np.mean(patient.heart_box, axis=0) + rng.normal(0.0, 20.0, 3)
    origin = centre - 0.5 * spacing * np.array(SHAPE[::-1])
    rendered = render(
        patient,
        draw_scan(int(rng.integers(2**31))),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        spacing=(spacing, spacing, spacing),
        shape=SHAPE,
        seed=int(rng.integers(2**31)),
        noise=bool(rng.random() < 0.5),
    )
    # A real scan is averaged on its way to 3 mm, so its noise there is low; half of the samples have more of it.
    structures = limit_to_heart(rendered.structures, spacing_mm=spacing)
    smoothed = ndimage.gaussian_filter(rendered.hu.astype(np.float32), rng.uniform(0.0, 0.7))
    return crop_field_of_view(smoothed, structures, rng)


def crop_field_of_view(hu: npt.NDArray[np.float32], structures: npt.NDArray[np.uint8], rng: np.random.Generator) -> Sample:
    """Put padding where a smaller field of view ends; what lies there is background."""
    inside = np.zeros(hu.shape, dtype=np.bool_)
    inside[tuple(_interval(size, rng) for size in hu.shape)] = True
    return Sample(
        hu=np.where(inside, np.rint(hu), PADDING_HU).astype(np.int16),
        target=np.where(inside, structures, 0).astype(np.uint8),
    )


def _interval(size: int, rng: np.random.Generator) -> slice:
    if rng.random() < 0.3:
        return slice(0, size)
    kept = int(rng.uniform(0.6, 1.0) * size)
    start = int(rng.integers(0, size - kept + 1))
    return slice(start, start + kept)
