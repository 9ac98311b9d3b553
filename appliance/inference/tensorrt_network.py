"""A TensorRT engine on the device: input and output stay there, nothing is allocated while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.network import Tile
from appliance.inference.tensorrt_build import INPUT
from appliance.inference.tensorrt_library import Messages, TensorRtLibrary
from appliance.inference.tensorrt_shapes import Shape, Shapes

log = logging.getLogger(__name__)


class TensorRtNetwork:
    """A model on the device; see the protocol ``DeviceNetwork``. Not for use by two threads at once.

    Args:
        library: TensorRT.
        driver: the device.
        model: what the engine is of.
        plan: the engine.
        shapes: what it was built for.
        runtime_cache: kernels that RTX compiled in earlier runs; may be empty.

    Raises:
        InferenceError: INF-072 where library and driver do not work together, INF-052 where the engine is refused.
    """

    input_type: Literal["float32"] = "float32"
    gives: Literal["bytes"] = "bytes"
    share_classes: tuple[int, ...] = ()

    def __init__(
        self, *, library: TensorRtLibrary, driver: Driver, model: Model, plan: bytes, shapes: Shapes, runtime_cache: bytes = b""
    ) -> None:
        self._library = library
        self._driver = driver
        self._model = model
        self._shapes = shapes
        self._messages = Messages()
        # runtime and engine must live as long as the context
        self._runtime = library.module.Runtime(library.logger(self._messages))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._refused()
        self._cache: Any = None
        self._context = self._new_context(runtime_cache)
        if self._context is None:
            raise self._refused()
        self._names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        self._shape: Shape = ()
        self._clearing = driver.stream()
        self._scratch, self._held = 0, 0

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    @property
    def largest_batch(self) -> int:
        """Items that may go in at once."""
        return self._shapes.largest[0]

    @property
    def shapes(self) -> Shapes:
        """What the engine takes."""
        return self._shapes

    def scratch_bytes(self, batch: int, tile: tuple[int, ...]) -> int:
        """Device memory for activations that such a run needs more than is held; see ``DeviceNetwork``."""
        return max(self._set_shape(batch, tile) - self._held, 0)

    def prepare(self, batch: int, tile: tuple[int, ...]) -> None:
        """Make ready for input of this shape; raises INF-010 where the engine does not take it, INF-060 where memory is too little."""
        size = self._set_shape(batch, tile)
        if size > self._held:
            self.release()
            self._scratch, self._held = self._driver.allocate(size), size
        if size:
            self._context.set_device_memory(self._scratch, self._held)

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile | tuple[int, ...], stream: int) -> None:
        """Put one run on the stream; see ``DeviceNetwork``."""
        if self._shape != self._shape_of(batch, tile):
            raise ValueError(f"prepared for {self._shape}, not for {batch} of {tile}")
        for name in self._names:
            if not self._context.set_tensor_address(name, pointers[name]):
                raise self._failed(f"no address for {name}")
        if not self._context.execute_async_v3(stream):
            raise self._failed(self._messages.cause())

    def release(self) -> None:
        """Give back the memory of the activations, cleared: they are a patient's. Work on all streams must be over."""
        if self._held:
            scratch, size = self._scratch, self._held
            self._scratch, self._held, self._shape = 0, 0, ()
            self._driver.fill(scratch, 0, size, self._clearing)
            self._driver.synchronise(self._clearing)
            self._driver.free(scratch)

    def runtime_cache(self) -> bytes:
        """Kernels compiled so far, for the next start; empty for the full TensorRT, whose engines hold them."""
        return b"" if self._cache is None else bytes(self._cache.serialize())

    def _new_context(self, runtime_cache: bytes) -> Any:
        by_caller = self._library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        if not hasattr(self._engine, "create_runtime_config"):
            return self._engine.create_execution_context(by_caller)
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(by_caller)
        if hasattr(config, "create_runtime_cache"):
            self._cache = config.create_runtime_cache()
            if runtime_cache and not self._cache.deserialize(runtime_cache):
                log.info("the compiled kernels of %s are of another driver or device; they are made anew", self._model.name)
            config.set_runtime_cache(self._cache)
        return self._engine.create_execution_context(config)

    def _shape_of(self, batch: int, tile: tuple[int, ...]) -> Shape:
        return (batch, len(self._model.channels), *tile)

    def _set_shape(self, batch: int, tile: tuple[int, ...]) -> int:
        """Tell the engine the shape; returns the bytes of its activations."""
        shape = self._shape_of(batch, tile)
        if not self._shapes.takes(shape) or not self._context.set_input_shape(INPUT, shape):
            raise InferenceError(
                "INF-010",
                zh=f"模型 {self._model.name} 的引擎不接受该输入尺寸。",
                en=f"The engine of {self._model.name} was not built for input of shape {shape}.",
            )
        self._shape = shape
        return int(self._context.update_device_memory_size_for_shapes())

    def _failed(self, cause: str) -> InferenceError:
        name = self._model.name
        return InferenceError("INF-012", zh=f"模型 {name} 在 GPU 上运行失败。", en=f"Model {name} failed on the GPU: {cause}")

    def _refused(self) -> InferenceError:
        cause, name = self._messages.cause(), self._model.name
        if "driver" in cause.lower() or "cudaError" in cause:
            return InferenceError(
                "INF-072",
                zh="显卡驱动与 TensorRT 不匹配，无法使用 GPU。",
                en=f"The graphics driver does not fit {self._library.name} {self._library.version}: {cause}",
            )
        return InferenceError("INF-052", zh=f"模型 {name} 的 GPU 引擎被拒绝。", en=f"The engine of {name} is refused: {cause}")
