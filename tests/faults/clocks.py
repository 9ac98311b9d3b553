"""Steps of the wall clock: what happens to studies is the same, second by second, as without them; and nothing is removed because of one.

The same script of a scanner runs twice on turned clocks, once with the wall clock set to and fro by minutes, days and years.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from appliance.archive.backup import SnapshotKeeper, snapshots
from appliance.settings import RetentionSettings
from tests.appliance.workflow.world import World
from tests.faults.tally import Tally

STEPS_S = (-3650 * 86400.0, -86400.0, -3600.0, -7.0, 7.0, 600.0, 86400.0, 365 * 86400.0, 3650 * 86400.0)
Action = tuple[str, float]


def clock_steps(*, scripts: int, seed: int = 1) -> Tally:
    """Try so many scripts."""
    tally = Tally()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of random name below it
    for number in range(scripts):
        rng = random.Random(f"clock {seed} {number}")
        script = _script(rng)
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
            still = _play(script, Path(place) / "still", stepping=False, tally=tally)
            stepped = _play(script, Path(place) / "stepped", stepping=True, tally=tally)
        tally.count("scripts")
        if still != stepped:
            at = next(index for index, pair in enumerate(zip(still, stepped, strict=True)) if pair[0] != pair[1])
            tally.losses.append(f"script {number}: after action {at} {stepped[at]} instead of {still[at]}")
    return tally


def _script(rng: random.Random) -> list[Action]:
    """Images that come, pauses shorter and longer than the quiet times, and steps of the clock."""
    actions: list[Action] = []
    image = 0
    for _ in range(14):
        if image < 4 and rng.random() < 0.5:
            image += 1
            actions.append(("push", image))
        actions.append(("wait", rng.choice((0.5, 2.0, 6.0, 30.0, 61.0))))
        if rng.random() < 0.6:
            actions.append(("step", rng.choice(STEPS_S)))
    return actions


def _play(script: list[Action], folder: Path, *, stepping: bool, tally: Tally) -> list[tuple[str, int, int]]:
    """State, generation and images of the study after each action."""
    world = World(folder)
    intake = world.intake()
    retention = world.archive.retention(RetentionSettings(images_days=1.0, results_days=1.0, images_must_be_archived=False))
    keeper = SnapshotKeeper(
        database=world.archive.database.path,
        folder=folder / "snapshots",
        clock=world.clock,
        components=world.archive.components,
        hours=24,
        keep=2,
    )
    seen = []
    for name, value in script:
        if name == "push":
            world.push(int(value))
        elif name == "wait":
            world.clock.pass_s(value)
        elif stepping:
            world.clock.wall_time += value
            tally.count("steps of the clock")
        intake.step()
        retention.step()
        keeper.step()
        study = world.archive.studies.find("1.2.3")
        seen.append(("none", 0, 0) if study is None else (study.state, study.generation, study.images))
    if len(snapshots(folder / "snapshots")) > 2 or not snapshots(folder / "snapshots"):
        tally.losses.append("snapshots are too many, or none")
    world.close()
    return seen
