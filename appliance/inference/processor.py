"""The processor: what it multiplies fast, how many threads the analysis should have, and which precision follows from that.

Flags are those of ``/proc/cpuinfo`` (Linux, x86: ``flags``, ARM: ``Features``).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.errors import Reason

Precision = Literal["int8", "bf16", "f16", "f32"]

CPUINFO = Path("/proc/cpuinfo")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_BYTES = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "asimddp")
_BF16 = ("amx_bf16", "avx512_bf16")
_MANY = 4
"""From so many cores on one is left to receiver and kiosk; with fewer the units' CPU weights see to it that they come first."""


@dataclass(frozen=True)
class Processor:
    """A processor as far as inference goes.

    Attributes:
        machine: ``x86_64``, ``aarch64``.
        flags: what it can do.
        cores: cores that this process may use; two threads of one core count once.
        quota: processors that the control group grants, or None.
    """

    machine: str
    flags: frozenset[str]
    cores: int
    quota: float | None = None

    @property
    def threads(self) -> int:
        """Threads for the analysis: one a core (its second thread adds nothing to matrix arithmetic), and of many cores one is left."""
        cores = self.cores if self.cores < _MANY else self.cores - 1
        return max(1, min(cores, int(self.quota) if self.quota is not None and self.quota >= 1 else cores))

    @property
    def multiplies_bytes(self) -> tuple[str, ...]:
        """Its instructions for INT8, best first."""
        return tuple(flag for flag in _BYTES if flag in self.flags)

    @property
    def multiplies_bf16(self) -> tuple[str, ...]:
        """Its instructions for bf16, best first."""
        return tuple(flag for flag in _BF16 if flag in self.flags)


def this_processor(*, cpuinfo: Path = CPUINFO, cpu_max: Path = CPU_MAX, allowed: Sequence[int] | None = None) -> Processor:
    """The processor that we run on; what cannot be read counts as absent."""
    try:
        text = cpuinfo.read_text("utf-8")
    except OSError:
        text = ""
    usable = set(os.sched_getaffinity(0) if allowed is None else allowed)
    cores, flags = set(), frozenset[str]()
    for block in text.split("\n\n"):
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())}
        flags = frozenset((fields.get("flags") or fields.get("Features") or "").split()) or flags
        if fields.get("processor", "").isdigit() and int(fields["processor"]) in usable:
            cores.add((fields.get("physical id", ""), fields.get("core id", fields["processor"])))
    return Processor(machine=platform.machine(), flags=flags, cores=len(cores) or len(usable), quota=_quota(cpu_max))


def _quota(path: Path) -> float | None:
    """Processors granted by the control group (cgroup v2, ``cpu.max``: microseconds of a period)."""
    try:
        granted, period = path.read_text("utf-8").split()
        return int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def best_precision(processor: Processor, *, native: Sequence[str], int8: bool) -> tuple[Precision, Reason]:
    """The precision to compute in, and why.

    Args:
        processor: this one.
        native: what OpenVINO says that it does natively here (``OPTIMIZATION_CAPABILITIES``).
        int8: whether an accepted INT8 table lies beside the weights.
    """
    if int8 and "INT8" in native and processor.multiplies_bytes:
        flag = processor.multiplies_bytes[0]
        return "int8", Reason("CPU", f"处理器有 INT8 指令（{flag}）", f"the processor multiplies bytes ({flag})")
    if "BF16" in native and processor.multiplies_bf16:
        flag = processor.multiplies_bf16[0]
        return "bf16", Reason("CPU", f"处理器有 bf16 指令（{flag}）", f"the processor multiplies bf16 ({flag})")
    if "FP16" in native and processor.machine == "aarch64":
        return "f16", Reason("CPU", "ARM 处理器直接计算半精度", "the ARM processor computes in half precision")
    return "f32", Reason("CPU", "处理器无低精度乘法指令", "the processor has no instructions for less than f32")
