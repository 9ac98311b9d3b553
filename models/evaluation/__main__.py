"""Measure the networks on virtual patients and write build/evaluation.json.

python -m models.evaluation --quick
python -m models.evaluation --family development --cases 6 --record
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from models.evaluation.cases import Case, evaluate_case
from models.evaluation.measures import summary
from models.evaluation.record import record
from models.training.families import load_families

KEPT = ("lumen_dice", "cl_dice", "calcium_dice", "found_1_5mm", "false_mm_per_case", "heart_located")
HIGH_IS_BAD = ("false_mm_per_case",)
QUICK_CASES = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation", description="Measure the networks on virtual patients.")
    parser.add_argument("--quick", action="store_true", help="a smoke check on two development patients; never quote it")
    parser.add_argument("--family", choices=["development", "test"], default="development")
    parser.add_argument("--first", type=int, default=0, help="patients of the family to skip")
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    parser.add_argument("--out", type=Path, default=Path("build/evaluation.json"))
    parser.add_argument("--record", action="store_true", help="put the figures into the catalog and the model cards")
    options = parser.parse_args(arguments)
    from skimage.morphology import skeletonize  # of the extra "train"; the measures themselves do without it

    count = QUICK_CASES if options.quick else options.cases
    seeds = load_families()[options.family].seeds(options.first + count)[options.first :]
    catalog = ModelCatalog.load(options.catalog)
    engine = best_engine(threads=options.threads)
    heart, coronary = engine.load(catalog["heart-loc"]), engine.load(catalog["cor-seg"])
    _say(engine.describe())
    cases = []
    for seed in seeds:
        cases.append(evaluate_case(seed, heart=heart, coronary=coronary, skeletonize=skeletonize))
        _say(_line(cases[-1]))
    result = make_result(cases, family=options.family, quick=options.quick, engine=engine.describe())
    result["models"] = {model.name: {"version": model.version, "sha256": model.sha256} for model in catalog.values()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, values in result["overall"].items():
        _say(f"{name}: median {values['median']}, mean {values['mean']}, worst {values['worst']}, n {values['n']}")
    if options.record and not options.quick:
        record(result, command=f"python -m models.evaluation --family {options.family} --first {options.first} --cases {count}")
    return 0


def make_result(cases: list[Case], *, family: str, quick: bool, engine: str) -> dict[str, Any]:
    """The content of evaluation.json: per family and overall each measure's median, mean, worst, interval and n."""
    names = list(dict.fromkeys([*KEPT, *(name for case in cases for name in case.measures)]))
    table = {name: summary([case.measures.get(name) for case in cases], worst_is_low=name not in HIGH_IS_BAD) for name in names}
    return {
        "synthetic": True,
        "quick": quick,
        "engine": engine,
        "families": [{"name": family, "kind": family, "cases": len(cases), **table}],
        "overall": table,
        "cases": [{"seed": case.seed, "declined": case.declined, "seconds": case.seconds, **case.measures} for case in cases],
    }


def _line(case: Case) -> str:
    text = " ".join(f"{name} {'-' if value is None else format(value, '.3f')}" for name, value in case.measures.items())
    times = " ".join(f"{name} {value:.1f} s" for name, value in case.seconds.items())
    return f"{case.seed} {text} {times} {case.declined or ''}".rstrip()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
