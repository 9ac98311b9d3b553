"""One virtual patient through the whole product, and what came out against the exact truth.

A patient whom the product declines or fails on counts as a result that shows nothing: nothing located, found or named, Dice 0. Only where
the contrast in the aorta truly lies below what the product asks for is a decline right; then there is nothing to measure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.grids import covering_grid
from appliance.analysis.locate import locate
from appliance.analysis.pipeline import Models, analyze
from appliance.analysis.quality import ARTERIAL_CONTRAST_HU
from appliance.analysis.segment import segment
from appliance.analysis.stages import Heart, Segmentation
from appliance.errors import AnalysisError, DeclinedError, InferenceError
from appliance.findings import Findings
from appliance.volume import Geometry, Volume
from models.evaluation.calcium import calcium_measures, calcium_series
from models.evaluation.compare import compare_ways
from models.evaluation.figures import Pairs, figures_of
from models.evaluation.lesions import Plaque, lesion_measures
from models.evaluation.lines import (
    ResultLine,
    centreline_measures,
    named_length,
    ostia_found,
    ostium_distances,
    result_lines,
    result_points,
)
from models.evaluation.measures import Mask, Points, Share, TrueBranch, cl_dice, dice, false_length_mm, found_length
from models.evaluation.scans import designed_scan, render_on, scanned_study
from models.evaluation.seen import seen_measures
from models.evaluation.truths import Truth, clipped, inside, stented_points, truth_of
from models.phantom import Patient, Scan, draw_patient
from models.training.families import Design

HEART_CLASSES = ("lv_myocardium", "la", "lv", "ra", "rv", "aorta", "pulmonary_artery")
CORONARY = (1, 2, 3)
LUMEN, CALCIUM, VEIN = 1, 3, 4

Skeletonize = Callable[[Mask], Mask]


@dataclass(frozen=True)
class Case:
    """What was measured on one patient.

    Attributes:
        family: name of the family by design. conditions: labels of patient and scan.
        status: ``analysed``, ``declined``, ``failed``, or ``rightly_declined`` (nothing to measure). code: the operator code, else empty.
        measures: plain numbers; None where a measure does not apply. shares: parts of wholes, which can be pooled over cases.
        seconds: what it took, by stage.
        pairs: true value and result, for what is told over all patients together (correlations, kappa).
    """

    seed: int
    family: str
    conditions: tuple[str, ...] = ()
    status: str = "analysed"
    code: str = ""
    measures: dict[str, float | None] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float | None]:
        """All measures by name."""
        return {**self.measures, **{name: share.value for name, share in self.shares.items()}}


@dataclass(frozen=True)
class Seen:
    """What a picture of a case needs."""

    truth: Truth
    lines: list[ResultLine]
    hu: npt.NDArray[np.int16] | None = None
    geometry: Geometry | None = None


def evaluate_case(seed: int, design: Design, *, models: Models, skeletonize: Skeletonize) -> tuple[Case, Seen]:
    """Draw, scan, analyse and measure one patient of a family by design."""
    clock = _Clock()
    patient, scan = draw_patient(seed), designed_scan(seed, design)
    clock.lap("draw")
    calcium = calcium_series(patient, scan)
    study = replace(scanned_study(patient, scan), calcium=calcium)
    volume = study.main.volume
    truth = clipped(truth_of(patient, scan), volume.geometry)
    clock.lap("render")
    status, code = "analysed", ""
    findings: Findings | None = None
    try:
        analysis = analyze(study, models=models)
        heart, segmentation = analysis.heart, analysis.segmentation
        if analysis.findings.status == "analysed":
            findings = analysis.findings
        else:
            status, code = "declined", analysis.findings.reason.code if analysis.findings.reason else ""
    except (AnalysisError, InferenceError) as error:
        status, code = "failed", error.code
        heart, segmentation = _stages_only(volume, models)
    clock.lap("analyze")
    if status == "declined" and scan.vessel_hu < ARTERIAL_CONTRAST_HU:
        return Case(seed, design.name, truth.conditions, "rightly_declined", code, seconds=clock.seconds), Seen(truth, [])
    lines = result_lines(findings.branches) if findings else []
    measures: dict[str, float | None] = {"heart_located": heart_located(truth, heart.roi if heart else None)}
    shares: dict[str, Share] = {}
    measures |= heart_measures(patient, scan, heart, volume.geometry)
    measures |= mask_measures(patient, scan, truth, segmentation, skeletonize=skeletonize)
    tree_measures(truth, lines, measures, shares)
    result_measures(truth, findings, measures, shares)
    measures |= calcium_measures(patient, scan, calcium, findings)
    figures = figures_of(truth.branches, truth.lesions, stented_points(patient), findings, findings_plaques(findings))
    numbers, parts = seen_measures(patient, truth.branches, findings)
    measures |= figures.measures | numbers
    shares |= figures.shares | parts
    compared, parts = compare_ways(truth, heart, segmentation, models.sessions)
    measures |= compared
    shares |= parts
    clock.lap("measure")
    seconds = clock.seconds | ({f"stage_{name}": value for name, value in findings.timing_s.items()} if findings else {})
    case = Case(seed, design.name, truth.conditions, status, code, measures, shares, seconds, figures.pairs)
    return case, Seen(truth, lines, segmentation.hu if segmentation else None, segmentation.geometry if segmentation else None)


def heart_located(truth: Truth, region: Geometry | None) -> float:
    """1 where the region holds all true coronary length and all ostia that the scan shows, else 0."""
    if region is None:
        return 0.0
    points = np.concatenate([b.points[b.healthy_radius > 0.0] for b in truth.branches if b.native])
    return float(inside(np.concatenate([points, np.asarray(truth.ostia).reshape(-1, 3)]), region).all())


def heart_measures(patient: Patient, scan: Scan, heart: Heart | None, scanned: Geometry) -> dict[str, float | None]:
    """Dice of chambers and great vessels on the locator's grid, over the piece that holds the heart; 0 where no heart was found.

    The locator keeps one connected piece, so a descending aorta that is not joined to the rest in the field of view is no part of it.
    """
    if heart is None:
        return {f"dice_{name}": 0.0 for name in HEART_CLASSES}
    grid = covering_grid(scanned, heart.structures.geometry.spacing[0])
    truth = largest_piece(render_on(patient, scan, grid, noise=False).structures)
    labels = heart.structures.labels
    return {f"dice_{name}": dice(labels == index, truth == index) for index, name in enumerate(HEART_CLASSES, start=1)}


def largest_piece(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The labels of the largest connected piece, background elsewhere."""
    pieces, count = ndimage.label(labels > 0)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.where((pieces == sizes.argmax()) & (labels > 0), labels, 0).astype(np.uint8)


