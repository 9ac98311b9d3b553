"""Which cardiac phase of a study to analyse: the one that shows the coronary arteries best.

Where the network for image quality has rated the phases, the one with the highest value (the mean of what it gives the arteries, and their
worst, see ``Rated.value``); of phases that are as good as the best, the one nearest to a rest of the heart. Where it has not rated them,
the phase nearest to mid-diastole (75 %) or, failing that, to end-systole (40 %): the two rests (SCCT acquisition guideline,
JCCT 2016;10:435).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from appliance.analysis.quality_network import Rated
from appliance.findings import VesselQuality

DIASTOLE, SYSTOLE = 75.0, 40.0
SYSTOLE_PENALTY = 10.0
"""End-systole is the second choice: a phase near 40 % counts as this much farther from the rest than one near 75 %."""
UNKNOWN_PHASE = 100.0
MOST_PHASES = 6
"""A study may hold twenty phases; those nearest to the two rests are rated, for each costs a few seconds of reading."""
SAME_VALUE = 0.1
"""A smaller difference of the value, in grades, says nothing about which phase is better; the header then decides."""


@dataclass(frozen=True)
class Phase:
    """One phase of a study, and what the network says of it; None where it was not rated."""

    series_uid: str
    percent: float | None
    rated: Rated | None


def distance_to_rest(percent: float | None) -> float:
    """How far a phase is from a rest of the heart; end-systole counts for less than mid-diastole, an unknown phase is farthest."""
    if percent is None:
        return UNKNOWN_PHASE
    return min(abs(percent - DIASTOLE), abs(percent - SYSTOLE) + SYSTOLE_PENALTY)


def worth_rating(percents: Sequence[float | None], *, most: int = MOST_PHASES) -> tuple[int, ...]:
    """Indices of the phases that are worth a look, in their order: up to ``most``, those nearest to a rest."""
    nearest = sorted(range(len(percents)), key=lambda index: (distance_to_rest(percents[index]), index))
    return tuple(sorted(nearest[:most]))


def best_phase(phases: Sequence[Phase]) -> int:
    """Index of the phase to analyse. Rated phases go before unrated ones; the same input always gives the same answer.

    Raises:
        ValueError: there is no phase.
    """
    if not phases:
        raise ValueError("there is no phase to choose from")
    rated = [index for index, phase in enumerate(phases) if phase.rated is not None and phase.rated.vessels]
    if not rated:
        return min(range(len(phases)), key=lambda index: (distance_to_rest(phases[index].percent), index))
    best = max(_value(phases[index]) for index in rated)
    as_good = [index for index in rated if best - _value(phases[index]) < SAME_VALUE]
    return min(as_good, key=lambda index: (distance_to_rest(phases[index].percent), index))


def _value(phase: Phase) -> float:
    return phase.rated.value if phase.rated is not None else 0.0


def with_better(vessels: Sequence[VesselQuality], others: Sequence[Phase]) -> tuple[VesselQuality, ...]:
    """The arteries of the chosen phase, each with the phase that shows it better by a grade or more, where there is one."""
    return tuple(_with_better(vessel, others) for vessel in vessels)


def _with_better(vessel: VesselQuality, others: Sequence[Phase]) -> VesselQuality:
    grades = [
        (same.grade, -(same.motion_mm or 0.0), -index)
        for index, phase in enumerate(others)
        if phase.rated is not None
        for same in phase.rated.vessels
        if same.vessel == vessel.vessel and same.grade > vessel.grade
    ]
    if not grades:
        return vessel
    best = others[-max(grades)[2]]
    return msgspec.structs.replace(vessel, better_series_uid=best.series_uid, better_phase_percent=best.percent)
