"""Which coronary tree a virtual patient has: origin, dominance, branches, sizes and variants, drawn before any geometry.

Shares lie above those of a clinic where a variant is rare (an anomalous origin about 1 %), so that a network meets it often enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: How the arteries leave the aorta, and the share of patients.
ORIGINS = {
    "normal": 0.845, "separate_ostia": 0.045, "anomalous_lcx_from_right": 0.04, "anomalous_rca_from_left": 0.04, "single_coronary": 0.03,
}  # fmt: skip
DOMINANCE = {"right": 0.74, "left": 0.15, "codominant": 0.11}


@dataclass
class Plan:
    """What this patient's tree looks like. Lengths in mm; `lad_reach` is the share of the way to the apex, above 1 around it."""

    dominance: str
    origin: str
    lm_length: float
    diagonals: int
    marginals: int
    ramus: bool
    size: float
    tortuosity: float
    corkscrew: float
    lad_reach: float
    lcx_small: bool
    rca_super: bool
    septals: int
    acute_marginals: int
    conus: bool
    sinus_node: str
    second_order: float
    early_bifurcation: bool
    high_left: float
    high_right: float
    bridge: bool
    ectatic: bool
    grafts: tuple[str, ...]

    def aortic_gap(self) -> dict[str, float]:
        """How far (mm) neighbours must stay off the aorta so that a vessel fits between."""
        if self.origin == "anomalous_lcx_from_right":
            return {"la": 6.0, "ra": 5.5}
        if self.origin == "anomalous_rca_from_left":
            return {"pa": 5.5, "rv": 5.5, "ra": 4.5}
        return {}

    def variants(self) -> tuple[str, ...]:
        """Names of the variants that this plan asks for and that need no check on the grown tree."""
        out = [] if self.origin == "normal" else [self.origin]
        marks = {
            "interarterial_course": self.origin == "anomalous_rca_from_left",
            "retroaortic_course": self.origin == "anomalous_lcx_from_right",
            "short_left_main": self.origin in ("normal", "anomalous_rca_from_left") and self.lm_length < 5.0,
            "early_bifurcation": self.early_bifurcation,
            "high_takeoff_left": self.high_left > 0.0,
            "high_takeoff_right": self.high_right > 0.0,
            "small_lcx": self.lcx_small,
            "super_dominant_rca": self.rca_super,
            "lad_around_apex": self.lad_reach > 1.0,
            "ectatic": self.ectatic,
            "corkscrew": self.corkscrew > 0.0,
        }
        return (*out, *(name for name, present in marks.items() if present))


def draw_plan(rng: np.random.Generator) -> Plan:
    """Variants of the tree, more diverse than a clinic's."""
    origin = str(rng.choice(list(ORIGINS), p=list(ORIGINS.values())))
    dominance = str(rng.choice(list(DOMINANCE), p=list(DOMINANCE.values())))
    if origin in ("anomalous_lcx_from_right", "single_coronary"):
        dominance = "right"
    short = rng.random() < 0.12
    has_main = origin in ("normal", "anomalous_rca_from_left", "single_coronary")
    super_rca = dominance == "right" and rng.random() < 0.16
    small = (super_rca or (dominance == "right" and rng.random() < 0.08)) and origin != "anomalous_lcx_from_right"
    reach = float(rng.choice([rng.uniform(0.72, 0.93), rng.uniform(0.93, 1.0), rng.uniform(1.06, 1.35)], p=[0.25, 0.42, 0.33]))
    ectatic = rng.random() < 0.04
    size = float(np.clip(rng.normal(1.0, 0.13), 0.66, 1.35)) * (1.25 if ectatic else 1.0)
    grafts: tuple[str, ...] = ()
    if rng.random() < 0.03 and origin == "normal":
        grafts = tuple(str(t) for t in rng.permutation(["OM1", "RCA", "D1"])[: int(rng.integers(1, 3))])
        grafts = ("LAD", *grafts) if rng.random() < 0.75 else grafts
    return Plan(
        dominance=dominance,
        origin=origin,
        lm_length=float(rng.uniform(2.0, 4.5)) if short else float(np.clip(rng.normal(10.5, 4.0), 4.5, 21.0)),
        diagonals=int(rng.choice([1, 2, 3, 4], p=[0.2, 0.45, 0.27, 0.08])),
        marginals=int(rng.choice([0, 1], p=[0.35, 0.65])) if small else int(rng.choice([1, 2, 3, 4], p=[0.27, 0.45, 0.22, 0.06])),
        ramus=bool(rng.random() < 0.25) and has_main and origin != "single_coronary",
        size=size,
        tortuosity=float(rng.gamma(1.8, 0.36)),
        corkscrew=float(rng.uniform(0.8, 1.5)) if rng.random() < 0.06 else 0.0,
        lad_reach=reach,
        lcx_small=bool(small),
        rca_super=bool(super_rca),
        septals=int(rng.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15])),
        acute_marginals=int(rng.choice([0, 1, 2, 3], p=[0.06, 0.42, 0.37, 0.15])),
        conus=bool(rng.random() < 0.6),
        sinus_node=str(rng.choice(["RCA", "LCX", ""], p=[0.33, 0.2, 0.47])),
        second_order=float(rng.uniform(0.15, 0.65)),
        early_bifurcation=bool(rng.random() < 0.07),
        high_left=float(rng.uniform(9.0, 15.0)) if rng.random() < 0.03 and origin == "normal" else 0.0,
        high_right=float(rng.uniform(9.0, 15.0)) if rng.random() < 0.05 and origin == "normal" else 0.0,
        bridge=bool(rng.random() < 0.2),
        ectatic=bool(ectatic),
        grafts=grafts,
    )


def plain(plan: Plan) -> Plan:
    """The same plan with a common origin and course, for which nearly every heart has room."""
    return replace(
        plan, origin="normal", dominance="right", lm_length=max(plan.lm_length, 6.0), tortuosity=min(plan.tortuosity, 0.4), corkscrew=0.0,
        lcx_small=False, rca_super=False, high_left=0.0, high_right=0.0, bridge=False, grafts=(),
    )  # fmt: skip
