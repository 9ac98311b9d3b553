"""What a healthy vessel would measure at each point: robust regression of the whole profile.

A local straight line through the diameters of healthy sections, weighted by a Gaussian along the vessel: the usual automatic form of the
interpolated reference. Left out: sections with plaque, within about a diameter of ostia and side branches, where the section shows two
vessels, and, by their residual, narrowed and ectatic ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.stages import Float, NamedTree, Profile, Reference
from appliance.geometry import arc_length

KERNEL_MM = 12.0
_FLOOR_MM = 0.5
_NARROWEST_MM, _WIDEST_MM = 1.5, 5.0
_BEHIND_MM = (2.0, 8.0)


def junction_distance(named: NamedTree, number: int, profiles: Sequence[Profile]) -> Float:
    """Distance to the nearest place where another vessel opens, (n,), as a multiple of that opening's width; ostia and origins count.

    A branch opens over about its own diameter, so a thin one spoils less of a wide vessel than a wide one; its own origin is measured in
    diameters of the branch itself.
    """
    branch = named.branches[number]
    along = arc_length(branch.points_mm)
    own = np.clip(np.nan_to_num(profiles[number].vessel_mm, nan=2.0), _NARROWEST_MM, _WIDEST_MM)
    nearest = along / own
    for i, child in enumerate(named.branches):
        if child.parent == number and child.parent_index is not None:
            place = along[min(child.parent_index, len(along) - 1)]
            nearest = np.minimum(nearest, np.abs(along - place) / np.minimum(_width_of(child.points_mm, profiles[i]), own))
    return np.asarray(nearest)


def _width_of(points: Float, profile: Profile) -> float:
    """Outer diameter of a branch just behind its origin; of the widest where it is too short to tell."""
    along = arc_length(points)
    behind = profile.vessel_mm[(along > _BEHIND_MM[0]) & (along < _BEHIND_MM[1])]
    known = behind[np.isfinite(behind)]
    return float(np.clip(np.median(known), _NARROWEST_MM, _WIDEST_MM)) if len(known) else _WIDEST_MM


def reference_of(profile: Profile, along: Float, healthy: Float) -> Reference:
    """The reference of one branch.

    Args:
        profile: what was measured.
        along: distance from the branch's first point, (n,).
        healthy: weight 0..1 of each section, (n,).
    """
    usable = healthy * profile.quality * (profile.lumen_mm > _FLOOR_MM)
    lumen, support = _regress(along, profile.lumen_mm, usable)
    vessel, _ = _regress(along, profile.vessel_mm, usable)
    lumen = np.where(np.isfinite(lumen), np.maximum(lumen, _FLOOR_MM), np.nan)
    vessel = np.where(np.isfinite(vessel), np.maximum(vessel, lumen + 0.3), np.nan)
    return Reference(lumen_mm=lumen, vessel_mm=vessel, confidence=np.clip(support / 8.0, 0.0, 1.0))


def with_left_main(named: NamedTree, profiles: Sequence[Profile], references: Sequence[Reference]) -> list[Reference]:
    """The references with gaps filled where a branch is too short to have healthy sections of its own, as the left main often is.

    From its two daughters by D = 0.67 (D1 + D2) (Finet et al., EuroIntervention 2007;3:490), else from its own wide sections.
    """
    found = list(references)
    for number, branch in enumerate(named.branches):
        lumen = references[number].lumen_mm
        known = np.isfinite(lumen)
        if known.mean() > 0.5:
            continue
        end = len(branch.points_mm) - 1
        daughters = [
            float(np.nanmedian(references[i].lumen_mm[:25]))
            for i, child in enumerate(named.branches)
            if child.parent == number
            and child.parent_index is not None
            and end - child.parent_index <= 3
            and np.isfinite(references[i].lumen_mm[:25]).any()
        ]
        own = float(np.percentile(profiles[number].lumen_mm, 80))
        value = 0.67 * sum(sorted(daughters)[-2:]) if len(daughters) >= 2 else own
        wall = 0.5 * float(np.median(profiles[number].vessel_mm - profiles[number].lumen_mm))
        found[number] = Reference(
            lumen_mm=np.where(known, lumen, value),
            vessel_mm=np.where(known, references[number].vessel_mm, value + 2 * min(wall, 0.7)),
            confidence=np.where(known, references[number].confidence, 0.3),
        )
    return found


def _regress(along: Float, value: Float, weight: Float) -> tuple[Float, Float]:
    """Robust local line at every point, and the effective number of sections behind it; NaN where there are too few."""
    robust = np.ones_like(weight)
    fitted = np.full_like(value, np.nan)
    support = np.zeros_like(value)
    for _ in range(4):
        fitted, support = _local_line(along, value, weight * robust)
        error = value - fitted
        inside = np.isfinite(error) & (weight > 0.05)
        if inside.sum() < 5:
            break
        scale = max(1.4826 * float(np.median(np.abs(error[inside] - np.median(error[inside])))), 0.05)
        standard = np.nan_to_num(error) / scale
        # narrowed sections weigh less than wide ones: disease narrows more often than it widens
        robust = np.where(standard < 0, 1.0 / (1.0 + (standard / 1.5) ** 4), 1.0 / (1.0 + (standard / 2.5) ** 4))
    return fitted, support


def _local_line(along: Float, value: Float, weight: Float) -> tuple[Float, Float]:
    kernel = np.exp(-0.5 * ((along[:, None] - along[None]) / KERNEL_MM) ** 2)
    # far away sections still hold the line where everything near is diseased
    kernel += 0.004 * np.exp(-0.5 * ((along[:, None] - along[None]) / (4 * KERNEL_MM)) ** 2)
    w = kernel * weight[None]
    total = w.sum(axis=1)
    safe = np.maximum(total, 1e-12)
    mean_x = (w @ along) / safe
    mean_y = (w @ value) / safe
    xx = (w @ along**2) / safe - mean_x**2
    xy = (w @ (along * value)) / safe - mean_x * mean_y
    # a slope needs spread to be known; vessels taper about 0.25 mm in 10 mm and do not widen much
    slope = np.clip(xy / (xx + 9.0), -0.05, 0.015)
    fitted = mean_y + slope * (along - mean_x)
    return np.where(total > 0.15, fitted, np.nan), total


def healthy_weight(evidence: Float, junction: Float, along: Float) -> Float:
    """Weight of each section for the reference: none with plaque, little at junctions and at the very end."""
    calm = 1.0 / (1.0 + np.exp(np.clip(2.0 * (evidence - 2.0), -30, 30)))
    clear = np.clip((junction - 0.5) / 0.6, 0.02, 1.0)
    inside = np.clip((along[-1] - along) / 3.0, 0.05, 1.0)
    return np.asarray(calm * clear * inside)


def smooth_along(value: Float, along: Float, sigma_mm: float) -> Float:
    """Gaussian mean along a line."""
    if len(value) < 3:
        return value
    kernel = np.exp(-0.5 * ((along[:, None] - along[None]) / sigma_mm) ** 2)
    return np.asarray((kernel @ value) / kernel.sum(axis=1))


def robust_scale(value: Float, weight: NDArray[np.bool_], floor: float) -> tuple[float, float]:
    """Median and standard deviation (from the median absolute deviation) of the chosen values."""
    chosen = value[weight & np.isfinite(value)]
    if len(chosen) < 10:
        return 0.0, 1e9
    middle = float(np.median(chosen))
    return middle, max(1.4826 * float(np.median(np.abs(chosen - middle))), floor)
