"""Building a TensorRT engine from a network's file: parsed, given its input shapes, optimised, with progress; no device needed for RTX.

The types stand in the graph (strongly typed), so the same code serves TensorRT 10 and 11, which has no other way.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.errors import InferenceError
from appliance.inference.tensorrt_layers import Layers, read_layers
from appliance.inference.tensorrt_library import Capability, Messages, TensorRtLibrary, capability_text
from appliance.inference.tensorrt_shapes import Shapes

Progress = Callable[[float], None]
"""Told the part done, 0..1."""
INPUT = "channels"
WORKSPACE_BYTES = 2 << 30
"""Memory that tactics may use while they are tried and run: an 8 GB card keeps 2 GB spare beside volumes and activations."""


@dataclass(frozen=True)
class Order:
    """What is to be built.

    Attributes:
        name: of the network, for messages.
        content: its ONNX file in the wanted precision.
        shapes: of its input.
        capability: of the device that it is for; None: the present one.
    """

    name: str
    content: bytes
    shapes: Shapes
    capability: Capability | None = None


@dataclass(frozen=True)
class Built:
    """A finished engine.

    Attributes:
        plan: what the runtime takes.
        timing_cache: what was measured on the way, for the next build; may be empty.
        layers: what the engine consists of, by the builder's own description.
        seconds: how long it took.
    """

    plan: bytes
    timing_cache: bytes
    layers: Layers
    seconds: float


def build(library: TensorRtLibrary, order: Order, *, timing_cache: bytes = b"", progress: Progress | None = None) -> Built:
    """Build one engine.

    Raises:
        InferenceError: INF-071 where the library cannot build for that capability, or refuses the network.
    """
    started = time.perf_counter()
    messages = Messages()
    try:
        return _build(library, order, messages, timing_cache, progress or (lambda _: None), started)
    except (RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise _refused(order, f"{error}; {messages.cause()}") from error


def _build(library: TensorRtLibrary, order: Order, messages: Messages, timing_cache: bytes, progress: Progress, started: float) -> Built:
    trt = library.module
    logger = library.logger(messages)
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(order.content):
        raise _refused(order, "; ".join(str(parser.get_error(number).desc()) for number in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.progress_monitor = _monitor(trt, progress)
    _aim(library, order, config)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, order.shapes.least, order.shapes.usual, order.shapes.largest)
    if config.add_optimization_profile(profile) < 0:
        raise _refused(order, f"shapes {order.shapes}: {messages.cause()}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # RTX times nothing while it builds: its timing cache is an empty shell
        config.set_timing_cache(config.create_timing_cache(timing_cache), ignore_mismatch=False)
        kept = config.get_timing_cache()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _refused(order, messages.cause())
    progress(1.0)
    return Built(
        plan=bytes(plan),
        timing_cache=b"" if kept is None else bytes(kept.serialize()),
        layers=read_layers(messages.layers),
        seconds=time.perf_counter() - started,
    )


def _aim(library: TensorRtLibrary, order: Order, config: Any) -> None:
    """Name the device's capability to a builder that takes it."""
    if order.capability is None:
        return
    if order.capability not in library.ahead():
        known = ", ".join(capability_text(each) for each in library.ahead()) or "only the present device"
        raise _refused(order, f"{library.name} {library.version} does not build for {capability_text(order.capability)} ahead ({known})")
    kinds = library.module.ComputeCapability
    config.num_compute_capabilities = 1
    major, minor = order.capability
    if not config.set_compute_capability(getattr(kinds, f"SM{major}{minor}"), 0):
        raise _refused(order, f"compute capability {capability_text(order.capability)} was refused")


def _monitor(trt: Any, progress: Progress) -> Any:
    """The library's own progress as one number: phases lie in each other, each shares the step of its parent that it is part of."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self._phases: dict[str, tuple[float, float, int]] = {}
            self._done: dict[str, int] = {}
            self._told = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            first, last = 0.0, 1.0
            if parent in self._phases:
                low, high, count = self._phases[parent]
                step = (high - low) / max(count, 1)
                first = low + step * self._done[parent]
                last = first + step
            self._phases[name], self._done[name] = (first, last, steps), 0

        def step_complete(self, name: str, step: int) -> bool:
            if name in self._phases:
                first, last, steps = self._phases[name]
                self._done[name] = step + 1
                self._tell(first + (last - first) * min((step + 1) / max(steps, 1), 1.0))
            return True

        def phase_finish(self, name: str) -> None:
            phase = self._phases.pop(name, None)
            self._done.pop(name, None)
            if phase is not None:
                self._tell(phase[1])

        def _tell(self, part: float) -> None:
            if part > self._told:
                self._told = part
                progress(part)

    return Monitor()


def _refused(order: Order, cause: str) -> InferenceError:
    return InferenceError(
        "INF-071", zh=f"无法为模型 {order.name} 生成 GPU 引擎。", en=f"No GPU engine can be built of model {order.name}: {cause}"
    )
