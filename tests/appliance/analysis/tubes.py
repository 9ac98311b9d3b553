"""Analytic vessels: tubes with a wall, and forks of them, rendered by the definition (supersampled, blurred, noisy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from appliance.analysis.stages import Heart, NamedBranch, NamedTree, Segmentation, Structure
from appliance.geometry import arc_length
from appliance.volume import Geometry, LabelMap, Volume

Float = NDArray[np.float64]
BLOOD, WALL, FAT, CALCIUM = 400.0, 60.0, -90.0, 900.0
MUSCLE, LUNG = 100.0, -850.0


@dataclass(frozen=True)
class Deposit:
    """A material in the wall: a sector of a ring about the lumen's middle.

    Attributes:
        hu: its attenuation.
        span_mm: where it begins and ends along the line, from the line's first point.
        radius_mm: where it begins and ends on a ray from the lumen's middle.
        angle, arc: direction of the sector's middle and its whole opening, radians.
        label: 2 wall, 3 calcium.
    """

    hu: float
    span_mm: tuple[float, float]
    radius_mm: tuple[float, float]
    angle: float = 0.0
    arc: float = 2 * np.pi
    label: int = 2


@dataclass(frozen=True)
class Behind:
    """What lies behind the fat on one side: from ``from_mm`` off the vessels' lines on, towards a unit vector."""

    hu: float
    from_mm: float
    towards: tuple[float, float, float]


@dataclass(frozen=True)
class Vessel:
    """A vessel: centre line (n, 3), lumen and outer radius at each point, angles at which calcium lies beside the lumen.

    ``blood`` is the blood's attenuation at each point, where it is not ``BLOOD`` everywhere. ``beside`` is how far the lumen's middle lies
    off the line at each point, mm (n,), where it does: the line is the outer wall's middle. ``deposits`` cover one another in their order.
    """

    points: Float
    lumen: Float
    outer: Float
    name: str = "pRCA"
    calcium: tuple[float, ...] = ()
    calcium_range: tuple[int, int] = (0, 0)
    blood: Float | None = None
    beside: Float | None = None
    deposits: tuple[Deposit, ...] = ()

    @property
    def along(self) -> Float:
        """Distance of each point from the first, along the line, mm (n,)."""
        return arc_length(self.points)

    @property
    def lumens_middle(self) -> Float:
        """The line through the lumen's middle, (n, 3)."""
        return self.points if self.beside is None else self.points + self.beside[:, None] * _axes(self)[0]


def straight(
    diameter: float,
    *,
    length: float = 40.0,
    wall: float = 0.5,
    direction: tuple[float, float, float] = (0.35, 0.5, 0.79),
    stenosis: float = 0.0,
    stenosis_mm: float = 10.0,
    remodelled: float = 0.0,
) -> Vessel:
    """A straight tube about the origin; ``stenosis`` narrows its middle over ``stenosis_mm`` with a cosine shape."""
    unit = np.asarray(direction) / np.linalg.norm(direction)
    along = np.arange(-length / 2, length / 2 + 0.01, 0.4)
    hump = np.where(np.abs(along) < stenosis_mm / 2, 0.5 + 0.5 * np.cos(2 * np.pi * along / stenosis_mm), 0.0)
    lumen = diameter / 2 * (1 - stenosis * hump)
    outer = diameter / 2 + wall + remodelled * hump
    return Vessel(points=along[:, None] * unit, lumen=lumen, outer=outer)


