"""Several trainers of one network, each in a process of its own with one thread, that average their gradients.

On a CPU that others use too, one process per core beats one process with a thread per core by far: the threads of a
process wait for each other thousands of times in a step, the processes once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn


@dataclass(frozen=True)
class Team:
    """This process's place among the trainers of a network; the first one logs, scores and saves."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first trainer."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module, *, over: bool) -> bool:
        """Replace each gradient by its mean over the team; True where any member's time is ``over``.

        Whether to stop travels with the gradients, so that all members stop after the same step.
        """
        if self.size == 1:
            return over
        parent = multiprocessing.parent_process()
        over = over or (parent is not None and not parent.is_alive())  # whoever started the team was ended: save and stop
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), torch.tensor([float(over)])])
        distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient) / self.size)
            start += gradient.numel()
        return bool(flat[-1] > 0)

    def share(self, network: nn.Module) -> None:
        """Give every member the weights of the first."""
        if self.size > 1:
            for tensor in network.state_dict().values():
                distributed.broadcast(tensor, 0)


def run_team(size: int, work: Callable[[Team], None]) -> None:
    """Run ``work`` in ``size`` processes that can average gradients; in this process where ``size`` is 1.

    ``work`` must be importable by name in a fresh process (a function, or a functools.partial of one).
    """
    if size == 1:
        work(Team())
        return
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_member, args=(size, Path(folder) / "meeting", work), nprocs=size)


def _member(rank: int, size: int, meeting: Path, work: Callable[[Team], None]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # the members are on this machine, and nothing is to listen beyond it
    os.setsid()  # a scheduling group of its own: each worker gets the share of a process, not the team together
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    try:
        work(Team(rank=rank, size=size))
    finally:
        distributed.destroy_process_group()
