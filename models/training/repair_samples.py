"""Samples for the repair network: cubes at 0.5 mm about gaps, with what a segmentation would have left there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from models.networks.repair import SIDE, SPACING_MM
from models.phantom import Patient, Rendered, Scan
from models.phantom.motion import seen
from models.training.patients import training_patient
from models.training.quick_scans import draw_scans, render_quickly
from models.training.repair_gaps import LONGEST_MM, SHORTEST_MM, Gap, Invented, Lines, Points, draw_gap, lines_of

SCANS_PER_PATIENT = 2
GAPS_PER_SCAN = 6
PATIENTS_AT_A_TIME = 3

_CORONARY = (1, 2, 3)
_BLOOD = (2, 3, 4, 5, 6, 7)
_COURSE_RADIUS_MM = 0.8
_CENTRE_ERROR_MM = 1.5
_END_ERROR_MM = 0.5

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RepairSample:
    """One gap.

    Attributes:
        hu: attenuation, int16 (z, y, x).
        coronary: what the segmentation takes for coronary, uint8 0..255.
        near, far: index (z, y, x) of the gap's ends, float32.
        course: uint8 1 where the vessel runs through the gap; all 0 where none does.
        vessel: 1 where the gap is a vessel, else 0; one number.
    """

    hu: npt.NDArray[np.int16]
    coronary: npt.NDArray[np.uint8]
    near: npt.NDArray[np.float32]
    far: npt.NDArray[np.float32]
    course: npt.NDArray[np.uint8]
    vessel: npt.NDArray[np.float32]


@dataclass(frozen=True)
class GapSite:
    """A patient with a few scans (each costs its artefacts only once) and his lines."""

    lines: Lines
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class Cube:
    """A rendered cube: where it lies, what it shows, and the true lines in it as the image shows them.

    Attributes:
        origin: LPS mm of voxel (0, 0, 0).
        points: centre line points near the cube (n, 3); owner: branch and index of each (n, 2).
    """

    origin: Points
    rendered: Rendered
    points: Points
    owner: npt.NDArray[np.int64]

    def index(self, points: Points) -> Points:
        """LPS (..., 3) to index (z, y, x)."""
        return np.asarray((points - self.origin)[..., ::-1] / SPACING_MM)

    def place(self, index: npt.NDArray[np.generic]) -> Points:
        """Index (z, y, x) to LPS."""
        return np.asarray(self.origin + np.asarray(index, np.float64)[..., ::-1] * SPACING_MM)


def repair_gaps(seed: int) -> Iterator[RepairSample]:
    """An endless stream of gaps of the train family; ``seed`` decides the patients and everything about them."""
    rng = np.random.default_rng(seed)
    gaps = SCANS_PER_PATIENT * GAPS_PER_SCAN
    pool: list[tuple[GapSite, int]] = []
    while True:
        if len(pool) < PATIENTS_AT_A_TIME:
            pool.append((find_site(training_patient(rng), rng), gaps * (len(pool) + 1) // PATIENTS_AT_A_TIME))
        index = int(rng.integers(len(pool)))
        site, left = pool[index]
        yield draw_sample(site, rng)
        if left > 1:
            pool[index] = (site, left - 1)
        else:
            del pool[index]


def find_site(patient: Patient, rng: np.random.Generator, *, scans: int = SCANS_PER_PATIENT) -> GapSite:
    """A patient's lines and ``scans`` drawn scans."""
    return GapSite(lines_of(patient), draw_scans(rng, scans))


def draw_sample(site: GapSite, rng: np.random.Generator, *, kind: str | None = None) -> RepairSample:
    """Draw a gap (of ``kind``, or of any) and render it."""
    gap, cube, near, far, extra = draw_cube(site, rng, kind=kind)
    lost = lost_mask(gap, cube)
    course = course_mask(gap, cube) if gap.course is not None else np.zeros(cube.rendered.hu.shape, np.bool_)
    return RepairSample(
        hu=paled(cube.rendered.hu, lost, rng) if gap.course is not None else cube.rendered.hu,
        coronary=seen_share(cube, lost, (*gap.invented, *extra), rng),
        near=cube.index(near + rng.normal(0.0, _END_ERROR_MM, 3)).astype(np.float32),
        far=cube.index(far + rng.normal(0.0, _END_ERROR_MM, 3)).astype(np.float32),
        course=course.astype(np.uint8),
        vessel=np.array(gap.course is not None, np.float32),
    )


def draw_cube(
    site: GapSite, rng: np.random.Generator, *, kind: str | None = None, size: int = SIDE
) -> tuple[Gap, Cube, Points, Points, tuple[Invented, ...]]:
    """A gap, its rendered cube, its two ends as the image shows them, and what is invented at an edge."""
    while True:
        gap = draw_gap(site.lines, rng, kind=kind)
        scan = site.scans[int(rng.integers(len(site.scans)))]
        near, far = seen(np.stack([gap.near_mm, gap.far_mm]), site.lines.patient, scan)
        cube = _render(site, scan, 0.5 * (near + far) + rng.uniform(-_CENTRE_ERROR_MM, _CENTRE_ERROR_MM, 3), size, rng)
        if gap.kind != "edge":
            return gap, cube, near, far, ()
        edge = _edge(cube, near, rng)
        if edge is not None:
            return gap, cube, near, edge.points_mm[0], (edge,)


