"""Samples for the ostia network: crops about the aortic root at 1 mm, with the aorta as a locator would show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.ostia_network import Root, find_root
from appliance.analysis.stages import Heart, Structure
from appliance.volume import Geometry, LabelMap
from models.networks.ostia import SIDE, SIDES, SPACING_MM
from models.phantom import Patient, Scan
from models.phantom.motion import seen
from models.training.context import COARSE_MM, CoarseMap, coarse_map
from models.training.patients import training_patient
from models.training.quick_scans import draw_scans, render_quickly

SPARE = 5
"""Voxels more on every side than the network takes: each time a sample is drawn it is cut elsewhere."""
SCANS_PER_PATIENT = 2
CROPS_PER_SCAN = 4
PATIENTS_AT_A_TIME = 3
HEAT_SIGMA_MM = 1.5
RARE = frozenset(
    (
        "separate_ostia", "single_coronary", "high_takeoff_left", "high_takeoff_right",
        "anomalous_rca_from_left", "anomalous_lcx_from_right", "ectatic",
    )
)  # fmt: skip
"""Unusual origins, a fifth of the patients: drawn about twice as often, or nearly every crop shows two ostia at the usual places."""

_ROOT_ERROR_MM = 3.0
_PADDING_HU = -1000


@dataclass(frozen=True)
class OstiaSample:
    """One crop.

    Attributes:
        hu: attenuation, int16 (z, y, x), ``SPARE`` voxels more on every side than the network takes.
        aorta: the locator's aorta, uint8 0..255.
        peaks: index (z, y, x) in the crop and number of the side of each ostium, (k, 4) float32.
    """

    hu: npt.NDArray[np.int16]
    aorta: npt.NDArray[np.uint8]
    peaks: npt.NDArray[np.float32]


@dataclass(frozen=True)
class RootSite:
    """A patient, the true structures at 3 mm, where its aortic root is, and a few scans: each costs its artefacts only once."""

    patient: Patient
    coarse: CoarseMap
    root: Root
    scans: tuple[Scan, ...]


def ostia_crops(seed: int) -> Iterator[OstiaSample]:
    """An endless stream of crops of the train family; ``seed`` decides the patients and everything about them."""
    rng = np.random.default_rng(seed)
    crops = SCANS_PER_PATIENT * CROPS_PER_SCAN
    pool: list[tuple[RootSite, int]] = []
    while True:
        if len(pool) < PATIENTS_AT_A_TIME:
            # the first patients leave at different times, so that later the pool changes one by one
            pool.append((find_site(root_patient(rng), rng), crops * (len(pool) + 1) // PATIENTS_AT_A_TIME))
        index = int(rng.integers(len(pool)))
        site, left = pool[index]
        yield draw_crop(site, rng)
        if left > 1:
            pool[index] = (site, left - 1)
        else:
            del pool[index]


def root_patient(rng: np.random.Generator) -> Patient:
    """A patient of the train family; one whose arteries leave the aorta as usual is half of the times drawn once more, twice at most."""
    patient = training_patient(rng)
    for _ in range(2):
        if RARE & set(patient.variants) or rng.random() < 0.5:
            break
        patient = training_patient(rng)
    return patient


def find_site(patient: Patient, rng: np.random.Generator, *, scans: int = SCANS_PER_PATIENT) -> RootSite:
    """The root of a patient and ``scans`` drawn scans; ValueError where there is no root."""
    coarse = coarse_map(patient)
    root = find_root(heart_of(coarse))
    if root is None:
        raise ValueError(f"patient {patient.seed} has no aortic root")
    # the product averages eight voxels into one, which takes noise away
    quiet = (replace(scan, noise_hu=scan.noise_hu * rng.uniform(0.3, 0.8)) for scan in draw_scans(rng, scans))
    return RootSite(patient, coarse, root, tuple(quiet))


def draw_crop(site: RootSite, rng: np.random.Generator) -> OstiaSample:
    """Render one crop: the place of the root is wrong by some millimetres, scan and field of view vary."""
    patient, scan = site.patient, site.scans[int(rng.integers(len(site.scans)))]
    size = SIDE + 2 * SPARE
    centre = seen(site.root.middle[None], patient, scan)[0] + rng.normal(0.0, _ROOT_ERROR_MM, 3)
    origin = centre - 0.5 * SPACING_MM * (size - 1)
    rendered = render_quickly(patient, scan, origin=origin, spacing_mm=SPACING_MM, size=size, rng=rng)
    points, sides = true_ostia(patient)
    index = (seen(points, patient, scan) - origin)[:, ::-1] / SPACING_MM
    return OstiaSample(
        hu=_cut(rendered.hu, rng),
        aorta=locator_aorta(site.coarse, origin=origin, size=size, rng=rng),
        peaks=np.column_stack([index, sides]).astype(np.float32),
    )


def true_ostia(patient: Patient) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Position (k, 3) of each native ostium and the number of its side in `SIDES`: the arteries that it feeds decide."""
    roots = [branch for branch in patient.branches if branch.parent is None and branch.kind == "native"]
    points = np.array([branch.points_mm[0] for branch in roots], np.float64)
    return points, np.array([SIDES.index("right" if branch.vessel == "RCA" else "left") for branch in roots])


def heart_of(coarse: CoarseMap) -> Heart:
    """The true structures as the product's stages take them; its fine grid is left out."""
    x, y, z = (float(value) for value in coarse.origin)
    nz, ny, nx = coarse.structures.shape
    geometry = Geometry((nz, ny, nx), (COARSE_MM,) * 3, (x, y, z))
    return Heart(structures=LabelMap(coarse.structures, geometry), roi=geometry)


def locator_aorta(coarse: CoarseMap, *, origin: npt.NDArray[np.float64], size: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The aorta (0..255) on the crop's grid from the true map at 3 mm: shifted, its border moved, interpolated as the product does."""
    mask = (coarse.structures == int(Structure.AORTA)).astype(np.float32)
    soft = ndimage.gaussian_filter(mask, rng.uniform(0.3, 0.8))
    wrong = (soft > 0.5 + rng.normal(0.0, 0.1)).astype(np.float32)
    start = ((origin - coarse.origin + rng.normal(0.0, 0.8, 3)) / COARSE_MM)[::-1]
    steps = np.arange(size) * (SPACING_MM / COARSE_MM)
    axes = np.meshgrid(*(first + steps for first in start), indexing="ij")
    return np.asarray(ndimage.map_coordinates(wrong, axes, order=1, mode="nearest") * 255.0 + 0.5, np.uint8)


def heat_maps(peaks: npt.NDArray[np.float32], shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """A Gaussian of height 1 on each ostium, one map per side: (2, z, y, x)."""
    maps = np.zeros((len(SIDES), *shape), np.float32)
    for *index, side in peaks:
        along = [np.exp(-0.5 * ((np.arange(n) - at) * SPACING_MM / HEAT_SIGMA_MM) ** 2) for n, at in zip(shape, index, strict=True)]
        bump = along[0][:, None, None] * along[1][None, :, None] * along[2][None, None, :]
        maps[int(side)] = np.maximum(maps[int(side)], bump)
    return maps


def _cut(hu: npt.NDArray[np.int16], rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Sometimes the fine grid ends inside the crop."""
    out = hu.copy()
    for axis in range(3):
        if rng.random() < 0.2:
            gone = SPARE + int(rng.integers(1, 16))
            part = [slice(None)] * 3
            part[axis] = slice(0, gone) if rng.random() < 0.5 else slice(-gone, None)
            out[tuple(part)] = _PADDING_HU
    return out
