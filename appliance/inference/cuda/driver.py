"""What the runtime asks of a GPU: memory, streams, events, kernels, graphs.

Thin on purpose: in the tests a processor stands in for the GPU, running the kernels' own sources. Pointers and stream handles are plain
integers, as every other library on the device takes them. Work on a stream is done in order; streams wait for each other by events only.
Every call may return before its work is done, except ``synchronise``, ``reach``, ``elapsed_ms`` and ``memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from appliance.errors import InferenceError

Dim = tuple[int, int, int]
Argument = np.generic
"""A kernel's argument: a numpy scalar of exactly the parameter's type; pointers are ``numpy.uint64``."""


@dataclass(frozen=True)
class Device:
    """The card.

    Attributes:
        name: as the maker calls it.
        capability: compute capability, e.g. (8, 6).
        total_bytes: its memory.
        multiprocessors: how many.
        clock_khz: highest clock of the multiprocessors.
        driver: highest CUDA version of the driver, e.g. 13000.
    """

    name: str
    capability: tuple[int, int]
    total_bytes: int
    multiprocessors: int
    clock_khz: int
    driver: int


class Graph(Protocol):
    """Work on a stream, recorded once, to be done again and again with one call."""

    def launch(self, stream: int) -> None:
        """Do it once more, on this stream."""


class Driver(Protocol):
    """A GPU. Every call raises InferenceError: INF-060 where memory is too little, INF-061 where the card failed."""

    @property
    def device(self) -> Device:
        """The card."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes on the card, other processes considered."""

    def allocate(self, size: int) -> int:
        """Device memory of ``size`` bytes, aligned to 256; its content is whatever was there."""

    def free(self, pointer: int) -> None:
        """Give memory back."""

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array that the card can read and write while the processor does other work."""

    def upload(self, pointer: int, array: NDArray[Any], stream: int) -> None:
        """Copy a C-contiguous array to the device; ``array`` must stay as it is until the stream has come so far."""

    def download(self, array: NDArray[Any], pointer: int, stream: int) -> None:
        """Copy from the device into a C-contiguous array."""

    def fill(self, pointer: int, value: int, size: int, stream: int) -> None:
        """Set ``size`` bytes to ``value``."""

    def stream(self) -> int:
        """A new stream."""

    def synchronise(self, stream: int) -> None:
        """Wait until everything on the stream is done."""

    def event(self) -> Any:
        """A new event."""

    def record(self, event: Any, stream: int) -> None:
        """The event happens when the stream has come so far."""

    def wait(self, stream: int, event: Any) -> None:
        """What follows on the stream waits for the event."""

    def reach(self, event: Any) -> None:
        """Wait until a recorded event has happened."""

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Milliseconds between two recorded events; waits for the second."""

    def load(self, image: bytes) -> None:
        """Take the kernels of a fatbin or cubin. Raises INF-065 where it has none for this card."""

    def launch(self, kernel: str, *, grid: Dim, block: Dim, arguments: Sequence[Argument], stream: int) -> None:
        """Start a kernel."""

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        """What ``work`` puts on the stream, as a graph; nothing of it is done yet. None where this cannot be had."""

    def close(self) -> None:
        """Give everything back."""


def card_failed(what: str, error: BaseException | str) -> InferenceError:
    """INF-061: the card failed at ``what``."""
    return InferenceError("INF-061", zh=f"显卡在运行中出错：{what}。", en=f"The graphics card failed while it was to {what}: {error}")


def too_little_memory(wanted: int, free: int) -> InferenceError:
    """INF-060: there is not enough memory on the card."""
    mib = 1 << 20
    return InferenceError(
        "INF-060",
        zh=f"显存不足：需要 {-(-wanted // mib)} MiB，可用 {free // mib} MiB。",
        en=f"Too little memory on the graphics card: {-(-wanted // mib)} MiB needed, {free // mib} MiB to be had.",
        wanted=wanted,
        free=free,
    )


def no_device(why: str, error: BaseException | None = None) -> InferenceError:
    """INF-064: there is no GPU that can be used."""
    detail = f": {error}" if error is not None else ""
    return InferenceError("INF-064", zh=f"没有可用的显卡：{why}。", en=f"There is no graphics card to be used: {why}{detail}.")
