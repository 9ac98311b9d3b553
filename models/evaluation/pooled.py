"""Figures that only all patients together give: agreement of categories, correlation and bias of volumes, limits of agreement of diameters.

Quadratic weighted kappa: Cohen, Psychol Bull 1968;70:213. Limits of agreement: Bland and Altman, Lancet 1986;327:307.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation.cases import Case
from models.evaluation.figures import BANDS, CATEGORIES, KINDS

VESSELS = ("LM", "LAD", "LCX", "RCA")
RESAMPLES = 1000
Table = npt.NDArray[np.float64]


def kappa(pairs: Table) -> float | None:
    """Quadratic weighted kappa of categories (true, result); None where chance leaves nothing to agree on."""
    size = len(CATEGORIES)
    seen = np.zeros((size, size))
    np.add.at(seen, (pairs[:, 0].astype(int), pairs[:, 1].astype(int)), 1.0)
    weight: Table = np.subtract.outer(np.arange(size), np.arange(size)).astype(np.float64) ** 2
    chance: Table = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / max(seen.sum(), 1.0)
    expected = float((weight * chance).sum())
    return None if expected == 0.0 else 1.0 - float((weight * seen).sum()) / expected


def correlation(pairs: Table) -> float | None:
    """Pearson's r; None where one side does not vary."""
    if len(pairs) < 3 or min(float(side.std()) for side in pairs.T) == 0.0:
        return None
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])


def bias_percent(pairs: Table) -> float | None:
    """What the results are more than the truth, in per cent of the whole truth."""
    whole = float(pairs[:, 0].sum())
    return None if whole == 0.0 else 100.0 * (float(pairs[:, 1].sum()) / whole - 1.0)


POOLED: dict[str, tuple[str, Callable[[Table], float | None]]] = {
    "cadrads_kappa": ("cadrads", kappa),
    "plaque_volume_r": ("plaque_volume", correlation),
    "plaque_volume_bias_percent": ("plaque_volume", bias_percent),
    "plaque_total_r": ("plaque_total", correlation),
    "plaque_total_bias_percent": ("plaque_total", bias_percent),
}
"""Name of the figure, the pairs that it is made of, and how."""


def pooled_figure(cases: Sequence[Case], name: str) -> dict[str, float | int | None]:
    """One figure over all cases in the form of the others: value as median, mean and worst; interval by bootstrap over patients."""
    source, rule = POOLED[name]
    per_case = [np.asarray(case.pairs[source], np.float64).reshape(-1, 2) for case in cases if case.pairs.get(source)]
    empty: dict[str, float | int | None] = dict.fromkeys(("median", "mean", "worst", "low", "high", "median_low", "median_high"))
    if not per_case:
        return {**empty, "n": 0}
    whole = np.concatenate(per_case)
    value = rule(whole)
    if value is None:
        return {**empty, "n": 0}
    rng = np.random.default_rng(1)
    drawn = (np.concatenate([per_case[i] for i in rng.integers(0, len(per_case), len(per_case))]) for _ in range(RESAMPLES))
    values = [each for each in map(rule, drawn) if each is not None]
    low, high = (round(float(bound), 4) for bound in np.percentile(values, [2.5, 97.5])) if values else (None, None)
    number = round(value, 4)
    figures = {"median": number, "mean": number, "worst": number, "low": low, "high": high, "median_low": low, "median_high": high}
    return {**figures, "n": len(whole)}


def diameter_table(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Bias, mean absolute error and 95 % limits of agreement of the lumen diameter by size, by plaque and by artery."""
    groups = ["", *(f"@{low:g}-{high:g} mm" for low, high in BANDS), *(f"@{name}" for name in (*KINDS, *VESSELS))]
    rows = []
    for group in groups:
        found = [[case.shares.get(f"diameter_{name}_mm{group}") for name in ("bias", "mae", "square")] for case in cases]
        known = [[each for each in row if each is not None] for row in found]
        known = [row for row in known if len(row) == 3]
        count = sum(row[0].whole for row in known)
        if not count:
            continue
        bias, mae, square = (sum(row[k].part for row in known) / count for k in range(3))
        spread = 1.96 * float(np.sqrt(max(square - bias**2, 0.0)))
        rows.append(
            {
                "name": group.removeprefix("@") or "all",
                "points": int(count),
                "bias_mm": round(bias, 4),
                "mae_mm": round(mae, 4),
                "limits_mm": [round(bias - spread, 4), round(bias + spread, 4)],
            }
        )
    return rows


def vessel_table(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Per artery what is measured per artery: mean over the patients, what all have together, and in how many."""
    rows = []
    for vessel in (*VESSELS, "RI", "other"):
        names = sorted({name for case in cases for name in case.values if name.endswith(f"@{vessel}")})
        row: dict[str, Any] = {"name": vessel}
        for name in names:
            values = [value for case in cases if (value := case.values.get(name)) is not None]
            shares = [case.shares[name] for case in cases if name in case.shares]
            whole = sum(share.whole for share in shares)
            row[name.split("@")[0]] = {
                "mean": round(float(np.mean(values)), 4) if values else None,
                "pooled": round(sum(share.part for share in shares) / whole, 4) if whole else None,
                "n": len(values),
            }
        if names:
            rows.append(row)
    return rows