def render(
    vessels: list[Vessel],
    *,
    spacing: tuple[float, float, float] = (0.4, 0.4, 0.5),
    blur: tuple[float, float] = (0.28, 0.30),
    noise: float = 20.0,
    seed: int = 0,
    margin: float = 7.0,
    behind: Sequence[Behind] = (),
) -> tuple[Volume, NDArray[np.uint8]]:
    """The volume that a scanner would see, and the class of each voxel (1 lumen, 2 wall, 3 calcium)."""
    everything = np.concatenate([v.points for v in vessels])
    low, high = everything.min(axis=0) - margin, everything.max(axis=0) + margin
    size = np.ceil((high - low) / np.asarray(spacing)).astype(int)
    fine = 2
    step = np.asarray(spacing) / fine
    axes = [low[i] + (np.arange(size[i] * fine) + 0.5 - fine / 2) * step[i] for i in range(3)]
    grid = np.stack(np.meshgrid(axes[2], axes[1], axes[0], indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
    hu = np.full(len(grid), FAT, np.float32)
    label = np.zeros(len(grid), np.uint8)
    distance, at = cKDTree(everything).query(grid)
    for one in behind:
        hu[(distance >= one.from_mm) & ((grid - everything[at]) @ np.asarray(one.towards) >= one.from_mm)] = one.hu
    near = np.flatnonzero(distance < 5.0)
    _paint(vessels, grid, near, hu, label)
    shape = tuple(int(n * fine) for n in size[::-1])
    seen = gaussian_filter(hu.reshape(shape), [blur[1] / step[2], blur[0] / step[1], blur[0] / step[0]])
    coarse = (int(size[2]), int(size[1]), int(size[0]))
    blocks = (coarse[0], fine, coarse[1], fine, coarse[2], fine)
    mean = seen.reshape(blocks).mean(axis=(1, 3, 5))
    noisy = mean + np.random.default_rng(seed).normal(0.0, noise, mean.shape)
    geometry = Geometry(coarse, spacing, (float(low[0]), float(low[1]), float(low[2])))
    return Volume(np.round(noisy).astype(np.int16), geometry), label.reshape(blocks)[:, 0, :, 0, :, 0].copy()


def _paint(vessels: list[Vessel], grid: Float, near: NDArray[np.intp], hu: NDArray[np.float32], label: NDArray[np.uint8]) -> None:
    """Walls first, then calcium, then blood, so that where vessels meet the lumens are one."""
    where = [(v, *cKDTree(v.points).query(grid[near])) for v in vessels]
    offsets = [(v, _across(v, grid[near], at)) for v, _, at in where]
    for (v, distance, at), (_, across) in zip(where, offsets, strict=True):
        inside = (np.linalg.norm(across, axis=1) < v.outer[at]) & (distance < v.outer[at] + 0.5)
        hu[near[inside]], label[near[inside]] = WALL, 2
    offsets = [(v, across - (v.lumens_middle - v.points)[at]) for (v, _, at), (_, across) in zip(where, offsets, strict=True)]
    for (v, _, at), (_, across) in zip(where, offsets, strict=True):
        normal, binormal = _axes(v)
        for angle in v.calcium:
            direction = np.cos(angle) * normal + np.sin(angle) * binormal
            centre = (v.lumen[at] + 0.55)[:, None] * direction
            spot = (np.linalg.norm(across - centre, axis=1) < 0.5) & (at >= v.calcium_range[0]) & (at < v.calcium_range[1])
            hu[near[spot]], label[near[spot]] = CALCIUM, 3
        _paint_deposits(v, grid, near, at, across, hu, label)
    for (v, distance, at), (_, across) in zip(where, offsets, strict=True):
        off = 0.0 if v.beside is None else np.abs(v.beside[at])
        inside = (np.linalg.norm(across, axis=1) < v.lumen[at]) & (distance < v.lumen[at] + off + 0.5)
        hu[near[inside]], label[near[inside]] = BLOOD if v.blood is None else v.blood[at[inside]], 1


def _paint_deposits(
    vessel: Vessel,
    grid: Float,
    near: NDArray[np.intp],
    at: NDArray[np.intp],
    across: Float,
    hu: NDArray[np.float32],
    label: NDArray[np.uint8],
) -> None:
    """Sectors within the outer wall; where they begin and end along the line is told finer than the line's points."""
    if not vessel.deposits:
        return
    normal, binormal = _axes(vessel)
    radius = np.linalg.norm(across, axis=1)
    angle = np.arctan2(across @ binormal, across @ normal)
    place = vessel.along[at] + ((grid[near] - vessel.points[at]) * _tangents(vessel)[at]).sum(axis=1)
    for one in vessel.deposits:
        turned = np.abs((angle - one.angle + np.pi) % (2 * np.pi) - np.pi)
        here = (radius >= one.radius_mm[0]) & (radius < one.radius_mm[1]) & (turned <= one.arc / 2) & (label[near] > 0)
        here &= (place >= one.span_mm[0]) & (place < one.span_mm[1])
        hu[near[here]], label[near[here]] = one.hu, one.label


def _axes(vessel: Vessel) -> tuple[Float, Float]:
    unit = vessel.points[-1] - vessel.points[0]
    unit = unit / np.linalg.norm(unit)
    normal = np.cross(unit, [0.0, 0.0, 1.0] if abs(unit[2]) < 0.9 else [1.0, 0.0, 0.0])
    normal /= np.linalg.norm(normal)
    return normal, np.cross(unit, normal)


def _tangents(vessel: Vessel) -> Float:
    tangent = np.gradient(vessel.points, axis=0)
    return np.asarray(tangent / np.linalg.norm(tangent, axis=1, keepdims=True))


def _across(vessel: Vessel, points: Float, at: NDArray[np.intp]) -> Float:
    """From the centre line to each point, perpendicular to the line."""
    tangent = _tangents(vessel)
    offset = points - vessel.points[at]
    result: Float = offset - (offset * tangent[at]).sum(axis=1, keepdims=True) * tangent[at]
    return result


def segmentation_of(volume: Volume, classes: NDArray[np.uint8]) -> Segmentation:
    """The exact segmentation, on the volume's own grid."""
    coronary = np.where(classes > 0, 255, 0).astype(np.uint8)
    return Segmentation(geometry=volume.geometry, hu=volume.voxels, classes=classes, coronary=coronary)


def named_tree(vessels: list[Vessel], step: int = 1) -> NamedTree:
    """The exact centre lines as a tree of unrelated branches."""
    return NamedTree(
        branches=tuple(
            NamedBranch(
                points_mm=v.points[::step],
                parent=None,
                parent_index=None,
                vessel="RCA",
                segments=((0, len(v.points[::step]), v.name),),  # type: ignore[arg-type]
                confidence=1.0,
            )
            for v in vessels
        ),
        dominance=None,
    )


def heart_with_aorta(centre: Float, radius: float = 12.0) -> Heart:
    """A structure map that holds an aorta round ``centre`` and chambers to either side, enough to find ostia."""
    geometry = Geometry((50, 50, 50), (3.0, 3.0, 3.0), tuple(float(c) for c in centre - 75.0))  # type: ignore[arg-type]
    index = np.indices(geometry.shape).reshape(3, -1).T
    points = geometry.to_points(index)
    labels = np.zeros(len(points), np.uint8)
    for structure, offset, size in (
        (Structure.LV, (35.0, 30.0, -30.0), 20.0),
        (Structure.RV, (-25.0, -30.0, -30.0), 20.0),
        (Structure.AORTA, (0.0, 0.0, 0.0), radius),
    ):
        labels[np.linalg.norm(points - centre - np.asarray(offset), axis=1) < size] = int(structure)
    return Heart(structures=LabelMap(labels.reshape(geometry.shape), geometry), roi=geometry)
