"""What the network says of each section: areas of lumen, wall and calcium that hang together with the centre line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from appliance.analysis.stages import Float, NamedBranch, Segmentation, VesselClass
from appliance.geometry import frames

_RAYS = 16
_STEP_MM = 0.2
_SAMPLES = 22


@dataclass(frozen=True)
class MaskSections:
    """Areas in mm2 per section, (n,), and the share of rays that meet any coronary class."""

    lumen_mm2: Float
    wall_mm2: Float
    calcium_mm2: Float
    covered: Float


def mask_sections(branch: NamedBranch, segmentation: Segmentation) -> MaskSections:
    """Follow each ray from the centre line outward until it leaves the coronary classes."""
    _, normal, binormal = frames(branch.points_mm)
    geometry = segmentation.geometry
    centre = geometry.to_index(branch.points_mm)
    across = geometry.to_index(branch.points_mm + normal) - centre
    up = geometry.to_index(branch.points_mm + binormal) - centre
    out = np.zeros((len(centre), 4))
    _follow_rays(segmentation.classes, centre, across, up, int(VesselClass.VEIN), out)
    return MaskSections(lumen_mm2=out[:, 0], wall_mm2=out[:, 1], calcium_mm2=out[:, 2], covered=out[:, 3] / _RAYS)


@njit(parallel=True, cache=True)
def _follow_rays(classes, centre, across, up, vein, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    nz, ny, nx = classes.shape
    for i in prange(len(centre)):
        for k in range(_RAYS):
            angle = 2.0 * np.pi * k / _RAYS
            c, s = np.cos(angle), np.sin(angle)
            met = False
            for j in range(_SAMPLES):
                r = (j + 0.5) * _STEP_MM
                z = int(np.rint(centre[i, 0] + r * (c * across[i, 0] + s * up[i, 0])))
                y = int(np.rint(centre[i, 1] + r * (c * across[i, 1] + s * up[i, 1])))
                x = int(np.rint(centre[i, 2] + r * (c * across[i, 2] + s * up[i, 2])))
                if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                    break
                label = classes[z, y, x]
                if label == 0 or label == vein:
                    # a first gap may only mean that the line runs beside the mask
                    if met or r > 0.8:
                        break
                    continue
                met = True
                out[i, label - 1] += r * _STEP_MM * 2.0 * np.pi / _RAYS
            if met:
                out[i, 3] += 1.0
