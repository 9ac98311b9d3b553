"""Where the coronary arteries must run, before anything is segmented: places in the furrows of the located heart.

The right coronary artery runs in the right atrioventricular groove, the circumflex in the left one, the anterior descending in the anterior
interventricular groove. Each place is the middle of a patch that the network for image quality looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from appliance.analysis.grids import interpolate_to
from appliance.analysis.stages import Float, Heart, Structure
from appliance.volume import Geometry, Volume

MainVessel = Literal["LAD", "LCX", "RCA"]
MAIN_VESSELS: tuple[MainVessel, ...] = ("LAD", "LCX", "RCA")
PLACES_PER_VESSEL = 8
PATCH_SHAPE = (32, 64, 64)
"""Voxels (z, y, x): wide in the slice, where vessels in the grooves are cut across and where motion shows most."""
PATCH_SPACING_MM = 0.5
VENTRICLE = (Structure.LV, Structure.LV_MYOCARDIUM)


@dataclass(frozen=True)
class Groove:
    """Where an artery runs: at what distances (mm) from the two structures that form its furrow, and how far at least from others."""

    walls: tuple[tuple[tuple[Structure, ...], float], ...]
    away: tuple[tuple[tuple[Structure, ...], float], ...]
    in_front: bool = False


GROOVES: dict[MainVessel, Groove] = {
    "LAD": Groove(
        walls=(((Structure.RV,), 7.5), (VENTRICLE, 4.0)),
        away=(((Structure.RIGHT_ATRIUM,), 25.0), ((Structure.AORTA,), 10.0)),
        in_front=True,
    ),
    "LCX": Groove(
        walls=(((Structure.LEFT_ATRIUM,), 6.0), (VENTRICLE, 5.0)),
        away=(((Structure.RIGHT_ATRIUM,), 25.0), ((Structure.RV,), 17.0), ((Structure.AORTA,), 8.0)),
    ),
    "RCA": Groove(
        walls=(((Structure.RIGHT_ATRIUM,), 6.0), ((Structure.RV,), 7.0)),
        away=((VENTRICLE, 15.0), ((Structure.LEFT_ATRIUM,), 18.0)),
    ),
}
"""Typical distances of virtual arteries of the train family on the 3 mm map (voxel centre to voxel centre)."""
TOLERANCE_MM = 3.5
"""Largest mean deviation from the two distances to the walls."""
_MARGIN_MM = 20.0


@dataclass(frozen=True)
class Place:
    """The middle of a patch (LPS mm), and the artery that should be in it."""

    vessel: MainVessel
    point: tuple[float, float, float]


def find_places(heart: Heart, *, count: int = PLACES_PER_VESSEL) -> tuple[Place, ...]:
    """Up to ``count`` places for each main artery, as far from one another as its groove allows; none where there is no groove.

    Deterministic: the first is the voxel whose distances are most typical, each further one the voxel farthest from those before it.
    """
    labels, geometry = _crop(heart)
    free = np.isin(labels, (int(Structure.BACKGROUND), int(Structure.PERICARDIUM)))
    places = []
    for vessel, groove in GROOVES.items():
        off = sum(np.abs(_distance(labels, structures, geometry) - mm) for structures, mm in groove.walls) / len(groove.walls)
        fits = free & (off <= TOLERANCE_MM)
        for structures, mm in groove.away:
            fits &= _distance(labels, structures, geometry) >= mm
        where = np.argwhere(fits)
        points = geometry.to_points(where)
        if groove.in_front:
            kept = _in_front(points, heart)
            where, points = where[kept], points[kept]
        chosen = spread(points, off[tuple(where.T)], count)
        places += [Place(vessel, (float(x), float(y), float(z))) for x, y, z in points[chosen]]
    return tuple(places)


def spread(points: Float, cost: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Indices of up to ``count`` points far from one another, beginning with the cheapest (farthest point sampling)."""
    if not len(points):
        return np.zeros(0, np.intp)
    chosen = [int(np.argmin(cost))]
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.asarray(chosen, np.intp)


def patches(volume: Volume, places: tuple[Place, ...]) -> NDArray[np.float32]:
    """The scan around each place, HU, (n, 1, *PATCH_SHAPE) at 0.5 mm with the scan's own axes; its edge value where the scan ends."""
    cut = np.empty((len(places), 1, *PATCH_SHAPE), np.float32)
    for number, place in enumerate(places):
        cut[number, 0] = interpolate_to(volume.voxels, volume.geometry, patch_grid(place, volume.geometry.direction))
    return cut


def patch_grid(place: Place, direction: Float) -> Geometry:
    """The grid of a patch, its middle at the place."""
    half = PATCH_SPACING_MM * (np.asarray(PATCH_SHAPE[::-1]) - 1) / 2
    x, y, z = (float(value) for value in np.asarray(place.point) - direction @ half)
    return Geometry(PATCH_SHAPE, (PATCH_SPACING_MM,) * 3, (x, y, z), direction)


def _crop(heart: Heart) -> tuple[NDArray[np.uint8], Geometry]:
    """The structure map cut to the heart and a little around it: the rest only costs time."""
    grid = heart.structures.geometry
    where = np.argwhere(heart.structures.labels > 0)
    if not len(where):
        return heart.structures.labels, grid
    margin = int(np.ceil(_MARGIN_MM / min(grid.spacing)))
    low = np.maximum(where.min(axis=0) - margin, 0)
    high = np.minimum(where.max(axis=0) + margin + 1, grid.shape)
    labels = heart.structures.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    x, y, z = (float(value) for value in grid.to_points(low))
    nz, ny, nx = labels.shape
    return labels, Geometry((nz, ny, nx), grid.spacing, (x, y, z), grid.direction)


def _distance(labels: NDArray[np.uint8], structures: tuple[Structure, ...], geometry: Geometry) -> NDArray[np.float32]:
    """Distance (mm) from each voxel to the nearest voxel of the structures; infinite where there are none."""
    mask = np.isin(labels, [int(each) for each in structures])
    if not mask.any():
        return np.full(labels.shape, np.inf, np.float32)
    return np.asarray(distance_transform_edt(~mask, sampling=geometry.spacing[::-1]), np.float32)


def _in_front(points: Float, heart: Heart) -> NDArray[np.bool_]:
    """Which points lie on the front of the ventricles: above the plane through the left ventricle's axis and the right ventricle.

    Without an axis, what lies before or above the left ventricle's middle.
    """
    left, right, axis = heart.centroid(*VENTRICLE), heart.centroid(Structure.RV), heart.apex_axis
    if left is None or right is None:
        return np.zeros(len(points), np.bool_)
    front = np.array([0.0, -1.0, 1.0])
    if axis is not None:
        normal = np.cross(axis, right - left)
        front = normal if normal @ front > 0 else -normal
    above: NDArray[np.bool_] = (points - left) @ front > 0
    return above
