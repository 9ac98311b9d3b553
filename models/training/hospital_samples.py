"""Training patches from a hospital's own cases, mixed with virtual patients so that what only those teach is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.heart_bulk import limit_to_heart
from models.networks.cor_seg import CLASSES, SPACING_MM
from models.training.context import CoarseMap, noisy_context
from models.training.coronary_patches import PATCH, coronary_patches
from models.training.hospital import PreparedCase, load_prepared
from models.training.samples import Sample

SOME_CORONARY = len(CLASSES)
"""Target of a marked voxel: lumen, wall or calcium, the label map does not say which."""
NO_LUMEN = len(CLASSES) + 1
"""Target of an unmarked voxel: nothing, a vein, or a wall that the label map leaves out."""
UNIONS = ((1, 2, 3), (0, 2, 4))
"""Classes that the two targets stand for."""

Voxel = TypeVar("Voxel", np.int16, np.bool_)

CASES_AT_A_TIME = 6
PATCHES_PER_CASE = 40
ON_VESSELS = 0.5


def hospital_patches(seed: int, *, files: tuple[Path, ...], replay: float) -> Iterator[Sample]:
    """An endless stream of patches: a share ``replay`` of virtual patients, the rest from prepared cases."""
    rng = np.random.default_rng(seed)
    virtual = coronary_patches(seed)
    pool: list[tuple[PreparedCase, NDArray[np.int64], int]] = []
    while True:
        if rng.random() < replay:
            yield next(virtual)
            continue
        while len(pool) < min(CASES_AT_A_TIME, len(files)):
            case = load_prepared(files[int(rng.integers(len(files)))])
            pool.append((case, np.argwhere(case.coronary), PATCHES_PER_CASE))
        index = int(rng.integers(len(pool)))
        case, sites, left = pool[index]
        yield hospital_patch(case, sites, rng)
        if left > 1:
            pool[index] = (case, sites, left - 1)
        else:
            del pool[index]


def hospital_patch(case: PreparedCase, sites: NDArray[np.int64], rng: np.random.Generator, *, size: int = PATCH) -> Sample:
    """One patch, half of them about a marked voxel; partly outside the box where that is near the edge (air, unmarked)."""
    on_vessel = rng.random() < ON_VESSELS
    middle = sites[rng.integers(len(sites))] if on_vessel else rng.integers(0, case.hu.shape)
    low = middle + rng.integers(-size // 3, size // 3 + 1, 3) - size // 2
    hu = _cut(case.hu, low, size, fill=-1024)
    marked = _cut(case.coronary, low, size, fill=False)
    origin = case.origin + low[::-1] * SPACING_MM
    coarse = CoarseMap(origin=case.coarse_origin, structures=limit_to_heart(case.coarse, spacing_mm=3.0))
    return Sample(
        hu=hu,
        target=np.where(marked, SOME_CORONARY, NO_LUMEN).astype(np.uint8),
        skeleton=middle_line(marked),
        context=noisy_context(coarse, origin=origin, shape=(size, size, size), rng=rng),
        blood_hu=case.blood_hu,
    )


def middle_line(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a mask that lie farthest from its border among their neighbours: a thick skeleton, enough for skeleton recall."""
    depth = ndimage.distance_transform_edt(marked)
    return np.asarray((depth > 0.0) & (depth >= ndimage.maximum_filter(depth, size=3)), np.bool_)


def _cut(volume: NDArray[Voxel], low: NDArray[np.int64], size: int, *, fill: int | bool) -> NDArray[Voxel]:
    out = np.full((size,) * 3, fill, volume.dtype)
    first = np.maximum(low, 0)
    last = np.minimum(low + size, volume.shape)
    if (last > first).all():
        inside = tuple(slice(a - b, c - b) for a, b, c in zip(first, low, last, strict=True))
        out[inside] = volume[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    return out
