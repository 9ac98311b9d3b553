"""How far an artery moved while the picture was taken: a network's answer along its traced line.

What moves during a half scan is smeared or doubled across its own direction. The network looks at rings across the line (``rings``), which
show every artery the same way round, and says for the middle of each short stretch how long the way was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.rings import ANGLES, rings
from appliance.analysis.stages import Float
from appliance.findings import Branch
from appliance.geometry import arc_length
from appliance.inference.engine import Session
from appliance.volume import Volume

STEP_MM = 0.5
SECTIONS = 9
"""Rings at so many points of the line, ``STEP_MM`` apart, make a window."""
RADII_MM = 0.25 * np.arange(24, dtype=np.float64)
WINDOW_SHAPE = (SECTIONS, ANGLES, len(RADII_MM))
EVERY_MM = 2.0
"""Windows along a line lie so far apart."""
SCORES = ("motion_mm", "too_far")
"""Columns of the answer: the length of the way, and the probability that it is longer than the vessel is wide."""
AT_ONCE = 64


@dataclass(frozen=True)
class Motion:
    """Answers along one line, one row per window.

    Attributes:
        index: the line's point in the middle of the window.
        motion_mm: how far it moved.
        too_far: probability that it moved farther than it is wide.
    """

    index: NDArray[np.intp]
    motion_mm: Float
    too_far: Float


def motion_along(volume: Volume, points: Float, blood_hu: float, session: Session) -> Motion | None:
    """Look along a line (n, 3; LPS mm); None where it is shorter than a window.

    Args:
        volume: the scan.
        points: the traced line.
        blood_hu: median attenuation in the aorta.
        session: the network ``motion``.

    Raises:
        InferenceError: the network's output must not be used.
    """
    length = arc_length(points)
    even = np.arange(0.0, length[-1] + 1e-6, STEP_MM)
    if len(even) < SECTIONS:
        return None
    line = np.stack([np.interp(even, length, points[:, axis]) for axis in range(3)], axis=1)
    middles = np.arange(SECTIONS // 2, len(even) - SECTIONS // 2, round(EVERY_MM / STEP_MM))
    cut = windows(volume, line, middles)
    blood = np.full_like(cut, blood_hu)
    channels = np.stack([cut, blood], axis=1)
    runs = [session.run(channels[at : at + AT_ONCE])["scores"] for at in range(0, len(channels), AT_ONCE)]
    moved, far = np.concatenate(runs).astype(np.float64).T
    index = np.searchsorted(length, even[middles]).clip(0, len(points) - 1)
    return Motion(index, np.maximum(moved, 0.0), far)


def motions_along(volume: Volume, branches: Sequence[Branch], blood_hu: float | None, session: Session | None) -> dict[int, Motion]:
    """``motion_along`` for the branches of a tree, by their number; those too short are left out, all without a network or known blood.

    Raises:
        InferenceError: the network's output must not be used.
    """
    if session is None or blood_hu is None:
        return {}
    found = {branch.id: motion_along(volume, np.asarray(branch.points_mm, np.float64), blood_hu, session) for branch in branches}
    return {number: motion for number, motion in found.items() if motion is not None}


def windows(volume: Volume, line: Float, middles: NDArray[np.intp]) -> NDArray[np.float32]:
    """HU (n, *WINDOW_SHAPE) on rings about stretches of a line whose points lie ``STEP_MM`` apart."""
    around = rings(volume, line, RADII_MM)
    near = middles[:, None] + np.arange(-(SECTIONS // 2), SECTIONS // 2 + 1)
    return np.asarray(around[near], np.float32)
