"""The calcium score of a study: which deposits of the scan without contrast medium lie in a coronary artery, and in which.

The tree that the angiogram shows is carried over by a rigid registration of the two scans. A deposit belongs to the artery that it is
nearest to, unless it lies nearer to the wall of the aorta or to the mitral annulus than to any artery; metal is no calcium. What lies in
the fat of the heart where no artery was traced counts as coronary without a name. The rule itself: `calcium_score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from appliance.analysis.cadrads import territory_of
from appliance.analysis.calcium_score import KVP, KVP_TOLERANCE, Deposit, agatston, category, find_deposits, mass_mg, volume_mm3
from appliance.analysis.heart_bulk import CARDIAC
from appliance.analysis.naming_corrections import vessel_scores
from appliance.analysis.rigid import Placement, place_heart
from appliance.analysis.stages import Float, Heart, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.anatomy import Territory
from appliance.findings import Branch, Calcium, CalciumDeposit, Stent
from appliance.volume import Volume

Place = Literal["LM", "LAD", "LCX", "RCA", "unknown", "aorta", "valve", "metal", "elsewhere"]
VESSELS: tuple[Territory, ...] = ("LM", "LAD", "LCX", "RCA")
INSIDE_MM = 1.5
"""A deposit so near to the outer wall of an artery is its own, whatever else is near."""
REACH_MM = 3.0
"""Its nearest pixel beyond the outer wall: what two heart beats, two phases and the registration may differ by."""
WHOLE_MM = 5.0
"""Its middle beyond the outer wall: a bone that comes near with one edge lies beyond this."""
FAINT_HU, FAINT_MM2 = 200, 3.0
"""What is fainter and smaller than this may be noise: it counts only within `INSIDE_MM`, and only if it stands out of the noise."""
STANDS_OUT = 4.5
"""Standard deviations above blood; of the ten thousand independent places along a tree not one reaches this by chance."""
METAL_HU = 2200
"""Averaged over a slice of 3 mm calcium stays below this; wires and leads do not."""
STENT_MM = 2.0
"""So far beyond its ends a stent still blooms."""
FAT_HU = -20.0
RING_MM = 3.0
AROUND_MM = 15.0
"""Farther from the heart nothing is coronary."""
LEAST_BLOOD = 200
"""Voxels of blood from which the noise is told."""


@dataclass(frozen=True)
class Assigned:
    """The deposits with the place of each, and for those beside a branch its id and the nearest of its points."""

    deposits: tuple[Deposit, ...]
    places: tuple[Place, ...]
    nearest: tuple[tuple[int, int] | None, ...] = ()

    def of(self, *places: Place) -> list[Deposit]:
        """The deposits at some places."""
        return [deposit for deposit, place in zip(self.deposits, self.places, strict=True) if place in places]


def not_scored(kvp: float | None) -> str | None:
    """Why the rule cannot be applied to a scan, None where it can: the threshold and the weights hold at 120 kV only."""
    if kvp is None:
        return "kvp_unknown"
    return None if abs(kvp - KVP) <= KVP_TOLERANCE else "kvp_not_120"


def score_calcium(
    scan: Volume,
    angiogram: Volume,
    heart: Heart,
    branches: Sequence[Branch],
    *,
    series_uid: str,
    stents: Sequence[Stent] = (),
    mass_factor: float | None = None,
) -> Calcium | str:
    """Score one scan; where it cannot be done, the code of the reason.

    Args:
        scan: without contrast medium, 120 kV (see ``not_scored``).
        angiogram: the series that heart and branches were found in.
        heart: of that series.
        branches: of that series.
        series_uid: of the scan.
        stents: of that series; what lies in them is no calcium.
        mass_factor: mg of hydroxyapatite per cm3 and HU, from the scanner's own calibration; without it the mass is None.
    """
    placement = place_heart(scan, angiogram, heart)
    if not placement.found:
        return "not_registered"
    deposits = above_noise(find_deposits(scan), noise_limit(scan, placement, heart))
    assigned = assign(scan, deposits, placement, heart, branches, stents=stents)
    increment = scan.geometry.spacing[2]
    coronary = assigned.of(*VESSELS, "unknown")
    total = agatston(coronary, increment_mm=increment)
    factor = mass_factor or 0.0
    deposits_on = on_branches(assigned, increment_mm=increment)
    return Calcium(
        series_uid=series_uid,
        agatston=round(total, 2),
        volume_mm3=round(volume_mm3(coronary, scan), 2),
        mass_mg=round(mass_mg(coronary, increment_mm=increment, factor=factor), 3) if mass_factor else None,
        mass_mg_reason=None if mass_factor else "not_calibrated",
        vessels=vessel_scores(deposits_on, branches),
        unassigned=round(agatston(assigned.of("unknown"), increment_mm=increment), 2),
        category=category(total),
        percentile=None,
        percentile_reason="no_reference_table",
        registration=round(placement.likeness, 3),
        deposits=deposits_on,
    )


def on_branches(assigned: Assigned, *, increment_mm: float) -> tuple[CalciumDeposit, ...]:
    """The coronary deposits that lie beside a traced branch, each with its part of the score."""
    return tuple(
        CalciumDeposit(branch=nearest[0], point=nearest[1], agatston=round(agatston([deposit], increment_mm=increment_mm), 4))
        for deposit, place, nearest in zip(assigned.deposits, assigned.places, assigned.nearest, strict=True)
        if nearest is not None and (place == "unknown" or place in VESSELS)
    )


def noise_limit(scan: Volume, placement: Placement, heart: Heart) -> float:
    """The attenuation that noise in blood hardly ever reaches, HU; -inf where the scan shows too little blood to tell."""
    mask = ndimage.binary_erosion(heart.mask(Structure.LV, Structure.AORTA, Structure.LEFT_ATRIUM, Structure.RV))
    points = placement.invert(heart.structures.geometry.to_points(np.argwhere(mask)))
    index = np.rint(scan.geometry.to_index(points)).astype(np.int64)
    index = index[((index >= 0) & (index < np.asarray(scan.geometry.shape))).all(axis=1)]
    if len(index) < LEAST_BLOOD:
        return -np.inf
    values = scan.voxels[tuple(index.T)]
    low, middle, high = np.percentile(values, [15.87, 50.0, 84.13])  # a calcified valve or a lead is no noise
    return float(middle + STANDS_OUT * 0.5 * (high - low))


def above_noise(deposits: Sequence[Deposit], limit_hu: float) -> tuple[Deposit, ...]:
    """Without those that are as small and faint as noise makes them."""
    return tuple(each for each in deposits if not _is_faint(each) or each.peak_hu >= limit_hu)


def _is_faint(deposit: Deposit) -> bool:
    return deposit.peak_hu < FAINT_HU and deposit.area_mm2 < FAINT_MM2


def assign(
    scan: Volume, deposits: Sequence[Deposit], placement: Placement, heart: Heart, branches: Sequence[Branch], *,
    stents: Sequence[Stent] = (),
) -> Assigned:  # fmt: skip
    """Say where each deposit lies; those far from the heart are left out."""
    tree = _Tree.of(branches, stents)
    around = Surroundings(heart)
    kept, places, owners = [], [], []
    for deposit in _near_heart(scan, deposits, placement, around):
        points = placement.apply(scan.geometry.to_points(deposit.voxels))
        place, nearest = _place(deposit, points, tree, around, scan)
        if place != "elsewhere":
            kept.append(deposit)
            places.append(place)
            owners.append(None if nearest is None else tree.owner[nearest])
    return Assigned(tuple(kept), tuple(places), tuple(owners))


def _near_heart(scan: Volume, deposits: Sequence[Deposit], placement: Placement, around: Surroundings) -> list[Deposit]:
    """Those in and about the heart: most of what is dense in a chest is bone."""
    if not deposits:
        return []
    middles = placement.apply(scan.geometry.to_points(np.stack([each.voxels.mean(axis=0) for each in deposits])))
    near = around.distance(middles, *CARDIAC) <= AROUND_MM
    return [deposit for deposit, here in zip(deposits, near, strict=True) if here]


@dataclass(frozen=True)
class _Tree:
    """All points of the tree with the outer radius, the artery, branch and number within it, and whether a stent lies there."""

    points: Float
    radius: Float
    vessel: tuple[Territory | None, ...]
    owner: tuple[tuple[int, int], ...]
    stented: Float
    index: cKDTree | None

    @classmethod
    def of(cls, branches: Sequence[Branch], stents: Sequence[Stent]) -> _Tree:
        points, radius, vessel, stented = [], [], list[Territory | None](), []
        owner: list[tuple[int, int]] = []
        for branch in branches:
            along = np.asarray(branch.points_mm, np.float64).reshape(-1, 3)
            outer = np.array([np.nan if d is None else d / 2.0 for d in branch.vessel_diameter_mm], np.float64)
            known = outer[np.isfinite(outer)]
            points.append(along)
            radius.append(np.where(np.isfinite(outer), outer, float(np.median(known)) if len(known) else 1.0))
            vessel += [territory_of(branch.vessel, branch.segment_at(i)) for i in range(len(along))]
            metal = np.zeros(len(along))
            for stent in stents:
                if stent.branch == branch.id:
                    metal[stent.start : stent.end + 1] = 1.0
            stented.append(metal)
            owner += [(branch.id, i) for i in range(len(along))]
        whole = np.concatenate([np.zeros((0, 3)), *points])
        return cls(
            points=whole,
            radius=np.concatenate([np.zeros(0), *radius]),
            vessel=tuple(vessel),
            owner=tuple(owner),
            stented=np.concatenate([np.zeros(0), *stented]),
            index=cKDTree(whole) if len(whole) else None,
        )

    def beside(self, points: Float) -> tuple[float, int]:
        """How far beyond the outer wall of the nearest artery the nearest of some points lies (negative inside), and the tree's point."""
        if self.index is None:
            return np.inf, -1
        distance, index = self.index.query(points, k=min(4, len(self.points)))
        distance, index = np.atleast_2d(distance.T).T, np.atleast_2d(index.T).T
        beyond = distance - self.radius[index]
        row, column = np.unravel_index(int(np.argmin(beyond)), beyond.shape)
        return float(beyond[row, column]), int(index[row, column])

    def near_stent(self, points: Float) -> bool:
        """Whether a stent lies within its bloom."""
        own = self.points[self.stented > 0.0]
        if not len(own):
            return False
        reach = float(self.radius[self.stented > 0.0].max()) + STENT_MM
        return bool(cKDTree(own).query(points)[0].min() <= reach)


