"""Attenuation of every tissue in one scan."""

from __future__ import annotations

from models.phantom.physics import calcium_factor
from models.phantom.types import Scan

#: HU, texture amplitude (HU), texture frequency (voxels per mm; negative: of the smooth block).
Tissue = tuple[float, float, float]
#: Frequency of the smooth block in blood and muscle: clouds of about 6 mm.
MIXED = -1.5


def tissue_table(scan: Scan) -> dict[str, Tissue]:
    """Attenuation (HU), texture amplitude (HU) and texture frequency (see `Tissue`) of each channel."""
    bone = calcium_factor(scan.kvp)
    return {
        "body": (scan.fat_hu - 5.0, 9.0, 0.8),
        "muscle": (58.0, 22.0, 0.7),
        "lung": (-845.0, 38.0, 1.1),
        "gas": (-960.0, 0.0, 1.0),
        "bone": (620.0 * bone, 60.0 * bone, 1.0),
        "marrow": (60.0 + 90.0 * bone, 55.0 * bone, 0.9),
        "pericardium": (scan.fat_hu, 12.0, 0.9),
        "soft": (42.0, 10.0, 0.8),
        **(_enhanced(scan) if scan.contrast else _plain(scan)),
    }


def _enhanced(scan: Scan) -> dict[str, Tissue]:
    """Blood and organs with contrast medium: the right heart is mixed from a dense stream of the SVC and plain blood of the IVC."""
    v, right = scan.vessel_hu, scan.right_heart_hu
    return {
        "liver": (75.0 + 0.08 * v, 6.0, 0.6),
        "wall": (62.0, 12.0, 0.8),
        "myocardium": (scan.myocardium_hu, 6.0, MIXED),
        "ivc": (min(0.5 * right + 45.0, 150.0), 10.0, MIXED),
        "svc": (min(1.5 * right, 1000.0), 0.10 * right, MIXED),
        "pa": (0.92 * right + 0.06 * v, 5.0, MIXED),
        "ra": (right, 4.0 + 0.16 * right, MIXED),
        "rv": (0.9 * right + 0.05 * v, 6.0 + 0.03 * right, MIXED),
        "la": (0.98 * v, 5.0, MIXED),
        "lv": (0.96 * v, 6.0, MIXED),
        "ao": (v, 4.0, MIXED),
    }


def _plain(scan: Scan) -> dict[str, Tissue]:
    """Blood and organs without contrast medium."""
    blood = (scan.vessel_hu, 2.0, MIXED)
    plain = {"liver": (58.0, 6.0, 0.6), "wall": (46.0, 8.0, 0.8), "myocardium": (scan.myocardium_hu, 5.0, MIXED)}
    return plain | dict.fromkeys(("ivc", "svc", "pa", "ra", "rv", "la", "lv", "ao"), blood)
