"""Train the networks and export them.

python -m models.training heart-loc --minutes 10
python -m models.training cor-seg --minutes 90
python -m models.training all --minutes 180
python -m models.training cor-seg --minutes 600 --hospital FOLDER
python -m models.training export
python -m models.training half --out build/half
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import torch

from appliance.inference.catalog import ModelCatalog, installed_catalog
from models.training.export import export_models
from models.training.half import make_half_copies
from models.training.hospital_task import HospitalSource, prepare_all
from models.training.sitting import log, minutes_of_first, train
from models.training.tasks import TASKS
from models.training.workers import run_team


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*TASKS, "all", "export", "half"])
    parser.add_argument("--minutes", type=float, default=60.0, help="wall-clock minutes of this command; drawing patients counts")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--workers", type=int, default=_default_workers(), help="trainers that average their gradients, a process each")
    parser.add_argument(
        "--batch", type=int, default=0, help="samples in a step of one worker; 0: the task's own batch divided among the workers"
    )
    parser.add_argument("--rate", type=float, help="highest learning rate of this sitting; without it the task's own")
    parser.add_argument("--folder", type=Path, default=Path("build/training"), help="checkpoints and curves")
    parser.add_argument(
        "--released",
        action="store_true",
        help="where there is no checkpoint yet, begin with the weights of models/weights (--hospital does)",
    )
    parser.add_argument(
        "--hospital", type=Path, help="cor-seg: a folder of the hospital's own labelled scans (see models/training/hospital.py)"
    )
    parser.add_argument("--replay", type=float, default=0.25, help="hospital: share of patches that stay virtual")
    parser.add_argument("--only", choices=list(TASKS), help="export: this network only")
    parser.add_argument("--out", type=Path, default=Path("build/half"), help="half: folder of the FP16 copies")
    options = parser.parse_args(arguments)
    if options.what == "half":
        for file in make_half_copies(ModelCatalog.load(installed_catalog()), folder=options.out):
            log(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
        return 0
    if options.what == "export":
        for line in export_models(folder=options.folder, only=options.only):
            log(line)
        return 0
    own = None
    if options.hospital is not None:
        if options.what != "cor-seg":
            parser.error("--hospital goes with cor-seg: label maps of coronary arteries teach no other network")
        own = HospitalSource(prepare_all(options.hospital, kind="train", log=log), replay=options.replay)
    names = list(TASKS) if options.what == "all" else [options.what]
    for number, name in enumerate(names):
        folder = options.folder / name
        # each network gets its share of what the ones before it have left: scores at their ends come out of the next one's time
        minutes = minutes_of_first(names[number:], left=options.minutes - (time.monotonic() - began) / 60.0)
        settings = {"minutes": minutes, "seed": options.seed, "batch": options.batch, "learning_rate": options.rate}
        begin = options.released or own is not None
        work = partial(train, name, **settings, folder=folder, own=own, released=begin)
        run_team(options.workers, work)
    return 0


def _default_workers() -> int:
    """One trainer where there is a GPU, else one per core that this process may use."""
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
