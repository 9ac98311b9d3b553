"""The same patient at another phase of the heart beat: a contracted heart, with exact truth because it is a patient again.

The left ventricle shortens towards its apex (which hardly moves) and narrows, its wall thickens, and what is around follows less the
farther away it is. Amounts are those of a normal heart: about 10 mm descent of the base, 10 % narrowing, an ejection of half the cavity.
"""

from __future__ import annotations

from dataclasses import replace

import numba as nb
import numpy as np
from scipy import ndimage

from models.phantom.types import FloatArray, Lesion, Patient, Vector

END_SYSTOLE_PERCENT = 38.0
WIDTH_PERCENT = 13.0
#: At full contraction: share of the distance to the apex, share of the distance to the long axis.
SHORTENING, NARROWING = 0.12, 0.10
#: At full contraction the inner surface goes in by so much more (mm).
THICKENING_MM = {"lv": 2.6, "rv": 1.6, "la": -1.2, "ra": -1.2}
#: The chest follows the heart no farther away than this (mm from the pericardium).
FADE_MM = 24.0


def contraction(phase_percent: float) -> float:
    """How far the heart has contracted at a phase of the R-R interval: 0 at rest in diastole, 1 at end systole."""
    return float(np.exp(-(((phase_percent - END_SYSTOLE_PERCENT) / WIDTH_PERCENT) ** 2)))


def at_phase(patient: Patient, phase_percent: float) -> Patient:
    """The patient (drawn at rest, in diastole) at another phase; lengths along vessels and all places are those of that phase."""
    amount = contraction(phase_percent)
    if amount < 0.02:
        return patient
    shift = amount * _full_shift(patient)
    channels = _moved_channels(patient, shift)
    for name, inward in THICKENING_MM.items():
        c = patient.channel_names.index(name)
        channels[..., c] = np.clip(channels[..., c].astype(np.int32) + round(100.0 * amount * inward), -32000, 32000)

    def moved(points: FloatArray) -> FloatArray:
        return np.asarray(points + _sampled(patient, shift, points))

    def place(point: Vector) -> Vector:
        p = moved(np.asarray(point, np.float64)[None])[0]
        return float(p[0]), float(p[1]), float(p[2])

    def lesion(x: Lesion) -> Lesion:
        return replace(x, blobs=tuple(replace(b, centre=moved(b.centre[None])[0]) for b in x.blobs))

    sac = patient.channel_names.index("pericardium")
    inside = np.argwhere(channels[..., sac] < 0)
    low, high = (np.asarray(patient.grid.origin) + patient.grid.spacing * corner[::-1] for corner in (inside.min(0), inside.max(0)))
    old_low, old_high = (np.asarray(corner) for corner in patient.heart_box)
    box = (np.maximum(low, old_low), np.minimum(high, old_high))
    return replace(
        patient,
        channels=channels,
        branches=tuple(replace(b, points_mm=moved(b.points_mm)) for b in patient.branches),
        lesions=tuple(lesion(x) for x in patient.lesions),
        stents=tuple(
            replace(s, struts=np.column_stack([moved(s.struts[:, :3]), moved(s.struts[:, 3:6]), s.struts[:, 6:]])) for s in patient.stents
        ),
        ostia={name: place(p) for name, p in patient.ostia.items()},
        tubes=tuple(replace(t, points_mm=moved(t.points_mm)) for t in patient.tubes),
        heart_box=(_vector(box[0]), _vector(box[1])),
        cache={},
    )


def _vector(p: FloatArray) -> Vector:
    return float(p[0]), float(p[1]), float(p[2])


def _full_shift(patient: Patient) -> FloatArray:
    """Where each grid point goes at full contraction, (z, y, x, 3) mm."""
    points = patient.grid.points().astype(np.float64)
    ventricle = points[(patient.channel("lv") < -1.0).ravel()]
    atrium = points[(patient.channel("la") < -1.0).ravel()]
    middle = ventricle.mean(axis=0)
    axis = atrium.mean(axis=0) - middle
    axis /= np.linalg.norm(axis)
    muscle = points[(patient.channel("myocardium") < 0.0).ravel()]
    apex = middle + axis * float(((muscle - middle) @ axis).min())
    along = (points - apex) @ axis
    across = points - apex - along[:, None] * axis
    pull = -SHORTENING * along[:, None] * axis - NARROWING * across
    t = np.clip(patient.channel("pericardium").ravel() / FADE_MM, 0.0, 1.0)
    shift = (1.0 - t * t * (3.0 - 2.0 * t))[:, None] * pull
    # far from the ventricle (arch, appendages) the pull levels off instead of growing with the distance
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    shift *= 11.0 * np.tanh(length / 11.0) / np.maximum(length, 1e-9)
    shape = (*patient.grid.shape, 3)
    smooth = [ndimage.gaussian_filter(shift[:, a].reshape(patient.grid.shape), 2.0) for a in range(3)]
    return np.stack(smooth, axis=-1).reshape(shape)


def _sampled(patient: Patient, shift: FloatArray, points: FloatArray) -> FloatArray:
    index = ((np.asarray(points, np.float64) - np.asarray(patient.grid.origin)) / patient.grid.spacing)[:, ::-1].T
    return np.stack([ndimage.map_coordinates(shift[..., a], index, order=1, mode="nearest") for a in range(3)], axis=1)


def _moved_channels(patient: Patient, shift: FloatArray) -> FloatArray:
    """The distance fields of the moved heart: each grid point asks where it came from."""
    points = patient.grid.points().astype(np.float64)
    source = points.copy()
    for _ in range(4):
        source = points - _sampled(patient, shift, source)
    index = (source - np.asarray(patient.grid.origin)) / patient.grid.spacing
    return np.asarray(_resampled(patient.channels, index)).reshape(patient.channels.shape)


@nb.njit(parallel=True, cache=True)
def _resampled(channels: FloatArray, index: FloatArray) -> FloatArray:
    """Trilinear values of interleaved channels (z, y, x, c) at index positions (n, 3: x, y, z)."""
    nz, ny, nx, nc = channels.shape
    out = np.empty((index.shape[0], nc), np.int16)
    for n in nb.prange(index.shape[0]):
        x = min(max(index[n, 0], 0.0), nx - 1.001)
        y = min(max(index[n, 1], 0.0), ny - 1.001)
        z = min(max(index[n, 2], 0.0), nz - 1.001)
        i, j, k = int(x), int(y), int(z)
        wx, wy, wz = x - i, y - j, z - k
        for c in range(nc):
            v = 0.0
            for dk in range(2):
                for dj in range(2):
                    w = (wz if dk else 1.0 - wz) * (wy if dj else 1.0 - wy)
                    v += w * ((1.0 - wx) * channels[k + dk, j + dj, i, c] + wx * channels[k + dk, j + dj, i + 1, c])
            out[n, c] = np.int16(round(v))
    return out
