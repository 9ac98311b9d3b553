"""What the network says of each section: areas of lumen, wall and calcium that hang together with the centre line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.sections import cell_areas
from appliance.analysis.stages import Float, VesselClass

_NEAR = 4
"""Samples within which the first coronary class must be met: farther out it belongs to a neighbour."""


@dataclass(frozen=True)
class MaskSections:
    """Areas in mm2 per section, (n,), and the share of rays that meet any coronary class."""

    lumen_mm2: Float
    wall_mm2: Float
    calcium_mm2: Float
    covered: Float

    @property
    def thickness_mm(self) -> Float:
        """Mean thickness of what the network calls wall or calcium around the lumen."""
        outer = np.sqrt((self.lumen_mm2 + self.wall_mm2 + self.calcium_mm2) / np.pi)
        return np.asarray(outer - np.sqrt(self.lumen_mm2 / np.pi))


def mask_sections(labels: NDArray[np.uint8]) -> MaskSections:
    """Follow each ray of ``labels`` (n, RAYS, SAMPLES) from the centre line outward until it leaves the coronary classes."""
    coronary = (labels != VesselClass.NONE) & (labels != VesselClass.VEIN)
    # before the first coronary sample a short gap is allowed: the line may run beside the mask
    begun = np.logical_or.accumulate(coronary, axis=2)
    begun[:, :, _NEAR:] &= coronary[:, :, :_NEAR].any(axis=2)[:, :, None]
    left = np.logical_or.accumulate(begun & ~coronary, axis=2)
    own = coronary & begun & ~left
    area = cell_areas()

    def total(kind: VesselClass) -> Float:
        return np.asarray(((own & (labels == kind)) * area).sum(axis=(1, 2)))

    return MaskSections(
        lumen_mm2=total(VesselClass.LUMEN),
        wall_mm2=total(VesselClass.WALL),
        calcium_mm2=total(VesselClass.CALCIUM),
        covered=own.any(axis=2).mean(axis=1),
    )
