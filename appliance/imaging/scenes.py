"""The two scenes of the volume rendering: the heart cut out of the chest, and the coronary tree alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, distance_transform_edt, gaussian_filter, generate_binary_structure, label

from appliance.errors import ImagingError
from appliance.findings import Branch, Findings
from appliance.geometry import arc_length, resample_curve
from appliance.imaging.on_card import card_of
from appliance.imaging.one_tree import as_one_tree, offsets
from appliance.imaging.render import Scene, Stop, make_scene, transfer_table
from appliance.inference.cuda.arrays import CardArrays
from appliance.volume import Geometry, LabelMap, Volume

Float = NDArray[np.float64]

AORTA, PULMONARY, CONTENT = 6, 7, 8
AORTA_REACH_MM = 80.0
TRUNK_REACH_MM = 24.0
FAT_REACH_MM = 12.0
GRID_MM = 0.5
MARGIN_MM = 6.0
AIR = -256
DEFAULT_BLOOD_HU = 400.0
OWN_SERIES_MM = 3.5
"""So far about a vessel that was measured in another series the picture is made of that series: as far as the heart's tubes reach."""


@dataclass(frozen=True)
class HeartBox:
    """The heart resampled for rendering.

    Attributes:
        hu: int16, (z, y, x), lightly smoothed.
        kept: LPS centres of the label map's voxels that belong to the picture, (n, 3).
        inside: 0..255, soft mask of heart, aortic root and ascending aorta.
        aorta: 0..255, soft mask of the aorta within it.
        geometry: isotropic grid aligned with LPS.
        blood_hu: attenuation of the contrast-filled aorta.
        card: draws it, in the processor's place.
    """

    hu: NDArray[np.int16]
    kept: Float
    inside: NDArray[np.uint8]
    aorta: NDArray[np.uint8]
    geometry: Geometry
    blood_hu: float
    card: CardArrays | None = None


def heart_box(volume: Volume, structures: LabelMap, findings: Findings, *, others: Mapping[str, Volume] | None = None) -> HeartBox:
    """Cut the heart out of the volume.

    Kept are the chambers, the aorta that leaves the left ventricle, the pulmonary trunk and the fat next to them; the descending aorta,
    lung vessels and whatever the label map holds farther away are no part of the picture. About a branch that was measured in one of
    ``others`` (by series UID) the voxels are that series', moved with the branch (`one_tree`).

    Raises:
        ImagingError: IMG-001, the label map holds no heart.
    """
    heart = _heart_only(structures)
    if not heart.any():
        raise ImagingError(
            "IMG-001", zh="标记图中没有心脏,无法生成心脏容积再现图。", en="The label map holds no heart, so the heart cannot be rendered."
        )
    whole, shifts = as_one_tree(findings), offsets(findings)
    tracks = [np.asarray(branch.points_mm, np.float64) for branch in whole.branches if branch.points_mm]
    geometry = _box_of(np.concatenate([structures.geometry.to_points(np.argwhere(heart)), *tracks]), volume.geometry)
    soft = gaussian_filter(heart.astype(np.float32), 0.8)
    aorta = heart & (structures.labels == AORTA)
    soft_aorta = gaussian_filter(aorta.astype(np.float32), 0.8)
    values = _resample(volume.voxels, volume.geometry, geometry, float(AIR))
    for (uid, shift), own in _by_place(whole.branches, shifts):
        source = volume if uid == "" else (others or {}).get(uid)
        if source is not None and (uid or any(shift)):
            near = tube_mask(geometry, own, extra_mm=OWN_SERIES_MM, soft_mm=0.1) > 0
            x, y, z = np.add(source.geometry.origin, shift)
            there = replace(source.geometry, origin=(float(x), float(y), float(z)))
            values[near] = _resample(source.voxels, there, geometry, float(AIR))[near]
    hu = _smooth(values)
    return HeartBox(
        hu=hu,
        kept=structures.geometry.to_points(np.argwhere(heart)),
        inside=_soft_mask(_resample(soft * np.float32(1000), structures.geometry, geometry, 0.0), 440.0, 640.0),
        aorta=_soft_mask(_resample(soft_aorta * np.float32(1000), structures.geometry, geometry, 0.0), 400.0, 700.0),
        geometry=geometry,
        blood_hu=_blood_level(volume, structures, aorta, findings),
        card=card_of(volume),
    )


