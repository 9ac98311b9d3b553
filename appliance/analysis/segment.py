"""The coronaries at 0.5 mm: lumen, wall, calcium and veins by the fine network, in and just around the pericardium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.aorta import blood_hu
from appliance.analysis.grids import interpolate_to
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.locate import Located
from appliance.analysis.stages import Segmentation
from appliance.inference.engine import Session
from appliance.inference.sliding import sliding_window
from appliance.volume import Volume

REACH_MM = 6.0
"""Coronaries run inside the pericardium; the locator's border may be wrong by about two of its voxels."""


def segment(volume: Volume, located: Located, *, session: Session, progress: Callable[[float], None] | None = None) -> Segmentation:
    """Class and coronary probability of every voxel of the heart's fine box; nothing beyond ``REACH_MM`` of the pericardium.

    Raises:
        InferenceError: the network's output must not be used.
    """
    heart, roi = located.heart, located.heart.roi
    hu = interpolate_to(volume.voxels, volume.geometry, roi).astype(np.int16, copy=False)
    coarse_grid = heart.structures.geometry
    inside = interpolate_to(located.inside_pericardium, coarse_grid, roi)
    blood = interpolate_to(located.blood_pool, coarse_grid, roi)
    reach = interpolate_to(_reach(located).astype(np.uint8) * 255, coarse_grid, roi) > 127
    level = np.broadcast_to(np.float32(blood_hu(volume, located.heart)), hu.shape)
    given: dict[str, NDArray[Any]] = {"hu": hu, "inside_pericardium": inside, "blood_pool": blood, "blood_hu": level}
    channels = [given[channel.name] for channel in session.model.channels]
    tiled = sliding_window(session, channels, mask=reach, progress=progress)
    return Segmentation(geometry=roi, hu=hu, classes=tiled.classes, coronary=tiled.share)


def _reach(located: Located) -> NDArray[np.bool_]:
    """Where coronaries may be, on the structures' grid: the pericardium and ``REACH_MM`` around it."""
    inside = located.heart.mask(*CARDIAC)
    spacing = located.heart.structures.geometry.spacing[::-1]
    return np.asarray(ndimage.distance_transform_edt(~inside, sampling=spacing) <= REACH_MM)
