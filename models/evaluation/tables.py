"""From cases to build/evaluation.json and to the table that people read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.evaluation.cases import Case
from models.evaluation.measures import summary
from models.evaluation.pooled import POOLED, diameter_table, pooled_figure, vessel_table


@dataclass(frozen=True)
class Measure:
    """One figure: its name in the file, what it is called, the network whose card shows it, and its reach.

    ``reach`` is what the project wants of it (a least value, or a largest one where ``high_is_bad``), None where nothing was set.
    """

    name: str
    meaning: str
    network: str
    reach: float | None = None
    high_is_bad: bool = False


MEASURES: tuple[Measure, ...] = (
    Measure("lumen_dice", "Dice, coronary lumen", "cor-seg", 0.88),
    Measure("cl_dice", "clDice of lumen, wall and calcium", "cor-seg", 0.92),
    Measure("calcium_dice", "Dice, coronary calcium (patients who have some)", "cor-seg", 0.75),
    Measure("found_1_5mm", "found in the result: share of the length of vessels of 1.5 mm and more", "cor-seg", 0.97),
    Measure("false_mm_per_case", "false: mm of result per case that is no coronary", "cor-seg", 10.0, high_is_bad=True),
    Measure("heart_located", "heart located (fine box holds all coronary length and the ostia)", "heart-loc", 1.0),
    Measure("ostia_within_2mm", "ostia: share with the start of a result within 2 mm", "ostia", 0.98),
    Measure("name_accuracy", "names: share of the length of 1.5 mm and more with the right segment", "naming", 0.95),
    Measure("plaque_type_accuracy", "plaque type right, of matched lesions", "lesions", 0.90),
    Measure("coronary_dice", "Dice, lumen, wall and calcium together", "cor-seg"),
    Measure("vein_dice", "Dice, cardiac veins", "cor-seg"),
    Measure("mask_found_1_5mm", "found by the mask's raw skeleton, before anything is traced or dropped", "cor-seg"),
    Measure("mask_false_mm", "false mm of the mask's raw skeleton", "cor-seg", high_is_bad=True),
    Measure("centreline_ot", "centreline OT (overlap, vessels of 1.5 mm and more)", "repair"),
    Measure("centreline_of", "centreline OF (before the first miss, LAD, LCX, RCA)", "repair"),
    Measure("centreline_ai_mm", "centreline AI, mm", "repair", high_is_bad=True),
    Measure("main_vessels_missed", "LAD, LCX, RCA missed per case", "repair", high_is_bad=True),
    Measure("found_1_5mm_rules", "found where ostia and gaps are left to the rules alone", "repair"),
    Measure("false_mm_rules", "false mm where ostia and gaps are left to the rules alone", "repair", high_is_bad=True),
    Measure("ostia_within_2mm_rules", "ostia within 2 mm by the rules alone", "ostia"),
    Measure("ostium_distance_mm", "farthest ostium from the start of a result, mm", "ostia", high_is_bad=True),
    Measure("name_accuracy_of_found", "names right, of the length that was found", "naming"),
    Measure("name_accuracy_18", "names right, of the length of the 18 segments", "naming"),
    Measure("name_accuracy_rules", "names right by the written rules alone, on the same tree", "naming"),
    Measure("vessel_accuracy", "vessels right (LAD, D, OM, ... without borders and numbers)", "naming"),
    Measure("vessel_accuracy_rules", "vessels right by the written rules alone", "naming"),
    Measure("vessel_accuracy_network", "vessels right by the network alone", "naming"),
    Measure("dominance_right", "dominance right", "naming"),
    Measure("lesion_sensitivity", "lesions found (vessels of 1.5 mm and more)", "lesions"),
    Measure("lesion_sensitivity_50", "lesions of 50 % and more found", "lesions"),
    Measure("lesion_sensitivity_any_vessel", "lesions found, whatever the vessel is called", "lesions"),
    Measure("false_lesions_per_case", "false lesions per case", "lesions", high_is_bad=True),
    Measure("grade_accuracy", "degree of stenosis right, of matched lesions", "lesions"),
    Measure("stenosis_error_points", "diameter stenosis, mean absolute error in points", "lesions", high_is_bad=True),
    Measure("stenosis_bias_points", "diameter stenosis, mean error in points", "lesions"),
    Measure("ov", "centreline OV (overlap, vessels of 1 mm and more)", "measurements", 0.97),
    Measure("of", "centreline OF (before the first miss, mean of LAD, LCX, RCA)", "measurements", 0.92),
    Measure("ot", "centreline OT (overlap, vessels of 1.5 mm and more)", "measurements", 0.98),
    Measure("ai_mm", "centreline AI (mean distance where right), mm", "measurements", 0.20, high_is_bad=True),
    Measure("diameter_bias_mm", "lumen diameter of 1.5 mm and more, mean error, mm", "measurements"),
    Measure("diameter_mae_mm", "lumen diameter of 1.5 mm and more, mean absolute error, mm", "measurements", 0.15, high_is_bad=True),
    Measure(
        "ds_mae_noncalcified",
        "diameter stenosis, non-calcified plaque, mean absolute error in points",
        "measurements",
        6.0,
        high_is_bad=True,
    ),
    Measure("ds_mae_calcified", "diameter stenosis, calcified or mixed plaque, likewise", "measurements", 10.0, high_is_bad=True),
    Measure("stenosis60_sensitivity", "true stenoses of 60 % and more that are called 50 % or more", "measurements", 0.95),
    Measure("stenosis50_sensitivity", "true stenoses of 50 % and more that are called 50 % or more", "measurements", 0.88),
    Measure("stenosis50_false_per_case", "calls of 50 % or more that are not so, per case", "measurements", 0.2, high_is_bad=True),
    Measure("cadrads_exact", "CAD-RADS category right (N counts as wrong)", "measurements", 0.75),
    Measure("cadrads_within_one", "CAD-RADS category right or next to it (N counts as wrong)", "measurements", 0.98),
    Measure("cadrads_undecided", "CAD-RADS N, failed or declined", "measurements", high_is_bad=True),
    Measure("cadrads_kappa", "CAD-RADS, quadratic kappa (without N)", "measurements", 0.90),
    Measure("plaque_volume_r", "plaque volume of matched lesions, Pearson's r", "measurements", 0.95),
    Measure("plaque_volume_bias_percent", "plaque volume of matched lesions, bias in per cent", "measurements"),
    Measure("plaque_total_r", "plaque volume of the patient, Pearson's r", "measurements"),
    Measure("plaque_total_bias_percent", "plaque volume of the patient, bias in per cent", "measurements"),
    Measure(
        "agatston_relative_error", "Agatston score against the rule on the exact mask (10 and more)", "measurements", 0.05, high_is_bad=True
    ),
    Measure("calcium_category", "calcium category right", "measurements", 0.98),
    Measure("bridges_found", "myocardial bridges found", "measurements"),
    Measure("bridge_depth_error_mm", "depth of found bridges, mean absolute error, mm", "measurements", high_is_bad=True),
    Measure("bridge_length_error_mm", "length of found bridges, mean absolute error, mm", "measurements", high_is_bad=True),
    Measure("bridges_false", "false bridges per case", "measurements", high_is_bad=True),
    Measure("stents_found", "stents found, whatever their size", "measurements"),
    Measure("stents_found_3mm", "stents of 3 mm and more found", "measurements"),
    Measure("stents_read", "found stents whose inside the product reads", "measurements"),
    Measure("stents_read_right", "of those it reads: patent, narrowed or occluded right", "measurements"),
    Measure("stents_false", "false stents per case", "measurements", high_is_bad=True),
    *(
        Measure(f"{name}_{what}", f"{words} {said}", "measurements", high_is_bad=what == "false")
        for name, words in {
            "low_attenuation": "low attenuation,",
            "positive_remodeling": "positive remodelling,",
            "spotty_calcification": "spotty calcium,",
            "napkin_ring": "napkin ring,",
            "high_risk": "two features and more (HRP),",
        }.items()
        for what, said in {"found": "named where it is so", "false": "named where it is not so"}.items()
    ),
    Measure("remodeling_index_error", "remodelling index, mean absolute error", "measurements", high_is_bad=True),
    Measure("lesion_length_error_mm", "length of matched lesions, mean absolute error, mm", "measurements", high_is_bad=True),
    Measure("variants_found", "variants of origin and course named", "measurements"),
    Measure("variants_false", "false variants per case", "measurements", high_is_bad=True),
    Measure("not_assessable_segments", "segments called not assessable, per case", "measurements", high_is_bad=True),
    *(
        Measure(f"dice_{name}", f"Dice, {name.replace('_', ' ')}", "heart-loc")
        for name in ("lv_myocardium", "la", "lv", "ra", "rv", "aorta", "pulmonary_artery")
    ),
)
BY_NAME = {measure.name: measure for measure in MEASURES}
KEPT = tuple(measure.name for measure in MEASURES[:9])
"""The figures that the project keeps over time."""


def make_result(cases: Sequence[Case], *, kind: str, quick: bool = False, **facts: Any) -> dict[str, Any]:
    """The content of evaluation.json.

    ``families``: per family by design its name, kind, cases and each measure; ``overall``: the same over all cases; ``groups``: likewise
    over the cases with one condition (a case is in several groups); ``vessels`` and ``diameters``: tables per artery, and of the diameters
    by size and plaque. Each measure has median, mean, worst, n and 95 % intervals by
    bootstrap over patients; shares also ``pooled``, the parts of all cases by the wholes of all cases.
    """
    names = [name for name in BY_NAME if name in KEPT or name in POOLED or any(name in case.values for case in cases)]
    families = list(dict.fromkeys(case.family for case in cases))
    conditions = sorted({condition for case in cases for condition in case.conditions})
    return {
        "synthetic": True,
        "quick": quick,
        **({"notice": "a smoke check of a few patients: never quote these figures"} if quick else {}),
        **facts,
        "families": [{"name": name, "kind": kind, **_row([case for case in cases if case.family == name], names)} for name in families],
        "overall": _row(cases, names),
        "groups": [{"name": name, **_row([case for case in cases if name in case.conditions], names)} for name in conditions],
        "vessels": vessel_table(cases),
        "diameters": diameter_table(cases),
        "worst": {name: [case.seed for case in worst_cases(cases, name)] for name in names},
        "cases": [
            {
                "seed": case.seed,
                "family": case.family,
                "status": case.status,
                "code": case.code,
                "conditions": list(case.conditions),
                "seconds": case.seconds,
                **{name: value for name, value in case.values.items() if "@" not in name},
            }
            for case in sorted(cases, key=lambda case: case.seed)
        ],
    }


def _row(cases: Sequence[Case], names: Iterable[str]) -> dict[str, Any]:
    statuses = {status: sum(case.status == status for case in cases) for status in ("declined", "failed", "rightly_declined")}
    return {"cases": len(cases), **statuses, **{name: _figure(cases, name) for name in names}}


def _figure(cases: Sequence[Case], name: str) -> dict[str, float | int | None]:
    if name in POOLED:
        return pooled_figure(cases, name)
    figure = summary([case.values.get(name) for case in cases], worst_is_low=not BY_NAME[name].high_is_bad)
    shares = [case.shares[name] for case in cases if name in case.shares]
    whole = sum(share.whole for share in shares)
    if whole:
        figure["pooled"] = round(sum(share.part for share in shares) / whole, 4)
    return figure


def worst_cases(cases: Sequence[Case], name: str, count: int = 3) -> list[Case]:
    """The cases with the worst values of a measure, the worst first; those that reach what is wanted are left out."""
    measure = BY_NAME[name]
    sign = -1.0 if measure.high_is_bad else 1.0
    known = [(sign * value, case.seed, case) for case in cases if (value := case.values.get(name)) is not None]
    if measure.reach is not None:
        known = [row for row in known if row[0] < sign * measure.reach]
    return [case for _, _, case in sorted(known, key=lambda row: row[:2])[:count]]


def text_table(result: dict[str, Any], rows: Sequence[dict[str, Any]] | None = None) -> str:
    """The figures of all cases as lines, and what each family (or each of ``rows``) has as the mean of the kept measures."""
    overall = result["overall"]
    lines = [f"{overall['cases']} cases, declined {overall['declined']}, failed {overall['failed']}"]
    lines.append(f"{'':32}{'median':>9}{'mean':>9}{'95 % of the mean':>20}{'worst':>9}{'n':>5}{'reach':>8}")
    for name, measure in BY_NAME.items():
        figure = overall.get(name)
        if not figure or not figure["n"]:
            continue
        interval = f"{figure['low']:.3f} to {figure['high']:.3f}"
        reach = "" if measure.reach is None else f"{'<=' if measure.high_is_bad else '>='}{measure.reach:g}"
        row = f"{name:32}{figure['median']:9.3f}{figure['mean']:9.3f}{interval:>20}{figure['worst']:9.3f}{figure['n']:5d}{reach:>8}"
        lines.append(row)
    lines += ["", f"{'mean of':36}{'cases':>6}" + "".join(f"{name.split('_')[0]:>10}" for name in KEPT)]
    for each in rows if rows is not None else result["families"]:
        figures = "".join(f"{'-':>10}" if each[name]["mean"] is None else f"{each[name]['mean']:10.3f}" for name in KEPT)
        lines.append(f"{each['name'][:36]:36}{each['cases']:6d}{figures}")
    return "\n".join(lines)
