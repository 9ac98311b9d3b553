"""The whole product on virtual patients against their exact truth; writes build/evaluation.json and pictures of the worst cases.

python -m models.evaluation --quick                            a smoke check of three patients, never to be quoted
python -m models.evaluation --cases 40                         the development family
python -m models.evaluation --family test --cases 100 --record the test family: once per released weights, to decide nothing
python -m models.evaluation --hospital FOLDER                  a hospital's own labelled scans, to build/hospital-evaluation.json
python -m models.evaluation.real --help                        checks on real data

A run that was cut off goes on with --resume.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from appliance.analysis.pipeline import Models
from appliance.build import software
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from models.evaluation.cases import Case
from models.evaluation.pictures import keep_worst
from models.evaluation.record import record
from models.evaluation.runner import Job, run_jobs
from models.evaluation.store import CaseStore
from models.evaluation.tables import KEPT, make_result, text_table
from models.training.families import Family, load_families
from models.training.hospital import HospitalDataError, Kind

QUICK_CASES = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done, 1 where a case broke down untyped."""
    options = _options(arguments)
    if options.hospital is not None:
        return hospital(options.hospital, kind=options.kind, catalog=options.catalog, out=options.out.with_name("hospital-evaluation.json"))
    family = load_families()[options.family]
    seeds = chosen_seeds(family, count=options.cases, first=options.first, quick=options.quick)
    catalog = ModelCatalog.load(options.catalog)
    folder = options.out.parent / "evaluation"
    name = "quick" if options.quick else options.family
    store = CaseStore(
        folder / f"cases-{name}.jsonl", weights={model.name: model.sha256 for model in catalog.values()}, resume=options.resume
    )
    ready = {case.seed for case in store.cases}
    jobs = [Job(seed, family.name, options.catalog, folder / "cases") for seed in seeds if seed not in ready]
    started, broken = time.monotonic(), 0

    def done(case: Case) -> None:
        store.add(case)
        rate = (time.monotonic() - started) / max(len(store.cases) - len(ready), 1)
        _say(f"{case_line(case)} [{len(store.cases)}/{len(seeds)}, {rate:.0f} s a case]")

    try:
        run_jobs(jobs, workers=options.workers, done=done)
    except Exception as error:  # noqa: BLE001 - the cases that are finished are still worth their table
        broken = 1
        _say("at least one case broke down:\n" + "".join(traceback.format_exception(error)))
    cases = [case for case in store.cases if case.seed in set(seeds)]
    if not cases:
        return 1
    command = f"python -m models.evaluation {shlex.join(arguments if arguments is not None else sys.argv[1:])}".strip()
    result = make_result(
        cases,
        kind=family.name,
        quick=options.quick,
        complete=len(cases) == len(seeds),
        command=command,
        engine=best_engine(threads=1).describe(),
        commit=software().commit,
        models={model.name: {"version": model.version, "sha256": model.sha256} for model in catalog.values()},
        seconds_per_case=seconds_per_case(cases),
    )
    out = place_for(options.out, quick=options.quick)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    pictures = keep_worst(cases, pictures=folder / "cases", out=folder / f"worst-{name}")
    _say(text_table(result))
    _say("")
    _say(text_table(result, result["groups"]).split("\n\n")[1])
    _say(f"\n{out}; {len(pictures)} pictures of the worst cases in {folder / f'worst-{name}'}")
    if options.quick:
        _say(f"QUICK CHECK of {len(cases)} patients: never quote these figures.")
    if options.record and not options.quick and not broken:
        record(result, command=command)
    return broken


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke check on three development patients; never quote it")
    parser.add_argument("--family", choices=["development", "test"], default="development")
    parser.add_argument("--cases", type=int, default=20, help="patients, of each design as many as it has a share in the family")
    parser.add_argument("--first", type=int, default=0, help="leave out so many of them")
    parser.add_argument("--workers", type=int, default=2, help="cases side by side, one thread each")
    parser.add_argument("--resume", action="store_true", help="keep the cases that an earlier run of these weights finished")
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    parser.add_argument("--out", type=Path, default=Path("build/evaluation.json"))
    parser.add_argument("--hospital", type=Path, metavar="FOLDER", help="measure on labelled scans of a hospital instead")
    parser.add_argument("--kind", choices=get_args(Kind), default="test", help="which of the hospital's cases")
    parser.add_argument("--record", action="store_true", help="put the figures into the catalog and the model cards")
    options = parser.parse_args(arguments)
    if options.quick and options.family == "test":
        parser.error("the test family is not for quick checks")
    return options


def hospital(folder: Path, *, kind: Kind, catalog: Path, out: Path) -> int:
    """Measure the vessel network on a hospital's cases; 0 when done, 1 where none can be used."""
    from skimage.morphology import skeletonize

    from models.evaluation.hospital import evaluate_hospital

    models = Models.load(catalog=catalog)
    try:
        result = evaluate_hospital(
            folder, kind=kind, heart=models.heart, coronary=models.coronary, skeletonize=skeletonize, out=out, say=_say
        )
    except HospitalDataError as error:
        _say(str(error))
        return 1
    for name, figure in result["overall"].items():
        _say(f"{name}: median {figure['median']}, mean {figure['mean']}, worst {figure['worst']}, n {figure['n']}")
    _say(f"{out}; {result['left_out']} cases left out")
    return 0


def chosen_seeds(family: Family, *, count: int, first: int = 0, quick: bool = False) -> list[int]:
    """The patients of a run: spread over the designs of the family; for a quick check its first two and the first noisy one."""
    if quick:
        noisy = next(design for design in family.designs if design.name == "noisy")
        return [*family.seeds(QUICK_CASES - 1), noisy.first]
    before = set(family.spread(first))
    return [seed for seed in family.spread(first + count) if seed not in before]


def seconds_per_case(cases: Sequence[Case]) -> float:
    """Mean wall-clock seconds that a worker spent on a case."""
    return round(sum(case.seconds.get(step, 0.0) for case in cases for step in ("draw", "render", "analyze", "measure")) / len(cases), 1)


def place_for(out: Path, *, quick: bool) -> Path:
    """Where the result goes: a quick check never takes the place of a whole run."""
    if quick and out.exists() and not json.loads(out.read_text(encoding="utf-8")).get("quick", False):
        return out.with_stem(out.stem + "-quick")
    return out


def case_line(case: Case) -> str:
    """A case in one line for the log."""
    values = case.values
    text = " ".join(f"{name.split('_')[0]} {value:.3f}" for name in KEPT if (value := values.get(name)) is not None)
    seconds = " ".join(f"{name} {case.seconds[name]:.0f} s" for name in ("render", "analyze", "measure") if name in case.seconds)
    return f"{case.seed} {case.family} {case.status} {case.code} {text} {seconds}".replace("  ", " ")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
