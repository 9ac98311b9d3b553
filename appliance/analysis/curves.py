"""Making a voxel path a sub-voxel centre line: centring on the lumen of each cross-section, then smoothing, in turns."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from scipy.spatial import cKDTree

from appliance.analysis.stages import Float, Segmentation, VesselClass
from appliance.geometry import arc_length, frames, resample_curve, sample, smooth_curve

STEP_MM = 0.45
_SECTION_STEP_MM = 0.25


def follow(line: Float, raw: Float, value: Float) -> Float:
    """``value`` of the nearest ``raw`` point, at each point of ``line``."""
    return np.asarray(value[cKDTree(raw).query(line)[1]])


class Refiner:
    """Centres lines on the lumen of one segmentation.

    Args:
        segmentation: where the lumen is.
        rounds: turns of centring and smoothing.
        largest_shift_mm: how far a point may move in all, so that no line slides into a neighbour.
    """

    def __init__(self, segmentation: Segmentation, *, rounds: int = 3, largest_shift_mm: float = 0.9) -> None:
        self._segmentation = segmentation
        self._rounds = rounds
        self._largest = largest_shift_mm
        lumen = segmentation.classes == VesselClass.LUMEN
        inside = segmentation.hu[lumen]
        self._blood = float(np.percentile(inside, 75)) if inside.size else 400.0

    def refine(self, raw: Float, radius: Float, *, start: Float | None) -> Float:
        """A smooth centred line along ``raw`` (n, 3), step at most 0.5 mm, beginning at ``start`` where given."""
        if len(raw) < 3:
            return raw
        line = smooth_curve(resample_curve(raw, STEP_MM), 1.2, STEP_MM)
        if start is not None:
            line[0] = start
        for turn in range(self._rounds):
            line = resample_curve(line, STEP_MM)
            line = self._centre(line, follow(line, raw, radius), held=start is not None)
            line = smooth_curve(line, (1.4, 1.1, 0.9)[min(turn, 2)], STEP_MM)
            if start is not None:
                line[0] = start
        return resample_curve(line, STEP_MM)

    def probability(self, line: Float) -> Float:
        """Network probability along the line, 0..1."""
        return sample(self._segmentation.coronary, self._segmentation.geometry, line, fill=0.0).astype(np.float64) / 255.0

    def _centre(self, line: Float, radius: Float, *, held: bool) -> Float:
        _, normal, binormal = frames(line)
        geometry = self._segmentation.geometry
        reach = np.clip(1.35 * radius + 0.6, 1.2, 3.6)
        shift = _section_centroids(
            self._segmentation.hu,
            self._segmentation.coronary,
            self._segmentation.classes,
            geometry.to_index(line),
            geometry.to_index(line + normal) - geometry.to_index(line),
            geometry.to_index(line + binormal) - geometry.to_index(line),
            reach,
            _SECTION_STEP_MM,
            0.4 * self._blood,
            self._blood,
        )
        length = np.linalg.norm(shift, axis=1, keepdims=True)
        shift *= np.minimum(1.0, 0.45 / np.maximum(length, 1e-9))
        if held:
            # near the origin the section shows the parent too: let the pull grow with the distance from it
            along = arc_length(line)[:, None]
            shift *= np.clip((along - 1.0) / 3.0, 0.0, 1.0)
        moved = line + shift[:, :1] * normal + shift[:, 1:] * binormal
        return np.asarray(moved)


@njit(parallel=True, cache=True)
def _section_centroids(hu, coronary, classes, centre, across, up, reach, step, low, high):  # type: ignore[no-untyped-def]  # noqa: C901  # pragma: no cover - compiled
    """Shift (mm along the two section axes) from each centre to the lumen's centroid; 0 where there is no lumen."""
    count = len(centre)
    out = np.zeros((count, 2))
    nz, ny, nx = hu.shape
    for i in prange(count):
        m = int(reach[i] / step)
        total = 0.0
        su = 0.0
        sv = 0.0
        for a in range(-m, m + 1):
            for b in range(-m, m + 1):
                u, v = a * step, b * step
                r2 = u * u + v * v
                if r2 > reach[i] * reach[i]:
                    continue
                z = centre[i, 0] + u * across[i, 0] + v * up[i, 0]
                y = centre[i, 1] + u * across[i, 1] + v * up[i, 1]
                x = centre[i, 2] + u * across[i, 2] + v * up[i, 2]
                if z < 1 or y < 1 or x < 1 or z > nz - 2 or y > ny - 2 or x > nx - 2:
                    continue
                z0, y0, x0 = int(z), int(y), int(x)
                dz, dy, dx = z - z0, y - y0, x - x0
                value = 0.0
                mass = 0.0
                for p in range(2):
                    wz = dz if p else 1 - dz
                    for q in range(2):
                        wy = dy if q else 1 - dy
                        for s in range(2):
                            w = wz * wy * (dx if s else 1 - dx)
                            value += w * hu[z0 + p, y0 + q, x0 + s]
                            k = classes[z0 + p, y0 + q, x0 + s]
                            if coronary[z0 + p, y0 + q, x0 + s] >= 64 and k != 3 and k != 4:
                                mass += w if k == 1 else 0.25 * w
                soft = (value - low) / (high - low)
                weight = mass * min(max(soft, 0.0), 1.0) * np.exp(-0.5 * r2 / (0.7 * reach[i]) ** 2)
                total += weight
                su += weight * u
                sv += weight * v
        if total > 1.0:
            out[i, 0] = su / total
            out[i, 1] = sv / total
    return out
