"""Which cardiac phase of a study to analyse first: the one whose header says that the heart rests.

Nearest to mid-diastole (75 %) or, failing that, to end-systole (40 %): the two rests (SCCT acquisition guideline, JCCT 2016;10:435).
Whether an artery moved all the same, the network ``motion`` says once it is traced; then the other rest is looked at (`second_look`).
"""

from __future__ import annotations

from collections.abc import Sequence

DIASTOLE, SYSTOLE = 75.0, 40.0
SYSTOLE_PENALTY = 10.0
"""End-systole is the second choice: a phase near 40 % counts as this much farther from the rest than one near 75 %."""
UNKNOWN_PHASE = 100.0


def distance_to_rest(percent: float | None) -> float:
    """How far a phase is from a rest of the heart; end-systole counts for less than mid-diastole, an unknown phase is farthest."""
    if percent is None:
        return UNKNOWN_PHASE
    return min(abs(percent - DIASTOLE), abs(percent - SYSTOLE) + SYSTOLE_PENALTY)


def best_phase(percents: Sequence[float | None]) -> int:
    """Index of the phase to analyse; the same input always gives the same answer.

    Raises:
        ValueError: there is no phase.
    """
    if not percents:
        raise ValueError("there is no phase to choose from")
    return min(range(len(percents)), key=lambda index: (distance_to_rest(percents[index]), index))


def other_rest(percent: float | None, others: Sequence[float | None]) -> int | None:
    """Index of the phase to look at for an artery that moved: what moves in diastole may rest at end-systole, and the reverse.

    Args:
        percent: of the phase that blurs it; None where it is not known: then the phase nearest to any rest is taken.
        others: the phases to choose from; None without any.
    """
    if not others:
        return None
    rest = _opposite(percent)

    def away(index: int) -> tuple[float, int]:
        there = others[index]
        return (1e3 if there is None else distance_to_rest(there) if rest is None else abs(there - rest)), index

    return min(range(len(others)), key=away)


def _opposite(percent: float | None) -> float | None:
    if percent is None:
        return None
    return SYSTOLE if abs(percent - DIASTOLE) <= abs(percent - SYSTOLE) else DIASTOLE
