"""Health of the GPU, by NVIDIA's management library (NVML; docs.nvidia.com/deploy/nvml-api), where library and driver are there.

``pynvml`` (nvidia-ml-py) is imported only when asked for: a box without a GPU does not need it, one whose driver is missing says so.
A GPU that is not well is reported; the analysis then runs on the processor.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from appliance.errors import HardwareError

POLL_S = 5.0
MOST_EVENTS = 64
"""Read in one look; what is left is read in the next."""
XID_IGNORED = frozenset({13, 31, 43, 45})
"""Faults of a program, not of the card (NVIDIA, "XID errors"): the analyst that had them has ended, the next one tests itself."""
_SLOWDOWNS = (
    "nvmlClocksThrottleReasonHwThermalSlowdown",
    "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)


@dataclass(frozen=True)
class GpuState:
    """One look at the card."""

    name: str
    celsius: int
    slowed: bool
    """By heat or by its power supply."""
    uncorrected: int
    """Memory errors that ECC could not correct, since the driver was loaded; 0 for a card without ECC."""
    xid: int | None
    """The last critical event since the look before."""


class GpuProbe(Protocol):
    """Looks at a GPU. Raises HardwareError HW-040 (no driver or library) or HW-044 (the card has gone)."""

    def look(self) -> GpuState:
        """Look once."""
        ...

    def close(self) -> None:
        """Let go of the library."""
        ...


class NvmlProbe:
    """A `GpuProbe` over NVML.

    Args:
        index: which card.
        library: the module ``pynvml``; imported if not given.

    Raises:
        HardwareError: HW-040.
    """

    def __init__(self, *, index: int = 0, library: Any = None) -> None:
        try:
            self._nvml = importlib.import_module("pynvml") if library is None else library
            self._nvml.nvmlInit()
            self._card = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._name = str(self._nvml.nvmlDeviceGetName(self._card))
        except ImportError as error:
            raise _absent("pynvml") from error
        except self._nvml.NVMLError as error:
            raise _absent(str(error)) from error
        self._events = self._listen()

    def look(self) -> GpuState:
        """See `GpuProbe`."""
        nvml = self._nvml
        try:
            celsius = int(nvml.nvmlDeviceGetTemperature(self._card, nvml.NVML_TEMPERATURE_GPU))
            slowed = self._slowed()
        except nvml.NVMLError as error:
            raise HardwareError("HW-044", zh="GPU 无响应", en=f"the GPU does not answer: {error}") from error
        return GpuState(name=self._name, celsius=celsius, slowed=slowed, uncorrected=self._uncorrected(), xid=self._xid())

    def close(self) -> None:
        """See `GpuProbe`."""
        with contextlib.suppress(self._nvml.NVMLError):  # a card that has gone answers nothing any more
            if self._events is not None:
                self._nvml.nvmlEventSetFree(self._events)
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _slowed(self) -> bool:
        try:
            reasons = int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._card))
        except self._nvml.NVMLError:
            return False  # a card that does not tell; one that has gone does not tell its temperature either
        return any(reasons & int(getattr(self._nvml, name)) for name in _SLOWDOWNS)

    def _uncorrected(self) -> int:
        nvml = self._nvml
        try:
            kind, counter = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
            return int(nvml.nvmlDeviceGetTotalEccErrors(self._card, kind, counter))
        except nvml.NVMLError:
            return 0  # a card without ECC

    def _listen(self) -> Any:
        """Events of the card; None where it has none (some cards and virtual ones)."""
        nvml = self._nvml
        try:
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(self._card, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError:
            return None
        return events

    def _xid(self) -> int | None:
        """The worst since the look before: a fault of a program must not hide one of the card behind it."""
        found: int | None = None
        for _ in range(MOST_EVENTS if self._events is not None else 0):
            try:
                event = self._nvml.nvmlEventSetWait(self._events, 0)
            except self._nvml.NVMLError:
                break  # the wait is over: nothing more has happened
            found = int(event.eventData)
            if found not in XID_IGNORED:
                break
        return found


def gpu_fault(state: GpuState, *, maximum_celsius: float) -> HardwareError | None:
    """What is wrong with the card so that nothing may be computed on it; None if it is well."""
    if state.xid is not None and state.xid not in XID_IGNORED:
        return HardwareError("HW-043", zh=f"GPU 报告严重错误 Xid {state.xid}", en=f"the GPU reports critical error Xid {state.xid}")
    if state.uncorrected:
        zh, en = f"GPU 显存有 {state.uncorrected} 个不可纠正错误", f"the GPU's memory has {state.uncorrected} uncorrectable errors"
        return HardwareError("HW-042", zh=zh, en=en)
    if state.celsius >= maximum_celsius or state.slowed:
        zh, en = f"GPU 过热或降频({state.celsius} °C)", f"the GPU is too hot or slowed down ({state.celsius} °C)"
        return HardwareError("HW-041", zh=zh, en=en)
    return None


class Gpu:
    """A `Device` (see `appliance.hardware.keeper`): ready while the card is well. A critical error stays until the service starts anew.

    Args:
        probe: opens the library.
        maximum_celsius: from when on the card is too hot.
        poll_s: how often it is looked at.
    """

    def __init__(self, *, probe: Callable[[], GpuProbe], maximum_celsius: float, poll_s: float = POLL_S) -> None:
        self._probe = probe
        self._maximum_celsius = maximum_celsius
        self._poll_s = poll_s
        self._broken: HardwareError | None = None

    def serve(self, stop: threading.Event, *, ready: Callable[[str], None]) -> None:
        """See `appliance.hardware.keeper.Device`. Raises HW-040 to HW-044."""
        if self._broken is not None:
            raise self._broken
        probe = self._probe()
        try:
            while True:
                state = probe.look()
                fault = gpu_fault(state, maximum_celsius=self._maximum_celsius)
                if fault is not None:
                    self._broken = fault if fault.code in {"HW-042", "HW-043"} else None
                    raise fault
                ready(state.name)
                if stop.wait(self._poll_s):
                    return
        finally:
            probe.close()


def _absent(cause: str) -> HardwareError:
    return HardwareError("HW-040", zh="无法读取 GPU 状态(缺少驱动或程序库)", en=f"no health of the GPU: {cause}")
