"""Choosing the engine of this machine, and saying why: the GPU where there is one that works, else the processor's fastest."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.errors import InferenceError, Reason
from appliance.inference.cuda.binary import image_for
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.pycuda_driver import open_driver
from appliance.inference.engine import Engine
from appliance.inference.engine_cache import EngineCache
from appliance.inference.guarded import Guard, OnTrouble
from appliance.inference.onnxruntime_engine import OnnxRuntimeEngine
from appliance.inference.processor import this_processor
from appliance.inference.tensorrt_engine import OnBuild, TensorRtEngine
from appliance.inference.tensorrt_library import TensorRtLibrary, open_library
from appliance.inference.use_mark import UseMark

log = logging.getLogger(__name__)

Wanted = Literal["auto", "tensorrt", "openvino", "onnxruntime"]

NODES = (Path("/dev/nvidiactl"), Path("/dev/nvhost-gpu"), Path("/dev/nvhost-ctrl-gpu"), Path("/dev/dxg"))
"""Device nodes that a driver makes: a PC's, a Jetson's, WSL's."""
SHIPPED = Path("/usr/lib/coronet/engines")
"""Engines and kernels that came with the image."""
CHOSEN = "Chosen in the settings."


@dataclass(frozen=True)
class GpuPlan:
    """How the GPU is to be used; nothing of it matters where there is none.

    Attributes:
        cache: where engines are kept that are built here.
        shipped: where engines and kernels lie that came with the image.
        number: which card.
        on_build: told of engines being built.
        on_trouble: told each reason why the processor does what the card should have done.
        driver, library: open them; replaced in tests.
        at_exit: has something done when the process ends as it should.
        nodes: device nodes of which one is there if a driver is loaded.
    """

    cache: Path
    shipped: tuple[Path, ...] = (SHIPPED,)
    number: int = 0
    on_build: OnBuild | None = None
    on_trouble: OnTrouble | None = None
    driver: Callable[[int], Driver] = open_driver
    library: Callable[[], TensorRtLibrary] = open_library
    at_exit: Callable[[Callable[[], None]], object] = atexit.register
    nodes: tuple[Path, ...] = NODES

    @property
    def present(self) -> bool:
        """Whether a driver of a GPU is loaded at all."""
        return any(node.exists() for node in self.nodes)


def default_plan() -> GpuPlan:
    """For the command line: engines are kept in the user's own cache folder, and nowhere for a user who has none."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home: engines from a folder that others may write to would be worse than none
        caches = Path("/nonexistent")
    return GpuPlan(cache=caches / "coronet" / "engines")


def best_engine(*, wanted: Wanted = "auto", threads: int = 0, int8: bool = True, gpu: GpuPlan | None = None) -> Engine:
    """The fastest engine that works here; ``describe()`` gives the reason.

    Args:
        wanted: ``auto``, or the one engine to use.
        threads: CPU threads; 0: as many as do any good (`processor.Processor.threads`).
        int8: whether the processor may run networks in INT8 that were judged good enough in it.
        gpu: how the GPU is to be used; None: as `default_plan` has it.

    Raises:
        InferenceError: INF-030 where the wanted engine does not work on this machine.
    """
    gpu = gpu or default_plan()
    if wanted in ("openvino", "onnxruntime"):
        return processor_engine(wanted=wanted, threads=threads, int8=int8, reason=CHOSEN)
    if wanted == "auto" and not gpu.present:
        return processor_engine(threads=threads, int8=int8, reason="There is no GPU; the fastest engine that works on this machine.")
    try:
        return _card_engine(gpu, processor_engine(threads=threads, int8=int8), reason=CHOSEN if wanted == "tensorrt" else "")
    except InferenceError as error:
        if wanted == "tensorrt":
            raise InferenceError("INF-030", zh=f"GPU 引擎无法在本机运行：{error.zh}", en=f"The GPU cannot be used: {error}") from error
        log.warning("the GPU cannot be used: %s", error)
        if gpu.on_trouble is not None:
            gpu.on_trouble(error.reason)
        return processor_engine(threads=threads, int8=int8, reason=f"The GPU does not work on this machine: {error}")


def processor_engine(*, wanted: Wanted = "auto", threads: int = 0, int8: bool = True, reason: str = "") -> Engine:
    """The engine of the processor: OpenVINO, or ONNX Runtime where that does not work; InferenceError INF-030 as for `best_engine`."""
    count = threads or this_processor().threads
    if wanted == "onnxruntime":
        return OnnxRuntimeEngine(threads=count, reason=reason)
    try:
        from appliance.inference.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(threads=count, int8=int8, reason=reason)
    except (ImportError, RuntimeError, OSError) as error:
        if wanted == "openvino":
            raise InferenceError(
                "INF-030", zh="OpenVINO 引擎无法在本机运行。", en=f"OpenVINO does not work on this machine: {error}"
            ) from error
        return OnnxRuntimeEngine(threads=count, reason=f"OpenVINO does not work on this machine: {error}")


def _card_engine(gpu: GpuPlan, processor: Engine, *, reason: str) -> Engine:
    library = gpu.library()
    mark = UseMark(gpu.cache)
    mark.begin()
    gpu.at_exit(mark.end)
    driver = gpu.driver(gpu.number)
    guard = Guard(on_trouble=gpu.on_trouble)
    whole_volumes = True
    try:
        driver.load(image_for(driver.device.capability, folders=gpu.shipped, cache=gpu.cache))
    except InferenceError as error:
        # without our own kernels the networks still run on the card, volume by volume the processor cuts and joins the tiles
        whole_volumes = False
        guard.note(error)
    return TensorRtEngine(
        library=library,
        driver=driver,
        cache=EngineCache(gpu.cache, shipped=gpu.shipped),
        processor=processor,
        guard=guard,
        whole_volumes=whole_volumes,
        on_build=gpu.on_build,
        reason=reason or "The GPU is the fastest here.",
    )


def trouble_of(engine: Engine) -> Reason | None:
    """Why the processor did what the card should have done; None where there is no card, or all went well."""
    return engine.trouble if isinstance(engine, TensorRtEngine) else None
