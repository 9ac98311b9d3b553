"""Ranks, and how well two orders agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST_SPREAD = 1e-9


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; 0 where either does not vary."""
    one, other = ranks(first), ranks(second)
    if min(one.std(), other.std()) < _LEAST_SPREAD:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Place of each value in the order of all, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - 0.5 * (counts - 1))[inverse], np.float64)
