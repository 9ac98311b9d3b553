"""How much a calcium score changes with noise and with where the slices happen to lie, and how far it is from the rule on the exact mask.

python -m models.evaluation.calcium_spread --seeds 100013 100014 100017 --offsets 0 1 2 --noises 2

Each patient's calcium scan is made again with other noise and with its slices moved along the table; the tree and the heart are the true
ones, so that what is seen is the score's own spread and not that of the networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from appliance.analysis.calcium import score_calcium
from appliance.analysis.grids import covering_grid
from appliance.analysis.locate import fine_box
from appliance.analysis.stages import Heart
from appliance.anatomy import SEGMENTS, SegmentName, Vessel
from appliance.findings import Branch
from appliance.volume import LabelMap, Volume
from models.evaluation.calcium import calcium_series, exact_mask, rule_score
from models.evaluation.scans import designed_scan, render_on, scan_geometry
from models.evaluation.truths import true_branches
from models.phantom import Patient, Scan, draw_patient
from models.training.families import load_families

COARSE_MM, MAP_MM = 1.2, 3.0
VESSELS: dict[str, Vessel] = {"LM": "LM", "LAD": "LAD", "LCX": "LCX", "RCA": "RCA", "RI": "RI"}


def main(arguments: list[str] | None = None) -> int:
    """Print one line per scan and the spread of each patient."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.calcium_spread")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100013, 100014, 100017])
    parser.add_argument("--offsets", type=float, nargs="+", default=[0.0, 1.0, 2.0], help="mm along the table")
    parser.add_argument("--noises", type=int, default=2)
    options = parser.parse_args(arguments)
    family = load_families()["development"]
    for seed in options.seeds:
        patient, scan = draw_patient(seed), designed_scan(seed, family.design_of(seed))
        for line in spread(patient, scan, offsets=options.offsets, noises=options.noises):
            sys.stdout.write(f"{seed} {line}\n")
            sys.stdout.flush()
    return 0


def spread(patient: Patient, scan: Scan, *, offsets: Sequence[float], noises: int) -> list[str]:
    """Lines of one patient: each scan's score and the rule's, then mean and coefficient of variation of both."""
    angiogram, heart = true_heart(patient, scan)
    branches = true_tree(patient, scan)
    lines, scores, rules = [], [], []
    for offset in offsets:
        for noise in range(noises):
            series = calcium_series(patient, scan, seed=patient.seed + noise, offset_mm=offset)
            volume = series.read().volume
            rule = rule_score(volume, exact_mask(patient, scan, volume.geometry))
            found = score_calcium(volume, angiogram, heart, branches, series_uid="1")
            score = float("nan") if isinstance(found, str) else found.agatston
            scores.append(score)
            rules.append(rule)
            lines.append(f"offset {offset:g} mm noise {noise}: {score:8.1f} rule {rule:8.1f}")
    for name, values in (("score", scores), ("rule ", rules)):
        mean = float(np.mean(values))
        lines.append(f"{name} mean {mean:.1f}, coefficient of variation {100.0 * float(np.std(values)) / max(mean, 1e-9):.1f} %")
    return lines


def true_heart(patient: Patient, scan: Scan) -> tuple[Volume, Heart]:
    """The angiogram, coarsely, and the true structures."""
    scanned = scan_geometry(patient, scan)
    coarse, grid = covering_grid(scanned, COARSE_MM), covering_grid(scanned, MAP_MM)
    structures = render_on(patient, scan, grid, noise=False).structures
    heart = Heart(LabelMap(structures, grid), fine_box(structures, grid, scanned))
    return Volume(render_on(patient, scan, coarse, seed=patient.seed).hu, coarse), heart


def true_tree(patient: Patient, scan: Scan) -> tuple[Branch, ...]:
    """The true native arteries as branches of the findings."""
    names: dict[str, SegmentName] = {name: name for name in SEGMENTS}
    return tuple(
        Branch(
            id=number,
            parent=branch.parent,
            parent_index=branch.parent_index,
            vessel=VESSELS.get(branch.vessel, "other"),
            points_mm=tuple((float(x), float(y), float(z)) for x, y, z in branch.points),
            segments=tuple((start, end, names.get(name, "other")) for start, end, name in branch.segments),
            name_confidence=1.0,
            lumen_diameter_mm=tuple(float(2.0 * radius) for radius in branch.healthy_radius),
            vessel_diameter_mm=tuple(float(2.0 * radius) for radius in branch.outer_radius),
        )
        for number, branch in enumerate(true_branches(patient, scan))
        if branch.native
    )


if __name__ == "__main__":
    sys.exit(main())
