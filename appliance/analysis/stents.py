"""Stents: stretches where a bright ring runs all around the lumen, and whether the lumen inside can be read.

The wires are far thinner than a voxel: in the image they are a ring that is brighter than the blood it holds, on all sides and without a
break along the vessel. Calcium is a piece of such a ring at most, and ends after some millimetres; a chamber or another vessel that lies
about a small one makes a ring wider than any coronary stent. Of wires of 0.06 mm little more than the brightness of blood is left: of 25
stents of the train family (virtual patients, true lines a little displaced) 15 are found, those that are missed do not rise above the blood
or moved; on 107 branches, some of them full of calcium, none is seen that is not there. The lumen inside is read from 3 mm of device
diameter on (CAD-RADS 2.0, JCCT 2022;16:536); it is read by the blood in its middle, for the wall is hidden by the metal's blooming.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from appliance.analysis.rings import rings, runs_of
from appliance.analysis.stages import Float
from appliance.findings import Branch, InStent, Stent
from appliance.volume import Volume

RADII_MM = np.arange(0.0, 4.01, 0.2)
CENTRE_MM = 0.5
NEAREST_MM = 0.8
"""Inside this radius there is no device: the smallest has 2.25 mm."""
QUARTER = 25.0
"""Per cent of the directions that may be darker than required: a stent is closed all around, a calcified wall is not."""
BRIGHTER_HU = 15.0
"""Least the ring is brighter than the middle, where the noise allows it."""
OF_NOISE = 0.8
"""Least the ring is brighter in parts of the noise of a single voxel (the mean over 4 mm and all directions is far less noisy)."""
EVEN = 0.5
"""Brightness of the darker quarter of the ring against the brightest part: a device is as bright all around, calcium is not."""
NOISE_AT_TOP = 0.8
"""Noise alone lifts the brightest part by this part of the noise of a single voxel."""
BRIGHTEST = 95.0
SMOOTH_MM = 2.0
SHORTEST_MM = 6.0
GAP_MM = 3.0
WIDEST_SPREAD_MM = 0.35
"""A device has one diameter: standard deviation of the ring's radius along it."""
WIDEST_MM = 6.0
"""Outer diameter: the largest coronary stents are made for 5 mm and may be expanded to 6 mm."""
BLOOM_MM = 0.8
"""The half-way point between ring and fat lies about 0.4 mm outside the device, by the blur of the scan."""
READABLE_MM = 3.0
PATENT, CLOSED = 0.75, 0.35
"""Contrast of the blood inside against that beside the stent: above the first it is not narrowed by half, below the second it is closed."""
FAT_HU = -90.0
BESIDE_MM = 8.0


def find_stents(volume: Volume, branches: Sequence[Branch], *, noise_hu: float) -> tuple[Stent, ...]:
    """The stents of all branches; ``noise_hu`` is the standard deviation in the aorta."""
    return tuple(stent for branch in branches for stent in _of_branch(volume, branch, noise_hu))


def _of_branch(volume: Volume, branch: Branch, noise_hu: float) -> list[Stent]:
    points = np.asarray(branch.points_mm, np.float64)
    if len(points) < 8:
        return []
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    smooth = ndimage.gaussian_filter1d(rings(volume, points, RADII_MM).astype(np.float64), SMOOTH_MM / step, axis=0)
    typical, low = np.median(smooth, axis=1), np.percentile(smooth, QUARTER, axis=1)
    middle = typical[:, RADII_MM <= CENTRE_MM].mean(axis=1)
    outer = RADII_MM >= NEAREST_MM
    ring = RADII_MM[outer][typical[:, outer].argmax(axis=1)]
    rise = low[:, outer].max(axis=1) - middle
    bright = rise >= max(BRIGHTER_HU, OF_NOISE * noise_hu)
    top = np.percentile(smooth, BRIGHTEST, axis=1)[:, outer].max(axis=1)
    even = rise / np.maximum(top - middle - NOISE_AT_TOP * noise_hu, 1.0)
    found = []
    for start, end in runs_of(bright, gap=round(GAP_MM / step)):
        of_one_width = float(ring[start:end].std()) <= WIDEST_SPREAD_MM
        if (end - start) * step < SHORTEST_MM or not of_one_width or float(np.median(even[start:end])) < EVEN:
            continue
        start, end = _ends(rise, start, end, hidden=round(0.5 * SMOOTH_MM / step))
        diameter = _diameter(typical[start:end]) - BLOOM_MM
        if diameter > WIDEST_MM:
            continue
        readable = diameter >= READABLE_MM
        found.append(
            Stent(
                branch=branch.id,
                start=start,
                end=end,
                assessable=readable,
                diameter_mm=round(diameter, 2),
                inside=_inside(middle, start, end, step) if readable else None,
                inside_reason=None if readable else "smaller_than_3_mm",
            )
        )
    return found


def _ends(rise: Float, start: int, end: int, *, hidden: int) -> tuple[int, int]:
    """Where the ring begins and ends: where it is half as bright as within, and ``hidden`` points on.

    The mean over some millimetres blurs its ends, and their outer part does not rise above the middle of the vessel.
    """
    half = 0.5 * float(np.percentile(rise[start:end], 75.0))
    above = rise >= half
    while start > 0 and above[start - 1]:
        start -= 1
    while end < len(rise) and above[end]:
        end += 1
    inside = np.flatnonzero(above[start:end])
    return max(start + int(inside[0]) - hidden, 0), min(start + int(inside[-1]) + 1 + hidden, len(rise))


def _diameter(typical: Float) -> float:
    """Outer diameter of the ring: where the mean profile has fallen half way from the ring to the fat."""
    profile = typical.mean(axis=0)
    top = int(np.argmax(np.where(RADII_MM >= NEAREST_MM, profile, -np.inf)))
    half = 0.5 * (profile[top] + min(float(profile[top:].min()), FAT_HU / 2))
    below = np.flatnonzero(profile[top:] <= half)
    if not len(below):
        return 2.0 * float(RADII_MM[-1])
    last = top + int(below[0])
    share = (profile[last - 1] - half) / max(profile[last - 1] - profile[last], 1e-6)
    return 2.0 * float(RADII_MM[last - 1] + share * (RADII_MM[last] - RADII_MM[last - 1]))


def _inside(middle: Float, start: int, end: int, step: float) -> InStent | None:
    """How much of the contrast is left where the blood inside is darkest; None where there is no blood beside the stent to compare with."""
    reach = round(BESIDE_MM / step)
    beside = np.concatenate([middle[max(start - reach, 0) : start], middle[end : end + reach]])
    if len(beside) < 4:
        return None
    share = (float(middle[start:end].min()) - FAT_HU) / max(float(np.median(beside)) - FAT_HU, 1.0)
    if share >= PATENT:
        return "patent"
    return "narrowed" if share >= CLOSED else "occluded"