def _place(deposit: Deposit, points: Float, tree: _Tree, around: Surroundings, scan: Volume) -> tuple[Place, int | None]:
    """Where a deposit lies, and the tree's point that it belongs to."""
    beyond, nearest = tree.beside(points)
    if beyond > (INSIDE_MM if _is_faint(deposit) else REACH_MM) or tree.beside(points.mean(axis=0)[None])[0] > WHOLE_MM:
        return ("unknown" if _in_fat_of_heart(deposit, points, around, scan) else "elsewhere"), None
    if deposit.peak_hu >= METAL_HU or tree.near_stent(points):
        return "metal", None
    if beyond > INSIDE_MM:
        aorta = float(np.abs(around.distance(points, Structure.AORTA)).mean())
        if aorta < beyond:
            return "aorta", None
        atrium = np.abs(around.distance(points, Structure.LEFT_ATRIUM))
        ventricle = np.abs(around.distance(points, Structure.LV))
        if float(np.maximum(atrium, ventricle).mean()) < beyond:
            return "valve", None
    return tree.vessel[nearest] or "unknown", nearest


def _in_fat_of_heart(deposit: Deposit, points: Float, around: Surroundings, scan: Volume) -> bool:
    """Whether a deposit away from every traced artery lies in the fat inside the pericardium, clear of chambers and great vessels."""
    if deposit.peak_hu >= METAL_HU or _is_faint(deposit):
        return False
    middle = points.mean(axis=0)[None]
    if float(around.distance(middle, Structure.PERICARDIUM)[0]) > -1.0:
        return False
    near = (Structure.AORTA, Structure.PULMONARY_ARTERY, Structure.LEFT_ATRIUM, Structure.LV)
    if min(float(around.distance(middle, each)[0]) for each in near) < 3.0:
        return False
    return _ring_hu(deposit, scan) < FAT_HU


def _ring_hu(deposit: Deposit, scan: Volume) -> float:
    """Median attenuation in the slice, some millimetres around a deposit."""
    x, y, _ = scan.geometry.spacing
    plane = scan.voxels[deposit.slice]
    (row, column), (reach_y, reach_x) = deposit.voxels[:, 1:].mean(axis=0), (RING_MM / y, RING_MM / x)
    extent = 0.5 * (deposit.voxels[:, 1:].max(axis=0) - deposit.voxels[:, 1:].min(axis=0))
    rows, columns = np.ogrid[: plane.shape[0], : plane.shape[1]]
    off = np.hypot((rows - row) / (extent[0] + reach_y), (columns - column) / (extent[1] + reach_x))
    ring = plane[(off >= 0.7) & (off <= 1.1)]
    return float(np.median(ring)) if ring.size else 0.0
