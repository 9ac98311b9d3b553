"""TensorRT as far as the engine uses it, without a GPU: plans hold the ONNX file, runs read and write the stand-in of a card.

What the real library would refuse is refused: runs without addresses, memory or a shape, damaged plans. ``breaks`` names what goes wrong.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime

from appliance.inference.tensorrt_library import TensorRtLibrary
from tests.appliance.inference.cuda.hostcuda import HostDriver

MAGIC = b"fake-plan\n"
OUTPUT_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
SCRATCH = 4096


class _Severity:
    ERROR, INTERNAL_ERROR, VERBOSE = "error", "internal", "verbose"


class _Logger:
    Severity = _Severity

    def __init__(self) -> None:
        pass


class _Monitor:
    def __init__(self) -> None:
        pass


class _Names:
    DETAILED = USER_MANAGED = WORKSPACE = 0


class _Flags:
    STRONGLY_TYPED = 1


class _Profile:
    def set_shape(self, name: str, least: tuple[int, ...], usual: tuple[int, ...], largest: tuple[int, ...]) -> None:
        assert name == "channels"
        assert all(low <= middle <= high for low, middle, high in zip(least, usual, largest, strict=True))
        self.shapes = least, largest


class _Cache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"timed."


class _Config:
    """Of a builder; it takes no compute capability, as the full library's does not."""

    progress_monitor: Any = None
    profiling_verbosity = 0

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        pass

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, content: bytes) -> _Cache:
        return _Cache(content)

    def set_timing_cache(self, cache: _Cache, *, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> _Cache:
        return self.cache


class FakeTensorRt:
    """The module. ``breaks``: ``parse``, ``build``, ``driver``, ``plan``, ``enqueue``, ``nan``, ``wrong`` or nothing."""

    __version__ = "10.99"
    ILogger = _Logger
    IProgressMonitor = _Monitor
    IBuilderConfig = _Config
    ProfilingVerbosity = MemoryPoolType = ExecutionContextAllocationStrategy = _Names
    NetworkDefinitionCreationFlag = _Flags

    def __init__(self, driver: HostDriver) -> None:
        self.driver = driver
        self.breaks = ""
        self.built: list[str] = []
        self.runs = 0

    def library(self) -> TensorRtLibrary:
        return TensorRtLibrary(module=self, name="tensorrt")

    def Builder(self, logger: Any) -> _Builder:  # noqa: N802 - the library's name
        return _Builder(self, logger)

    def OnnxParser(self, network: dict[str, Any], logger: Any) -> _Parser:  # noqa: N802
        return _Parser(self, network)

    def Runtime(self, logger: Any) -> _Runtime:  # noqa: N802
        return _Runtime(self, logger)


class _Builder:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def create_network(self, flags: int) -> dict[str, Any]:
        assert flags == 2, "strongly typed"
        return {}

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: dict[str, Any], config: _Config) -> bytes | None:
        if self._trt.breaks == "build":
            self._logger.log(_Severity.ERROR, "no tactic was found")
            return None
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        for step in range(2):
            monitor.phase_start("Timing", "Building engine", 2)
            monitor.step_complete("Timing", 0)
            monitor.phase_finish("Timing")
            monitor.step_complete("Building engine", step)
        monitor.phase_finish("Building engine")
        self._logger.log(
            _Severity.VERBOSE,
            "Layers:\nName: a/Conv, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,4,-1,-1,-1], Datatype: Half, Format: f }], "
            "Constants: [ { Name: k, Dimensions: [8,4,3,3,3], Datatype: Half, Format: f }, { Name: b, Dimensions: [1,8,1,1,1], "
            "Datatype: Float, Format: f }], Outputs: [], TacticName: , StreamId: 0, Metadata: ",
        )
        self._trt.built.append("network")
        least, largest = config.profile.shapes
        return MAGIC + json.dumps([least, largest]).encode() + b"\n" + network["content"]


class _Parser:
    num_errors = 1

    def __init__(self, trt: FakeTensorRt, network: dict[str, Any]) -> None:
        self._trt, self._network = trt, network

    def parse(self, content: bytes) -> bool:
        self._network["content"] = content
        return self._trt.breaks != "parse"

    def get_error(self, number: int) -> Any:
        return type("Error", (), {"desc": lambda _: "an operation is not known"})()


class _Runtime:
    def __init__(self, trt: FakeTensorRt, logger: Any) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        if self._trt.breaks == "driver":
            self._logger.log(_Severity.ERROR, "cudaError 35: CUDA driver version is insufficient for CUDA runtime version")
            return None
        if self._trt.breaks == "plan" or not plan.startswith(MAGIC):
            self._logger.log(_Severity.ERROR, "serialization version does not match")
            return None
        head, content = plan[len(MAGIC) :].split(b"\n", 1)
        return _Engine(self._trt, self._logger, json.loads(head), content)


class _Engine:
    def __init__(self, trt: FakeTensorRt, logger: Any, shapes: list[list[int]], content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.trt, self.logger, self.shapes = trt, logger, shapes
        self.names = ["channels", *(output.name for output in self.session.get_outputs())]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, number: int) -> str:
        return self.names[number]

    def create_execution_context(self, strategy: int) -> _Context:
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self._memory = 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, largest = self._engine.shapes
        fits = all(low <= size <= high for low, size, high in zip(least, shape, largest, strict=True))
        self._shape = shape if fits else ()
        return fits

    def update_device_memory_size_for_shapes(self) -> int:
        return SCRATCH * self._shape[0]

    def set_device_memory(self, pointer: int, size: int) -> None:
        assert size >= SCRATCH * self._shape[0]
        self._memory = pointer

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self._addresses[name] = pointer
        return True

    def execute_async_v3(self, stream: int) -> bool:
        engine, trt = self._engine, self._engine.trt
        assert self._shape, "a run without a shape"
        assert self._memory, "a run without memory"
        assert set(self._addresses) == set(engine.names), "a run without addresses"
        trt.runs += 1
        if trt.breaks == "enqueue":
            engine.logger.log(_Severity.ERROR, "CUDA error 700: an illegal memory access was encountered")
            return False
        trt.driver.on_stream(self._run)
        return True

    def _run(self) -> None:
        trt = self._engine.trt
        channels = self._view("channels", self._shape, np.float32)
        trt.driver.view(self._memory, SCRATCH)[:] = 0x5A  # activations are a patient's
        kinds = {output.name: OUTPUT_TYPES[output.type] for output in self._engine.session.get_outputs()}
        given = self._engine.session.run(self._engine.names[1:], {"channels": np.array(channels)})
        for name, values in zip(self._engine.names[1:], given, strict=True):
            spoiled = values
            if trt.breaks == "nan" and values.dtype == np.float32:
                spoiled = np.full_like(values, np.nan)
            if trt.breaks == "wrong" and values.dtype == np.uint8:
                spoiled = np.zeros_like(values)
            self._view(name, values.shape, kinds[name])[...] = spoiled

    def _view(self, name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return self._engine.trt.driver.view(self._addresses[name], size).view(kind).reshape(shape)