def _by_place(branches: Sequence[Branch], shifts: Mapping[int, Float]) -> list[tuple[tuple[str, tuple[float, ...]], list[Branch]]]:
    """The branches by the series that they come from (empty: the main one) and how far they are moved for the picture."""
    found: dict[tuple[str, tuple[float, ...]], list[Branch]] = {}
    for branch in branches:
        found.setdefault((branch.series_uid or "", tuple(shifts[branch.id].tolist())), []).append(branch)
    return sorted(found.items(), key=lambda item: item[0])


def heart_scene(box: HeartBox, branches: Sequence[Branch]) -> Scene:
    """The whole heart; the coronary arteries stand out in a lighter tone."""
    vessels = tube_mask(box.geometry, branches, extra_mm=1.0, soft_mm=0.8)
    inside = np.maximum(box.inside, tube_mask(box.geometry, branches, extra_mm=2.0, soft_mm=1.5))
    field = _masked(_calmed(box.hu, _smooth(_smooth(box.hu)), vessels), inside)
    return make_scene(field, vessels, (_heart_table(box.blood_hu), _coronary_table(box.blood_hu)), box.geometry)


def tree_scene(box: HeartBox, branches: Sequence[Branch], *, root_mm: float = 24.0) -> Scene:
    """The coronary tree alone, with the aortic root as a faint body within ``root_mm`` of the middle of the ostia."""
    vessels = tube_mask(box.geometry, branches, extra_mm=0.7, soft_mm=0.6)
    root = _root_near(box, [np.asarray(branch.points_mm[0]) for branch in branches if branch.parent is None], root_mm)
    field = _masked(box.hu, np.maximum(vessels, root))
    # deep in the aorta the lumen of a tube is aorta
    tone = np.minimum(vessels, 255 - np.clip(2 * box.aorta.astype(np.int16) - 255, 0, 255)).astype(np.uint8)
    return make_scene(field, tone, (_root_table(box.blood_hu), _tree_table(box.blood_hu)), box.geometry)


def tube_mask(geometry: Geometry, branches: Sequence[Branch], *, extra_mm: float, soft_mm: float) -> NDArray[np.uint8]:
    """0..255 on ``geometry``: 255 within the outer wall plus ``extra_mm`` of a branch, falling to 0 over the next ``soft_mm``."""
    mask = np.zeros(geometry.shape, np.uint8)
    for branch in branches:
        if len(branch.points_mm) < 2:
            continue
        points = np.asarray(branch.points_mm, np.float64)
        radius = _outer_radius(branch)
        at = arc_length(points)
        fine = resample_curve(points, GRID_MM)
        where = np.linspace(0.0, at[-1], len(fine))
        _paint(mask, geometry.to_index(fine), (np.interp(where, at, radius) + extra_mm) / GRID_MM, soft_mm / GRID_MM)
    return mask


def _outer_radius(branch: Branch) -> Float:
    """Outer wall radius (mm) per point; the lumen plus a wall where there is none, 1.2 mm where neither was measured."""
    radius = np.array(
        [
            outer / 2 if outer is not None else (lumen / 2 + 0.4 if lumen is not None else 1.2)
            for outer, lumen in zip(branch.vessel_diameter_mm, branch.lumen_diameter_mm, strict=True)
        ]
    )
    return np.asarray(np.maximum(radius, 0.7))


