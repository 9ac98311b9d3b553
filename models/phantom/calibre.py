"""Diameters of the coronary arteries.

CT norms at the origin: LM 4.5, LAD 3.5, LCx 3.1, RCA 3.4 mm; the LAD tapers about 0.25 mm per 10 mm. Half of a vessel's taper is steady;
the other half falls where branches leave, in proportion to their cross-section, after Murray's principle.
"""

from __future__ import annotations

import numpy as np

from models.phantom.growth import STEP_MM, Draft
from models.phantom.types import FloatArray
from models.phantom.variants import Plan

TRUNKS = {"LM": (4.5, 4.3), "LAD": (3.6, 1.3), "LCX": (3.1, 1.6), "RCA": (3.5, 2.4)}
#: Share of the parent's diameter at the origin of a side branch: mean and spread.
SHARE = {
    "D": (0.60, 0.12), "OM": (0.68, 0.13), "RI": (0.58, 0.10), "PDA": (0.76, 0.10), "PLB": (0.72, 0.13), "S": (0.38, 0.08),
    "AM": (0.48, 0.10), "CB": (0.42, 0.08), "SN": (0.38, 0.07),
}  # fmt: skip
SECOND_ORDER = (0.72, 0.12)


def family(name: str) -> str:
    """The family of a branch name: 'OM2' and 'OM3' give 'OM', 'R-PLB2' gives 'PLB', a second-order branch gives ''."""
    return "" if name.endswith("a") else name.split("-")[-1].rstrip("0123456789")


def set_diameters(drafts: list[Draft], plan: Plan, rng: np.random.Generator) -> None:
    """Fill in `diameter` of every native branch; parents come before their children."""
    trunks = _trunks(plan)
    for i, draft in enumerate(drafts):
        noise = float(np.clip(rng.normal(1.0, 0.11), 0.72, 1.3))
        if draft.name in TRUNKS:
            first, last = (v * plan.size * noise for v in trunks[draft.name])
            if draft.parent is not None:
                first = min(first, 0.96 * _above(drafts, draft))
        else:
            mean, spread = SHARE.get(family(draft.name), SECOND_ORDER)
            first = float(np.clip(rng.normal(mean, spread), 0.3, 0.95)) * _above(drafts, draft)
            first = max(first, min(0.9, 0.8 * _above(drafts, draft)))
            if plan.early_bifurcation and draft.name == "D1":
                first = max(first, 0.85 * _above(drafts, draft))
            last = (0.7 if family(draft.name) == "S" else 0.95) * plan.size * float(rng.uniform(0.8, 1.2))
        last = min(max(0.7, last), 0.9 * first)
        draft.diameter = _taper(drafts, i, first, last) * _ripple(rng, len(draft.points))
        if plan.ectatic and draft.name in ("LAD", "LCX", "RCA"):
            draft.diameter = draft.diameter * _bulge(rng, len(draft.points))


def _trunks(plan: Plan) -> dict[str, tuple[float, float]]:
    sizes = dict(TRUNKS)
    if plan.dominance == "left":
        sizes |= {"LCX": (3.8, 2.3), "RCA": (2.4, 1.1)}
    elif plan.lcx_small:
        sizes |= {"LCX": (2.3, 1.1)}
    if plan.rca_super:
        sizes |= {"RCA": (4.1, 3.1)}
    if plan.origin == "single_coronary":
        sizes |= {"LM": (5.6, 5.3), "LAD": (4.4, 1.3), "RCA": (3.0, 2.0)}
    if plan.lad_reach > 1.0:
        sizes["LAD"] = (sizes["LAD"][0], 1.1)
    return sizes


def _above(drafts: list[Draft], draft: Draft) -> float:
    assert draft.parent is not None  # noqa: S101 - only trunks start at the aorta
    return float(drafts[draft.parent].diameter[draft.parent_index or 0])


def _taper(drafts: list[Draft], i: int, first: float, last: float) -> FloatArray:
    n = len(drafts[i].points)
    u = np.arange(n)
    fall = u / max(n - 1, 1)
    steps = np.zeros(n)
    for other in drafts:
        if other.parent == i and other.parent_index is not None and 4 < other.parent_index < n - 4:
            weight = SHARE.get(family(other.name), SECOND_ORDER)[0] ** 2
            steps += weight / (1.0 + np.exp(-(u - other.parent_index) * STEP_MM / 1.5))
    steps -= steps[0]
    share = 0.5 if steps[-1] > 0.0 else 0.0
    fall = (1.0 - share) * fall + share * steps / max(float(steps[-1]), 1e-9)
    return np.asarray(first + (last - first) * fall)


def _ripple(rng: np.random.Generator, n: int) -> FloatArray:
    u = np.linspace(0, 1, n)
    return np.asarray(1.0 + 0.02 * np.sin(u * rng.uniform(10, 40) + rng.uniform(0, 6)))


def _bulge(rng: np.random.Generator, n: int) -> FloatArray:
    """One ectatic stretch: up to half as wide again over 10 to 35 mm."""
    half = float(rng.uniform(5.0, 17.0)) / STEP_MM
    middle = float(rng.uniform(0.15, 0.7)) * n
    return np.asarray(1.0 + float(rng.uniform(0.0, 0.5)) * np.exp(-(((np.arange(n) - middle) / half) ** 2)))
