"""TensorRT as it is installed: the full library (``tensorrt``), else TensorRT for RTX (``tensorrt_rtx``), which is one wheel.

Both have one Python interface (TensorRT 10 and 11; docs.nvidia.com/deeplearning/tensorrt). What differs: the full library builds for the
device before it only; RTX builds for named compute capabilities without any device, and compiles its kernels when they first run.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from appliance.errors import InferenceError

log = logging.getLogger(__name__)

NAMES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""In order of preference; the last is what the wheels of ``tensorrt_rtx`` hold."""
Capability = tuple[int, int]
"""Compute capability of a CUDA device, such as (8, 6)."""
Importer = Callable[[str], ModuleType]
_LONGEST = 2000


def capability_text(capability: Capability) -> str:
    """``8.6`` for (8, 6)."""
    return f"{capability[0]}.{capability[1]}"


def parse_capability(text: str) -> Capability:
    """(8, 6) for ``8.6``; ValueError for anything else."""
    found = re.fullmatch(r"(\d{1,2})\.(\d)", text)
    if found is None:
        raise ValueError(f"{text!r} is no compute capability such as 8.6")
    return int(found[1]), int(found[2])


@dataclass
class Messages:
    """What the library said during one piece of work: its complaints, and its own description of the layers that it built."""

    complaints: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    def take(self, *, complaint: bool, text: str) -> None:
        """Sort one message."""
        if complaint:
            self.complaints.append(text[:_LONGEST])
            log.warning("TensorRT: %s", text[:_LONGEST])
        elif text.startswith("Layers:"):
            self.layers.extend(_layer_lines(text))

    def cause(self) -> str:
        """The first complaint: what follows is mostly its echo."""
        return self.complaints[0] if self.complaints else "no reason given"


def _layer_lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line.startswith("Name: "))


@dataclass(frozen=True)
class TensorRtLibrary:
    """The library, loaded.

    Attributes:
        module: the Python module.
        name: ``tensorrt`` or ``tensorrt_rtx``.
    """

    module: Any
    name: str

    @property
    def version(self) -> str:
        """Such as ``1.7.1.116``."""
        return str(self.module.__version__)

    @property
    def builds_ahead(self) -> bool:
        """Whether engines for another device than the present one can be built, without any."""
        return hasattr(self.module.IBuilderConfig, "set_compute_capability")

    def ahead(self) -> tuple[Capability, ...]:
        """The compute capabilities that can be named to the builder."""
        if not self.builds_ahead:
            return ()
        numbers = sorted(int(name[2:]) for name in dir(self.module.ComputeCapability) if re.fullmatch(r"SM\d+", name))
        return tuple(divmod(number, 10) for number in numbers)

    def logger(self, messages: Messages) -> Any:
        """A logger of the library that sorts its messages into ``messages``."""
        severity = self.module.ILogger.Severity

        class Logger(self.module.ILogger):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()

            def log(self, level: Any, text: str) -> None:
                # an exception must not run up through the library's own code
                messages.take(complaint=level in (severity.ERROR, severity.INTERNAL_ERROR), text=str(text))

        return Logger()


def open_library(*, importer: Importer = importlib.import_module) -> TensorRtLibrary:
    """Load the library.

    Raises:
        InferenceError: INF-070 where none is installed or none can be loaded.
    """
    causes = []
    for name in NAMES:
        try:
            module = importer(name)
            if hasattr(module, "Builder"):
                return TensorRtLibrary(module=module, name=name.removesuffix("_bindings"))
            causes.append(f"{name} has no builder")
        except (ImportError, OSError, RuntimeError, AttributeError) as error:
            causes.append(f"{name}: {error}")
    raise InferenceError(
        "INF-070", zh="未安装可用的 TensorRT 程序库。", en=f"No TensorRT library can be loaded ({'; '.join(causes)}).", causes=causes
    )
