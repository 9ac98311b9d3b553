"""A process that renders training samples beside the trainer, and never ahead of what the trainer asks for."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numba

SampleSource = Callable[[int], Iterator[Any]]
"""Given a seed, an endless stream of samples; must be importable by name in a fresh process."""


_QUEUE_LENGTH = 24
_ALIVE_S = 1.0
_POLL_S = 1.0


class FeederError(RuntimeError):
    """The rendering process ended or gave nothing in time."""


class Feeder:
    """Samples from a process of its own: ``with Feeder(source, seed=1) as feeder: feeder.take()``.

    The queue is short, so the process sleeps while the trainer has enough; it uses one thread.
    """

    def __init__(self, source: SampleSource, *, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue: multiprocessing.Queue[Any] = context.Queue(_QUEUE_LENGTH)
        self._process = context.Process(target=_produce, args=(source, seed, self._queue), daemon=True)

    def __enter__(self) -> Feeder:
        self._process.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.join()
        self._queue.cancel_join_thread()
        self._queue.close()

    def take(self, *, timeout_s: float | None = None) -> Any:
        """The next sample; with a timeout it is waited for (FeederError when none comes), else None if none is ready."""
        deadline = time.monotonic() + (timeout_s or 0.0)
        while True:
            alive = self._process.is_alive()
            try:
                return self._queue.get(timeout=_POLL_S) if timeout_s else self._queue.get_nowait()
            except queue.Empty:
                if not alive or (timeout_s and time.monotonic() > deadline):
                    raise FeederError(f"no sample from the rendering process (exit code {self._process.exitcode})") from None
                if not timeout_s:
                    return None


def _produce(source: SampleSource, seed: int, samples: multiprocessing.Queue[Any]) -> None:
    numba.set_num_threads(1)
    parent = os.getppid()
    for sample in source(seed):
        while True:
            try:
                samples.put(sample, timeout=_ALIVE_S)
                break
            except queue.Full:
                # a trainer that was killed cannot end this process, and nobody else would
                if os.getppid() != parent:
                    return
