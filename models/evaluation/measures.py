"""The measures on arrays and point lists alone: overlaps of masks, length found, false length.

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
Float = npt.NDArray[np.float64]

LARGE_MM = 1.5
"""Vessels from this healthy diameter on must be found."""
LEAST_FOUND_MM = 0.75
LEAST_FALSE_MM = 1.0


def length_mm(points: Points) -> float:
    """Length in mm of a line of points (n, 3)."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


@dataclass(frozen=True)
class Share:
    """A part of a whole (lengths in mm, or numbers of things), so that cases can be pooled."""

    part: float
    whole: float

    @property
    def value(self) -> float | None:
        """Part by whole, None where there is no whole."""
        return self.part / self.whole if self.whole else None


@dataclass(frozen=True)
class TrueBranch:
    """A true coronary branch: points LPS mm (n, 3), healthy lumen radius and outer radius (n,) in mm.

    Attributes:
        segments: half-open ranges of points with their SCCT name, as in the findings file.
        name, vessel: the anatomical run, and the main vessel that it belongs to.
        parent: number of the parent branch in the list that holds this one, and the point that it starts from.
        native: False for a bypass graft: its length need not be found, and finding it is not false.
        lumen_radius: of the lumen as it is, (n,) mm; None where it is not known.
    """

    points: Points
    healthy_radius: Float
    outer_radius: Float
    segments: tuple[tuple[int, int, str], ...] = ()
    name: str = "other"
    vessel: str = "other"
    parent: int | None = None
    parent_index: int | None = None
    native: bool = True
    lumen_radius: Float | None = None

    @property
    def steps(self) -> Float:
        """Length that each point stands for, (n,) mm."""
        gaps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        halves: Float = 0.5 * (np.concatenate([[0.0], gaps]) + np.concatenate([gaps, [0.0]]))
        return halves

    @property
    def large(self) -> Mask:
        """True at the points of 1.5 mm healthy diameter and more."""
        return np.asarray(2.0 * self.healthy_radius >= LARGE_MM)

    @property
    def found_within(self) -> Float:
        """How near a result must lie, (n,) mm."""
        return np.maximum(self.healthy_radius, LEAST_FOUND_MM)

    @property
    def names(self) -> npt.NDArray[np.str_]:
        """The segment's name at each point, (n,)."""
        names = np.full(len(self.points), "other", dtype="<U8")
        for start, end, name in self.segments:
            names[start:end] = name
        return names


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


def found_length(branches: Sequence[TrueBranch], result: Points) -> Share:
    """Of the true native length of healthy diameter 1.5 mm and more: what has a result point within max(radius, 0.75 mm)."""
    tree = cKDTree(result) if len(result) else None
    whole = found = 0.0
    for branch in branches:
        if not branch.native:
            continue
        steps = branch.steps
        whole += float(steps[branch.large].sum())
        if tree is not None:
            distance, _ = tree.query(branch.points)
            found += float(steps[branch.large & (distance <= branch.found_within)].sum())
    return Share(found, whole)


def found_share(branches: Sequence[TrueBranch], result: Points) -> float | None:
    """``found_length`` as a share; None where no vessel is that large."""
    return found_length(branches, result).value


def is_false(branches: Sequence[TrueBranch], places: Points) -> Mask:
    """Which places (n, 3) are false: farther than max(outer radius, 1 mm) from every true coronary, of whatever size."""
    if not len(places):
        return np.zeros(0, np.bool_)
    truth = np.concatenate([branch.points for branch in branches])
    reach = np.concatenate([np.maximum(branch.outer_radius, LEAST_FALSE_MM) for branch in branches])
    # among the nearest true points, one with a larger radius may reach where the nearest does not
    distance, index = cKDTree(truth).query(places, k=min(8, len(truth)))
    shape = (len(places), -1)
    return np.asarray((distance.reshape(shape) > reach[index].reshape(shape)).all(axis=1))


def false_length_mm(branches: Sequence[TrueBranch], result: Sequence[Points]) -> float:
    """Length of the steps of result lines whose middle is false."""
    lines = [line for line in result if len(line) > 1]
    if not lines:
        return 0.0
    middles = np.concatenate([0.5 * (line[1:] + line[:-1]) for line in lines])
    steps = np.concatenate([np.linalg.norm(np.diff(line, axis=0), axis=1) for line in lines])
    return float(steps[is_false(branches, middles)].sum())


def summary(values: Sequence[float | None], *, worst_is_low: bool = True) -> dict[str, float | int | None]:
    """Median, mean, worst and n of the cases that have a value; 95 % intervals of mean and median by bootstrap over the cases.

    ``low`` and ``high`` belong to the mean.
    """
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    names = ("median", "mean", "worst", "low", "high", "median_low", "median_high")
    if not len(known):
        return {**dict.fromkeys(names), "n": 0}
    resampled = np.random.default_rng(1).choice(known, (2000, len(known)))
    low, high = np.percentile(resampled.mean(axis=1), [2.5, 97.5])
    median_low, median_high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    worst = known.min() if worst_is_low else known.max()
    figures = (np.median(known), known.mean(), worst, low, high, median_low, median_high)
    return {**{name: round(float(value), 4) for name, value in zip(names, figures, strict=True)}, "n": len(known)}
