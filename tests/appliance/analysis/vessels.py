"""A straight vessel along x in fat, blurred as a scanner blurs, for tests of what lies around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from appliance.anatomy import SegmentName, Vessel
from appliance.findings import Branch
from appliance.volume import Geometry, Volume

SPACING = 0.3
LENGTH_MM = 36.0
WIDTH_MM = 24.0
FAT, BLOOD = -90.0, 400.0
Paint = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From x along the vessel, and y and z across it (mm, 0 in the middle) to HU where it paints, NaN elsewhere."""


def disc(radius: float, hu: float = BLOOD) -> Paint:
    """A lumen of blood."""
    return lambda _, y, z: np.where(np.hypot(y, z) <= radius, hu, np.nan)


def ring(radius: float, hu: float, *, first: float, last: float, width: float = 0.3, arc: float = np.pi) -> Paint:
    """A bright wall between two places, over ``arc`` radians to both sides of y."""

    def paint(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        here = (np.abs(np.hypot(y, z) - radius) <= width / 2) & (x >= first) & (x < last) & (np.abs(np.arctan2(z, y)) <= arc)
        return np.where(here, hu, np.nan)

    return paint


def volume(*paints: Paint, blur_mm: float = 0.4, noise_hu: float = 0.0) -> Volume:
    """What the scanner sees; later paints cover earlier ones."""
    across, along = int(WIDTH_MM / SPACING) + 1, int(LENGTH_MM / SPACING) + 1
    z, y, x = np.meshgrid(*(SPACING * np.arange(n) for n in (across, across, along)), indexing="ij")
    hu = np.full(x.shape, FAT)
    for paint in paints:
        new = paint(x, y - WIDTH_MM / 2, z - WIDTH_MM / 2)
        hu = np.where(np.isnan(new), hu, new)
    hu = ndimage.gaussian_filter(hu, blur_mm / SPACING)
    hu += np.random.default_rng(3).normal(0.0, noise_hu, hu.shape)
    return Volume(hu.astype(np.int16), Geometry(hu.shape, (SPACING,) * 3, (0.0, 0.0, 0.0)))


def branch(
    radius: float, *, name: SegmentName = "mLAD", vessel: Vessel = "LAD", wall: float = 0.4, first: float = 3.0, last: float = 33.0
) -> Branch:
    """The vessel's line, in steps of 0.5 mm."""
    x = np.arange(first, last + 0.01, 0.5)
    middle = WIDTH_MM / 2
    return Branch(
        id=0,
        parent=None,
        parent_index=None,
        vessel=vessel,
        points_mm=tuple((float(each), middle, middle) for each in x),
        segments=((0, len(x), name),),
        name_confidence=1.0,
        lumen_diameter_mm=(2.0 * radius,) * len(x),
        vessel_diameter_mm=(2.0 * radius + 2.0 * wall,) * len(x),
    )
