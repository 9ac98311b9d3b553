"""Train the networks and export them.

python -m models.training heart-loc --minutes 10
python -m models.training cor-seg --minutes 90
python -m models.training all --minutes 180
python -m models.training export
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from models.training.development import DevelopmentScore
from models.training.export import export_models
from models.training.tasks import TASKS
from models.training.trainer import Schedule, Trainer

_SHARES = {"heart-loc": 0.15, "cor-seg": 0.85}
"""How ``all`` divides the minutes: the coarse network is flat long before the fine one."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*TASKS, "all", "export"])
    parser.add_argument("--minutes", type=float, default=60.0, help="wall-clock minutes of this sitting")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the trainer; 0: as many as cores")
    parser.add_argument("--folder", type=Path, default=Path("build/training"), help="checkpoints and curves")
    parser.add_argument("--only", choices=list(TASKS), help="export: this network only")
    options = parser.parse_args(arguments)
    if options.what == "export":
        for line in export_models(folder=options.folder, only=options.only):
            _log(line)
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    names = list(TASKS) if options.what == "all" else [options.what]
    for name in names:
        share = _SHARES[name] if options.what == "all" else 1.0
        _train(name, minutes=options.minutes * share, seed=options.seed, folder=options.folder / name)
    return 0


def _train(name: str, *, minutes: float, seed: int, folder: Path) -> None:
    score = DevelopmentScore(TASKS[name], folder=folder)
    trainer = Trainer(TASKS[name], folder=folder, score=score, seed=seed, log=_log)
    trainer.run(Schedule(minutes=minutes))


def _log(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
