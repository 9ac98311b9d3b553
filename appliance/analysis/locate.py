"""Where the heart is: the coarse network over the whole scan, its chambers and great vessels, and the box to look into finely.

A scan of the whole chest is looked at twice: what the first look takes for the heart's bulk is the middle of a field as large as that of a
cardiac scan, and in this field only the second look counts; beyond it nothing is heart. Necks, shoulders and bellies are so kept from being
searched for vessels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.grids import average_to, covering_grid, sub_grid
from appliance.analysis.heart_bulk import CARDIAC, field_round, limit_to_heart, nothing_beyond
from appliance.analysis.stages import Heart, Structure
from appliance.errors import DeclinedError
from appliance.inference.engine import Session
from appliance.volume import Geometry, LabelMap, Volume

FINE_SPACING_MM = 0.5
MARGIN_MM = 8.0
"""The fine box reaches this far beyond the pericardium: the network needs a little context at the border."""
MINIMUM_VOLUME_ML = {Structure.LV: 6.0, Structure.AORTA: 8.0}
"""Less than this is not a heart with a left ventricle and an aorta. A small ventricle that empties well holds 10 ml at end systole (two of
four development patients at 40 %); in scans of the chest without contrast medium at most 3 ml were taken for one."""


@dataclass(frozen=True)
class Located:
    """The heart, and the two soft masks (uint8, 255 = 1, on the structures' grid) that the fine network takes as context."""

    heart: Heart
    inside_pericardium: NDArray[np.uint8]
    blood_pool: NDArray[np.uint8]


def locate(volume: Volume, *, session: Session, progress: Callable[[float], None] | None = None) -> Located:
    """Find heart, chambers, aorta and pulmonary artery.

    Raises:
        DeclinedError: DEC-101, the scan shows no heart with a left ventricle and an aorta.
        InferenceError: the network's output must not be used.
    """
    model = session.model
    grid = covering_grid(volume.geometry, model.spacing_mm)
    coarse = average_to(volume, grid, fill=model.channels[0].padding)
    labels, inside, blood = _look(coarse, session)
    field = field_round(labels, spacing_mm=model.spacing_mm)
    if field is not None:
        for whole, again in zip((labels, inside, blood), _look(coarse[field], session), strict=True):
            whole[field] = again
        labels = nothing_beyond(labels, field)
    labels = _one_heart(limit_to_heart(labels, spacing_mm=model.spacing_mm))
    _require_a_heart(labels, grid)
    heart = Heart(LabelMap(labels, grid), fine_box(labels, grid, volume.geometry))
    if progress is not None:
        progress(1.0)
    return Located(heart=heart, inside_pericardium=inside, blood_pool=blood)


def _look(coarse: NDArray[np.float32], session: Session) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Structures, and the soft masks inside the pericardium and of blood, of a scan or a part of it."""
    model = session.model
    outputs = session.run(_padded(coarse, model.multiple, model.channels[0].padding)[None, None])
    labels, inside, blood = (_cropped(outputs[name][0], coarse.shape) for name in ("classes", "inside_pericardium", "blood_pool"))
    return labels, inside, blood


def fine_box(labels: NDArray[np.uint8], grid: Geometry, scan: Geometry) -> Geometry:
    """The 0.5 mm grid around the pericardium with a margin, cut to the scan."""
    inside = np.argwhere(np.isin(labels, [int(c) for c in CARDIAC]))
    margin = MARGIN_MM / grid.spacing[0] + 0.5
    corners = scan.to_index(grid.to_points(np.stack([inside.min(axis=0) - margin, inside.max(axis=0) + margin])))
    low = np.clip(corners[0], 0, np.asarray(scan.shape) - 1)
    high = np.clip(corners[1], 0, np.asarray(scan.shape) - 1)
    return sub_grid(scan, low, high, FINE_SPACING_MM)


def _one_heart(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Only the largest connected piece: a heart is in one piece, and what lies apart from it is a mistake."""
    components, count = ndimage.label(labels > 0)
    if count <= 1:
        return labels
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.where(components == sizes.argmax(), labels, 0).astype(np.uint8)


def _require_a_heart(labels: NDArray[np.uint8], grid: Geometry) -> None:
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    for structure, minimum in MINIMUM_VOLUME_ML.items():
        found = float((labels == int(structure)).sum()) * voxel_ml
        if found < minimum:
            raise DeclinedError(
                "DEC-101",
                zh="图像中未找到完整的心脏和主动脉,无法进行冠状动脉分析。",
                en="No whole heart with aorta was found in the images; the coronary analysis was not done.",
                structure=structure.name,
                millilitres=round(found, 1),
            )


def _padded(coarse: NDArray[np.float32], multiple: int, fill: float) -> NDArray[np.float32]:
    return np.pad(coarse, [(0, -size % multiple) for size in coarse.shape], constant_values=fill)


def _cropped(array: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array[: shape[0], : shape[1], : shape[2]])
