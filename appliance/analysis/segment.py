"""The coronaries at 0.5 mm: lumen, wall, calcium and veins by the fine network, in and just around the pericardium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.aorta import blood_hu
from appliance.analysis.grids import interpolate_to, positions_in
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.locate import Located
from appliance.analysis.stages import Segmentation
from appliance.inference.engine import Session
from appliance.inference.sliding import sliding_window
from appliance.inference.whole import Image, Mask, Whole, WholeSession
from appliance.volume import Volume

Progress = Callable[[float], None] | None

REACH_MM = 6.0
"""Coronaries run inside the pericardium; the locator's border may be wrong by about two of its voxels."""


def segment(volume: Volume, located: Located, *, session: Session, progress: Callable[[float], None] | None = None) -> Segmentation:
    """Class and coronary probability of every voxel of the heart's fine box; nothing beyond ``REACH_MM`` of the pericardium.

    An engine that takes whole volumes does all of it; what it will not do is done here, with the same answer.

    Raises:
        InferenceError: the network's output must not be used.
    """
    reach = _reach(located).astype(np.uint8) * 255
    level = blood_hu(volume, located.heart)
    done = _on_device(volume, located, reach, level, session, progress) if isinstance(session, WholeSession) else None
    return done or _step_by_step(volume, located, reach, level, session, progress)


def _on_device(
    volume: Volume, located: Located, reach: NDArray[np.uint8], level: float, session: WholeSession, progress: Progress
) -> Segmentation | None:
    roi = located.heart.roi
    at = positions_in(located.heart.structures.geometry, roi)
    given: dict[str, str | Mask | float] = {
        "hu": "image",
        "inside_pericardium": Mask(located.inside_pericardium, at),
        "blood_pool": Mask(located.blood_pool, at),
        "blood_hu": level,
    }
    whole = Whole(
        image=Image(volume.voxels, positions_in(volume.geometry, roi)),
        channels=tuple(given[channel.name] for channel in session.model.channels),
        reach=Mask(reach, at),
    )
    found = session.whole_volume(whole, progress=progress)
    if found is None:
        return None
    return Segmentation(geometry=roi, hu=found.hu, classes=found.classes, coronary=found.share)


def _step_by_step(
    volume: Volume, located: Located, reach: NDArray[np.uint8], level: float, session: Session, progress: Progress
) -> Segmentation:
    heart, roi = located.heart, located.heart.roi
    hu = interpolate_to(volume.voxels, volume.geometry, roi).astype(np.int16, copy=False)
    coarse_grid = heart.structures.geometry
    given: dict[str, NDArray[Any]] = {
        "hu": hu,
        "inside_pericardium": interpolate_to(located.inside_pericardium, coarse_grid, roi),
        "blood_pool": interpolate_to(located.blood_pool, coarse_grid, roi),
        "blood_hu": np.broadcast_to(np.float32(level), hu.shape),
    }
    channels = [given[channel.name] for channel in session.model.channels]
    wanted = interpolate_to(reach, coarse_grid, roi) > 127
    tiled = sliding_window(session, channels, mask=wanted, progress=progress)
    return Segmentation(geometry=roi, hu=hu, classes=tiled.classes, coronary=tiled.share)


def _reach(located: Located) -> NDArray[np.bool_]:
    """Where coronaries may be, on the structures' grid: the pericardium and ``REACH_MM`` around it."""
    inside = located.heart.mask(*CARDIAC)
    spacing = located.heart.structures.geometry.spacing[::-1]
    return np.asarray(ndimage.distance_transform_edt(~inside, sampling=spacing) <= REACH_MM)