def _render(site: GapSite, scan: Scan, centre: Points, size: int, rng: np.random.Generator) -> Cube:
    origin = centre - 0.5 * SPACING_MM * (size - 1)
    patient = site.lines.patient
    rendered = render_quickly(patient, scan, origin=origin, spacing_mm=SPACING_MM, size=size, rng=rng)
    reach = 0.5 * SPACING_MM * size + 6.0
    points, owner = [], []
    for number, line in enumerate(site.lines.points):
        image = seen(line, patient, scan)
        inside = np.flatnonzero((np.abs(image - centre) <= reach).all(axis=1))
        points.append(image[inside])
        owner.append(np.column_stack([np.full(len(inside), number), inside]))
    return Cube(origin, rendered, np.concatenate(points), np.concatenate(owner))


def lost_mask(gap: Gap, cube: Cube) -> Bools:
    """Voxels of coronaries that belong to a lost stretch: those to which a point of it is the nearest of all lines."""
    truth = np.isin(cube.rendered.vessels, _CORONARY)
    lost = np.zeros(truth.shape, np.bool_)
    if not len(cube.points) or not truth.any():
        return lost
    voxels = np.argwhere(truth)
    nearest = cube.owner[cKDTree(cube.points).query(cube.place(voxels))[1]]
    gone = np.zeros(len(voxels), np.bool_)
    for stretch in gap.lost:
        gone |= (nearest[:, 0] == stretch.branch) & (nearest[:, 1] >= stretch.start) & (nearest[:, 1] < stretch.end)
    lost[tuple(voxels[gone].T)] = True
    return lost


def course_mask(gap: Gap, cube: Cube) -> Bools:
    """The vessel's course through the gap: a thin tube about its line, the same for a wide vessel and for an occluded one."""
    mask = np.zeros(cube.rendered.hu.shape, np.bool_)
    stretch = gap.course
    if stretch is None:
        return mask
    within = (cube.owner[:, 0] == stretch.branch) & (cube.owner[:, 1] >= stretch.start) & (cube.owner[:, 1] < stretch.end)
    if within.any():
        mask = _near(cube, cube.points[within], _COURSE_RADIUS_MM)
    return mask


def seen_share(cube: Cube, lost: Bools, invented: tuple[Invented, ...], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """What a segmentation takes for coronary: soft, a little wrong everywhere, faint or nothing where it lost a stretch."""
    truth = np.isin(cube.rendered.vessels, _CORONARY)
    share = np.where(lost, 0.0 if rng.random() < 0.6 else rng.uniform(0.05, 0.35), truth).astype(np.float32)
    for line in invented:
        share = np.maximum(share, _near(cube, line.points_mm, line.radius_mm).astype(np.float32))
    share = ndimage.gaussian_filter(share, rng.uniform(0.4, 0.9))
    wave = ndimage.gaussian_filter(rng.normal(0.0, 1.0, share.shape).astype(np.float32), rng.uniform(1.5, 4.0))
    wave /= max(float(wave.std()), 1e-6)
    sharp = 1.0 / (1.0 + np.exp(-rng.uniform(6.0, 14.0) * (share - rng.uniform(0.35, 0.55)) - rng.uniform(0.2, 1.0) * wave))
    # a far-away background of almost nothing, as the network gives it
    return np.asarray(np.clip(sharp - 0.03, 0.0, 1.0) * 255.0, np.uint8)


def paled(hu: npt.NDArray[np.int16], lost: Bools, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Sometimes the lost stretch is paler than the generator makes it: thrombus, poor mixing, more motion."""
    if rng.random() > 0.35 or not lost.any():
        return hu
    weight = ndimage.gaussian_filter(lost.astype(np.float32), 1.0) * rng.uniform(0.2, 0.7)
    return np.asarray(np.rint(hu + weight * (rng.uniform(-60.0, 90.0) - hu)), np.int16)


def _edge(cube: Cube, near: Points, rng: np.random.Generator) -> Invented | None:
    """A line along the surface of a chamber or great vessel, from a gap's length away; None where there is none."""
    blood = np.isin(cube.rendered.structures, _BLOOD)
    edge = blood & ~ndimage.binary_erosion(blood) & ~ndimage.binary_dilation(cube.rendered.vessels > 0, iterations=3)
    inner = np.zeros_like(edge)
    inner[3:-3, 3:-3, 3:-3] = edge[3:-3, 3:-3, 3:-3]
    points = cube.place(np.argwhere(inner))
    distance = np.linalg.norm(points - near, axis=1)
    starts = np.flatnonzero((distance >= SHORTEST_MM) & (distance <= LONGEST_MM))
    if len(starts) < 5:
        return None
    first = points[int(rng.choice(starts))]
    away = np.linalg.norm(points - first, axis=1)
    # the piece leads away from the vessel, as a lost piece would
    ends = np.flatnonzero((away > 6.0) & (away < 12.0) & (distance > np.linalg.norm(first - near)))
    if not len(ends):
        return None
    last = points[int(rng.choice(ends))]
    straight = first + np.linspace(0.0, 1.0, 40)[:, None] * (last - first)
    return Invented(points[cKDTree(points).query(straight)[1]], float(rng.uniform(0.6, 1.3)))


def _near(cube: Cube, points: Points, radius_mm: float) -> Bools:
    """Voxels within ``radius_mm`` of a line of points."""
    shape = cube.rendered.hu.shape
    mask = np.zeros(shape, np.bool_)
    index = cube.index(points)
    reach = radius_mm / SPACING_MM + 1
    low = np.clip(np.floor(index.min(axis=0) - reach), 0, np.asarray(shape)).astype(int)
    high = np.clip(np.ceil(index.max(axis=0) + reach) + 1, 0, np.asarray(shape)).astype(int)
    if (high <= low).any():
        return mask
    voxels = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1).reshape(-1, 3)
    close = voxels[cKDTree(index).query(voxels, distance_upper_bound=radius_mm / SPACING_MM)[0] <= radius_mm / SPACING_MM]
    mask[tuple(close.T)] = True
    return mask
