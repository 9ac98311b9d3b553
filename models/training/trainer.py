"""The training loop, for any task: fill the pool, step until the minutes are over, keep average, checkpoint and curve."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from appliance.inference.catalog import Model
from models.training.averaging import Average
from models.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from models.training.curves import Curve
from models.training.released import load_released
from models.training.supply import Supply, supply_for
from models.training.task import Score, Task, Tensors
from models.training.workers import Team

_VOLUME_AXES = 5
_WARM_UP = 0.02
_FINAL_RATE = 0.02
_SAMPLES_TO_BEGIN = 16
"""By which the normalisations of released weights are set."""


@dataclass(frozen=True)
class Schedule:
    """Times of one sitting, in minutes; ``steps`` ends it earlier where that many are done first.

    ``minutes`` hold all that comes before the last score: drawing development samples and the first samples too. ``begun`` is when the
    sitting began (``time.monotonic``), None: when it is run. Where nothing is left to train in, one step is made, so that there is a
    checkpoint; what was drawn is kept for the next sitting.
    """

    minutes: float
    steps: int | None = None
    begun: float | None = None
    checkpoint_every: float = 5.0
    score_every: float = 10.0
    log_every: float = 0.5


class Trainer:
    """Trains one network in sittings; each sitting resumes the last checkpoint and restarts the cosine schedule.

    Args:
        task: what to train.
        folder: where checkpoint and curves live.
        score: scores the averaged network on development patients.
        seed: of weights, samples and variation.
        log: takes one line of text.
        team: this process's place among several trainers of the network.
        released: the network that a training without a checkpoint begins with; None to begin with chance.
    """

    def __init__(
        self,
        task: Task,
        *,
        folder: Path,
        score: Score,
        seed: int,
        log: Callable[[str], None] = print,
        team: Team | None = None,
        released: Model | None = None,
    ) -> None:
        self._task = task
        self._folder = folder
        self._score = score
        self._seed = seed
        self._log = log
        self._team = team or Team()
        self._released = released
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        self.network = task.network().to(self._device)
        self._average = Average(self.network, decay=0.998)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=task.learning_rate, weight_decay=1e-4)
        self.progress = Progress()
        if self.checkpoint.exists():
            self._resume()
        if any(isinstance(part, nn.Conv3d) for part in self.network.modules()):
            self.network.to(memory_format=torch.channels_last_3d)

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self._folder / "checkpoint.pt"

    def run(self, schedule: Schedule) -> None:
        """One sitting: train until the given minutes are over, then score and save."""
        begun = time.monotonic() if schedule.begun is None else schedule.begun
        self.progress.sittings += 1
        seed = self._seed + 1000 * self.progress.sittings + self._team.rank
        with supply_for(self._task, device=self._device, seed=seed) as supply:
            if self._released is not None and self.progress.steps == 0:
                self._begin_with(self._released, supply)
            prepared = (time.monotonic() - begun) / 60.0
            left = max(schedule.minutes - prepared, 0.0)
            if self._team.leads:
                self._log(f"{self._task.name}: prepared in {prepared:.1f} minutes, trains for {left:.1f}")
            self._train(replace(schedule, minutes=left), supply)

    def _begin_with(self, released: Model, supply: Supply) -> None:
        begun = self._task.network()
        drawn = (supply.batch()["channels"] for _ in range(math.ceil(_SAMPLES_TO_BEGIN / self._task.batch)))
        load_released(begun, self._task.deployment, released, (channels.cpu() for channels in drawn if channels is not None))
        self._team.share(begun)
        for network in (self.network, self._average.network):
            network.load_state_dict(begun.state_dict())
        self.progress.began_with = released.version
        if self._team.leads:
            self._log(f"{self._task.name}: begins with the released weights {released.version}")

    def _train(self, schedule: Schedule, supply: Supply) -> None:
        start = time.monotonic()
        before = Progress(**vars(self.progress))
        logged = scored = saved = 0.0
        curve = Curve(self._folder / "training.csv")
        terms: list[dict[str, float]] = []
        over = False
        while not over:
            minutes = (time.monotonic() - start) / 60.0
            share = minutes / schedule.minutes if schedule.minutes > 0.0 else 1.0
            share = max(share, (self.progress.steps - before.steps + 1) / schedule.steps if schedule.steps else 0.0)
            rate = self._set_rate(min(1.0, share))
            step_terms, over = self._step(supply.batch(), over=share >= 1.0)
            terms.append(step_terms)
            self.progress.steps += 1
            self.progress.samples_drawn = before.samples_drawn + supply.drawn * self._team.size
            self.progress.samples_rendered = before.samples_rendered + supply.rendered * self._team.size
            self.progress.minutes = before.minutes + minutes
            if not self._team.leads:
                continue
            if minutes - logged >= schedule.log_every:
                logged = minutes
                self._report(curve, terms, rate)
                terms.clear()
            if minutes - saved >= schedule.checkpoint_every:
                saved = minutes
                self._save()
            if minutes - scored >= schedule.score_every:
                scored = minutes
                self._develop()
        if self._team.leads:
            self._save()
            if scored < minutes:  # not scored in the last step already
                self._develop()

    def _step(self, tensors: Tensors, *, over: bool = False) -> tuple[dict[str, float], bool]:
        batch = {name: None if tensor is None else tensor.to(self._device) for name, tensor in tensors.items()}
        channels = batch["channels"]
        if channels is not None and channels.ndim == _VOLUME_AXES:
            channels = channels.to(memory_format=torch.channels_last_3d)
        self.network.train()
        with torch.autocast(self._device.type, torch.bfloat16):
            given = self.network(channels)
        loss, terms = self._task.loss(given, batch)
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"the loss of step {self.progress.steps} is not finite")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        over = self._team.average_gradients(self.network, over=over)
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self._optimizer.step()
        self._average.update(self.network)
        return terms, over

    def _set_rate(self, share: float) -> float:
        warm = min(1.0, share / _WARM_UP)
        cosine = _FINAL_RATE + (1.0 - _FINAL_RATE) * 0.5 * (1.0 + math.cos(math.pi * share))
        rate = self._task.learning_rate * warm * cosine
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _report(self, curve: Curve, terms: list[dict[str, float]], rate: float) -> None:
        means = {name: float(np.mean([term[name] for term in terms if name in term])) for name in terms[0]}
        row = {**self._position(), "rate": rate, **means}
        curve.add(row)
        self._log(self._task.name + " " + " ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _develop(self) -> None:
        row = {**self._position(), **self._score(self._average.network)}
        curve = Curve(self._folder / "development.csv")
        curve.add(row)
        curve.draw(self._folder / "development.png")
        Curve(self._folder / "training.csv").draw(self._folder / "training.png")
        self._log(f"{self._task.name} DEVELOPMENT " + " ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _position(self) -> dict[str, float]:
        progress = self.progress
        return {
            "minutes": round(progress.minutes, 3),
            "steps": progress.steps,
            "drawn": progress.samples_drawn,
            "rendered": progress.samples_rendered,
        }

    def _save(self) -> None:
        save_checkpoint(
            self.checkpoint,
            progress=self.progress,
            network=self.network.state_dict(),
            average=self._average.network.state_dict(),
            optimizer=self._optimizer.state_dict(),
        )

    def _resume(self) -> None:
        self.progress, states = load_checkpoint(self.checkpoint)
        self.network.load_state_dict(states["network"])
        self._average.network.load_state_dict(states["average"])
        self._average.steps = self.progress.steps
        self._optimizer.load_state_dict(states["optimizer"])
