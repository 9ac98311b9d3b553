"""A GPU made of the processor: the same driver protocol, the same kernel sources compiled by g++, memory with guards around it.

What a real card would refuse is refused: unknown kernels, arguments of a wrong number or type, blocks and grids that are too large, copies
beyond an allocation, memory freed twice. New memory holds 0xFF, not zeros. ``fail_at`` makes the n-th call fail as a lost card does.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from appliance.inference.cuda.driver import Argument, Device, Dim, Graph, card_failed, too_little_memory

KERNELS = Path(__file__).resolve().parents[4] / "appliance" / "inference" / "cuda" / "kernels"
SHIM = Path(__file__).with_name("cuda_on_host.hpp")
CACHE = Path(__file__).resolve().parents[4] / "build" / "hostcuda"
FLAGS = ("-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wl,-Bsymbolic")

_GUARD = 256
_TYPES = {"int": "int32", "u32": "uint32", "u64": "uint64", "float": "float32", "double": "float64"}


def kernel_parameters() -> dict[str, tuple[str, ...]]:
    """The numpy type of each parameter of each kernel, read from the sources."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(KERNELS.glob("*.cu")):
        for name, inside in re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\)', path.read_text("utf-8")):
            found[name] = tuple("uint64" if "*" in one else _TYPES[one.split()[-2]] for one in _parameters(inside))
    return found


def _parameters(inside: str) -> list[str]:
    """``float *a, *b`` is not used in kernels, so a comma always parts two whole parameters."""
    return [" ".join(one.split()) for one in inside.split(",")]


def compiled() -> ctypes.CDLL:
    """The kernels as a library; compiled once for each content of the sources."""
    sources = sorted([*KERNELS.glob("*.cu"), *KERNELS.glob("*.cuh"), SHIM])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources) + " ".join(FLAGS).encode()).hexdigest()[:24]
    library = CACHE / f"{digest}.so"
    if not library.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        source = CACHE / f"{digest}.{os.getpid()}.cpp"
        exported = "".join(f"ON_HOST({name})\n" for name in kernel_parameters())
        source.write_text(f'#include "{SHIM}"\n#include "coronet.cu"\n{exported}', "utf-8")
        made = source.with_suffix(".so")
        try:
            subprocess.run(["g++", *FLAGS, f"-I{KERNELS}", "-o", str(made), str(source)], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"the kernels do not compile on the host:\n{error.stderr}") from error
        made.replace(library)
        source.unlink()
    return ctypes.CDLL(str(library))


