"""Samples for cor-seg: patches at 0.5 mm around vessels, calcium, and the places where vessels are wrongly seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.grids import interpolate_to
from appliance.analysis.heart_bulk import CARDIAC
from appliance.volume import Geometry
from models.networks.cor_seg import SPACING_MM
from models.phantom import Patient, Scan, draw_scan, render
from models.training.context import COARSE_MM, CoarseMap, coarse_map, noisy_context
from models.training.patients import training_patient
from models.training.samples import Sample

PATCH = 64
PATCHES_PER_PATIENT = 36
PATIENTS_AT_A_TIME = 3
PATCHES_PER_SCAN = 9

RESAMPLED = 0.6
"""Share of the patches that are interpolated from the scan's own grid, which smooths noise and edges; the others are rendered at 0.5 mm."""
BLOOD_ERROR = 0.03
_PIXELS = 512
_USUAL_FOV_MM = 190.0
_MARGIN_MM = 30.0
_LUNG_MM = 12.0
_SHARES = (0.26, 0.20, 0.10, 0.09, 0.14, 0.13, 0.08)
"""Of centreline, lesions, calcium, veins, surfaces, near heart, lung vessels: half on vessels, half where they are wrongly seen."""

_SEVERE_PERCENT = 50.0
_SEVERE_TIMES = 3
"""A tight lesion is drawn so much oftener: where the vessel is hardest to see, a break in its mask hides the finding that matters most."""
_CORONARY_CLASSES = (1, 2, 3)


@dataclass(frozen=True)
class Sites:
    """Where patches of one patient may be centred, LPS mm (n, 3) each."""

    centreline: npt.NDArray[np.float64]
    lesions: npt.NDArray[np.float64]
    calcium: npt.NDArray[np.float64]
    veins: npt.NDArray[np.float64]
    surfaces: npt.NDArray[np.float64]
    near_heart: npt.NDArray[np.float64]
    lung_vessels: npt.NDArray[np.float64]
    coarse: CoarseMap


def coronary_patches(seed: int) -> Iterator[Sample]:
    """An endless stream of patches of the train family; ``seed`` decides the patients and everything about them."""
    rng = np.random.default_rng(seed)
    pool: list[tuple[Patient, Sites, Scan, int]] = []
    while True:
        if len(pool) < PATIENTS_AT_A_TIME:
            patient = training_patient(rng)
            # the first patients leave at different times, so that later the pool changes one by one
            left = PATCHES_PER_PATIENT * (len(pool) + 1) // PATIENTS_AT_A_TIME
            pool.append((patient, find_sites(patient, rng), _any_scan(rng), left))
        index = int(rng.integers(len(pool)))
        patient, sites, scan, left = pool[index]
        yield draw_patch(patient, sites, scan, rng)
        if left > 1:
            # noise texture and moved vessels are worked out once per scan
            pool[index] = (patient, sites, _any_scan(rng) if left % PATCHES_PER_SCAN == 1 else scan, left - 1)
        else:
            del pool[index]


def _any_scan(rng: np.random.Generator) -> Scan:
    return draw_scan(int(rng.integers(2**31)))


def draw_patch(patient: Patient, sites: Sites, scan: Scan, rng: np.random.Generator, *, size: int = PATCH) -> Sample:
    """Render one patch of a scan at a drawn place."""
    half_mm = 0.5 * size * SPACING_MM
    centre = draw_centre(sites, rng, spread_mm=0.6 * half_mm)
    origin = centre - half_mm
    seed = int(rng.integers(2**31))
    on_own_grid = rng.random() < RESAMPLED
    shown = without_artefacts(scan) if on_own_grid else scan
    rendered = render(
        patient, shown, origin=_triple(origin), spacing=(SPACING_MM,) * 3, shape=(size, size, size), seed=seed, noise=not on_own_grid
    )
    return Sample(
        hu=scanned_patch(patient, scan, origin=origin, size=size, seed=seed) if on_own_grid else rendered.hu,
        target=rendered.vessels,
        skeleton=skeleton_mask(patient, origin, rendered.vessels),
        context=noisy_context(sites.coarse, origin=origin, shape=(size, size, size), rng=rng),
        blood_hu=measured_blood(scan, rng),
    )


def without_artefacts(scan: Scan) -> Scan:
    """The scan for whoever wants the labels only: what lies where is the same, what only spoils the picture is not worked out."""
    return replace(scan, ghost=None, beam_hardening=0.0, streaks=0.0, metal=(), body_mm=(0.0, 0.0))


def measured_blood(scan: Scan, rng: np.random.Generator) -> float:
    """Blood in the aorta as the appliance measures it: a median, a few percent off where the contrast medium is not yet well mixed."""
    return float(scan.vessel_hu * rng.normal(1.0, BLOOD_ERROR))


def scanned_patch(patient: Patient, scan: Scan, *, origin: npt.NDArray[np.float64], size: int, seed: int) -> npt.NDArray[np.int16]:
    """Attenuation of a patch as the appliance gets it: scanned on the scan's own pixels and slices, then interpolated to 0.5 mm."""
    low, spacing, shape = own_grid(scan, origin, size)
    rendered = render(patient, scan, origin=_triple(low), spacing=spacing, shape=shape, seed=seed)
    own = Geometry(shape, spacing, _triple(low))
    fine = Geometry((size, size, size), (SPACING_MM,) * 3, _triple(origin))
    return interpolate_to(rendered.hu, own, fine)


