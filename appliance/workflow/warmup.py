"""Compiling ahead: the numeric kernels are compiled when they are first called, which must not be with a patient waiting.

The analyst runs this at its start, on a made-up heart. Compiled code is kept beside the modules, so only the first start after an
installation takes long (about a minute on two cores).
"""

from __future__ import annotations

import logging

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.analysis.cadrads import with_category
from appliance.analysis.grids import interpolate_to
from appliance.analysis.measure import measure
from appliance.analysis.pipeline import not_analysed
from appliance.analysis.stages import Heart, Segmentation, Structure, VesselClass
from appliance.errors import CoronetError, Reason
from appliance.imaging.keyviews import make_key_views
from appliance.volume import Geometry, LabelMap, Volume

log = logging.getLogger(__name__)

SIDE, SPACING_MM = 140, 0.5
UNSEEN_PIXELS = 96
AORTA_MM = 9.0
LUMEN_MM, WALL_MM = 1.6, 2.1
NOBODY = Reason(code="WARM-UP", zh="预热", en="warm-up")


def warm_up() -> None:
    """Run every kernel of measuring and drawing once; a made-up heart that is refused is no fault, the log says so."""
    volume, heart, segmentation = made_up_case()
    try:
        interpolate_to(heart.structures.labels, heart.structures.geometry, heart.roi)
        measured = measure(volume, heart, segmentation)
        findings = msgspec.structs.replace(not_analysed("analysed", NOBODY), branches=measured.branches, lesions=measured.lesions)
        findings = with_category(findings)
        make_key_views(volume, findings, structures=heart.structures, rendering_pixels=UNSEEN_PIXELS)
    except CoronetError as error:
        log.warning("warm-up ended early: %s", error)


def made_up_case() -> tuple[Volume, Heart, Segmentation]:
    """An aorta along z, a left and a right vessel that leave it and run down beside a ventricle, one with a narrowing."""
    half = SIDE * SPACING_MM / 2
    shape, origin = (SIDE, SIDE, SIDE), (-half, -half, -half)
    grid = Geometry(shape, (SPACING_MM,) * 3, origin)
    coarse = Geometry((24, 24, 24), (3.0, 3.0, 3.0), (-half + 1.0,) * 3)
    classes, hu = np.zeros(shape, np.uint8), np.full(shape, -90, np.int16)
    x, y, _ = _axes(grid)
    hu[np.broadcast_to(np.hypot(x, y) < AORTA_MM, shape)] = 400
    for side in (-1.0, 1.0):
        away, level = _distance_to_vessel(grid, side)
        narrowing = 1.0 - 0.5 * np.exp(-(((level + 8.0) / 3.0) ** 2)) if side > 0 else 1.0
        outside = np.hypot(x, y) >= AORTA_MM
        wall, lumen = outside & (away < WALL_MM), outside & (away < LUMEN_MM * narrowing)
        classes[wall], hu[wall] = int(VesselClass.WALL), 60
        classes[lumen], hu[lumen] = int(VesselClass.LUMEN), 400
    structures = _structures(coarse)
    heart = Heart(structures=LabelMap(structures, coarse), roi=grid)
    coronary = np.where(classes > 0, 250, 0).astype(np.uint8)
    return Volume(hu, grid), heart, Segmentation(geometry=grid, hu=hu, classes=classes, coronary=coronary)


def _axes(grid: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    z, y, x = (grid.origin[2 - axis] + grid.spacing[2 - axis] * np.arange(size, dtype=np.float64) for axis, size in enumerate(grid.shape))
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _distance_to_vessel(grid: Geometry, side: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance to a line that leaves the aorta sideways and turns downwards, and the height along it."""
    x, y, z = _axes(grid)
    out = np.hypot(np.hypot(np.minimum(side * x - 6.0, 0.0) + np.maximum(side * x - 20.0, 0.0), y), z - 12.0)
    down = np.hypot(np.hypot(side * x - 20.0, y), np.maximum(z - 12.0, 0.0) + np.minimum(z + 28.0, 0.0))
    return np.minimum(out, down), np.broadcast_to(z, grid.shape)


def _structures(grid: Geometry) -> NDArray[np.uint8]:
    x, y, z = _axes(grid)
    labels = np.full(grid.shape, int(Structure.PERICARDIUM), np.uint8)
    for structure, centre, radius in (
        (Structure.LV_MYOCARDIUM, (8.0, 4.0, -22.0), 14.0),
        (Structure.LV, (8.0, 4.0, -22.0), 9.0),
        (Structure.RV, (-8.0, -8.0, -22.0), 9.0),
        (Structure.LEFT_ATRIUM, (4.0, 22.0, 4.0), 9.0),
        (Structure.RIGHT_ATRIUM, (-18.0, 18.0, -4.0), 8.0),
    ):
        ball = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2
        labels[ball] = int(structure)
    labels[np.broadcast_to((np.hypot(x, y) < AORTA_MM) & (z > 0), grid.shape)] = int(Structure.AORTA)
    return labels
