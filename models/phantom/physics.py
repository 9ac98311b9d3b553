"""Attenuation against tube voltage: how bright iodine, calcium, bone and fat look at 70 to 140 kV.

The tables are relative to 120 kV, interpolated between the usual voltages. They follow published phantom measurements of iodine and
hydroxyapatite inserts on clinical scanners, rounded: both fall as the voltage rises, iodine (K edge 33 keV) more than calcium.
"""

from __future__ import annotations

import numpy as np

KVP = (70.0, 80.0, 100.0, 120.0, 140.0)
#: CT number of the same iodine concentration, relative to 120 kV.
IODINE = (1.95, 1.67, 1.25, 1.0, 0.84)
#: CT number of the same calcium hydroxyapatite or bone, relative to 120 kV.
CALCIUM = (1.62, 1.42, 1.16, 1.0, 0.90)
#: CT number of fat, HU.
FAT = (-135.0, -122.0, -110.0, -102.0, -97.0)
#: CT number of unenhanced blood, HU (it hardly depends on the voltage).
BLOOD_HU = 42.0


def iodine_factor(kvp: float) -> float:
    """Enhancement of the same iodine concentration relative to 120 kV."""
    return float(np.interp(kvp, KVP, IODINE))


def calcium_factor(kvp: float) -> float:
    """CT number of calcium (plaque, bone, stent struts) relative to 120 kV; attenuation in the phantom's tables is meant at 120 kV."""
    return float(np.interp(kvp, KVP, CALCIUM))


def fat_hu(kvp: float) -> float:
    """CT number of fat."""
    return float(np.interp(kvp, KVP, FAT))
