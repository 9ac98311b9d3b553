"""What plaque is made of by its attenuation: one table of boundaries, for every tube voltage and every attenuation of the blood.

| boundary | at 100 to 120 kV, blood of 350 HU | with the tube voltage | with the blood | source |
|---|---|---|---|---|
| low attenuation / fibro-fatty | 30 HU | stays: water hardly depends on it | stays, to be compared | SCCT plaque, JCCT 2024;18:429 |
| fibro-fatty / fibrous | 130 HU | stays | + 0.1 of the blood above 350 HU | SCCT plaque; the shift is ours |
| fibrous / calcium | 350 HU | times the attenuation of calcium against 120 kV | never below blood + 3 SD | SCCT plaque; the shift is ours |

That a fixed 350 HU calls more plaque calcium the brighter the blood is: PARADIGM, JACC Cardiovasc Imaging 2021;14:2429. Calcium against
120 kV: hydroxyapatite inserts, scaled down by 0.88 at 100 kV to 0.63 at 70 kV to keep the thresholds of 120 kV (coronary calcium scoring
at lower tube voltages, 2021); 80 and 140 kV lie between and beyond by the same physics. An unknown voltage is taken for 120 kV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOW_HU, FATTY_HU, CALCIUM_HU = 30.0, 130.0, 350.0
USUAL_BLOOD_HU = 350.0
BLOOD_SHARE = 0.1
"""What blood adds to soft plaque beside it, by uptake and blur, as a part of its own attenuation. A choice of this project."""
FATTY_RANGE_HU = (100.0, 200.0)
ABOVE_BLOOD_SD = 3.0
KVP = (70.0, 80.0, 100.0, 120.0, 140.0)
CALCIUM_FACTOR = (1.59, 1.41, 1.14, 1.0, 0.91)
"""Attenuation of the same calcium relative to 120 kV."""
USUAL_KVP = 120.0


@dataclass(frozen=True)
class Boundaries:
    """Attenuation in HU from which plaque is fibro-fatty, fibrous, calcium; below ``fatty`` it is low-attenuation plaque."""

    fatty: float
    fibrous: float
    calcium: float


def boundaries(*, kvp: float | None, blood_hu: float, noise_hu: float = 0.0) -> Boundaries:
    """The boundaries of one scan at one place.

    Args:
        kvp: tube voltage, None where the header does not say.
        blood_hu: of the lumen beside the plaque.
        noise_hu: its standard deviation.
    """
    factor = float(np.interp(USUAL_KVP if kvp is None else kvp, KVP, CALCIUM_FACTOR))
    fibrous = float(np.clip(FATTY_HU + BLOOD_SHARE * (blood_hu - USUAL_BLOOD_HU), *FATTY_RANGE_HU))
    calcium = max(CALCIUM_HU * factor, blood_hu + ABOVE_BLOOD_SD * noise_hu)
    return Boundaries(fatty=LOW_HU, fibrous=fibrous, calcium=calcium)
