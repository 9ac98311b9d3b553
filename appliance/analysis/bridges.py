"""Myocardial bridges: stretches of an artery with muscle all around.

An artery on the surface of the heart has fat on at least one side. Where muscle or other soft tissue closes over it for some length, the
thinnest part of that roof, measured outward from the outer wall, is the depth. Terms and the 1 mm cut between superficial and deep: Chinese
reporting standard (Chin J Radiol 2020;54:1044). Narrowing under a bridge is the muscle's and not graded as plaque.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from appliance.analysis.rings import rings, runs_of
from appliance.analysis.stages import Float, Heart, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import SegmentName
from appliance.findings import Branch
from appliance.volume import Volume

CANDIDATES: frozenset[SegmentName] = frozenset({"pLAD", "mLAD", "dLAD", "D1", "D2", "RI", "OM1", "OM2", "R-PDA", "L-PDA"})
"""Arteries that run over the ventricles; those in the atrioventricular groove lie beside an atrium and are not buried in muscle."""
FAT_HU = 0.0
"""Half way between fat and muscle."""
MUSCLE_HU = (40.0, 260.0)
"""Mean attenuation of the roof: muscle with contrast medium, noise allowed for; thin fat blurred into its surroundings stays below."""
ROOF_MM = 8.0
"""Where no fat is found within this, the vessel lies in something else than a roofed groove: nothing is said of it."""
STEP_MM = 0.25
SHALLOWEST_MM = 0.7
SHORTEST_MM = 8.0
GAP_MM = 2.0
NEAR_MUSCLE_MM = 5.0
CLEAR_MM = 0.25
"""The roof is looked at from so far outside the wall, where the blur of the lumen ends."""
SMOOTH_MM = 1.5
SMALLEST_MM = 1.2


@dataclass(frozen=True)
class Roof:
    """What covers an artery at each of its points: thickness (mm) and mean attenuation of its thinnest side."""

    depth_mm: Float
    hu: Float


def find_bridges(volume: Volume, heart: Heart, branches: Sequence[Branch]) -> list[tuple[int, int, int, float]]:
    """The bridges as (branch id, first point, half-open end, greatest depth in mm)."""
    around = Surroundings(heart)
    found = []
    for branch in branches:
        points = np.asarray(branch.points_mm, np.float64)
        if len(points) < 4 or not any(name in CANDIDATES for _, _, name in branch.segments):
            continue
        step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
        outer = filled(branch.vessel_diameter_mm) / 2.0
        roof = roof_of(volume, points, outer, step)
        muscle = around.distance(points, Structure.LV_MYOCARDIUM, Structure.LV, Structure.RV)
        buried = (
            (roof.depth_mm >= SHALLOWEST_MM)
            & (roof.depth_mm < ROOF_MM)
            & (roof.hu > MUSCLE_HU[0])
            & (roof.hu < MUSCLE_HU[1])
            & (muscle <= NEAR_MUSCLE_MM)
        )
        buried &= 2.0 * outer >= SMALLEST_MM
        for start, end, name in branch.segments:
            if name not in CANDIDATES:
                buried[start:end] = False
        for start, end in runs_of(buried, gap=round(GAP_MM / step)):
            if (end - start) * step >= SHORTEST_MM:
                found.append((branch.id, start, end, round(float(np.percentile(roof.depth_mm[start:end], 90)), 2)))
    return found


def roof_of(volume: Volume, points: Float, outer_mm: Float, step_mm: float) -> Roof:
    """The thinnest cover of soft tissue around each point of a line, from its outer wall outwards."""
    beyond = np.arange(0.0, ROOF_MM + STEP_MM / 2, STEP_MM)
    hu = rings(volume, points, outer_mm[:, None] + CLEAR_MM + beyond[None]).astype(np.float64)
    hu = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(hu, SMOOTH_MM / step_mm, axis=0), 1.0, axis=1, mode="wrap")
    fat = hu < FAT_HU
    first = np.where(fat.any(axis=2), fat.argmax(axis=2), len(beyond) - 1)
    side = first.argmin(axis=1)
    depth = first[np.arange(len(points)), side] * STEP_MM
    depth = np.where(depth > 0.0, depth + CLEAR_MM, 0.0)
    own = hu[np.arange(len(points)), side]
    inside = np.arange(len(beyond))[None] < np.maximum(first[np.arange(len(points)), side], 1)[:, None]
    return Roof(depth_mm=depth, hu=(own * inside).sum(axis=1) / inside.sum(axis=1))


def filled(diameters: Sequence[float | None]) -> Float:
    """Diameters without gaps: interpolated along the vessel, 2 mm where none is known."""
    values = np.array([np.nan if value is None else value for value in diameters], np.float64)
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known]) if len(known) else np.full(len(values), 2.0)
