"""The GPU by pycuda. The card's primary context is taken, so that TensorRT, ONNX Runtime and PyTorch share memory and streams with us.

pycuda has no stream capture; those five calls go to the driver's library directly, as the CUDA driver API documents them.
"""

from __future__ import annotations

import atexit
import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from logging import getLogger
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from appliance.errors import InferenceError
from appliance.inference.cuda.driver import Argument, Device, Dim, Driver, Graph, card_failed, no_device, too_little_memory

log = getLogger(__name__)

_ALIGNED = 256
_CAPTURE_THREAD_LOCAL = 1
_LIBRARY = "libcuda.so.1"


def open_driver(number: int = 0) -> Driver:
    """The GPU of that number.

    Raises:
        InferenceError: INF-064 where pycuda, the driver or the card is missing.
    """
    try:
        cuda = import_module("pycuda.driver")
    except (ImportError, OSError) as error:
        raise no_device("pycuda or the driver is not installed", error) from error
    try:
        cuda.init()
        if cuda.Device.count() <= number:
            raise no_device(f"no card number {number}")
        return PycudaDriver(cuda, cuda.Device(number))
    except cuda.Error as error:
        raise no_device("the driver does not start", error) from error


class PycudaDriver:
    """A card; see the protocol ``Driver``.

    Args:
        cuda: the module ``pycuda.driver``, initialised.
        device: one of its devices.
    """

    def __init__(self, cuda: Any, device: Any) -> None:
        self._cuda = cuda
        self._context = device.retain_primary_context()
        self._context.push()
        self._device = Device(
            name=str(device.name()),
            capability=tuple(device.compute_capability()),
            total_bytes=int(device.total_memory()),
            multiprocessors=int(device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT)),
            clock_khz=int(device.get_attribute(cuda.device_attribute.CLOCK_RATE)),
            driver=int(cuda.get_driver_version()),
        )
        self._held: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._module: Any = None
        self._functions: dict[str, Any] = {}
        self._capturing = _Capturing()
        self._open = True
        # pycuda ends the process with SIGABRT where a context is still active when Python ends
        atexit.register(self.close)

    @property
    def device(self) -> Device:
        """The card."""
        return self._device

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._cuda.Error as error:
            raise card_failed(what, error) from error

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        with self._doing("tell its memory"):
            free, total = self._cuda.mem_get_info()
        return int(free), int(total)

    def allocate(self, size: int) -> int:
        """Device memory."""
        wanted = -(-max(size, 1) // _ALIGNED) * _ALIGNED
        try:
            held = self._cuda.mem_alloc(wanted)
        except self._cuda.MemoryError as error:
            raise too_little_memory(wanted, self.memory()[0]) from error
        except self._cuda.Error as error:
            raise card_failed("give memory", error) from error
        self._held[int(held)] = held
        return int(held)

    def free(self, pointer: int) -> None:
        """Give memory back."""
        with self._doing("take memory back"):
            self._held.pop(pointer).free()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Page-locked host memory."""
        with self._doing("lock pages"):
            return np.asarray(self._cuda.pagelocked_empty(shape, np.dtype(dtype)))

    def upload(self, pointer: int, array: NDArray[Any], stream: int) -> None:
        """To the device."""
        with self._doing("upload"):
            self._cuda.memcpy_htod_async(pointer, array, self._streams[stream])

    def download(self, array: NDArray[Any], pointer: int, stream: int) -> None:
        """From the device."""
        with self._doing("download"):
            self._cuda.memcpy_dtoh_async(array, pointer, self._streams[stream])

    def fill(self, pointer: int, value: int, size: int, stream: int) -> None:
        """Set bytes."""
        with self._doing("clear memory"):
            self._cuda.memset_d8_async(pointer, value, size, self._streams[stream])

    def stream(self) -> int:
        """A new stream."""
        with self._doing("make a stream"):
            made = self._cuda.Stream()
        self._streams[int(made.handle)] = made
        return int(made.handle)

    def synchronise(self, stream: int) -> None:
        """Wait for a stream."""
        with self._doing("finish"):
            self._streams[stream].synchronize()

    def event(self) -> Any:
        """A new event."""
        with self._doing("make an event"):
            return self._cuda.Event()

    def record(self, event: Any, stream: int) -> None:
        """Mark a place on a stream."""
        with self._doing("record an event"):
            event.record(self._streams[stream])

    def wait(self, stream: int, event: Any) -> None:
        """Let a stream wait."""
        with self._doing("wait for an event"):
            self._streams[stream].wait_for_event(event)

    def reach(self, event: Any) -> None:
        """Wait for an event."""
        with self._doing("finish"):
            event.synchronize()

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Time between two events."""
        with self._doing("time"):
            end.synchronize()
            return float(start.time_till(end))

    def load(self, image: bytes) -> None:
        """Take the kernels."""
        try:
            self._module = self._cuda.module_from_buffer(image)
        except self._cuda.Error as error:
            major, minor = self._device.capability
            raise InferenceError(
                "INF-065",
                zh=f"显卡程序与本机显卡不符（计算能力 {major}.{minor}）。",
                en=f"The compiled kernels cannot be used on this card (compute capability {major}.{minor}): {error}",
            ) from error
        self._functions.clear()

    def launch(self, kernel: str, *, grid: Dim, block: Dim, arguments: Sequence[Argument], stream: int) -> None:
        """Start a kernel."""
        with self._doing(f"run {kernel}"):
            if kernel not in self._functions:
                self._functions[kernel] = self._module.get_function(kernel)
            self._functions[kernel](*arguments, grid=grid, block=block, stream=self._streams[stream])

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        """Record what ``work`` puts on the stream; None where something in it cannot be recorded. A lost card will say so itself."""
        try:
            return self._capturing.record(stream, work)
        except InferenceError as error:
            log.info("the batches are started one by one: %s", error)
            return None

    def close(self) -> None:
        """Give everything back; after a failure of the card nothing more can be done than to forget it."""
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        try:
            for held in self._held.values():
                held.free()
            self._held.clear()
            self._streams.clear()
            self._functions.clear()
            self._module = None
        except self._cuda.Error as error:
            raise card_failed("close", error) from error
        finally:
            self._context.pop()
            self._context.detach()


class _Capturing:
    """Stream capture by the driver's own library."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_LIBRARY)

    def record(self, stream: int, work: Callable[[], None]) -> Graph:
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_CAPTURE_THREAD_LOCAL))
        try:
            work()
        finally:
            self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        finally:
            self._call("cuGraphDestroy", graph)
        return _Recorded(self._call, ready)

    def _call(self, name: str, *arguments: Any) -> None:
        status = int(getattr(self._library, name)(*arguments))
        if status:
            raise card_failed(f"call {name}", f"CUDA error {status}")


class _Recorded:
    """A graph, ready to launch."""

    def __init__(self, call: Callable[..., None], ready: ctypes.c_void_p) -> None:
        self._call = call
        self._ready = ready

    def launch(self, stream: int) -> None:
        """Do it once more."""
        self._call("cuGraphLaunch", self._ready, ctypes.c_void_p(stream))
