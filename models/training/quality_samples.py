"""Samples for quality: patches where the coronary arteries run, with what the physics of the virtual scan say about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from appliance.analysis.grids import interpolate_to
from appliance.analysis.quality_network import likert
from appliance.analysis.quality_places import PATCH_SHAPE, PATCH_SPACING_MM, Place, find_places, patch_grid
from appliance.analysis.stages import Heart
from appliance.volume import Geometry, LabelMap
from models.phantom import Patient, Scan, artefacts, draw_scan, motion, render
from models.phantom.scan import VESSELS, with_motion
from models.training.context import COARSE_MM, coarse_map
from models.training.patients import training_patient

Float = npt.NDArray[np.float64]

SCANS_PER_PATIENT = 12
PATCHES_PER_SCAN = 10
WIDE_MOTION = 0.45
"""Share of the scans whose motion is drawn evenly up to ``LARGEST_MOTION_MM``: most scans of the generator rest, and nothing is learned."""
LARGEST_MOTION_MM = 5.0
EVEN = 0.6
"""Share of the scans without beam hardening and streaks and with the same noise everywhere: far quicker to render, and as good to learn
motion, noise and sharpness from."""
PLACED = 0.65
"""Share of the patches at the places that the product looks at, moved a little; the others lie at random on arteries."""
NUDGE_MM = 2.5
VIEW_MM = (13.0, 13.0, 6.0)
"""Half sides (x, y, z) of the middle of a patch: an artery is judged where it runs through it."""
THIN_MM = 1.5
"""Healthy diameter below which an artery is not judged."""
CELL = 8
"""Voxels along the side of a cell of the network's coarse map."""
STEP_MM = 1.0
"""Readers call a shift of a millimetre or more between slabs a step."""
STREAK_HU = 15.0
"""Standard deviation, over the patch, of what hardening and streaks add."""


@dataclass(frozen=True)
class QualitySample:
    """A patch and its truth.

    Attributes:
        hu: attenuation (z, y, x) at 0.5 mm, int16, resampled from the scan's own voxels as in the product.
        measured: motion mm, noise HU, PSF sigma mm, contrast HU, grade; NaN where it cannot be said.
        present: vessel, step, streak, 0 or 1.
        where: share of the judged arteries' points in each cell of 8 voxels a side (z, y, x); all 0 where no vessel is judged.
    """

    hu: npt.NDArray[np.int16]
    measured: npt.NDArray[np.float32]
    present: npt.NDArray[np.float32]
    where: npt.NDArray[np.float32]


@dataclass(frozen=True)
class ArteryPoints:
    """Points of all arteries of a scan that are thick enough to judge, one row per point.

    Attributes:
        points_mm: where the image shows them.
        diameter_mm: healthy diameter.
        motion_mm: length of the point's path.
        contrast: attenuation of the blood relative to the aorta.
    """

    points_mm: Float
    diameter_mm: Float
    motion_mm: Float
    contrast: Float


def quality_samples(seed: int) -> Iterator[QualitySample]:
    """An endless stream of patches of the train family; ``seed`` decides the patients and everything about them."""
    rng = np.random.default_rng(seed)
    while True:
        patient = training_patient(rng)
        places = true_places(patient)
        for _ in range(SCANS_PER_PATIENT):
            scan = vary(draw_scan(int(rng.integers(2**31))), rng)
            arteries = artery_points(patient, scan)
            for _ in range(PATCHES_PER_SCAN):
                yield draw_sample(patient, scan, arteries, draw_place(places, arteries, rng), rng)


def true_places(patient: Patient) -> tuple[Place, ...]:
    """The places that the product would look at, from the patient's true structures."""
    coarse = coarse_map(patient)
    x, y, z = (float(value) for value in coarse.origin)
    nz, ny, nx = coarse.structures.shape
    grid = Geometry((nz, ny, nx), (COARSE_MM,) * 3, (x, y, z))
    return find_places(Heart(LabelMap(coarse.structures, grid), grid))


def vary(scan: Scan, rng: np.random.Generator, *, even: float = EVEN, wide: float = WIDE_MOTION) -> Scan:
    """The scan, often (``wide``) with motion of any extent, often (``even``) without artefacts; never cut to a circle."""
    scan = replace(scan, round_field=False)
    if rng.random() < even:
        scan = replace(scan, beam_hardening=0.0, streaks=0.0, metal=(), body_mm=(0.0, 0.0), arms_down=False)
    if rng.random() >= wide:
        return scan
    return with_motion(scan, {vessel: float(rng.uniform(0.0, LARGEST_MOTION_MM)) for vessel in VESSELS})


def artery_points(patient: Patient, scan: Scan) -> ArteryPoints:
    """Where the scan shows the arteries, and how each point of them moved."""
    paths = motion.paths(patient, scan)
    columns: list[tuple[Float, Float, Float, Float]] = []
    for branch in patient.branches:
        keep = (2 * branch.healthy_radius_mm >= THIN_MM) & (2 * branch.lumen_radius_mm >= 0.6 * THIN_MM)
        moved = np.linalg.norm(paths[branch.id], axis=1) if motion.moves(scan) else np.zeros(len(branch.points_mm))
        contrast = branch.look.contrast if branch.look is not None else np.ones(len(branch.points_mm))
        columns.append((branch.points_mm[keep], 2 * branch.healthy_radius_mm[keep], moved[keep], contrast[keep]))
    points, diameter, moved, contrast = (np.concatenate(column).astype(np.float64) for column in zip(*columns, strict=True))
    return ArteryPoints(motion.seen(points, patient, scan), diameter, moved, contrast)