def own_grid(
    scan: Scan, origin: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.float64], tuple[float, float, float], tuple[int, int, int]]:
    """Origin, spacing (x, y, z) and shape (z, y, x) of the scan's own grid over a patch, with a voxel to spare on each side."""
    pixel = (scan.fov_mm or _USUAL_FOV_MM) / _PIXELS
    spacing = (pixel, pixel, scan.increment_mm)
    nx, ny, nz = (int(n) for n in np.ceil((size - 1) * SPACING_MM / np.array(spacing)) + 3)
    return origin - np.array(spacing), spacing, (nz, ny, nx)


def draw_centre(sites: Sites, rng: np.random.Generator, *, spread_mm: float) -> npt.NDArray[np.float64]:
    """Choose the centre of a patch: on a centreline, on calcium, near the heart, or on a surface vessels are seen on."""
    groups = (sites.centreline, sites.lesions, sites.calcium, sites.veins, sites.surfaces, sites.near_heart, sites.lung_vessels)
    shares = np.array([share if len(group) else 0.0 for group, share in zip(groups, _SHARES, strict=True)])
    group = groups[rng.choice(len(groups), p=shares / shares.sum())]
    centre: npt.NDArray[np.float64] = group[rng.integers(len(group))] + rng.uniform(-spread_mm, spread_mm, 3)
    return centre


def find_sites(patient: Patient, rng: np.random.Generator, *, points_per_branch: int = 60) -> Sites:
    """Where patches may be centred. Every branch gives as many centreline points, so short ones are drawn as often."""
    branches = [np.asarray(branch.points_mm, dtype=np.float64) for branch in patient.branches]
    along = [points[rng.integers(0, len(points), points_per_branch)] for points in branches if len(points)]
    lesions = [
        branches[lesion.branch][lesion.start : lesion.end : 4]
        for lesion in patient.lesions
        for _ in range(_SEVERE_TIMES if lesion.diameter_stenosis_percent >= _SEVERE_PERCENT else 1)
    ]
    calcium = [np.asarray(b.centre, float)[None] for le in patient.lesions for b in le.blobs if b.kind == "calcium"]
    veins = [np.asarray(tube.points_mm, float)[::4] for tube in patient.tubes if tube.kind == "vein"]
    lung = [np.asarray(tube.points_mm, float) for tube in patient.tubes if tube.kind == "lung"]
    coarse = coarse_map(patient)
    near, surfaces = _heart_sites(coarse)
    return Sites(
        centreline=_stack(along),
        lesions=_stack(lesions),
        calcium=_stack(calcium),
        veins=_stack(veins),
        surfaces=surfaces,
        near_heart=near,
        lung_vessels=_close_to_heart(_stack(lung), coarse),
        coarse=coarse,
    )


def _heart_sites(coarse: CoarseMap) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Voxel centres within 30 mm of the heart, and those where one structure meets another."""
    structures = coarse.structures
    near = ndimage.distance_transform_edt(~np.isin(structures, CARDIAC)) * COARSE_MM <= _MARGIN_MM
    edge = (ndimage.maximum_filter(structures, 3) != ndimage.minimum_filter(structures, 3)) & near
    first, second = (coarse.origin + np.argwhere(mask)[:, ::-1] * COARSE_MM for mask in (near, edge))
    return first, second


def _close_to_heart(points: npt.NDArray[np.float64], coarse: CoarseMap) -> npt.NDArray[np.float64]:
    """Those of the points that lie within 12 mm of the heart, where the fine network looks."""
    close = ndimage.distance_transform_edt(~np.isin(coarse.structures, CARDIAC)) * COARSE_MM <= _LUNG_MM
    index = np.rint((points - coarse.origin) / COARSE_MM).astype(np.int64)[:, ::-1]
    inside = ((index >= 0) & (index < np.array(close.shape))).all(axis=1)
    kept = points[inside]
    chosen: npt.NDArray[np.float64] = kept[close[tuple(index[inside].T)]]
    return chosen


def _stack(groups: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    return np.concatenate(groups) if groups else np.zeros((0, 3))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z


def skeleton_mask(patient: Patient, origin: npt.NDArray[np.float64], vessels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """True on the voxels that a true centreline crosses, where the truth volume shows a coronary."""
    mask = np.zeros(vessels.shape, dtype=np.bool_)
    for branch in patient.branches:
        dense = _densify(np.asarray(branch.points_mm, dtype=np.float64), step_mm=0.25)
        index = np.rint((dense - origin) / SPACING_MM).astype(np.int64)[:, ::-1]
        inside = ((index >= 0) & (index < np.array(vessels.shape))).all(axis=1)
        z, y, x = index[inside].T
        mask[z, y, x] = True
    shown: npt.NDArray[np.bool_] = mask & np.isin(vessels, _CORONARY_CLASSES)
    return shown


def _densify(points: npt.NDArray[np.float64], *, step_mm: float) -> npt.NDArray[np.float64]:
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.arange(0.0, along[-1], step_mm)
    return np.stack([np.interp(wanted, along, points[:, axis]) for axis in range(3)], axis=1)