def mask_measures(
    patient: Patient, scan: Scan, truth: Truth, segmentation: Segmentation | None, *, skeletonize: Skeletonize
) -> dict[str, float | None]:
    """Overlap of the network's classes with the truth, and what its raw skeleton finds and invents; zeros where nothing was segmented."""
    if segmentation is None:
        calcified = any(blob.kind == "calcium" for lesion in patient.lesions for blob in lesion.blobs)
        return {"lumen_dice": 0.0, "coronary_dice": 0.0, "calcium_dice": 0.0 if calcified else None, "vein_dice": 0.0, "cl_dice": 0.0}
    labels = render_on(patient, scan, segmentation.geometry, noise=False).vessels
    return vessel_measures(segmentation, labels, truth.branches, skeletonize=skeletonize)


def vessel_measures(
    segmentation: Segmentation,
    truth: npt.NDArray[np.uint8],
    branches: tuple[TrueBranch, ...] | list[TrueBranch],
    *,
    skeletonize: Skeletonize,
) -> dict[str, float | None]:
    """Overlap of the classes, and how much of the tree the raw skeleton finds and invents, before anything is traced or dropped."""
    geometry = segmentation.geometry
    predicted, true_mask = np.isin(segmentation.classes, CORONARY), np.isin(truth, CORONARY)
    skeleton = cropped_skeleton(predicted, skeletonize)
    return {
        "lumen_dice": dice(segmentation.classes == LUMEN, truth == LUMEN),
        "coronary_dice": dice(predicted, true_mask),
        "calcium_dice": dice(segmentation.classes == CALCIUM, truth == CALCIUM),
        "vein_dice": dice(segmentation.classes == VEIN, truth == VEIN),
        "cl_dice": cl_dice(
            skeleton=skeleton, predicted=predicted, centreline=centreline_mask(branches, geometry) & true_mask, truth=true_mask
        ),
        "mask_found_1_5mm": found_length(branches, geometry.to_points(np.argwhere(skeleton))).value,
        "mask_false_mm": false_length_mm(branches, skeleton_lines(skeleton, geometry)),
    }


