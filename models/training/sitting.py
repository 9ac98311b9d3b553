"""One sitting of one worker: what ``python -m models.training`` runs in each process."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from appliance.inference.catalog import ModelCatalog, installed_catalog
from models.training.hospital_task import HospitalSource, hospital_task
from models.training.tasks import TASKS
from models.training.trainer import Schedule, Trainer
from models.training.workers import Team


def train(
    name: str,
    team: Team,
    *,
    minutes: float,
    seed: int,
    folder: Path,
    batch: int = 0,
    learning_rate: float | None = None,
    own: HospitalSource | None = None,
    released: bool = False,
) -> None:
    """Resume or begin a network's training and go on until the given minutes are over, counted from this call.

    ``batch`` 0 divides the task's own among the team. ``learning_rate`` is the highest of this sitting, None the task's own: a network
    that has seen much forgets at the rate it began with. ``own`` is a hospital's data. ``released``: without a checkpoint begin with the
    weights of ``models/weights``.
    """
    begun = time.monotonic()
    whole = TASKS[name] if own is None else hospital_task(TASKS[name], own)
    task = replace(whole, batch=batch or max(1, whole.batch // team.size), learning_rate=learning_rate or whole.learning_rate)
    if team.leads:
        log(f"{name}: draws what it is watched by (in a clone patient by patient), then its first samples")
    score = task.score(folder) if team.leads else _no_score
    begin = ModelCatalog.load(installed_catalog())[name] if released else None
    trainer = Trainer(task, folder=folder, score=score, seed=seed, log=log, team=team, released=begin)
    if own is not None:
        trainer.progress.hospital_cases = len(own.files)
    trainer.run(Schedule(minutes=minutes, begun=begun))


def minutes_of_first(names: Sequence[str], *, left: float) -> float:
    """Minutes for the first of the networks that are still to be trained: its share (``Task.share``) of the minutes that are ``left``."""
    return left * TASKS[names[0]].share / sum(TASKS[name].share for name in names)


def _no_score(_: nn.Module) -> dict[str, float]:
    """Only the leading worker scores."""
    raise AssertionError("a worker that does not lead was asked for a score")


def log(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
