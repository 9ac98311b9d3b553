"""What the stages of the analysis hand to one another: frozen data, no behaviour beyond look-ups.

Points are LPS in mm, arrays of voxels are (z, y, x). A stage returns a new object and never changes what it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from appliance.anatomy import Dominance, SegmentName, Vessel
from appliance.findings import Branch, Lesion, PlaqueVolume
from appliance.volume import Geometry, LabelMap

Float = NDArray[np.float64]
Side = Literal["left", "right"]
Range = tuple[int, int]
Progress = Callable[[str, float], None]
"""Told the stage's name and the fraction of it that is done, 0..1."""


class Structure(IntEnum):
    """Classes of the structure map."""

    BACKGROUND = 0
    LV_MYOCARDIUM = 1
    LEFT_ATRIUM = 2
    LV = 3
    RIGHT_ATRIUM = 4
    RV = 5
    AORTA = 6
    PULMONARY_ARTERY = 7
    PERICARDIUM = 8


class VesselClass(IntEnum):
    """Classes of the fine segmentation."""

    NONE = 0
    LUMEN = 1
    WALL = 2
    CALCIUM = 3
    VEIN = 4


@dataclass(frozen=True)
class Heart:
    """The heart as the coarse network sees it.

    Attributes:
        structures: ``Structure`` per voxel on a 3 mm grid that holds the whole heart.
        roi: the 0.5 mm isotropic grid on which the coronaries are segmented.
    """

    structures: LabelMap
    roi: Geometry

    def mask(self, *classes: Structure) -> NDArray[np.bool_]:
        """True where the structure map shows one of ``classes``."""
        return np.isin(self.structures.labels, [int(c) for c in classes])

    def points(self, *classes: Structure) -> Float:
        """Voxel centres of ``classes``, LPS mm, shape (n, 3); n may be 0."""
        return self.structures.geometry.to_points(np.argwhere(self.mask(*classes)))

    def centroid(self, *classes: Structure) -> Float | None:
        """Centre of mass of ``classes``, None where the map shows none of them."""
        points = self.points(*classes)
        return points.mean(axis=0) if len(points) else None

    @cached_property
    def apex_axis(self) -> Float | None:
        """Unit vector along the left ventricle's long axis from base to apex, None without a left ventricle and atrium.

        The first principal axis of the ventricle, turned away from the left atrium (or the aorta).
        """
        ventricle = self.points(Structure.LV, Structure.LV_MYOCARDIUM)
        base = self.centroid(Structure.LEFT_ATRIUM)
        if base is None:
            base = self.centroid(Structure.AORTA)
        if len(ventricle) < 10 or base is None:
            return None
        centre = ventricle.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov((ventricle - centre).T))
        long_axis = vectors[:, -1]
        return np.asarray(long_axis if (centre - base) @ long_axis > 0 else -long_axis)


@dataclass(frozen=True)
class Segmentation:
    """The coronaries as the fine network sees them, all arrays on one 0.5 mm isotropic grid.

    Attributes:
        geometry: the grid.
        hu: attenuation, int16.
        classes: ``VesselClass``, uint8.
        coronary: probability of being coronary (lumen, wall or calcium) times 255, uint8.
    """

    geometry: Geometry
    hu: NDArray[np.int16]
    classes: NDArray[np.uint8]
    coronary: NDArray[np.uint8]


@dataclass(frozen=True)
class Dropped:
    """Something that looked like a vessel and was not kept: where, how long, and which rule refused it."""

    centre_mm: tuple[float, float, float]
    length_mm: float
    rule: str


@dataclass(frozen=True)
class Orphan:
    """A vessel-like piece that reaches no ostium.

    Attributes:
        voxels: indices (z, y, x) into the segmentation's grid, (n, 3).
        length_mm: rough length.
    """

    voxels: NDArray[np.int32]
    length_mm: float


@dataclass(frozen=True)
class TreeBranch:
    """A stretch of vessel between its origin and its end.

    Attributes:
        points_mm: proximal to distal, (n, 3), step at most 0.5 mm.
        parent: index of the parent branch in the tree, None at an ostium.
        parent_index: index of the parent's point where this branch starts, None at an ostium.
        side: which ostium it hangs on.
        radius_mm: rough radius from the mask, (n,).
        probability: network probability along the line, 0..1, (n,).
        repaired: half-open ranges of points that no vessel mask supports.
    """

    points_mm: Float
    parent: int | None
    parent_index: int | None
    side: Side
    radius_mm: Float
    probability: Float
    repaired: tuple[Range, ...] = ()

    @property
    def length_mm(self) -> float:
        """Length of the line."""
        return float(np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1).sum())


@dataclass(frozen=True)
class Tree:
    """Branches in an order that puts parents before children, without loops.

    Attributes:
        branches: the branches that hang on an ostium.
        orphans: vessel-like pieces that reach no ostium; repair may join them.
        dropped: what was refused, and why.
    """

    branches: tuple[TreeBranch, ...]
    orphans: tuple[Orphan, ...] = ()
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True)
class NamedBranch:
    """A whole anatomical run (LM, LAD from the bifurcation to its end, D1, ...) with its segments."""

    points_mm: Float
    parent: int | None
    parent_index: int | None
    vessel: Vessel
    segments: tuple[tuple[int, int, SegmentName], ...]
    confidence: float
    repaired: tuple[Range, ...] = ()

    @property
    def name(self) -> SegmentName:
        """Name of the first segment."""
        return self.segments[0][2]

    def segment_at(self, index: int) -> SegmentName:
        """Segment that holds point ``index``; the last one beyond the end."""
        for _, end, name in self.segments:
            if index < end:
                return name
        return self.segments[-1][2]


@dataclass(frozen=True)
class NamedTree:
    """The tree in anatomical runs; ``dominance`` is None where it cannot be told."""

    branches: tuple[NamedBranch, ...]
    dominance: Dominance | None
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True)
class Profile:
    """What the cross-sections of one branch say, one entry per point, (n,); NaN where nothing could be measured.

    Attributes:
        lumen_mm: area-equivalent lumen diameter; 0 where the vessel is occluded.
        narrowest_mm, widest_mm: smallest and largest lumen diameter through the centre.
        vessel_mm: area-equivalent diameter of the outer wall.
        calcium_mm2: area of calcium in the section.
        lumen_hu: attenuation of the blood used for the fit.
        noise_hu: residual of the fit, root mean square.
        quality: 0..1, how well the model explains the section.
    """

    lumen_mm: Float
    narrowest_mm: Float
    widest_mm: Float
    vessel_mm: Float
    calcium_mm2: Float
    lumen_hu: Float
    noise_hu: Float
    quality: Float


@dataclass(frozen=True)
class Reference:
    """What a healthy vessel would measure at each point of one branch, (n,); NaN where no reference can be given."""

    lumen_mm: Float
    vessel_mm: Float
    confidence: Float


@dataclass(frozen=True)
class Measured:
    """Everything the stages after the segmentation found.

    Attributes:
        branches, lesions: as in the findings file.
        dominance: None where it cannot be told.
        plaque_total: sum over the lesions.
        dropped: what looked like a vessel and was refused, for the log and the evaluation.
        timing_s: seconds per stage.
    """

    branches: tuple[Branch, ...]
    lesions: tuple[Lesion, ...]
    dominance: Dominance | None
    plaque_total: PlaqueVolume
    dropped: tuple[Dropped, ...] = ()
    timing_s: dict[str, float] = field(default_factory=dict)
