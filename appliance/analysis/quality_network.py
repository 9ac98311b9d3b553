"""Image quality by the network: what it measures at places along the coronary grooves, and how that grades an artery.

The grade is the four-point scale of reading studies, 4 excellent to 1 non-diagnostic, tied to physics so that it can be computed exactly
for a virtual scan: motion as a part of the vessel's diameter, contrast as a multiple of the noise, and whether a step or a streak is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.analysis.quality_places import MAIN_VESSELS, MainVessel, Place, find_places, patches
from appliance.analysis.stages import Heart
from appliance.findings import VesselQuality
from appliance.inference.engine import Session
from appliance.volume import Volume

SCORES = ("motion_mm", "noise_hu", "psf_sigma_mm", "contrast_hu", "grade", "vessel", "step", "streak")
"""Columns of the network's answer; the last three are probabilities: a vessel to judge by, a step, a streak."""
MOTION_OF_DIAMETER = (0.25, 0.5, 1.0)
"""Blur up to a quarter of the vessel's diameter is excellent, up to half good, up to the whole moderate; beyond it two lumens are seen."""
CONTRAST_TO_NOISE = (15.0, 10.0, 6.0)
"""Contrast between vessel and fat over noise: at least this for excellent, good, moderate."""
EXCELLENT, NON_DIAGNOSTIC = 4, 1
SEEN = 0.5
"""Least probability of a vessel for a place to count."""
FEWEST_PLACES = 2
AT_ONCE = 8
"""Patches that go through the network together."""


@dataclass(frozen=True)
class Rated:
    """What the network measured in one volume.

    Attributes:
        vessels: the arteries that enough places show.
        value: to compare phases by, 1 to 4: half the mean of the arteries' grades before rounding, half the worst of them; an artery that
            is not seen counts as non-diagnostic.
        psf_sigma_mm: median over the places.
        steps, streaks: mean probability over the places.
    """

    vessels: tuple[VesselQuality, ...]
    value: float
    psf_sigma_mm: float
    steps: float
    streaks: float

    @property
    def worst_motion_mm(self) -> float | None:
        """Motion of the artery that moved most; None where no artery was rated."""
        return max((each.motion_mm for each in self.vessels if each.motion_mm is not None), default=None)


def likert(*, motion_mm: float, diameter_mm: float, contrast_hu: float, noise_hu: float, artefact: bool) -> int:
    """The grade that the physics give a piece of vessel: the worse of motion and contrast, one less where a step or streak lies in it."""
    by_motion = EXCELLENT - sum(motion_mm > limit * diameter_mm for limit in MOTION_OF_DIAMETER)
    by_contrast = EXCELLENT - sum(contrast_hu < limit * noise_hu for limit in CONTRAST_TO_NOISE)
    return max(min(by_motion, by_contrast) - int(artefact), NON_DIAGNOSTIC)


def rate(volume: Volume, heart: Heart, session: Session) -> Rated | None:
    """Look at the places along the grooves of a located heart; None where the heart shows no groove.

    Raises:
        InferenceError: the network's output must not be used.
    """
    places = find_places(heart)
    if not places:
        return None
    channels = patches(volume, places)
    runs = [session.run(channels[at : at + AT_ONCE])["scores"] for at in range(0, len(channels), AT_ONCE)]
    return summarise(places, np.concatenate(runs))


def summarise(places: Sequence[Place], scores: NDArray[np.float32]) -> Rated:
    """Join the answers at the places (n, len(SCORES)) to one per artery: the mean over those that show it, weighted by how surely."""
    columns = dict(zip(SCORES, scores.astype(np.float64).T, strict=True))
    means: dict[MainVessel, dict[str, float]] = {}
    for vessel in MAIN_VESSELS:
        weight = np.array([place.vessel == vessel for place in places]) * columns["vessel"]
        weight[columns["vessel"] < SEEN] = 0.0
        if np.count_nonzero(weight) >= FEWEST_PLACES:
            means[vessel] = {name: float(np.average(column, weights=weight)) for name, column in columns.items()}
    grades = [means[vessel]["grade"] if vessel in means else float(NON_DIAGNOSTIC) for vessel in MAIN_VESSELS]
    return Rated(
        vessels=tuple(_vessel(vessel, mean) for vessel, mean in means.items()),
        value=round(0.5 * float(np.mean(grades)) + 0.5 * min(grades), 4),
        psf_sigma_mm=round(float(np.median(columns["psf_sigma_mm"])), 3),
        steps=round(float(columns["step"].mean()), 3),
        streaks=round(float(columns["streak"].mean()), 3),
    )


def _vessel(vessel: MainVessel, means: dict[str, float]) -> VesselQuality:
    return VesselQuality(
        vessel=vessel,
        grade=int(np.clip(np.floor(means["grade"] + 0.5), NON_DIAGNOSTIC, EXCELLENT)),
        motion_mm=round(max(means["motion_mm"], 0.0), 2),
        contrast_hu=round(means["contrast_hu"], 1),
        noise_hu=round(max(means["noise_hu"], 0.0), 1),
    )
