"""The measures, on arrays and point lists alone: overlaps, centreline overlap, length found, false length.

clDice: Shit et al., 'clDice: a novel topology-preserving loss function for tubular structure segmentation', CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]

LARGE_MM = 1.5
"""Vessels from this healthy diameter on must be found."""
LEAST_FOUND_MM = 0.75
LEAST_FALSE_MM = 1.0


@dataclass(frozen=True)
class TrueBranch:
    """A true coronary branch: points LPS mm (n, 3), healthy lumen radius and outer radius (n,) in mm."""

    points: Points
    healthy_radius: npt.NDArray[np.float64]
    outer_radius: npt.NDArray[np.float64]

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """Length that each point stands for, (n,) mm."""
        gaps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        halves: npt.NDArray[np.float64] = 0.5 * (np.concatenate([[0.0], gaps]) + np.concatenate([gaps, [0.0]]))
        return halves


def dice(predicted: Mask, truth: Mask) -> float | None:
    """Dice overlap; None where the truth is empty, for then there is nothing to overlap with."""
    if not truth.any():
        return None
    return 2.0 * float((predicted & truth).sum()) / float(predicted.sum() + truth.sum())


def cl_dice(*, skeleton: Mask, predicted: Mask, centreline: Mask, truth: Mask) -> float | None:
    """Harmonic mean of the share of the predicted skeleton that is true and of the true centreline that is predicted."""
    if not centreline.any():
        return None
    if not skeleton.any():
        return 0.0
    precision, recall = float(truth[skeleton].mean()), float(predicted[centreline].mean())
    return 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0


def found_share(branches: Sequence[TrueBranch], result: Points) -> float | None:
    """Share of the true length of healthy diameter 1.5 mm and more that has a result point within max(radius, 0.75 mm)."""
    tree = cKDTree(result) if len(result) else None
    whole = found = 0.0
    for branch in branches:
        large = 2.0 * branch.healthy_radius >= LARGE_MM
        steps = branch.steps
        whole += float(steps[large].sum())
        if tree is not None:
            distance, _ = tree.query(branch.points)
            near = distance <= np.maximum(branch.healthy_radius, LEAST_FOUND_MM)
            found += float(steps[large & near].sum())
    return found / whole if whole else None


def false_length_mm(branches: Sequence[TrueBranch], result: Sequence[Points]) -> float:
    """Length of result lines farther than max(outer radius, 1 mm) from every true coronary, of whatever size."""
    truth = np.concatenate([branch.points for branch in branches])
    reach = np.concatenate([np.maximum(branch.outer_radius, LEAST_FALSE_MM) for branch in branches])
    tree = cKDTree(truth)
    total = 0.0
    for line in result:
        if len(line) < 2:
            continue
        middles = 0.5 * (line[1:] + line[:-1])
        # among the nearest true points, one with a larger radius may reach where the nearest does not
        distance, index = tree.query(middles, k=min(8, len(truth)))
        false = (distance.reshape(len(middles), -1) > reach[index].reshape(len(middles), -1)).all(axis=1)
        total += float(np.linalg.norm(np.diff(line, axis=0), axis=1)[false].sum())
    return total


def summary(values: Sequence[float | None], *, worst_is_low: bool = True) -> dict[str, float | int | None]:
    """Median, mean, worst and n of the cases that have a value; a 95 % interval of the mean by bootstrap over the cases."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return {"median": None, "mean": None, "worst": None, "low": None, "high": None, "n": 0}
    resampled = np.random.default_rng(1).choice(known, (2000, len(known))).mean(axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {
        "median": round(float(np.median(known)), 4),
        "mean": round(float(known.mean()), 4),
        "worst": round(float(known.min() if worst_is_low else known.max()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(known),
    }
