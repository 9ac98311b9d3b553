"""The calcium score by its rule: Agatston score, volume and mass of the deposits in the slices of a scan without contrast medium.

Sources: Agatston et al., JACC 1990;15:827 (130 HU, 1 mm2, weight by the largest HU of the deposit in that slice); slices of another
increment than 3 mm count in proportion (Ohnesorge et al., Eur Radiol 2002;12:1532). Volume: Callister et al., Radiology 1998;208:807,
interpolated between slices. Mass: McCollough et al., Radiology 2007;243:527, calibration factor times mean HU times volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.findings import whole_score
from appliance.volume import Volume

THRESHOLD_HU = 130
LEAST_AREA_MM2 = 1.0
WEIGHTS: tuple[tuple[int, int], ...] = ((400, 4), (300, 3), (200, 2), (130, 1))
"""Least peak HU of a deposit in one slice, and the weight of its area."""
STANDARD_INCREMENT_MM = 3.0
KVP = 120.0
"""The threshold and the weights hold at this tube voltage only."""
KVP_TOLERANCE = 2.0
CATEGORIES: tuple[tuple[float, str], ...] = ((0, "0"), (10, "1-10"), (100, "11-100"), (400, "101-400"))
"""Upper bounds of the whole-number score; above the last ``SEVERE``."""
SEVERE = ">400"
_FINEST_MM = 1.0


@dataclass(frozen=True)
class Deposit:
    """One connected piece of 130 HU and more in one slice.

    Attributes:
        slice: its index.
        voxels: indices (z, y, x) of its pixels, (n, 3).
        area_mm2: of its pixels.
        peak_hu, mean_hu: largest and mean attenuation.
    """

    slice: int
    voxels: NDArray[np.intp]
    area_mm2: float
    peak_hu: int
    mean_hu: float

    @property
    def weight(self) -> int:
        """1 to 4 by the peak."""
        return density_weight(self.peak_hu)


def density_weight(peak_hu: float) -> int:
    """Weight of a deposit by its largest HU: 130-199 1, 200-299 2, 300-399 3, 400 and more 4; below the threshold 0."""
    return next((weight for least, weight in WEIGHTS if peak_hu >= least), 0)


def find_deposits(volume: Volume) -> tuple[Deposit, ...]:
    """All pieces of at least 1 mm2, slice by slice; pixels hang together by their edges."""
    pixel = volume.geometry.spacing[0] * volume.geometry.spacing[1]
    found = []
    for index, plane in enumerate(volume.voxels):
        pieces, _ = ndimage.label(plane >= THRESHOLD_HU)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            own = pieces[box] == number
            area = float(own.sum()) * pixel
            if area < LEAST_AREA_MM2 - 1e-9:
                continue
            rows, columns = np.nonzero(own)
            values = plane[box][own]
            voxels = np.stack([np.full(len(rows), index), rows + box[0].start, columns + box[1].start], axis=1)
            found.append(Deposit(index, voxels.astype(np.intp), area, int(values.max()), float(values.mean())))
    return tuple(found)


def agatston(deposits: Sequence[Deposit], *, increment_mm: float) -> float:
    """Sum of area times weight, for slices 3 mm apart; other increments in proportion."""
    return sum(each.area_mm2 * each.weight for each in deposits) * increment_mm / STANDARD_INCREMENT_MM


def volume_mm3(deposits: Sequence[Deposit], volume: Volume) -> float:
    """Volume of 130 HU and more, interpolated between the slices to steps of at most a millimetre.

    What belongs to no given deposit counts as just below the threshold, so that a neighbour (an aortic plaque) adds nothing.
    """
    if not deposits:
        return 0.0
    voxels = np.concatenate([each.voxels for each in deposits])
    low = np.maximum(voxels.min(axis=0) - 1, 0)
    high = np.minimum(voxels.max(axis=0) + 2, volume.geometry.shape)
    part = volume.voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    own = np.zeros(part.shape, np.bool_)
    own[tuple((voxels - low).T)] = True
    part = np.where(own, part, np.minimum(part, THRESHOLD_HU - 1))
    x, y, z = volume.geometry.spacing
    steps = max(int(np.ceil(z / _FINEST_MM - 1e-9)), 1)
    count = 0
    for step in range(steps):
        shift = (step + 0.5) / steps - 0.5
        other = np.concatenate([part[:1], part[:-1]]) if shift < 0 else np.concatenate([part[1:], part[-1:]])
        count += int(((1 - abs(shift)) * part + abs(shift) * other >= THRESHOLD_HU).sum())
    return count * x * y * z / steps


def mass_mg(deposits: Sequence[Deposit], *, increment_mm: float, factor: float) -> float:
    """Mass of hydroxyapatite: ``factor`` (mg per cm3 and HU, the scanner's own calibration) times mean HU times volume of each deposit."""
    return factor / 1000.0 * sum(each.mean_hu * each.area_mm2 for each in deposits) * increment_mm


def category(score: float) -> str:
    """0, 1-10, 11-100, 101-400 or >400 by the score as it is written, a whole number; a score above zero is never 0."""
    return next((name for bound, name in CATEGORIES if whole_score(score) <= bound), SEVERE)
