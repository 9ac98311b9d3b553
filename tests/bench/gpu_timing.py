"""Times on the card itself, by its own events, and what the card can do at best."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from appliance.inference.cuda.driver import Argument, Dim, Driver, Graph
from appliance.inference.cuda.network import DeviceNetwork, Tile

COPY_BYTES = 1 << 30
GEMM_SIDE = 8192
RUNS = 5


class TimedDriver:
    """A driver with events around every kernel, which remembers how little memory was free; no graphs, so that every launch is seen."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._events: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self.least_free = driver.memory()[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def allocate(self, size: int) -> int:
        """As the driver's."""
        pointer = self._driver.allocate(size)
        self.least_free = min(self.least_free, self._driver.memory()[0])
        return pointer

    def launch(self, kernel: str, *, grid: Dim, block: Dim, arguments: Sequence[Argument], stream: int) -> None:
        """As the driver's, timed."""
        self.timed(kernel, stream, lambda: self._driver.launch(kernel, grid=grid, block=block, arguments=arguments, stream=stream))

    def timed(self, name: str, stream: int, work: Callable[[], None]) -> None:
        """Events before and after some work on a stream."""
        start, end = self._driver.event(), self._driver.event()
        self._driver.record(start, stream)
        work()
        self._driver.record(end, stream)
        self._events[name].append((start, end))

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        """None."""
        return None

    def forget(self) -> None:
        """Begin anew: the first run of an engine is not like the others."""
        self._events.clear()

    def seconds(self) -> dict[str, float]:
        """By kernel, all its launches together."""
        return {name: sum(self._driver.elapsed_ms(*pair) for pair in pairs) / 1e3 for name, pairs in self._events.items()}


class TimedNetwork:
    """A device network that a ``TimedDriver`` times as the kernel ``network``."""

    def __init__(self, network: DeviceNetwork, driver: TimedDriver) -> None:
        self._network = network
        self._driver = driver
        self.runs: list[tuple[int, Tile]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile, stream: int) -> None:
        """As the network's, timed."""
        self.runs.append((batch, tile))
        self._driver.timed("network", stream, lambda: self._network.run_on_device(pointers, batch=batch, tile=tile, stream=stream))


def copy_ceiling(driver: Driver, *, size: int = COPY_BYTES) -> float:
    """Bytes a second that our copy kernel moves, read and written together: the memory's ceiling."""
    stream = driver.stream()
    source, target = driver.allocate(size), driver.allocate(size)
    driver.fill(source, 1, size, stream)
    grid = (min(driver.device.multiprocessors * 32, size // 16 // 256), 1, 1)
    arguments = (np.uint64(source), np.uint64(target), np.uint64(size // 16))
    seconds = []
    for _ in range(RUNS + 2):
        start, end = driver.event(), driver.event()
        driver.record(start, stream)
        driver.launch("copy_ceiling", grid=grid, block=(256, 1, 1), arguments=arguments, stream=stream)
        driver.record(end, stream)
        seconds.append(driver.elapsed_ms(start, end) / 1e3)
    driver.free(source)
    driver.free(target)
    return 2 * size / min(seconds[2:])


def gemm_ceiling() -> float:
    """Operations a second of a large half-precision matrix product by cuBLAS: the arithmetic's ceiling. ImportError without PyTorch."""
    import torch

    a, b = (torch.randn(GEMM_SIDE, GEMM_SIDE, device="cuda", dtype=torch.float16) for _ in range(2))
    for _ in range(3):
        a @ b
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(10):
        a @ b
    end.record()
    end.synchronize()
    return float(10 * 2 * GEMM_SIDE**3 / (start.elapsed_time(end) / 1e3))


def wall_seconds(work: Callable[[], object], *, runs: int = RUNS) -> float:
    """Median of the wall-clock seconds, after one run that does not count."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