def cropped_skeleton(mask: Mask, skeletonize: Skeletonize) -> Mask:
    """The skeleton of a mask, worked out in the box that holds it."""
    skeleton = np.zeros_like(mask)
    if not mask.any():
        return skeleton
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    wide = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    skeleton[wide] = skeletonize(mask[wide])
    return skeleton


def centreline_mask(branches: tuple[TrueBranch, ...] | list[TrueBranch], geometry: Geometry) -> Mask:
    """True on the voxels that a true centreline point lies in."""
    mask = np.zeros(geometry.shape, np.bool_)
    index = np.rint(geometry.to_index(np.concatenate([branch.points for branch in branches]))).astype(np.int64)
    z, y, x = index[((index >= 0) & (index < np.array(geometry.shape))).all(axis=1)].T
    mask[z, y, x] = True
    return mask


def tree_measures(truth: Truth, lines: list[ResultLine], measures: dict[str, float | None], shares: dict[str, Share]) -> None:
    """What the tree of the findings finds, invents and names, and where it starts."""
    shares["found_1_5mm"] = found_length(truth.branches, result_points(lines))
    measures["false_mm_per_case"] = false_length_mm(truth.branches, [line.points for line in lines])
    shares["ostia_within_2mm"] = ostia_found(truth.ostia, lines)
    distances = [distance for distance in ostium_distances(truth.ostia, lines) if np.isfinite(distance)]
    measures["ostium_distance_mm"] = max(distances) if distances else None
    shares.update(named_length(truth.branches, lines))
    measures.update(centreline_measures(truth.branches, lines))


def result_measures(truth: Truth, findings: Findings | None, measures: dict[str, float | None], shares: dict[str, Share]) -> None:
    """Lesions, dominance and quality of the findings."""
    numbers, parts = lesion_measures(truth.lesions, findings_plaques(findings))
    measures.update(numbers)
    shares.update(parts)
    measures["dominance_right"] = float(findings is not None and findings.dominance == truth.dominance)


def findings_plaques(findings: Findings | None) -> list[Plaque]:
    """The lesions of the findings as the measures take them, in their order; none without findings."""
    return [_plaque(findings, number) for number in range(len(findings.lesions))] if findings else []


def _plaque(findings: Findings, number: int) -> Plaque:
    lesion = findings.lesions[number]
    branch = findings.branch(lesion.branch)
    points: Points = np.asarray(branch.points_mm[lesion.start : max(lesion.end, lesion.minimum + 1)], np.float64)
    return Plaque(
        points=points,
        minimum=lesion.minimum - lesion.start,
        vessel=lesion.vessel,
        plaque_type=lesion.plaque_type,
        stenosis_percent=lesion.diameter_stenosis_percent,
        grade=lesion.grade,
        size_mm=np.inf if lesion.reference_diameter_mm is None else lesion.reference_diameter_mm,
        segment=lesion.segment,
        volume_mm3=lesion.volume_mm3.total,
        features=frozenset(lesion.high_risk),
        remodeling_index=lesion.remodeling_index,
    )


def _stages_only(volume: Volume, models: Models) -> tuple[Heart | None, Segmentation | None]:
    """What locator and segmentation gave in a study that failed later, so that they are still measured."""
    try:
        located = locate(volume, session=models.heart)
        return located.heart, segment(volume, located, session=models.coronary)
    except (DeclinedError, InferenceError):
        return None, None


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self.started, 2)
        self.started = now


def skeleton_lines(skeleton: Mask, geometry: Geometry) -> list[Points]:
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
