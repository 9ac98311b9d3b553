"""A team of workers takes the same step as one worker with all of the samples."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from models.training.workers import Team, run_team  # noqa: E402

pytestmark = pytest.mark.train

SAMPLES = torch.tensor([[1.0, 2.0], [3.0, -1.0]])


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def take_a_step(team: Team, *, folder: Path, stop_at_rank: int | None) -> None:
    """Each member has the gradient of its own sample; together they must have the mean."""
    net = network()
    net(SAMPLES[team.rank : team.rank + 1]).square().mean().backward()
    stop = team.average_gradients(net, over=team.rank == stop_at_rank)
    torch.save({"gradient": net.weight.grad, "stop": stop, "threads": torch.get_num_threads()}, folder / f"{team.rank}.pt")


@pytest.mark.parametrize("stop_at_rank", [None, 1])
def test_gradients_are_averaged_and_all_stop_together(tmp_path: Path, stop_at_rank: int | None) -> None:
    run_team(2, functools.partial(take_a_step, folder=tmp_path, stop_at_rank=stop_at_rank))
    alone = network()
    alone(SAMPLES).square().mean().backward()
    for rank in range(2):
        kept = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(kept["gradient"], alone.weight.grad)
        assert kept["stop"] is (stop_at_rank is not None)
        assert kept["threads"] == 1


def test_one_worker_stays_in_this_process(tmp_path: Path) -> None:
    seen: list[Team] = []
    run_team(1, seen.append)
    assert seen == [Team(rank=0, size=1)]
    assert seen[0].leads


def fail(team: Team) -> None:
    raise ValueError(f"worker {team.rank} has no samples")


def test_a_worker_that_fails_ends_the_team() -> None:
    with pytest.raises(Exception, match="has no samples"):
        run_team(2, fail)