def _heart_only(structures: LabelMap) -> NDArray[np.bool_]:
    """The voxels of the label map that belong to the heart, its fat and the great vessels near it."""
    labels, edge = structures.labels, structures.geometry.spacing[0]
    chambers = (labels >= 1) & (labels <= 5)
    ventricles = (labels == 1) | (labels == 3) | (labels == 5)
    atria = (chambers & ~ventricles) & _above(ventricles, structures.geometry)
    # opening takes away what is thinner than 15 mm: the veins that run into the atria
    wide = binary_opening(atria, generate_binary_structure(3, 1), iterations=2)
    body = _largest_piece(wide | binary_opening(ventricles, generate_binary_structure(3, 1)))
    if not body.any():
        return body
    reach = edge * distance_transform_edt(~body)
    ventricle = edge * distance_transform_edt(~(body & ((labels == 1) | (labels == 3))))
    aorta = _piece_at(labels == AORTA, ventricle <= 2 * edge) & (ventricle <= AORTA_REACH_MM)
    trunk = (labels == PULMONARY) & (reach <= TRUNK_REACH_MM)
    kept = body | aorta | trunk
    near = np.minimum(reach, edge * distance_transform_edt(~aorta) + 6.0) <= FAT_REACH_MM
    rim = (ventricles | atria) & (reach <= edge)
    return _largest_piece(kept | rim | ((labels == CONTENT) & near))


def _above(ventricles: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    """Voxels above the lowest tenth of the ventricles: what the label map calls atrium below it is the inferior vena cava."""
    height = geometry.to_points(np.argwhere(ventricles))[:, 2] if ventricles.any() else np.zeros(1)
    floor = float(np.quantile(height, 0.1))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], indexing="ij"), axis=-1)
    return np.asarray(geometry.to_points(index)[..., 2] >= floor)


