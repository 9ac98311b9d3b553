"""Which segments cannot be read, and why: measured on the traced vessels, segment by segment.

A segment counts from a diameter of 1.5 mm on (CAD-RADS 2.0, JCCT 2022;16:536). It is not assessable where the scan ends (truncated), where
its blood stands out of the fat by too little against the noise, where it moved farther than it is wide (motion: the network ``motion``
says so, or, without it, the rule that it is smeared across its own direction and diluted), or where calcium closes around a lumen that is
too small to be seen through it (blooming). An artery that the network for image quality calls
non-diagnostic is not assessable as a whole. Stents: `stents`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.bridges import filled
from appliance.analysis.motion_network import Motion, motion_along
from appliance.analysis.quality_network import NON_DIAGNOSTIC
from appliance.analysis.rings import rings, runs_of
from appliance.analysis.stages import Float
from appliance.anatomy import SEGMENTS, SegmentName
from appliance.findings import Branch, NotAssessable, NotAssessableReason, Quality, Stent
from appliance.inference.engine import Session
from appliance.volume import Volume

SMALLEST_MM = 1.5
SHORTEST_MM = 5.0
FAT_HU = -90.0
EDGE_MM = 2.0
"""A vessel that ends so near to the border of the images goes on beyond them."""
LEAST_CNR = 4.0
"""Contrast of the vessel to fat against the noise of a voxel: below four a wall cannot be told from noise (Rose, 1948: three to five)."""
MOVING_MM = 2.0
"""Smaller vessels are diluted by the blur of the scan alone."""
SMEARED_MM = 1.2
"""Half-level radius of the lumen in its widest directions less that in its narrowest: a section at rest is round."""
DILUTED = 0.65
"""Contrast of the middle against the aorta below which the blood is spread over more than the lumen."""
TOO_FAR = 0.6
"""Mean probability along a segment that it moved farther than it is wide; from here on the network is right as often as the rule is
(60 scans of 20 development patients), and finds nearly twice as many."""
FEWEST_WINDOWS = 3
RADII_MM = np.arange(0.0, 5.01, 0.2)
SMOOTH_MM = 1.5
CALCIUM_HU = 150.0
"""Above the blood: a ring so bright is calcium."""
CLOSED = 0.8
"""Part of the directions that calcium fills where it closes around the lumen."""
BLOOMING_MM = 5.0
SEEN_THROUGH_MM = 3.0
"""A lumen of this diameter is seen through a ring of calcium."""


def not_assessable_segments(
    volume: Volume, branches: Sequence[Branch], quality: Quality, *, stents: Sequence[Stent] = (), session: Session | None = None
) -> tuple[NotAssessable, ...]:
    """One entry per segment and reason, in the order of the segments' numbers.

    Args:
        volume: the scan.
        branches: measured and named.
        quality: of the scan.
        stents: on the branches.
        session: the network ``motion``; None to tell motion by the written rule.

    Raises:
        InferenceError: the network's output must not be used.
    """
    found: dict[SegmentName, NotAssessable] = {}
    poor = {vessel.vessel for vessel in quality.vessels if vessel.grade <= NON_DIAGNOSTIC}
    for branch in branches:
        for entry in _of_branch(volume, branch, quality, poor, stents, session):
            found.setdefault(entry.segment, entry)
    order = list(SEGMENTS)
    return tuple(found[name] for name in sorted(found, key=order.index))


def _of_branch(
    volume: Volume, branch: Branch, quality: Quality, poor: Collection[str], stents: Sequence[Stent], session: Session | None
) -> list[NotAssessable]:
    points = np.asarray(branch.points_mm, np.float64)
    if len(points) < 4:
        return []
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    lumen = filled(branch.lumen_diameter_mm)
    own = [stent for stent in stents if stent.branch == branch.id]
    profile = ndimage.gaussian_filter1d(rings(volume, points, RADII_MM).astype(np.float64), SMOOTH_MM / step, axis=0)
    blood = quality.aorta_mean_hu
    motion = motion_along(volume, points, blood, session) if session is not None and blood is not None else None
    seen = _Seen(volume, points, lumen, profile, np.median(profile[:, :, :3].mean(axis=2), axis=1), step, motion)
    found: list[NotAssessable] = []
    for start, end, name in branch.segments:
        if name == "other" or (end - start) * step < SHORTEST_MM or float(np.median(lumen[start:end])) < SMALLEST_MM:
            continue
        if any(not stent.assessable and stent.start < end and stent.end > start for stent in own):
            found.append(NotAssessable(segment=name, reason="stent", branch=branch.id, start=start, end=end))
            continue
        poorly: NotAssessableReason | None = "motion" if SEGMENTS[name].territory in poor else None
        reason = poorly or seen.why_not(start, end, name, quality, own)
        if reason is not None:
            found.append(NotAssessable(segment=name, reason=reason, branch=branch.id, start=start, end=end))
    return found


@dataclass(frozen=True)
class _Seen:
    """What the images show along one branch: its rings, the blood in its middle, the step between its points, what the network saw."""

    volume: Volume
    points: Float
    lumen: Float
    profile: Float
    middle: Float
    step: float
    motion: Motion | None = None

    def why_not(self, start: int, end: int, name: SegmentName, quality: Quality, stents: Sequence[Stent]) -> NotAssessableReason | None:
        """Why the segment between two points cannot be read; None where it can."""
        here, noise = slice(start, end), quality.aorta_noise_hu
        if end >= len(self.points) - 1 and self.lumen[-1] >= SMALLEST_MM and _leaves(self.points[-1], self.volume):
            return "truncated"
        if noise and (float(np.median(self.middle[here])) - FAT_HU) / noise < LEAST_CNR:
            return "noise"
        if _is_wide(self.lumen[here], name) and self._too_far(start, end, quality):
            return "motion"
        closed = _closed_in(self.profile, self.middle, self.lumen)
        for stent in stents:
            closed[max(stent.start - 2, 0) : stent.end + 2] = False
        longest = max((last - first for first, last in runs_of(closed[here], gap=round(1.0 / self.step))), default=0)
        return "blooming" if longest * self.step >= BLOOMING_MM else None

    def _too_far(self, start: int, end: int, quality: Quality) -> bool:
        """Whether a segment moved too far: by the network where it saw enough of it, else by the rule."""
        if self.motion is not None:
            inside = (self.motion.index >= start) & (self.motion.index < end)
            if np.count_nonzero(inside) >= FEWEST_WINDOWS:
                return float(self.motion.too_far[inside].mean()) >= TOO_FAR
        return moved(smear(self.profile[start:end], self.middle[start:end]), self.middle[start:end], quality.aorta_mean_hu)


def _leaves(point: Float, volume: Volume) -> bool:
    """Whether a point lies at the border of the images."""
    index = volume.geometry.to_index(point)
    margin = EDGE_MM / np.asarray(volume.geometry.spacing)[::-1]
    return bool((index < margin).any() or (index > np.asarray(volume.geometry.shape) - 1 - margin).any())


def smear(profile: Float, middle: Float) -> Float:
    """How much farther the lumen reaches in its widest directions than in its narrowest, mm, at each point."""
    half = 0.5 * (middle + FAT_HU)
    below = profile < half[:, None, None]
    radius = np.where(below.any(axis=2), RADII_MM[below.argmax(axis=2)], RADII_MM[-1])
    wide, narrow = np.percentile(radius, [90.0, 10.0], axis=1)
    return np.asarray(wide - narrow)


def _is_wide(lumen: Float, name: SegmentName) -> bool:
    """Whether motion can be told from a segment: the left main opens into the aorta and its division, and is never round."""
    return name != "LM" and float(np.median(lumen)) >= MOVING_MM


def moved(smeared: Float, middle: Float, blood_hu: float | None) -> bool:
    """The written rule: a stretch that is smeared and diluted along most of its length (``blood_hu``: of the aorta)."""
    if blood_hu is None:
        return False
    diluted = (np.median(middle) - FAT_HU) / (blood_hu - FAT_HU)
    return bool(np.median(smeared) >= SMEARED_MM and diluted <= DILUTED)


def _closed_in(profile: Float, middle: Float, lumen: Float) -> NDArray[np.bool_]:
    """True where calcium lies around a small lumen on nearly all sides."""
    bright = (profile[:, :, 2:16].max(axis=2) > (middle + CALCIUM_HU)[:, None]).mean(axis=1)
    return np.asarray((bright >= CLOSED) & (lumen < SEEN_THROUGH_MM))
