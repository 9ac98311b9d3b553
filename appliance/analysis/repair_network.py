"""Whether a gap is a vessel, and where it runs, by the network: a cube of the fine grid about the middle of the gap, both ends marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Float, Segmentation
from appliance.inference.engine import Session

END_SIGMA_MM = 0.8
"""Of the Gaussian that marks an end."""
LAST_BYTE = 255.0
AT_ONCE = 4


@dataclass(frozen=True)
class Gap:
    """Two ends that may belong together, LPS mm: the tree's (``near``) and the lost piece's (``far``)."""

    near_mm: Float
    far_mm: Float


@dataclass(frozen=True)
class Verdict:
    """What the network says of one gap.

    Attributes:
        vessel: probability that a vessel runs through it.
        course: where, (z, y, x), 255 = 1.
        corner: index (z, y, x) of the course's first voxel in the segmentation's grid; may be negative at its border.
    """

    vessel: float
    course: NDArray[np.uint8]
    corner: NDArray[np.int32]

    def at(self, voxels: NDArray[np.int32]) -> NDArray[np.float64]:
        """The course's share, 0..1, at ``voxels`` (n, 3) of the segmentation's grid; 0 outside the cube."""
        local = voxels - self.corner
        inside = ((local >= 0) & (local < self.course.shape)).all(axis=1)
        share = np.zeros(len(voxels))
        share[inside] = self.course[tuple(local[inside].T)] / LAST_BYTE
        return share


class GapJudge:
    """Asks the network about gaps of one segmentation.

    Args:
        session: of the model ``repair``.
        segmentation: at the model's spacing.
    """

    def __init__(self, session: Session, segmentation: Segmentation) -> None:
        self._session = session
        self._segmentation = segmentation
        tile = session.model.tile
        assert tile is not None  # noqa: S101 - the catalog's entry has one
        self._shape = tile

    def verdicts(self, gaps: Sequence[Gap]) -> list[Verdict]:
        """The network's word on each gap.

        Raises:
            InferenceError: its output must not be used.
        """
        found: list[Verdict] = []
        for start in range(0, len(gaps), AT_ONCE):
            cubes = [gap_cube(self._segmentation, gap, shape=self._shape) for gap in gaps[start : start + AT_ONCE]]
            outputs = self._session.run(np.stack([channels for channels, _ in cubes]))
            answers = zip(cubes, outputs["vessel"], outputs["course"], strict=True)
            found += [Verdict(vessel=float(vessel[0]), course=course, corner=corner) for (_, corner), vessel, course in answers]
        return found


def gap_cube(segmentation: Segmentation, gap: Gap, *, shape: tuple[int, int, int]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The channels (4, z, y, x) about the middle of a gap, and the index of their first voxel in the segmentation's grid."""
    geometry = segmentation.geometry
    near, far = geometry.to_index(gap.near_mm), geometry.to_index(gap.far_mm)
    size = np.asarray(shape)
    corner = np.rint(0.5 * (near + far) - (size - 1) / 2).astype(np.int32)
    hu = _cut(segmentation.hu, corner, shape, -1000.0)
    coronary = _cut(segmentation.coronary, corner, shape, 0.0)
    ends = (end_map(end - corner, shape, spacing_mm=geometry.spacing[0]) for end in (near, far))
    return np.stack([hu, coronary, *ends]), corner


def end_map(index: Float, shape: tuple[int, int, int], *, spacing_mm: float) -> NDArray[np.float32]:
    """A Gaussian of height 255 about a fractional index (z, y, x)."""
    factors = [
        np.exp(-0.5 * ((np.arange(size) - at) * spacing_mm / END_SIGMA_MM) ** 2).astype(np.float32)
        for size, at in zip(shape, index, strict=True)
    ]
    return np.asarray(np.float32(LAST_BYTE) * factors[0][:, None, None] * factors[1][None, :, None] * factors[2][None, None, :])


def _cut(array: NDArray[np.generic], corner: NDArray[np.int32], shape: tuple[int, int, int], fill: float) -> NDArray[np.float32]:
    out = np.full(shape, fill, np.float32)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + np.asarray(shape), array.shape)
    if (high > low).all():
        inside = tuple(slice(int(a), int(b)) for a, b in zip(low - corner, high - corner, strict=True))
        out[inside] = array[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    return out
