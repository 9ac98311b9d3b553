"""How well each segment is shown, and which cannot be read: measured on the traced vessels, segment by segment.

A segment counts from a diameter of 1.5 mm on (CAD-RADS 2.0, JCCT 2022;16:536). It is not assessable where the scan ends (truncated), where
its blood stands out of the fat by too little against the noise, where it moved farther than it is wide (motion: the network ``motion``
says so, or, without it, the rule that it is smeared across its own direction and diluted), or where calcium closes around a lumen that is
too small to be seen through it (blooming). Stents: `stents`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.analysis.bridges import filled
from appliance.analysis.motion_network import Motion
from appliance.analysis.rings import rings, runs_of
from appliance.analysis.stages import Float
from appliance.anatomy import SEGMENTS, SegmentName
from appliance.findings import Branch, NotAssessable, NotAssessableReason, Quality, SegmentQuality, Stent
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


@dataclass(frozen=True)
class SegmentsSeen:
    """How well each segment is shown, and which cannot be read; both in the order of the segments' numbers, one entry per name."""

    quality: tuple[SegmentQuality, ...]
    not_assessable: tuple[NotAssessable, ...]


def look_at_segments(
    volume: Volume,
    branches: Sequence[Branch],
    quality: Quality,
    *,
    stents: Sequence[Stent] = (),
    motions: Mapping[int, Motion] | None = None,
) -> SegmentsSeen:
    """Look at every named segment that is large enough to count.

    Args:
        volume: the scan.
        branches: measured and named.
        quality: of the scan.
        stents: on the branches.
        motions: what the network ``motion`` said along them, by number; a branch without an entry is judged by the written rule.
    """
    rated: dict[SegmentName, SegmentQuality] = {}
    unread: dict[SegmentName, NotAssessable] = {}
    for branch in branches:
        for each, reason in _of_branch(volume, branch, quality, stents, (motions or {}).get(branch.id)):
            rated.setdefault(each.segment, each)
            if reason is not None:
                unread.setdefault(
                    each.segment, NotAssessable(segment=each.segment, reason=reason, branch=each.branch, start=each.start, end=each.end)
                )
    order = list(SEGMENTS)
    return SegmentsSeen(
        tuple(rated[name] for name in sorted(rated, key=order.index)), tuple(unread[name] for name in sorted(unread, key=order.index))
    )


def _of_branch(
    volume: Volume, branch: Branch, quality: Quality, stents: Sequence[Stent], motion: Motion | None
) -> list[tuple[SegmentQuality, NotAssessableReason | None]]:
    points = np.asarray(branch.points_mm, np.float64)
    if len(points) < 4:
        return []
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    lumen = filled(branch.lumen_diameter_mm)
    own = [stent for stent in stents if stent.branch == branch.id]
    profile = ndimage.gaussian_filter1d(rings(volume, points, RADII_MM).astype(np.float64), SMOOTH_MM / step, axis=0)
    seen = _Seen(volume, points, lumen, profile, np.median(profile[:, :, :3].mean(axis=2), axis=1), step, motion)
    found: list[tuple[SegmentQuality, NotAssessableReason | None]] = []
    for start, end, name in branch.segments:
        if name == "other" or (end - start) * step < SHORTEST_MM or float(np.median(lumen[start:end])) < SMALLEST_MM:
            continue
        rated = seen.rate(branch.id, start, end, name, quality.aorta_noise_hu, own)
        if any(not stent.assessable and stent.start < end and stent.end > start for stent in own):
            found.append((rated, "stent"))
        else:
            found.append((rated, seen.why_not(rated, quality.aorta_mean_hu)))
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

    def rate(self, branch: int, start: int, end: int, name: SegmentName, noise_hu: float | None, stents: Sequence[Stent]) -> SegmentQuality:
        """What is measured of the segment between two points."""
        inside = self._windows(start, end)
        moved_mm = float(self.motion.motion_mm[inside].mean()) if self.motion is not None and len(inside) >= FEWEST_WINDOWS else None
        contrast = float(np.median(self.middle[start:end])) - FAT_HU
        closed = _closed_in(self.profile, self.middle, self.lumen)
        for stent in stents:
            closed[max(stent.start - 2, 0) : stent.end + 2] = False
        longest = max((last - first for first, last in runs_of(closed[start:end], gap=round(1.0 / self.step))), default=0)
        unknown = "no_network" if self.motion is None else "too_short"
        return SegmentQuality(
            segment=name,
            branch=branch,
            start=start,
            end=end,
            motion_mm=None if moved_mm is None else round(moved_mm, 2),
            motion_mm_reason=unknown if moved_mm is None else None,
            cnr=round(contrast / noise_hu, 2) if noise_hu else None,
            cnr_reason=None if noise_hu else "noise_unknown",
            blooming_mm=round(longest * self.step, 2),
            truncated=bool(end >= len(self.points) - 1 and self.lumen[-1] >= SMALLEST_MM and _leaves(self.points[-1], self.volume)),
        )

    def why_not(self, rated: SegmentQuality, blood_hu: float | None) -> NotAssessableReason | None:
        """Why a segment cannot be read; None where it can."""
        if rated.truncated:
            return "truncated"
        if rated.cnr is not None and rated.cnr < LEAST_CNR:
            return "noise"
        if _is_wide(self.lumen[rated.start : rated.end], rated.segment) and self._too_far(rated.start, rated.end, blood_hu):
            return "motion"
        return "blooming" if rated.blooming_mm >= BLOOMING_MM else None

    def _windows(self, start: int, end: int) -> NDArray[np.intp]:
        """The network's windows whose middle lies between two points."""
        if self.motion is None:
            return np.zeros(0, np.intp)
        return np.flatnonzero((self.motion.index >= start) & (self.motion.index < end))

    def _too_far(self, start: int, end: int, blood_hu: float | None) -> bool:
        """Whether a segment moved too far: by the network where it saw enough of it, else by the rule."""
        inside = self._windows(start, end)
        if self.motion is not None and len(inside) >= FEWEST_WINDOWS:
            return float(self.motion.too_far[inside].mean()) >= TOO_FAR
        return moved(smear(self.profile[start:end], self.middle[start:end]), self.middle[start:end], blood_hu)


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
