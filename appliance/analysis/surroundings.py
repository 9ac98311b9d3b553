"""Where a point lies in the heart: signed distances to chambers and great vessels, and the left ventricle's own coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from appliance.analysis.stages import Float, Heart, Structure
from appliance.geometry import sample

FAR_MM = 999.0


@dataclass(frozen=True)
class Surroundings:
    """Distances from points to the structures of one heart; each field is made once, when first asked for."""

    heart: Heart
    _fields: dict[tuple[Structure, ...], NDArray[np.float32]] = field(default_factory=dict, repr=False, compare=False)

    def distance(self, points: Float, *classes: Structure) -> Float:
        """Signed distance in mm from LPS ``points`` (..., 3) to the surface of ``classes``, negative inside; ``FAR_MM`` without any.

        Outside the structure map the distance at its nearest voxel is given.
        """
        geometry = self.heart.structures.geometry
        index = geometry.to_index(points)
        limit = np.asarray(geometry.shape) - 1
        inside = geometry.to_points(np.clip(index, 0, limit))
        return sample(self._field(classes), geometry, inside, fill=FAR_MM).astype(np.float64)

    def _field(self, classes: tuple[Structure, ...]) -> NDArray[np.float32]:
        if classes not in self._fields:
            self._fields[classes] = signed_distance(self.heart.mask(*classes), self.heart.structures.geometry.spacing)
        return self._fields[classes]

    @cached_property
    def frame(self) -> VentricleFrame | None:
        """The left ventricle's frame, None where the structures do not allow one."""
        return _ventricle_frame(self.heart)


def signed_distance(mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance in mm to the surface of ``mask`` (z, y, x), negative inside, smoothed to a fraction of the voxel; ``FAR_MM`` if empty."""
    if not mask.any():
        return np.full(mask.shape, FAR_MM, np.float32)
    sampling = spacing[::-1]
    outside = distance_transform_edt(~mask, sampling=sampling)
    within = distance_transform_edt(mask, sampling=sampling)
    half = 0.5 * float(np.mean(spacing))
    raw = np.where(mask, half - within, outside - half)
    return np.asarray(gaussian_filter(raw.astype(np.float32), 0.6))


@dataclass(frozen=True)
class VentricleFrame:
    """Cylinder coordinates of the left ventricle.

    Attributes:
        base: LPS centre of the mitral plane.
        axis: unit vector from base to apex.
        anterior: unit vector across the axis towards the middle of the right ventricle, angle 0.
        lateral: ``axis`` x ``anterior``-complement, chosen so that angles grow from the right ventricle over the front to the free wall.
        length_mm: from base to apex.
    """

    base: Float
    axis: Float
    anterior: Float
    lateral: Float
    length_mm: float

    def height(self, points: Float) -> Float:
        """Position along the axis, 0 at the base, 1 at the apex."""
        return np.asarray((points - self.base) @ self.axis / self.length_mm)

    def angle(self, points: Float) -> Float:
        """Angle about the axis in radians, (-pi, pi]: 0 towards the right ventricle, positive over the front, +-pi at the free wall."""
        offset = points - self.base
        return np.asarray(np.arctan2(offset @ self.lateral, offset @ self.anterior))


def _ventricle_frame(heart: Heart) -> VentricleFrame | None:
    axis = heart.apex_axis
    left = heart.points(Structure.LV, Structure.LV_MYOCARDIUM)
    right = heart.centroid(Structure.RV)
    if axis is None or right is None or len(left) < 10:
        return None
    along = left @ axis
    low, high = np.percentile(along, [2.0, 99.5])
    centre = left.mean(axis=0)
    base = centre + (low - centre @ axis) * axis
    towards = right - centre
    towards = towards - (towards @ axis) * axis
    towards /= np.linalg.norm(towards)
    side = np.cross(axis, towards)
    # the front of the heart is where the aorta and the pulmonary artery leave: LPS -y and +z of the apex view
    front = np.array([0.0, -0.5, 1.0])
    lateral = side if side @ front > 0 else -side
    return VentricleFrame(base=base, axis=axis, anterior=towards, lateral=lateral, length_mm=float(high - low))
