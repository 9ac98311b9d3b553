# ruff: noqa: N802, N815 - the names are the library's
"""Health of the GPU, through a library in memory with NVML's own names, and the real one where there is a GPU."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.errors import HardwareError, Reason
from appliance.hardware.gpu import Gpu, GpuState, NvmlProbe, gpu_fault
from appliance.hardware.keeper import Keeper
from tests.peers.waiting import wait_until


class NVMLError(Exception):
    """The library's own."""


@dataclass
class Nvml:
    """The functions of pynvml that we call, with their names and constants (values as in nvml.h)."""

    celsius: int = 50
    reasons: int = 0
    ecc: int | None = 0
    xids: list[int] = field(default_factory=list)
    gone: bool = False
    telling: bool = True
    """Whether the card tells why it is slow."""
    opened: int = 0

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED = 1
    NVML_VOLATILE_ECC = 0
    nvmlEventTypeXidCriticalError = 8
    nvmlClocksThrottleReasonHwThermalSlowdown = 0x40
    nvmlClocksThrottleReasonSwThermalSlowdown = 0x20
    nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 0x80

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"card {index}"

    def nvmlDeviceGetName(self, _card: str) -> str:
        return "NVIDIA TEST"

    def nvmlDeviceGetTemperature(self, _card: str, _sensor: int) -> int:
        if self.gone:
            raise NVMLError("GPU is lost")
        return self.celsius

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _card: str) -> int:
        if not self.telling:
            raise NVMLError("Not Supported")
        return self.reasons

    def nvmlDeviceGetTotalEccErrors(self, _card: str, _kind: int, _counter: int) -> int:
        if self.ecc is None:
            raise NVMLError("Not Supported")
        return self.ecc

    def nvmlEventSetCreate(self) -> str:
        return "events"

    def nvmlEventSetFree(self, _events: str) -> None:
        if self.gone:
            raise NVMLError("GPU is lost")

    def nvmlDeviceRegisterEvents(self, _card: str, _types: int, _events: str) -> None:
        pass

    def nvmlEventSetWait(self, _events: str, _timeout: int) -> Any:
        if not self.xids:
            raise NVMLError("Timeout")
        return type("Event", (), {"eventData": self.xids.pop(0)})


@pytest.mark.parametrize(
    ("library", "code"),
    [
        (Nvml(), None),
        (Nvml(ecc=None), None),
        (Nvml(celsius=90), "HW-041"),
        (Nvml(reasons=0x40), "HW-041"),
        (Nvml(reasons=0x4), None),
        (Nvml(ecc=2), "HW-042"),
        (Nvml(xids=[79]), "HW-043"),
        (Nvml(xids=[31]), None),
        (Nvml(xids=[31, 13, 79]), "HW-043"),
        (Nvml(telling=False), None),
    ],
)
def test_what_the_card_says_and_what_it_means(library: Nvml, code: str | None) -> None:
    probe = NvmlProbe(library=library)
    fault = gpu_fault(probe.look(), maximum_celsius=88)
    assert (fault.code if fault else None) == code
    probe.close()
    assert library.opened == 0


def test_a_card_that_falls_off_the_bus_is_named() -> None:
    with pytest.raises(HardwareError, match="HW-044"):
        NvmlProbe(library=Nvml(gone=True)).look()


def test_a_card_that_has_gone_ends_no_thread_of_the_daemon() -> None:
    """Even giving the library back fails then; what the keeper does not know would end the daemon."""
    said: list[str] = []
    device = Gpu(probe=lambda: NvmlProbe(library=Nvml(gone=True)), maximum_celsius=88)
    stop = threading.Event()

    def report(_name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        said.append(reason.code if reason else detail)
        stop.set()

    Keeper(name="gpu", device=device, report=report, first_wait_s=0.01).run(stop)
    assert said == ["HW-044"]


def test_heat_passes_a_critical_error_stays() -> None:
    library = Nvml(celsius=95)
    said: list[tuple[bool, str]] = []

    def report(_name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        said.append((ready, reason.code if reason else detail))

    device = Gpu(probe=lambda: NvmlProbe(library=library), maximum_celsius=88, poll_s=0.01)
    stop = threading.Event()
    thread = threading.Thread(target=Keeper(name="gpu", device=device, report=report, first_wait_s=0.01).run, args=(stop,), daemon=True)
    thread.start()
    wait_until(lambda: said == [(False, "HW-041")])
    library.celsius = 60
    wait_until(lambda: said[-1] == (True, "NVIDIA TEST"))
    library.xids.append(79)
    wait_until(lambda: said[-1] == (False, "HW-043"))
    stop.set()
    thread.join(20)
    with pytest.raises(HardwareError, match="HW-043"):
        device.serve(threading.Event(), ready=lambda _text: None)
    assert library.opened == 0


def test_the_real_library_or_a_named_reason_why_not() -> None:
    try:
        state: GpuState | str = NvmlProbe().look()
    except HardwareError as error:
        state = error.code
    assert state == "HW-040" or (isinstance(state, GpuState) and 0 < state.celsius < 120)
