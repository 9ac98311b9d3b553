"""Slices to a regular grid: sorted along their normal, checked for gaps, tilt and mixture; nothing irregular becomes a volume.

VOL-002  a slice does not say where it lies          VOL-006  slices are missing or unevenly spaced
VOL-003  the slices differ in matrix or pixel size   VOL-007  the slices are sheared (gantry tilt)
VOL-004  the slices differ in orientation            VOL-008  fewer than two slices
VOL-005  several slices lie at one place
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.slices import SliceHeader
from appliance.errors import VolumeError
from appliance.volume import Geometry

Float = NDArray[np.float64]

SAME_PLACE_MM = 0.01
SPACING_TOLERANCE = 0.1
"""Part of the spacing by which one step between slices may differ; headers round positions, a missing slice makes a step twice as long."""
SPACING_TOLERANCE_MM = 0.02
SHEAR = 0.01
"""Sideways step between slices as a part of the step along the normal: 0.6 degrees, less than a voxel over a heart."""
SAME_DIRECTION = 1e-3
PREFERRED_PHASE = 75.0
"""Per cent of the R-R interval: mid-diastole, the usual phase at rest."""


@dataclass(frozen=True)
class Stack:
    """Slices in order, and the grid that they make.

    Attributes:
        slices: sorted along the slice normal.
        geometry: of the array made by stacking them in that order.
    """

    slices: tuple[SliceHeader, ...]
    geometry: Geometry

    @property
    def step_mm(self) -> float:
        """Distance between neighbouring slices."""
        return self.geometry.spacing[2]

    @property
    def coverage_mm(self) -> float:
        """From the lower edge of the first to the upper edge of the last slice."""
        return self.geometry.extent_mm[2]


def stack_slices(headers: Sequence[SliceHeader]) -> Stack:
    """Sort and check the slices of one series and phase.

    Raises:
        VolumeError: VOL-002 to VOL-008.
    """
    unique = list({(header.sop_instance_uid or header.path, header.frame): header for header in headers}.values())
    if len(unique) < 2:
        raise VolumeError("VOL-008", zh="不足两层影像,不能构成容积", en="fewer than two slices do not make a volume")
    if any(header.position is None or header.orientation is None or header.pixel_spacing is None for header in unique):
        raise VolumeError(
            "VOL-002", zh="部分影像没有位置、方向或像素间距信息", en="some slices do not state position, orientation or pixel spacing"
        )
    rows, columns = _common_plane(unique)
    normal = np.cross(rows, columns)
    positions = np.array([header.position for header in unique], np.float64)
    order = np.argsort(positions @ normal, kind="stable")
    step = _common_step(positions[order], normal)
    ordered = tuple(unique[index] for index in order)
    first = ordered[0]
    spacing = first.pixel_spacing or (0.0, 0.0)
    geometry = Geometry(
        shape=(len(ordered), first.rows, first.columns),
        spacing=(spacing[1], spacing[0], step),
        origin=(float(positions[order[0], 0]), float(positions[order[0], 1]), float(positions[order[0], 2])),
        direction=np.stack([rows, columns, normal], axis=1),
    )
    return Stack(ordered, geometry)


def _common_plane(headers: Sequence[SliceHeader]) -> tuple[Float, Float]:
    """Unit vectors of the image plane, the same for all slices."""
    shapes = {(header.rows, header.columns) for header in headers}
    spacings = np.array([header.pixel_spacing for header in headers], np.float64)
    if len(shapes) > 1 or np.ptp(spacings, axis=0).max() > 1e-4 or spacings.min() <= 0:
        raise VolumeError("VOL-003", zh="各层影像的矩阵或像素大小不一致", en="the slices differ in matrix or pixel size")
    orientations = np.array([header.orientation for header in headers], np.float64)
    if np.ptp(orientations, axis=0).max() > SAME_DIRECTION:
        raise VolumeError(
            "VOL-004", zh="各层影像的方向不一致(机架倾斜改变?)", en="the slices differ in orientation (changing gantry tilt?)"
        )
    rows, columns = orientations[0, :3], orientations[0, 3:]
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if min(lengths) < 0.99 or max(lengths) > 1.01 or abs(rows @ columns) > SAME_DIRECTION * 10:
        raise VolumeError("VOL-002", zh="影像方向信息无效", en="the orientation of the slices is not valid")
    rows = rows / lengths[0]
    columns = columns - (columns @ rows) * rows
    return rows, columns / np.linalg.norm(columns)


def _common_step(positions: Float, normal: Float) -> float:
    """Distance of neighbours along the normal, in order of position."""
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    if along.min() < SAME_PLACE_MM:
        count = int((along < SAME_PLACE_MM).sum())
        raise VolumeError(
            "VOL-005", zh=f"有 {count} 处同一位置存在多层影像", en=f"several slices lie at one place, {count} times", count=count
        )
    step = float(np.median(along))
    tolerance = max(SPACING_TOLERANCE * step, SPACING_TOLERANCE_MM)
    gaps = int((np.abs(along - step) > tolerance).sum())
    mean = float((positions[-1] - positions[0]) @ normal) / (len(positions) - 1)
    drift = np.abs((positions - positions[0]) @ normal - mean * np.arange(len(positions))).max()
    if gaps or drift > step / 2:
        raise VolumeError(
            "VOL-006",
            zh=f"层间距不均匀或缺层({gaps} 处,间距 {along.min():.2f}–{along.max():.2f} mm)",
            en=f"slices are missing or unevenly spaced ({gaps} places, steps {along.min():.2f}–{along.max():.2f} mm)",
            gaps=gaps,
        )
    sideways = np.linalg.norm(steps - along[:, None] * normal, axis=1)
    if np.median(sideways) > SHEAR * step:
        angle = float(np.degrees(np.arctan2(np.median(sideways), step)))
        raise VolumeError(
            "VOL-007", zh=f"机架倾斜扫描({angle:.1f}°),层面错位", en=f"the slices are sheared by a tilted gantry ({angle:.1f}°)"
        )
    return mean


def split_phases(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """The slices of one series, parted into its cardiac phases; in one part where no place holds several slices.

    A series may hold several phases (PS3.3 lets it): they are told apart by phase, trigger time or acquisition number, whichever leaves one
    slice at each place.
    """
    keys: tuple[Callable[[SliceHeader], object], ...] = (
        lambda header: header.study.phase_percent,
        lambda header: header.trigger_ms,
        lambda header: header.acquisition,
    )
    if _repeats(headers) == 0:
        return [list(headers)]
    for key in keys:
        parts: dict[object, list[SliceHeader]] = {}
        for header in headers:
            parts.setdefault(key(header), []).append(header)
        if len(parts) > 1 and all(_repeats(part) == 0 for part in parts.values()):
            return list(parts.values())
    return [list(headers)]


def main_phase(headers: Sequence[SliceHeader]) -> list[SliceHeader]:
    """The slices of the phase to analyse: of those with most slices the one nearest to 75 %."""
    parts = split_phases(headers)
    most = max(len(part) for part in parts)
    return min((part for part in parts if len(part) == most), key=lambda part: distance_to_diastole(part[0].study.phase_percent))


def distance_to_diastole(phase_percent: float | None) -> float:
    """How far a phase is from the preferred one; an unknown phase is farthest."""
    return 100.0 if phase_percent is None else abs(phase_percent - PREFERRED_PHASE)


def _repeats(headers: Sequence[SliceHeader]) -> int:
    """How many slices lie where another one lies."""
    places = Counter(tuple(round(each, 2) for each in header.position) for header in headers if header.position is not None)
    return sum(count - 1 for count in places.values())
