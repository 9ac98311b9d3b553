"""Samples for motion: windows along lines as the product traces them, with how far the artery truly moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance.analysis.motion_network import EVERY_MM, RADII_MM, SECTIONS, STEP_MM, windows
from appliance.geometry import arc_length
from models.training.arteries import Float
from models.training.motion_regions import REGION_SHAPE, SPACING_MM, Region, draw_regions, keep_regions, lines_of, load_regions
from models.training.patients import generator_digest, training_patient

STORE = Path("build/motion")
KEPT_PATIENTS = 200
"""Patients whose regions are kept (about 6 MB each)."""
FEWEST_KEPT = 12
NEW_SHARE = 0.1
"""How often a patient's regions are rendered, not taken from the store, once it holds a few."""
BESIDE_MM = 0.3
"""A traced line is wrong by about this to each side."""
BLOOD_SPREAD = 0.05
"""The aorta's median is wrong by about this part: clouds of contrast medium, and an artery a little fainter than the aorta."""


@dataclass(frozen=True)
class MotionSample:
    """A window and its truth.

    Attributes:
        hu: on rings about the line, (sections, angles, radii), int16.
        blood_hu: of the aorta, as it might be measured.
        motion_mm: length of the way.
        diameter_mm: healthy diameter of the artery.
    """

    hu: npt.NDArray[np.int16]
    blood_hu: float
    motion_mm: float
    diameter_mm: float


def motion_samples(seed: int, *, store: Path = STORE) -> Iterator[MotionSample]:
    """An endless stream of windows of the train family; ``seed`` decides patients, scans and places."""
    rng = np.random.default_rng(seed)
    folder = store / generator_digest()
    while True:
        kept = sorted(folder.glob("[0-9]*.npz"))
        if len(kept) >= FEWEST_KEPT and (len(kept) >= KEPT_PATIENTS or rng.random() > NEW_SHARE):
            regions = load_regions(kept[int(rng.integers(len(kept)))])
        else:
            patient = training_patient(rng)
            regions = draw_regions(patient, rng)
            keep_regions(regions, folder / f"{patient.seed}-{rng.integers(2**31)}.npz")
        for region in regions:
            yield from windows_of(region, rng)


def windows_of(region: Region, rng: np.random.Generator) -> list[MotionSample]:
    """Windows along each artery of a region, cut about a line that lies a little beside the true one."""
    samples: list[MotionSample] = []
    for artery in lines_of(region):
        length = arc_length(artery[:, :3])
        even = np.arange(0.0, length[-1], STEP_MM)
        line = np.stack([np.interp(even, length, column) for column in artery.T], axis=1)
        points = line[:, :3] + rng.normal(0.0, BESIDE_MM, 3)
        middles = np.arange(SECTIONS // 2, len(even) - SECTIONS // 2, round(EVERY_MM / STEP_MM))
        middles = middles[_inside(points[middles])]
        if len(middles):
            blood = float(region.whole[2]) * (1.0 + rng.normal(0.0, BLOOD_SPREAD, len(middles)))
            cut = np.rint(windows(region.volume, points, middles)).astype(np.int16)
            samples += [
                MotionSample(hu, float(bright), float(line[at, 4]), float(line[at, 3]))
                for hu, bright, at in zip(cut, blood, middles, strict=True)
            ]
    return samples


def _inside(points: Float) -> npt.NDArray[np.bool_]:
    """Where the rings about a point lie within the region, but for the corners."""
    half = 0.5 * SPACING_MM * np.asarray(REGION_SHAPE[::-1]) - 0.8 * RADII_MM[-1]
    return np.asarray((np.abs(points) <= half).all(axis=1))
