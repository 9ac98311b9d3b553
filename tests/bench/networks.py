"""Figures of the vessel network on the standard virtual scan, and of the virtual CT itself.

phantom_volume_s       seconds to render 512 x 512 x 280 voxels of a patient already drawn
phantom_patch_s        seconds of one core for a training patch of the vessel network, its share of drawing the patient included
segment_heart_cpu_s    seconds to segment the heart's whole fine box at 0.5 mm on two threads, overlap and blending included
segment_heart_mvoxel   voxels of that box, in millions
segment_dice_loss      lumen Dice in 32-bit arithmetic less that in the engine's own (bf16 where the processor has it)
segment_overlap_loss   likewise, of the share of the length of vessels of 1.5 mm and more that the mask's skeleton finds
"""

from __future__ import annotations

import time

import numpy as np
from skimage.morphology import skeletonize

from appliance.analysis.locate import locate
from appliance.analysis.segment import segment
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.openvino_engine import OpenVinoEngine
from appliance.volume import Geometry, Volume
from models.evaluation.cases import vessel_measures
from models.evaluation.scans import render_on
from models.evaluation.truths import true_branches
from models.phantom.standard import SHAPE, SPACING_MM, phantom_volume_s, standard_patient, standard_scan, standard_volume
from models.training.coronary_patches import PATCHES_PER_PATIENT, coronary_patches

THREADS = 2
RUNS = 3
PATCHES = 3 * PATCHES_PER_PATIENT


def phantom_patch_s() -> float:
    """Mean wall-clock seconds for a patch as training takes them from each of its processes (one a core), kernels compiled."""
    stream = coronary_patches(1)
    for _ in range(PATCHES_PER_PATIENT):
        next(stream)
    started = time.perf_counter()
    for _ in range(PATCHES):
        next(stream)
    return (time.perf_counter() - started) / PATCHES


def network_figures() -> dict[str, float]:
    """All figures of this file."""
    patient, scan = standard_patient(), standard_scan()
    x, y, z = np.mean(patient.heart_box, axis=0) - 0.5 * np.array(SPACING_MM) * (np.array(SHAPE[::-1]) - 1)
    volume = Volume(standard_volume(patient, scan).hu, Geometry(SHAPE, SPACING_MM, (float(x), float(y), float(z))))
    models = ModelCatalog.load(installed_catalog())
    engine = OpenVinoEngine(threads=THREADS)
    located = locate(volume, session=engine.load(models["heart-loc"]))
    session = engine.load(models["cor-seg"])
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        own = segment(volume, located, session=session)
        seconds.append(time.perf_counter() - started)
    figures = {
        "phantom_volume_s": phantom_volume_s(),
        "phantom_patch_s": phantom_patch_s(),
        "segment_heart_cpu_s": min(seconds),
        "segment_heart_mvoxel": float(np.prod(own.geometry.shape)) / 1e6,
    }
    if engine.precision == "f32":
        return figures
    exact = segment(volume, located, session=OpenVinoEngine(threads=THREADS, precision="f32").load(models["cor-seg"]))
    truth = render_on(patient, scan, own.geometry, noise=False).vessels
    branches = true_branches(patient, scan)
    quick, slow = (vessel_measures(each, truth, branches, skeletonize=skeletonize) for each in (own, exact))
    return figures | {
        "segment_dice_loss": (slow["lumen_dice"] or 0.0) - (quick["lumen_dice"] or 0.0),
        "segment_overlap_loss": (slow["mask_found_1_5mm"] or 0.0) - (quick["mask_found_1_5mm"] or 0.0),
    }
