"""How well motion is told along arteries: by the written rule alone, by the network alone, by both, on development patients.

python -m models.evaluation.motion [--record]

Three scans of each of 20 development patients (``models.training.motion_task``), rendered once and kept. Judged are stretches of arteries
of 2 mm and more (the rule judges no others), about lines that lie a little beside the true ones, the same for rule and network. A stretch
moved too far if it moved farther than it is wide, in the mean. "Both" in the ranks is the mean of the two ranks, in the decisions either.

Writes ``build/motion-evaluation.json``; ``--record`` puts the table into the card and the figures into the catalog.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from appliance.analysis.motion_network import STEP_MM, motion_along
from appliance.analysis.quality_segments import FEWEST_WINDOWS, MOVING_MM, RADII_MM, SMOOTH_MM, TOO_FAR, moved, smear
from appliance.analysis.rings import rings
from appliance.geometry import arc_length
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from models.training.catalog_file import record_figures
from models.training.families import load_families
from models.training.motion_regions import Region, lines_of
from models.training.motion_samples import BESIDE_MM
from models.training.motion_task import DEVELOPMENT_PATIENTS, DEVELOPMENT_SCANS, development_regions, separation
from models.training.ranks import rank_correlation, ranks

REGIONS = Path("build/training/motion")
MODELS = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"<!-- figures -->.*?<!-- end of figures -->", re.DOTALL)
WAYS = ("rule", "network", "both")


@dataclass(frozen=True)
class Stretch:
    """One stretch of an artery: what is true, how far it is smeared and what the rule says, what the network says."""

    motion_mm: float
    diameter_mm: float
    smeared_mm: float
    rule: bool
    network_mm: float
    too_far: float


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.motion", description=__doc__.splitlines()[0])
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    parser.add_argument("--out", type=Path, default=Path("build/motion-evaluation.json"))
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card and the catalog")
    options = parser.parse_args(arguments)
    session = best_engine(threads=1).load(ModelCatalog.load(options.catalog)["motion"])
    seeds = load_families()["development"].spread(DEVELOPMENT_PATIENTS)
    found = [stretch for seed in seeds for stretch in stretches(development_regions(seed, REGIONS), session, np.random.default_rng(seed))]
    result = {"model": session.model.sha256, **figures(found)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(result) + "\n")
    if options.record:
        record(result)
    return 0


def stretches(regions: list[Region], session: Session, rng: np.random.Generator) -> list[Stretch]:
    """Every stretch of the regions that is wide and long enough to judge."""
    found: list[Stretch] = []
    for region in regions:
        for artery in lines_of(region):
            points = artery[:, :3] + rng.normal(0.0, BESIDE_MM, 3)
            stretch = _judged(region, artery, points, session) if float(np.median(artery[:, 3])) >= MOVING_MM else None
            if stretch is not None:
                found.append(stretch)
    return found


def _judged(region: Region, artery: npt.NDArray[np.float64], points: npt.NDArray[np.float64], session: Session) -> Stretch | None:
    blood = float(region.whole[2])
    network = motion_along(region.volume, points, blood, session)
    if network is None or len(network.index) < FEWEST_WINDOWS:
        return None
    length = arc_length(points)
    even = np.arange(0.0, length[-1], STEP_MM)
    line = np.stack([np.interp(even, length, column) for column in points.T], axis=1)
    profile = ndimage.gaussian_filter1d(rings(region.volume, line, RADII_MM).astype(np.float64), SMOOTH_MM / STEP_MM, axis=0)
    middle = np.median(profile[:, :, :3].mean(axis=2), axis=1)
    smeared = smear(profile, middle)
    return Stretch(
        motion_mm=float(artery[:, 4].mean()),
        diameter_mm=float(artery[:, 3].mean()),
        smeared_mm=float(np.median(smeared)),
        rule=moved(smeared, middle, blood),
        network_mm=float(network.motion_mm.mean()),
        too_far=float(network.too_far.mean()),
    )


def figures(found: list[Stretch]) -> dict[str, Any]:
    """Ranks, separation and decisions of the three ways."""
    true = np.array([each.motion_mm for each in found])
    far = true > np.array([each.diameter_mm for each in found])
    smeared, network = np.array([each.smeared_mm for each in found]), np.array([each.network_mm for each in found])
    sure = np.array([each.too_far for each in found])
    by_rank = {"rule": smeared, "network": network, "both": ranks(smeared) + ranks(network)}
    by_surety = {"rule": smeared, "network": sure, "both": ranks(smeared) + ranks(sure)}
    rule, said = np.array([each.rule for each in found]), sure >= TOO_FAR
    decided = {"rule": rule, "network": said, "both": rule | said}
    return {
        "stretches": len(found),
        "too_far": int(far.sum()),
        "error_mm": _round(np.abs(network - true).mean()),
        "rank": {way: _round(rank_correlation(by_rank[way], true)) for way in WAYS},
        "separation": {way: _round(separation(by_surety[way], far)) for way in WAYS},
        "found": {way: _round((decided[way] & far).sum() / max(far.sum(), 1)) for way in WAYS},
        "right_when_said": {way: _round((decided[way] & far).sum() / max(decided[way].sum(), 1)) for way in WAYS},
        "said": {way: int(decided[way].sum()) for way in WAYS},
    }


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 3)


def record(result: dict[str, Any], *, models: Path = MODELS) -> None:
    """Put the table into the card and the network's figures into the catalog."""
    card = models / "cards" / "motion.md"
    before, *after = _BLOCK.split(card.read_text(encoding="utf-8"), maxsplit=1)
    card.write_text(before + table(result) + after[0], encoding="utf-8")
    kept = {name: result[name]["network"] for name in ("rank", "separation", "found", "right_when_said")}
    origin: dict[str, str | int | float] = {"family": "development", "cases": DEVELOPMENT_PATIENTS, "data": "virtual patients"}
    record_figures("motion", {**origin, "error_mm": result["error_mm"], **kept}, catalog=models / "catalog.toml")


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown between the card's marks."""
    scans = DEVELOPMENT_PATIENTS * DEVELOPMENT_SCANS
    rows = {
        "rank": "rank correlation with the true motion",
        "separation": "moved too far told from the rest, area under the curve",
        "found": "share of those that moved too far that is found",
        "right_when_said": "right when said",
        "said": "said of so many",
    }
    return "\n".join(
        [
            "<!-- figures -->",
            f"Measured on {scans} scans of {DEVELOPMENT_PATIENTS} virtual patients of the development families (not trained on, made by",
            f"the same generator) with `python -m models.evaluation.motion --record`: {result['stretches']} stretches of arteries of 2 mm",
            f"and more, of which {result['too_far']} moved farther than they are wide. Mean error of the network's motion:",
            f"{result['error_mm']} mm.",
            "Synthetic figures: they say nothing about how well it reads patients.",
            "",
            "| | rule alone | network alone | both |",
            "|---|---|---|---|",
            *(f"| {text} | " + " | ".join(str(result[name][way]) for way in WAYS) + " |" for name, text in rows.items()),
            "<!-- end of figures -->",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
