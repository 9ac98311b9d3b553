"""Where the ostia are, by the network: heat maps in a crop about the aortic root, their peaks, and the rules that refuse a peak.

The crop is cut from the fine grid, so that no part of the scan is read again: eight voxels of 0.5 mm are averaged into one of 1 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from appliance.analysis.grids import interpolate_to
from appliance.analysis.stages import Float, Heart, Segmentation, Side, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.inference.engine import Session
from appliance.volume import Geometry

SIDES: tuple[Side, ...] = ("left", "right")
LEAST_SHARE = 0.3
"""Weaker peaks are not looked at."""
LEAST_SECOND_SHARE = 0.4
"""A further ostium of a side is rare (LAD and LCX apart, an artery from the other sinus): it must be seen better than the first."""
APART_MM = 3.0
"""Two peaks nearer than this are one ostium."""
ROOT_REACH_MM = 30.0
OFF_WALL_MM, FAR_OFF_WALL_MM = 5.0, 9.0
"""Farthest a peak may lie from the aortic surface, and a well seen one at which a vessel begins; the map has 3 mm voxels, and in a scan of
little contrast its aorta is too small."""
WELL_SEEN_SHARE = 0.5
UNDER_ANNULUS_MM = 6.0
"""Farthest a peak may lie below the plane in which the aorta meets the left ventricle, for the same reason."""


@dataclass(frozen=True)
class Peak:
    """An ostium that the network shows: LPS position in mm, the side of the arteries that it feeds, height of the peak (0..1)."""

    point_mm: Float
    side: Side
    share: float


@dataclass(frozen=True)
class Root:
    """The aortic root, LPS mm: its ``middle``, the middle of the ``annulus``, and the unit vector from there up the aorta."""

    middle: Float
    annulus: Float
    upwards: Float


def find_root(heart: Heart) -> Root | None:
    """The root, from where the aorta meets the left ventricle; None where the map shows either of them not at all."""
    aorta = heart.points(Structure.AORTA)
    ventricle = heart.points(Structure.LV, Structure.LV_MYOCARDIUM)
    if len(aorta) < 10 or len(ventricle) < 10:
        return None
    # the cavity's side of the ventricle that looks at the aorta is what counts: the distance to the nearest voxel of it
    gap = Surroundings(heart).distance(aorta, Structure.LV, Structure.LV_MYOCARDIUM)
    annulus = aorta[gap <= gap.min() + 4.5].mean(axis=0)
    middle = aorta[np.linalg.norm(aorta - annulus, axis=1) <= ROOT_REACH_MM].mean(axis=0)
    upwards = middle - annulus
    length = float(np.linalg.norm(upwards))
    return Root(middle=middle, annulus=annulus, upwards=upwards / length if length > 1.0 else np.array([0.0, 0.0, 1.0]))


def find_peaks(segmentation: Segmentation, surroundings: Surroundings, *, session: Session) -> list[Peak]:
    """The ostia that the network shows and no rule refuses, strongest first; empty where it shows none or the root is not found.

    Raises:
        InferenceError: the network's output must not be used.
    """
    root = find_root(surroundings.heart)
    if root is None:
        return []
    shape = session.model.tile
    assert shape is not None  # noqa: S101 - the catalog's entry has one
    channels, grid = root_crop(surroundings.heart, segmentation, root.middle, shape=shape, spacing_mm=session.model.spacing_mm)
    outputs = session.run(channels[None])
    peaks = [peak for side in SIDES for peak in peaks_of(outputs[side][0], grid, side)]
    return apart([peak for peak in peaks if refusal(peak, root, surroundings) is None])


def root_crop(
    heart: Heart, segmentation: Segmentation, centre: Float, *, shape: tuple[int, int, int], spacing_mm: float
) -> tuple[NDArray[np.float32], Geometry]:
    """The network's channels (2, z, y, x) about ``centre`` and their grid: HU (-1000 beyond the fine grid), the aorta as 0..255."""
    fine = segmentation.geometry
    factor = max(1, round(spacing_mm / fine.spacing[0]))
    size = np.asarray(shape) * factor
    first = np.rint(fine.to_index(centre) - (size - 1) / 2).astype(int)
    block = np.full(tuple(size), -1000.0, np.float32)
    low, high = np.maximum(first, 0), np.minimum(first + size, fine.shape)
    if (high > low).all():
        inside = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
        block[inside] = segmentation.hu[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    z, y, x = shape
    hu = block.reshape(z, factor, y, factor, x, factor).mean(axis=(1, 3, 5))
    corner = fine.to_points(first + (factor - 1) / 2)
    spacing = (factor * fine.spacing[0], factor * fine.spacing[1], factor * fine.spacing[2])
    grid = Geometry(shape, spacing, (float(corner[0]), float(corner[1]), float(corner[2])), fine.direction)
    aorta = heart.mask(Structure.AORTA).astype(np.uint8) * np.uint8(255)
    return np.stack([hu, interpolate_to(aorta, heart.structures.geometry, grid).astype(np.float32)]), grid


def peaks_of(share: NDArray[np.uint8], grid: Geometry, side: Side, *, least: float = LEAST_SHARE) -> list[Peak]:
    """The peaks of one heat map (z, y, x; 255 = 1), ``APART_MM`` from one another, each refined between the voxels; strongest first."""
    tops = np.argwhere((share == maximum_filter(share, size=3)) & (share >= round(255 * least)))
    peaks = [Peak(grid.to_points(_refined(share, voxel)), side, float(share[tuple(voxel)]) / 255.0) for voxel in tops]
    kept: list[Peak] = []
    for peak in sorted(peaks, key=lambda one: -one.share):
        # bytes make flat tops: neighbours of the same height are one peak
        if all(np.linalg.norm(peak.point_mm - other.point_mm) >= APART_MM for other in kept):
            kept.append(peak)
    return kept


def _refined(share: NDArray[np.uint8], voxel: NDArray[np.intp]) -> Float:
    """Fractional index of a peak: the middle of mass of what rises above half of it in the 5 x 5 x 5 voxels about it.

    A parabola through three voxels would be exact for a clean Gaussian, but flat tops (bytes, a peak of 255) leave it without curvature.
    """
    low = np.maximum(voxel - 2, 0)
    high = np.minimum(voxel + 3, share.shape)
    around = share[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))].astype(np.float64)
    weight = np.maximum(around - 0.5 * float(share[tuple(voxel)]), 0.0)
    where = np.indices(around.shape).reshape(3, -1)
    centre: Float = low + (where * weight.ravel()).sum(axis=1) / weight.sum()
    return centre


def refusal(peak: Peak, root: Root, surroundings: Surroundings) -> str | None:
    """The rule that refuses a peak, None if it may be an ostium. Any sinus is allowed, and a high take-off."""
    off = float(surroundings.distance(peak.point_mm[None], Structure.AORTA)[0])
    if off < -OFF_WALL_MM or off > (FAR_OFF_WALL_MM if peak.share >= WELL_SEEN_SHARE else OFF_WALL_MM):
        return "off_the_aortic_wall"
    if float((peak.point_mm - root.annulus) @ root.upwards) < -UNDER_ANNULUS_MM:
        return "under_the_annulus"
    return None


def apart(peaks: Sequence[Peak]) -> list[Peak]:
    """One peak per ostium, strongest first; of each side the strongest, and others that are seen well."""
    kept: list[Peak] = []
    for peak in sorted(peaks, key=lambda one: -one.share):
        further = any(other.side == peak.side for other in kept)
        near = any(np.linalg.norm(other.point_mm - peak.point_mm) < APART_MM for other in kept)
        if not near and not (further and peak.share < LEAST_SECOND_SHARE):
            kept.append(peak)
    return kept
