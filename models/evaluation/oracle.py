"""What the figures of the findings would be if one stage never erred: where the next hour of work is worth most.

The same kept patients of the development family go through all stages after the segmentation again and again, each time with something
replaced by the truth:

| look | replaced by the truth |
|---|---|
| `product` | nothing |
| `mask` | the networks' classes |
| `lines` | centrelines and names |
| `lumen` | the lumen's diameter at every point that lies on a true vessel |
| `references` | the healthy diameter there |
| `lesions` | where lesions begin and end |
| `lines+references`, `lines+lesions`, `lines+references+lesions` | several |

    python -m models.evaluation.oracle --cases 16 --kept FOLDER

Figures as in `models.evaluation` (`figures_of`), pooled over the patients.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from scipy.spatial import cKDTree

from appliance.analysis.cadrads import with_category
from appliance.analysis.centrelines import trace
from appliance.analysis.describe import describe, total_of
from appliance.analysis.fusion import fused_lumen
from appliance.analysis.lesion_degree import LesionRules, Stretch, measure_stretch, regressed
from appliance.analysis.lesion_network import read_tree
from appliance.analysis.lesions import Survey, find_lesions
from appliance.analysis.lumen import LumenResult, measure_lumen, radius_guess
from appliance.analysis.measure import make_branches, make_lesions
from appliance.analysis.naming import name_branches
from appliance.analysis.pipeline import Models, not_analysed
from appliance.analysis.plaque import describe_plaques
from appliance.analysis.quality import assess
from appliance.analysis.repair import repair
from appliance.analysis.stages import Float, NamedTree, Reference, Segmentation
from appliance.analysis.verify import verify
from appliance.errors import Reason
from appliance.findings import Findings
from appliance.geometry import arc_length
from appliance.inference.catalog import installed_catalog
from models.evaluation.cases import findings_plaques
from models.evaluation.figures import Figures, figures_of
from models.evaluation.measures import Share
from models.evaluation.measuring import Kept, load_or_scan, true_tree
from models.evaluation.pooled import correlation, kappa
from models.evaluation.scans import render_on, scan_geometry
from models.evaluation.truths import clipped, truth_of
from models.phantom import Patient
from models.training.families import load_families
from models.training.patients import virtual_patient

ON_VESSEL_MM = 1.0
"""A point of a line is on a true vessel if it lies so near to its centreline, or within the lumen."""
CORONARY = (1, 2, 3)

SHARES = (
    "ds_mae_noncalcified", "ds_mae_calcified", "stenosis60_sensitivity", "stenosis50_sensitivity", "diameter_bias_mm", "diameter_mae_mm",
    "diameter_bias_mm@LM",
)  # fmt: skip
MEANS = ("stenosis50_false_per_case", "cadrads_exact", "cadrads_within_one")


@dataclass(frozen=True)
class Measuring:
    """A tree with what was measured along it."""

    named: NamedTree
    lumen: LumenResult


class OnePatient:
    """One kept patient under all looks; trees and lumens are worked out once.

    Args:
        kept: scanned and segmented.
        patient: the same one, to render its true classes.
        models: for ostia, repair, naming and lesions.
    """

    def __init__(self, kept: Kept, patient: Patient, models: Models) -> None:
        truth = clipped(truth_of(patient, kept.scan), scan_geometry(patient, kept.scan))
        self.kept, self._patient, self._models = replace(kept, truth=truth), patient, models
        self._measured: dict[str, Measuring] = {}
        self._tree = cKDTree(np.concatenate([branch.points for branch in truth.branches]))
        self._healthy = 2.0 * np.concatenate([branch.healthy_radius_mm for branch in kept.branches])
        self._outer = 2.0 * np.concatenate([branch.outer_radius_mm for branch in kept.branches])
        self._lumen = 2.0 * np.concatenate([branch.lumen_radius_mm for branch in kept.branches])

    def true_mask(self) -> Segmentation:
        """The segmentation with the true classes."""
        own = self.kept.segmentation
        classes = render_on(self._patient, self.kept.scan, own.geometry, noise=False).vessels
        return replace(own, classes=classes, coronary=(255 * np.isin(classes, CORONARY)).astype(np.uint8))

    def measured(self, given: str) -> Measuring:
        """Tree and lumen; ``given`` is ``nothing``, ``mask`` or ``lines``."""
        if given not in self._measured:
            self._measured[given] = self._measure(given)
        return self._measured[given]

    def _measure(self, given: str) -> Measuring:
        kept, sessions = self.kept, self._models.sessions
        if given == "lines":
            named, _ = true_tree(kept)
            return Measuring(named, measure_lumen(named, kept.volume, kept.segmentation))
        segmentation = self.true_mask() if given == "mask" else kept.segmentation
        lines = trace(kept.heart, segmentation, session=sessions.get("ostia"))
        tree = verify(repair(lines, segmentation, session=sessions.get("repair")), kept.heart, segmentation)
        named = name_branches(tree, kept.heart, session=sessions.get("naming"))
        return Measuring(named, measure_lumen(named, kept.volume, segmentation, radius_mm=radius_guess(tree, named)))

    def figures(self, given: str, *, true: frozenset[str] = frozenset()) -> Figures:
        """All figures of one look; ``true`` holds what else is replaced: ``lumen``, ``references``, ``lesions``."""
        one = self.measured(given)
        lumen = self._with_true_lumen(one) if "lumen" in true else one.lumen
        seer = self._models.sessions.get("lesions")
        blood = [profile.lumen_hu for profile in lumen.profiles]
        readings = read_tree(one.named, self.kept.volume, blood, seer) if seer is not None else None
        if readings is not None and "lumen" not in true:
            lumen = fused_lumen(one.named, lumen, readings)
        survey = find_lesions(one.named, lumen, readings=readings)
        if "references" in true:
            survey = find_lesions(one.named, lumen, readings=readings, known=self._true_references(one.named, survey))
        if "lesions" in true:
            survey = replace(survey, stretches=tuple(self._true_stretches(one.named, survey)))
        findings = self._findings(one.named, lumen, survey)
        return figures_of(self.kept.truth.branches, self.kept.truth.lesions, self._stented(), findings, findings_plaques(findings))

    def _nearest(self, points: Float) -> tuple[Float, np.ndarray[tuple[int], np.dtype[np.intp]]]:
        distance, nearest = self._tree.query(points)
        return np.asarray(distance <= np.maximum(0.5 * self._healthy[nearest], ON_VESSEL_MM)), nearest

    def _with_true_lumen(self, one: Measuring) -> LumenResult:
        profiles = []
        for branch, profile in zip(one.named.branches, one.lumen.profiles, strict=True):
            on, nearest = self._nearest(branch.points_mm)
            profiles.append(replace(profile, lumen_mm=np.where(on, self._lumen[nearest], profile.lumen_mm)))
        return replace(one.lumen, profiles=tuple(profiles))

    def _true_references(self, named: NamedTree, survey: Survey) -> list[Reference]:
        found = []
        for branch, own in zip(named.branches, survey.references, strict=True):
            on, nearest = self._nearest(branch.points_mm)
            found.append(replace(own, lumen_mm=np.where(on, self._healthy[nearest], own.lumen_mm)))
        return found

    def _true_stretches(self, named: NamedTree, survey: Survey) -> Iterable[Stretch]:
        """Each true lesion on the branch that follows it best, if one follows half of it."""
        for lesion in self.kept.truth.lesions:
            best: tuple[float, int, int, int] | None = None
            for number, branch in enumerate(named.branches):
                distance, nearest = cKDTree(branch.points_mm).query(lesion.points)
                share = float((distance < 2.0 * ON_VESSEL_MM).mean())
                if share >= 0.5 and (best is None or share > best[0]):
                    best = (share, number, int(nearest.min()), int(nearest.max()) + 1)
            if best is not None and best[3] - best[2] >= 2:
                _, number, start, end = best
                along = arc_length(named.branches[number].points_mm)
                profile, reference = survey.profiles[number], survey.references[number]
                rules = LesionRules()
                one = measure_stretch(number, start, end, profile, reference, survey.evidence[number], along, rules)
                yield regressed(one, profile, along, rules)

    def _stented(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], ...]:
        masks = tuple(np.zeros(len(branch.points_mm), np.bool_) for branch in self.kept.branches)
        for stent in self.kept.stents:
            masks[stent.branch][stent.start : stent.end + 1] = True
        return masks

    def _findings(self, named: NamedTree, lumen: LumenResult, survey: Survey) -> Findings:
        kept = self.kept
        branches = make_branches(named, lumen)
        lesions = make_lesions(named, survey, describe_plaques(named, survey, lumen))
        quality = assess(kept.volume, kept.heart)
        seen = describe(kept.volume, kept.heart, branches, lesions, quality)
        empty = not_analysed("declined", Reason(code="", zh="", en=""), models=self._models)
        return with_category(
            msgspec.structs.replace(
                empty,
                status="analysed",
                reason=None,
                branches=branches,
                lesions=seen.lesions,
                stents=seen.stents,
                variants=seen.variants,
                quality=msgspec.structs.replace(quality, not_assessable=seen.not_assessable),
                plaque_total_mm3=total_of(seen.lesions),
            )
        )


LOOKS: dict[str, Callable[[OnePatient], Figures]] = {
    "product": lambda p: p.figures("nothing"),
    "mask": lambda p: p.figures("mask"),
    "lines": lambda p: p.figures("lines"),
    "lumen": lambda p: p.figures("nothing", true=frozenset({"lumen"})),
    "references": lambda p: p.figures("nothing", true=frozenset({"references"})),
    "lesions": lambda p: p.figures("nothing", true=frozenset({"lesions"})),
    "lumen+references": lambda p: p.figures("nothing", true=frozenset({"lumen", "references"})),
    "references+lesions": lambda p: p.figures("nothing", true=frozenset({"references", "lesions"})),
    "lines+references": lambda p: p.figures("lines", true=frozenset({"references"})),
    "lines+lesions": lambda p: p.figures("lines", true=frozenset({"lesions"})),
    "lines+references+lesions": lambda p: p.figures("lines", true=frozenset({"references", "lesions"})),
}


def pooled(cases: Sequence[Figures]) -> dict[str, float | None]:
    """The figures over all patients."""
    row: dict[str, float | None] = {}
    for name in SHARES:
        shares = [case.shares[name] for case in cases if name in case.shares]
        row[name] = Share(sum(s.part for s in shares), sum(s.whole for s in shares)).value if shares else None
    for name in MEANS:
        values = [value for case in cases if (value := case.measures.get(name)) is not None]
        row[name] = float(np.mean(values)) if values else None
    for name, source, rule in (("cadrads_kappa", "cadrads", kappa), ("plaque_volume_r", "plaque_volume", correlation)):
        pairs = np.array([pair for case in cases for pair in case.pairs.get(source, [])], np.float64).reshape(-1, 2)
        row[name] = rule(pairs) if len(pairs) else None
    return row


def table(rows: dict[str, dict[str, float | None]]) -> list[str]:
    """One line per look."""
    names = list(next(iter(rows.values())))
    short = ["ds nonc", "ds calc", "sens60", "sens50", "d bias", "d mae", "LM bias", "false50", "exact", "within1", "kappa", "vol r"]
    lines = [f"{'given':26}" + "".join(f"{name:>9}" for name in short)]
    for look, row in rows.items():
        cells = (f"{value:9.2f}" if (value := row[name]) is not None else f"{'-':>9}" for name in names)
        lines.append(f"{look:26}" + "".join(cells))
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--kept", type=Path, default=None, help="folder that keeps the scanned and segmented patients")
    parser.add_argument("--looks", nargs="+", choices=tuple(LOOKS), default=list(LOOKS))
    parser.add_argument("--catalog", type=Path, default=None)
    options = parser.parse_args(arguments)
    models = Models.load(catalog=options.catalog or installed_catalog(), threads=1)
    found: dict[str, list[Figures]] = {look: [] for look in options.looks}
    for seed in load_families()["development"].seeds(options.cases):
        patient = OnePatient(load_or_scan(seed, models, options.kept), virtual_patient(seed), models)
        for look in options.looks:
            found[look].append(LOOKS[look](patient))
        sys.stderr.write(f"{seed} measured\n")
    sys.stdout.write("\n".join(table({look: pooled(cases) for look, cases in found.items()})) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