@dataclass
class HostDriver:
    """See the module. ``total`` and ``taken`` are bytes of the made-up card; ``capturing``: whether it can record graphs."""

    total: int = 8 << 30
    taken: int = 0
    capability: tuple[int, int] = (8, 6)
    capturing: bool = True
    fail_at: int | None = None
    calls: int = 0
    launched: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        self._library = compiled()
        self._parameters = kernel_parameters()
        self._held: dict[int, tuple[NDArray[np.uint8], int]] = {}
        self._streams = 0
        self._recording: list[Callable[[], None]] | None = None
        self._lost = False
        self.closed = False

    @property
    def device(self) -> Device:
        return Device("Host", self.capability, self.total, 1, 1_000_000, 13000)

    def _count(self, what: str) -> None:
        self.calls += 1
        if self._lost or (self.fail_at is not None and self.calls >= self.fail_at):
            self._lost = True  # a lost card stays lost
            raise card_failed(what, "CUDA error 719: unspecified launch failure")

    def _do(self, work: Callable[[], None]) -> None:
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def memory(self) -> tuple[int, int]:
        self._count("tell its memory")
        return self.total - self.taken - self.held_bytes, self.total

    @property
    def held_bytes(self) -> int:
        return sum(size for _, size in self._held.values())

    def allocate(self, size: int) -> int:
        self._count("give memory")
        assert self._recording is None, "memory must not be allocated while a graph is recorded"
        if size > self.total - self.taken - self.held_bytes:
            raise too_little_memory(size, self.total - self.taken - self.held_bytes)
        whole = np.full(size + 3 * _GUARD, 0xFF, np.uint8)
        start = -whole.ctypes.data % _GUARD + _GUARD
        whole[:start] = whole[start + size :] = 0xA5
        self._held[whole.ctypes.data + start] = (whole, size)
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        return int(whole.ctypes.data + start)

    def free(self, pointer: int) -> None:
        self._count("take memory back")
        self._guards(pointer)
        del self._held[pointer]

    def _guards(self, pointer: int) -> None:
        whole, size = self._held[pointer]
        start = pointer - whole.ctypes.data
        assert (whole[:start] == 0xA5).all(), "a kernel wrote before its memory"
        assert (whole[start + size :] == 0xA5).all(), "a kernel wrote beyond its memory"

    def content(self, pointer: int) -> NDArray[np.uint8]:
        """What lies in an allocation."""
        whole, size = self._held[pointer]
        start = pointer - whole.ctypes.data
        return whole[start : start + size]

    def contents(self) -> list[NDArray[np.uint8]]:
        """What lies in all of them."""
        return [self.content(pointer) for pointer in self._held]

    def view(self, pointer: int, size: int) -> NDArray[np.uint8]:
        """Bytes on the card; they must lie in one allocation."""
        for start, (_, held) in self._held.items():
            if start <= pointer and pointer + size <= start + held:
                return self.content(start)[pointer - start : pointer - start + size]
        raise AssertionError(f"{size} bytes at {pointer:#x} lie in no allocation")

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        self._count("lock pages")
        return np.full(shape, 77, dtype)

    def upload(self, pointer: int, array: NDArray[Any], stream: int) -> None:
        self._count("upload")
        assert array.flags.c_contiguous
        self.uploaded_bytes += array.nbytes

        def work() -> None:
            self.view(pointer, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

        self._do(work)

    def download(self, array: NDArray[Any], pointer: int, stream: int) -> None:
        self._count("download")
        assert array.flags.c_contiguous
        self.downloaded_bytes += array.nbytes
        self._do(lambda: array.reshape(-1).view(np.uint8).__setitem__(slice(None), self.view(pointer, array.nbytes)))

    def fill(self, pointer: int, value: int, size: int, stream: int) -> None:
        self._count("clear memory")
        self._do(lambda: self.view(pointer, size).fill(value))

    def stream(self) -> int:
        self._count("make a stream")
        self._streams += 1
        return self._streams

    def synchronise(self, stream: int) -> None:
        self._count("finish")
        assert 1 <= stream <= self._streams

    def event(self) -> Any:
        self._count("make an event")
        return object()

    def record(self, event: Any, stream: int) -> None:
        self._count("record an event")

    def wait(self, stream: int, event: Any) -> None:
        self._count("wait for an event")

    def reach(self, event: Any) -> None:
        self._count("finish")

    def elapsed_ms(self, start: Any, end: Any) -> float:
        self._count("time")
        return 1.0

    def load(self, image: bytes) -> None:
        self._count("load")
        assert image, "an empty module"

    def launch(self, kernel: str, *, grid: Dim, block: Dim, arguments: Sequence[Argument], stream: int) -> None:
        self._count(f"run {kernel}")
        wanted = self._parameters[kernel]
        assert tuple(a.dtype.name for a in arguments) == wanted, f"{kernel} takes {wanted}, not {[a.dtype.name for a in arguments]}"
        possible = np.prod(block) <= 1024 and block[2] <= 64 and grid[0] < 2**31 and max(grid[1:]) <= 65535
        assert possible, f"{kernel}: grid {grid}, block {block}"
        assert min(*grid, *block) >= 1, f"{kernel}: an empty launch, grid {grid}, block {block}"
        self.launched[kernel] += 1
        holders = [np.array(a) for a in arguments]
        pointers = (ctypes.c_void_p * len(holders))(*[h.ctypes.data for h in holders])
        shape = (ctypes.c_uint * 6)(*grid, *block)

        def work() -> None:
            getattr(self._library, f"host_{kernel}")(shape, pointers)
            _ = holders  # they must live as long as the launch can be repeated

        self._do(work)

    def on_stream(self, work: Callable[[], None]) -> None:
        """Other work on a stream: what a device network does."""
        self._do(work)

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        self._count("record a graph")
        if not self.capturing:
            return None
        self._recording = []
        try:
            work()
            done = self._recording
        finally:
            self._recording = None
        return _Recorded(self, done)

    def close(self) -> None:
        if not self._lost:
            for pointer in list(self._held):
                self._guards(pointer)
        self._held.clear()
        self.closed = True


@dataclass
class _Recorded:
    driver: HostDriver
    steps: list[Callable[[], None]]

    def launch(self, stream: int) -> None:
        self.driver._count("launch a graph")
        self.driver.replayed += 1
        for step in self.steps:
            step()
