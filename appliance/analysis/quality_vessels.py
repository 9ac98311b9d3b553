"""How well each main artery is shown: how far it moved, by the network ``motion`` along its traced segments, and its contrast to the noise.

The grade is the four-point scale of reading studies, 4 excellent to 1 non-diagnostic, tied to physics so that it can be computed exactly
for a virtual scan: motion as a part of the vessel's diameter, and contrast as a multiple of the noise; the worse of the two counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from appliance.analysis.bridges import filled
from appliance.analysis.quality_segments import MOVING_MM
from appliance.anatomy import SEGMENTS
from appliance.findings import Branch, SegmentQuality, VesselQuality

MainVessel = Literal["LAD", "LCX", "RCA"]
MAIN_VESSELS: tuple[MainVessel, ...] = get_args(MainVessel)
MOTION_OF_DIAMETER = (0.25, 0.5, 1.0)
"""Blur up to a quarter of the vessel's diameter is excellent, up to half good, up to the whole moderate; beyond it two lumens are seen."""
CONTRAST_TO_NOISE = (15.0, 10.0, 6.0)
"""Contrast between vessel and fat over noise: at least this for excellent, good, moderate."""
EXCELLENT, NON_DIAGNOSTIC = 4, 1


def likert(*, motion_mm: float, diameter_mm: float, contrast_to_noise: float) -> int:
    """The grade that the physics give a piece of vessel: the worse of motion and contrast."""
    by_motion = EXCELLENT - sum(motion_mm > limit * diameter_mm for limit in MOTION_OF_DIAMETER)
    by_contrast = EXCELLENT - sum(contrast_to_noise < limit for limit in CONTRAST_TO_NOISE)
    return min(by_motion, by_contrast)


def grade_arteries(branches: Sequence[Branch], segments: Sequence[SegmentQuality], noise_hu: float | None) -> tuple[VesselQuality, ...]:
    """The mean over the segments of an artery and its branches, by their length, where they are wide enough for motion to be told.

    Args:
        branches: measured and named.
        segments: how well theirs are shown.
        noise_hu: of the scan.

    Returns:
        One entry for each artery of which the motion and the contrast of a segment are known, in the order of ``MAIN_VESSELS``.
    """
    diameters = {branch.id: filled(branch.lumen_diameter_mm) for branch in branches}
    graded = []
    for vessel in MAIN_VESSELS:
        rows = [
            (each.end - each.start, each.motion_mm, float(np.median(diameters[each.branch][each.start : each.end])), each.cnr)
            for each in segments
            if SEGMENTS[each.segment].territory == vessel and each.motion_mm is not None and each.cnr is not None
        ]
        wide = np.array([row for row in rows if row[2] >= MOVING_MM], np.float64)
        if len(wide) and noise_hu is not None:
            motion, diameter, contrast = (float(value) for value in np.average(wide[:, 1:], axis=0, weights=wide[:, 0]))
            graded.append(
                VesselQuality(
                    vessel=vessel,
                    grade=likert(motion_mm=motion, diameter_mm=diameter, contrast_to_noise=contrast),
                    motion_mm=round(motion, 2),
                    contrast_hu=round(contrast * noise_hu, 1),
                    noise_hu=noise_hu,
                )
            )
    return tuple(graded)