def _piece_at(mask: NDArray[np.bool_], place: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected piece of ``mask`` that has most voxels in ``place``; empty where none has any."""
    pieces, count = label(mask)
    votes = np.bincount(pieces[place], minlength=count + 1)
    votes[0] = 0
    return np.asarray((pieces == votes.argmax()) & (votes.max() > 0))


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((pieces == sizes.argmax()) & mask)


def _box_of(points: Float, volume: Geometry) -> Geometry:
    """LPS-aligned grid of ``GRID_MM`` around the points, no larger than the scanned volume."""
    low, high = points.min(axis=0) - MARGIN_MM, points.max(axis=0) + MARGIN_MM
    ends = volume.to_points((np.asarray(volume.shape) - 1) * np.array(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij")).reshape(3, -1).T)
    # a rim of air beyond the last slice closes the cut through the aorta
    low, high = np.maximum(low, ends.min(axis=0) - 3.0), np.minimum(high, ends.max(axis=0) + 3.0)
    shape = np.ceil((high - low) / GRID_MM).astype(int) + 1
    return Geometry(
        shape=(int(shape[2]), int(shape[1]), int(shape[0])), spacing=(GRID_MM,) * 3, origin=(float(low[0]), float(low[1]), float(low[2]))
    )


def _resample(voxels: NDArray[np.generic], source: Geometry, target: Geometry, fill: float) -> NDArray[np.int16]:
    """Trilinear values of ``voxels`` on ``target``, int16."""
    start = source.to_index(target.to_points([0, 0, 0]))
    steps = np.stack([source.to_index(target.to_points(np.eye(3)[axis])) - start for axis in range(3)])
    return np.asarray(_resample_kernel(voxels, start, steps, np.array(target.shape), fill))


def _soft_mask(values: NDArray[np.int16], low: float, high: float) -> NDArray[np.uint8]:
    """0..255, rising smoothly from ``low`` to ``high``."""
    table = np.clip((np.arange(-32768, 32768) - low) / (high - low), 0, 1)
    return np.asarray(np.round(table * table * (3 - 2 * table) * 255).astype(np.uint8)[values.astype(np.int32) + 32768])


def _blood_level(volume: Volume, structures: LabelMap, aorta: NDArray[np.bool_], findings: Findings) -> float:
    if findings.quality is not None and findings.quality.aorta_mean_hu is not None:
        return float(np.clip(findings.quality.aorta_mean_hu, 200.0, 800.0))
    places = np.argwhere(aorta)
    if len(places) == 0:
        return DEFAULT_BLOOD_HU
    index = np.round(volume.geometry.to_index(structures.geometry.to_points(places))).astype(int)
    index = index[((index >= 0) & (index < np.asarray(volume.geometry.shape))).all(axis=1)]
    if len(index) == 0:
        return DEFAULT_BLOOD_HU
    return float(np.clip(np.median(volume.voxels[index[:, 0], index[:, 1], index[:, 2]]), 200.0, 800.0))


def _root_near(box: HeartBox, ostia: Sequence[Float], radius_mm: float) -> NDArray[np.uint8]:
    """The aorta about the middle of the ostia, fading out over the last 8 mm of ``radius_mm``."""
    near = np.zeros(box.geometry.shape, np.uint8)
    if ostia:
        middle = np.mean(ostia, axis=0)
        _paint(near, box.geometry.to_index(middle)[None, :], np.array([(radius_mm - 8.0) / GRID_MM]), 8.0 / GRID_MM)
    return np.minimum(box.aorta, near)


def _heart_table(blood: float) -> NDArray[np.float32]:
    return transfer_table(
        [
            Stop(-160, (0.86, 0.70, 0.40), 0.0),
            Stop(-110, (0.98, 0.76, 0.42), 0.004),
            Stop(-40, (0.90, 0.60, 0.34), 0.006),
            Stop(25, (0.56, 0.18, 0.12), 0.03),
            Stop(70, (0.58, 0.18, 0.12), 0.60),
            Stop(120, (0.64, 0.23, 0.15), 0.97),
            Stop(0.55 * blood, (0.72, 0.32, 0.21), 0.97),
            Stop(blood, (0.83, 0.47, 0.33), 0.99),
            Stop(blood + 220, (0.95, 0.86, 0.76), 0.999),
            Stop(blood + 420, (1.0, 1.0, 0.98), 0.999),
        ]
    )


def _coronary_table(blood: float) -> NDArray[np.float32]:
    return transfer_table(
        [
            Stop(-60, (0.86, 0.70, 0.40), 0.0),
            Stop(20, (0.70, 0.36, 0.20), 0.06),
            Stop(0.3 * blood, (0.80, 0.38, 0.22), 0.50),
            Stop(0.55 * blood, (0.92, 0.58, 0.36), 0.97),
            Stop(blood, (0.99, 0.80, 0.58), 0.99),
            Stop(blood + 160, (1.0, 0.95, 0.86), 0.999),
            Stop(blood + 320, (1.0, 1.0, 1.0), 0.999),
        ]
    )


def _tree_table(blood: float) -> NDArray[np.float32]:
    return transfer_table(
        [
            Stop(-30, (0.80, 0.62, 0.30), 0.0),
            Stop(30, (0.72, 0.50, 0.24), 0.05),
            Stop(0.28 * blood, (0.74, 0.38, 0.20), 0.16),
            Stop(0.45 * blood, (0.86, 0.36, 0.22), 0.85),
            Stop(0.75 * blood, (0.94, 0.52, 0.33), 0.99),
            Stop(blood, (0.98, 0.66, 0.44), 0.99),
            Stop(blood + 160, (1.0, 0.94, 0.86), 0.999),
            Stop(blood + 320, (1.0, 1.0, 1.0), 0.999),
        ]
    )


def _root_table(blood: float) -> NDArray[np.float32]:
    return transfer_table(
        [
            Stop(0.3 * blood, (0.62, 0.46, 0.42), 0.0),
            Stop(0.55 * blood, (0.70, 0.52, 0.47), 0.10),
            Stop(0.8 * blood, (0.74, 0.58, 0.52), 0.009),
            Stop(blood + 900, (0.9, 0.85, 0.8), 0.009),
        ]
    )


@njit(parallel=True, cache=True, fastmath=True)
def _resample_kernel(voxels, start, steps, shape, fill):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = voxels.shape
    out = np.empty((shape[0], shape[1], shape[2]), np.int16)
    for a in prange(shape[0]):
        for b in range(shape[1]):
            for c in range(shape[2]):
                z = start[0] + a * steps[0, 0] + b * steps[1, 0] + c * steps[2, 0]
                y = start[1] + a * steps[0, 1] + b * steps[1, 1] + c * steps[2, 1]
                x = start[2] + a * steps[0, 2] + b * steps[1, 2] + c * steps[2, 2]
                if z < 0 or y < 0 or x < 0 or z > nz - 1 or y > ny - 1 or x > nx - 1:
                    out[a, b, c] = np.int16(fill)
                    continue
                i, j, k = min(int(z), nz - 2), min(int(y), ny - 2), min(int(x), nx - 2)
                i, j, k = max(i, 0), max(j, 0), max(k, 0)
                i1, j1, k1 = min(i + 1, nz - 1), min(j + 1, ny - 1), min(k + 1, nx - 1)
                dz, dy, dx = z - i, y - j, x - k
                e = voxels[i, j, k] * (1 - dx) + voxels[i, j, k1] * dx
                f = voxels[i, j1, k] * (1 - dx) + voxels[i, j1, k1] * dx
                g = voxels[i1, j, k] * (1 - dx) + voxels[i1, j, k1] * dx
                h = voxels[i1, j1, k] * (1 - dx) + voxels[i1, j1, k1] * dx
                out[a, b, c] = np.int16(round((e * (1 - dy) + f * dy) * (1 - dz) + (g * (1 - dy) + h * dy) * dz))
    return out


@njit(parallel=True, cache=True)
def _smooth(voxels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Binomial filter 1-2-1 along each axis."""
    nz, ny, nx = voxels.shape
    first = np.empty_like(voxels)
    for z in prange(nz):
        plane = np.empty((ny, nx), np.int32)
        for y in range(ny):
            for x in range(nx):
                plane[y, x] = voxels[z, y, max(x - 1, 0)] + 2 * np.int32(voxels[z, y, x]) + voxels[z, y, min(x + 1, nx - 1)]
        for y in range(ny):
            for x in range(nx):
                first[z, y, x] = (plane[max(y - 1, 0), x] + 2 * plane[y, x] + plane[min(y + 1, ny - 1), x]) >> 4
    out = np.empty_like(voxels)
    for z in prange(nz):
        for y in range(ny):
            for x in range(nx):
                out[z, y, x] = (np.int32(first[max(z - 1, 0), y, x]) + 2 * np.int32(first[z, y, x]) + first[min(z + 1, nz - 1), y, x]) >> 2
    return out


@njit(parallel=True, cache=True)
def _calmed(sharp, calm, keep):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """``calm`` voxels, turning into ``sharp`` ones where ``keep`` rises to 255."""
    out = np.empty_like(sharp)
    nz, ny, nx = sharp.shape
    for z in prange(nz):
        for y in range(ny):
            for x in range(nx):
                value = np.int32(calm[z, y, x])
                out[z, y, x] = value + ((np.int32(sharp[z, y, x]) - value) * np.int32(keep[z, y, x])) // 255
    return out


@njit(parallel=True, cache=True)
def _masked(voxels, mask):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Attenuation that falls to air where the mask falls to 0."""
    out = np.empty_like(voxels)
    nz, ny, nx = voxels.shape
    for z in prange(nz):
        for y in range(ny):
            for x in range(nx):
                out[z, y, x] = AIR + ((np.int32(voxels[z, y, x]) - AIR) * np.int32(mask[z, y, x])) // 255
    return out


@njit(cache=True)
def _paint(mask, index, radius, soft):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Raise the mask to a soft ball of ``radius`` + ``soft`` voxels about each fractional index (z, y, x)."""
    nz, ny, nx = mask.shape
    for n in range(index.shape[0]):
        reach = radius[n] + soft
        z, y, x = index[n, 0], index[n, 1], index[n, 2]
        for i in range(max(int(z - reach), 0), min(int(z + reach) + 2, nz)):
            for j in range(max(int(y - reach), 0), min(int(y + reach) + 2, ny)):
                for k in range(max(int(x - reach), 0), min(int(x + reach) + 2, nx)):
                    distance = np.sqrt((i - z) ** 2 + (j - y) ** 2 + (k - x) ** 2)
                    if distance >= reach:
                        continue
                    part = 1.0 if distance <= radius[n] else (reach - distance) / soft
                    value = np.uint8(255.0 * part * part * (3 - 2 * part))
                    if value > mask[i, j, k]:
                        mask[i, j, k] = value
