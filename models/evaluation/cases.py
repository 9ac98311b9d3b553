"""One virtual patient through the product's own stages, and the truth on the same grids."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.grids import covering_grid
from appliance.analysis.locate import Located, locate
from appliance.analysis.segment import segment
from appliance.analysis.stages import Segmentation
from appliance.errors import DeclinedError
from appliance.inference.engine import Session
from appliance.volume import Geometry, Volume
from models.evaluation.measures import TrueBranch, cl_dice, dice, false_length_mm, found_share
from models.phantom import Patient, Rendered, Scan, draw_patient, draw_scan, render

SHAPE = (280, 512, 512)
SPACING_MM = (0.4, 0.4, 0.5)
HEART_CLASSES = ("lv_myocardium", "la", "lv", "ra", "rv", "aorta", "pulmonary_artery")
CORONARY = (1, 2, 3)
LUMEN, CALCIUM, VEIN = 1, 3, 4

Skeletonize = Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Case:
    """What was measured on one patient; a measure that does not apply is None."""

    seed: int
    measures: dict[str, float | None]
    seconds: dict[str, float] = field(default_factory=dict)
    declined: str | None = None


def scanned_volume(patient: Patient, scan: Scan, *, seed: int) -> Volume:
    """The patient's CCTA: 512 x 512 x 280 with the heart's middle in the middle of the field of view."""
    x, y, z = np.mean(patient.heart_box, axis=0) - 0.5 * np.array(SPACING_MM) * (np.array(SHAPE[::-1]) - 1)
    geometry = Geometry(SHAPE, SPACING_MM, (float(x), float(y), float(z)))
    return Volume(render_on(patient, scan, geometry, seed=seed).hu, geometry)


def render_on(patient: Patient, scan: Scan, geometry: Geometry, *, seed: int, noise: bool = True) -> Rendered:
    """The patient on a grid; labels are exact at the voxel centres of that grid."""
    return render(patient, scan, origin=geometry.origin, spacing=geometry.spacing, shape=geometry.shape, seed=seed, noise=noise)


def evaluate_case(seed: int, *, heart: Session, coronary: Session, skeletonize: Skeletonize) -> Case:
    """Draw, scan, locate, segment and measure one patient."""
    patient, scan = draw_patient(seed), draw_scan(seed)
    volume = scanned_volume(patient, scan, seed=seed)
    started = time.perf_counter()
    try:
        located = locate(volume, session=heart)
    except DeclinedError as declined:
        return Case(seed=seed, measures={"heart_located": 0.0}, declined=declined.code)
    between = time.perf_counter()
    segmentation = segment(volume, located, session=coronary)
    seconds = {"locate": between - started, "segment": time.perf_counter() - between}
    branches = true_branches(patient)
    truth = render_on(patient, scan, segmentation.geometry, seed=seed, noise=False).vessels
    measures = {
        **heart_measures(patient, scan, located, volume.geometry),
        **vessel_measures(segmentation, truth, branches, skeletonize=skeletonize),
        "heart_located": heart_located(patient, branches, segmentation.geometry),
    }
    return Case(seed=seed, measures=measures, seconds=seconds)


def true_branches(patient: Patient) -> list[TrueBranch]:
    """The patient's coronaries."""
    return [
        TrueBranch(
            points=np.asarray(branch.points_mm, np.float64),
            healthy_radius=np.asarray(branch.healthy_radius_mm, np.float64),
            outer_radius=np.asarray(branch.outer_radius_mm, np.float64),
        )
        for branch in patient.branches
    ]


def heart_measures(patient: Patient, scan: Scan, located: Located, scanned: Geometry) -> dict[str, float | None]:
    """Dice of chambers and great vessels on the locator's grid, over the piece that holds the heart.

    The locator keeps one connected piece, so a descending aorta that is not joined to the rest in the field of view is no part of it.
    """
    grid = covering_grid(scanned, located.heart.structures.geometry.spacing[0])
    truth = largest_piece(render_on(patient, scan, grid, seed=0, noise=False).structures)
    labels = located.heart.structures.labels
    return {f"dice_{name}": dice(labels == index, truth == index) for index, name in enumerate(HEART_CLASSES, start=1)}


def largest_piece(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The labels of the largest connected piece, background elsewhere."""
    pieces, count = ndimage.label(labels > 0)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.where((pieces == sizes.argmax()) & (labels > 0), labels, 0).astype(np.uint8)


def heart_located(patient: Patient, branches: list[TrueBranch], region: Geometry) -> float:
    """1 where the region holds all true coronary length and both ostia, else 0."""
    points = np.concatenate([*(branch.points for branch in branches), *(np.asarray(o)[None] for o in patient.ostia.values())])
    index = region.to_index(points)
    return float(((index >= -0.5) & (index <= np.array(region.shape) - 0.5)).all())


def vessel_measures(
    segmentation: Segmentation, truth: npt.NDArray[np.uint8], branches: list[TrueBranch], *, skeletonize: Skeletonize
) -> dict[str, float | None]:
    """Overlap of the classes, and how much of the tree is found and how much is invented, from the skeleton of the result."""
    geometry = segmentation.geometry
    predicted, true_mask = np.isin(segmentation.classes, CORONARY), np.isin(truth, CORONARY)
    skeleton = skeletonize(predicted)
    lines = skeleton_lines(skeleton, geometry)
    points = geometry.to_points(np.argwhere(skeleton))
    return {
        "lumen_dice": dice(segmentation.classes == LUMEN, truth == LUMEN),
        "coronary_dice": dice(predicted, true_mask),
        "calcium_dice": dice(segmentation.classes == CALCIUM, truth == CALCIUM),
        "vein_dice": dice(segmentation.classes == VEIN, truth == VEIN),
        "cl_dice": cl_dice(
            skeleton=skeleton, predicted=predicted, centreline=centreline_mask(branches, geometry) & true_mask, truth=true_mask
        ),
        "found_1_5mm": found_share(branches, points),
        "false_mm_per_case": false_length_mm(branches, lines),
    }


def centreline_mask(branches: list[TrueBranch], geometry: Geometry) -> npt.NDArray[np.bool_]:
    """True on the voxels that a true centreline point lies in."""
    mask = np.zeros(geometry.shape, np.bool_)
    index = np.rint(geometry.to_index(np.concatenate([branch.points for branch in branches]))).astype(np.int64)
    z, y, x = index[((index >= 0) & (index < np.array(geometry.shape))).all(axis=1)].T
    mask[z, y, x] = True
    return mask


def skeleton_lines(skeleton: npt.NDArray[np.bool_], geometry: Geometry) -> list[npt.NDArray[np.float64]]:
    """The links between neighbouring skeleton voxels, as lines of two points, without the diagonals that close a triangle."""
    voxels = np.argwhere(skeleton)
    lookup = {tuple(voxel): number for number, voxel in enumerate(voxels.tolist())}
    points = geometry.to_points(voxels)
    steps = [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)]
    links = sorted(
        (abs(dz) + abs(dy) + abs(dx), number, other)
        for number, (z, y, x) in enumerate(voxels.tolist())
        for dz, dy, dx in steps
        if (other := lookup.get((z + dz, y + dy, x + dx))) is not None
    )
    root = list(range(len(voxels)))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    lines = []
    for _, first, second in links:
        a, b = find(first), find(second)
        if a != b:  # shortest links first: a spanning forest
            root[a] = b
            lines.append(points[[first, second]])
    return lines
