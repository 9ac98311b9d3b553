"""The scan of a patient of a family by design: what the generator draws, changed as the design says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.phantom import Scan, draw_scan
from models.phantom.scan import with_motion
from models.training.families import Design


def designed_scan(seed: int, design: Design) -> Scan:
    """The scan that the generator draws for a seed, changed as the design says; ValueError for a field that a scan does not have."""
    scan = draw_scan(seed)
    changes: dict[str, Any] = {name: _scaled(_field(scan, name), factor) for name, factor in design.scale.items()}
    for name, value in design.set.items():
        if name == "motion_mm":
            scan = with_motion(scan, value)
        else:
            changes[name] = type(_field(scan, name))(value)
    if "slice_thickness_mm" in changes:
        in_plane, along = changes.get("psf_sigma_mm", scan.psf_sigma_mm)
        # a slice is a box as wide as it is thick: its variance is that of a uniform distribution
        variance = along**2 + (changes["slice_thickness_mm"] ** 2 - scan.slice_thickness_mm**2) / 12.0
        changes["psf_sigma_mm"] = (in_plane, float(np.sqrt(max(variance, 0.2**2))))
    return replace(scan, **changes)


def _field(scan: Scan, name: str) -> Any:
    if not hasattr(scan, name):
        raise ValueError(f"a scan has no field {name}")
    return getattr(scan, name)


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(each * factor for each in value)
    return value * factor