def draw_place(places: tuple[Place, ...], arteries: ArteryPoints, rng: np.random.Generator) -> Float:
    """The middle of a patch (LPS mm)."""
    if places and rng.random() < PLACED:
        return np.asarray(places[rng.integers(len(places))].point) + rng.normal(0.0, NUDGE_MM, 3)
    point = arteries.points_mm[rng.integers(len(arteries.points_mm))]
    return np.asarray(point + rng.uniform(-0.6, 0.6, 3) * np.asarray(VIEW_MM))


def draw_sample(patient: Patient, scan: Scan, arteries: ArteryPoints, centre: Float, rng: np.random.Generator) -> QualitySample:
    """Render the patch about ``centre`` at the scan's own voxels, resample it as the product does, and say what is true of it."""
    return QualitySample(
        hu=render_patch(patient, scan, centre, rng),
        **truth_at(patient, scan, arteries, centre),
    )


def render_patch(patient: Patient, scan: Scan, centre: Float, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """The scan about a place, (z, y, x) of the patch's shape at 0.5 mm."""
    grid = patch_grid(Place("LAD", (float(centre[0]), float(centre[1]), float(centre[2]))), np.eye(3))
    pixel = (scan.fov_mm or 200.0) / 512
    spacing = (pixel, pixel, scan.increment_mm)
    start = np.asarray(grid.origin) - np.asarray(spacing) * rng.uniform(1.0, 2.0, 3)
    nx, ny, nz = (int(np.ceil((n - 1) * PATCH_SPACING_MM / step)) + 4 for n, step in zip(PATCH_SHAPE[::-1], spacing, strict=True))
    origin = (float(start[0]), float(start[1]), float(start[2]))
    shape = (nz, ny, nx)
    rendered = render(patient, scan, origin=origin, spacing=spacing, shape=shape, seed=int(rng.integers(2**31)))
    return interpolate_to(rendered.hu, Geometry(shape, spacing, origin), grid)


def truth_at(patient: Patient, scan: Scan, arteries: ArteryPoints, centre: Float) -> dict[str, npt.NDArray[np.float32]]:
    """``measured``, ``present`` and ``where`` of a patch, exactly as the scan was made."""
    reach = np.asarray(VIEW_MM)
    field = artefacts.fields(patient, scan, centre - reach, centre + reach)
    noise = scan.noise_hu * float(field.noise_gain.mean())
    streak = float(field.added_hu.std()) > STREAK_HU
    step = has_step(patient, scan, float(centre[2]))
    measured = np.array([np.nan, noise, sharpness_mm(scan), np.nan, np.nan])
    away = (np.abs(arteries.points_mm - centre) / np.asarray(VIEW_MM)).max(axis=1)
    nearest = int(np.argmin(away))
    seen = bool(away[nearest] <= 1.0)
    if seen:
        moved, diameter = float(arteries.motion_mm[nearest]), float(arteries.diameter_mm[nearest])
        contrast = scan.vessel_hu * float(arteries.contrast[nearest]) - scan.fat_hu
        grade = likert(motion_mm=moved, diameter_mm=diameter, contrast_hu=contrast, noise_hu=noise, artefact=step or streak)
        measured[[0, 3, 4]] = moved, contrast, grade
    where = cells(arteries.points_mm[away <= 1.0] - centre)
    return {"measured": measured.astype(np.float32), "present": np.array([seen, step, streak], np.float32), "where": where}


def cells(offsets_mm: Float) -> npt.NDArray[np.float32]:
    """Share of the points (n, 3; x, y, z from the middle of the patch) in each cell of the patch; all 0 without points."""
    index = np.floor((offsets_mm[:, ::-1] / PATCH_SPACING_MM + np.asarray(PATCH_SHAPE) / 2) / CELL).astype(int)
    counts = np.zeros([size // CELL for size in PATCH_SHAPE], np.float32)
    np.add.at(counts, tuple(index.T), 1.0)
    return counts / np.float32(max(counts.sum(), 1.0))


def has_step(patient: Patient, scan: Scan, height_mm: float) -> bool:
    """Whether slabs meet with a shift of a millimetre or more within the middle of a patch at that height, or a ghost lies over it."""
    at = height_mm - motion.middle_z(patient)
    reach = VIEW_MM[2]
    below = np.zeros(3)
    for step in sorted(scan.steps, key=lambda each: each.z_mm):
        if abs(step.z_mm - at) <= reach and np.linalg.norm(np.asarray(step.shift_mm) - below) >= STEP_MM:
            return True
        below = np.asarray(step.shift_mm)
    ghost = scan.ghost
    return ghost is not None and ghost.bottom_mm - reach < at < ghost.top_mm + reach


def sharpness_mm(scan: Scan) -> float:
    """Sigma (mm) of the Gaussian that is as wide at half its height as the point spread in the slice."""
    sigma, gain = scan.psf_sigma_mm[0], scan.edge_enhancement
    if gain <= 0.0:
        return float(sigma)
    x = np.linspace(0.0, 3.0 * sigma, 601)
    narrow, wide = (np.exp(-0.5 * (x / s) ** 2) / s for s in (sigma, 1.7 * sigma))
    profile = (1.0 + gain) * narrow - gain * wide
    half = x[np.argmax(profile < 0.5 * profile[0])]
    return float(half / np.sqrt(2.0 * np.log(2.0)))
