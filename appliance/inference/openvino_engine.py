"""OpenVINO on the CPU, in what the processor multiplies fastest: INT8 for networks with an accepted table, else bf16, f16 (ARM) or f32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import Model
from appliance.inference.engine import Outputs, check_input, check_outputs
from appliance.inference.int8_table import read_table
from appliance.inference.openvino_int8 import put_quantisers
from appliance.inference.processor import Processor, best_precision, this_processor

_DEVICE = "CPU"


class OpenVinoSession:
    """A model, compiled for the shape of what comes in; see the protocol ``Session``.

    Args:
        model: the model.
        compile_for: compiles its graph for an input shape. A graph of free shape would be slower by a tenth and no quicker to prepare.
    """

    def __init__(self, model: Model, compile_for: Callable[[tuple[int, ...]], Any]) -> None:
        self._model = model
        self._compile_for = compile_for
        self._shape: tuple[int, ...] = ()
        self._request: Any = None

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``."""
        check_input(self._model, channels)
        try:
            results = self._ready_for(channels.shape).infer({0: np.ascontiguousarray(channels)}, share_inputs=True)
        except RuntimeError as error:
            raise InferenceError(
                "INF-012", zh=f"模型 {self._model.name} 运行失败。", en=f"Model {self._model.name} failed: {error}"
            ) from error
        outputs = {name: array for port, array in results.items() for name in port.get_names()}
        return check_outputs(self._model, channels, outputs)

    def _ready_for(self, shape: tuple[int, ...]) -> Any:
        wanted = (-1, *shape[1:]) if self._model.many else shape
        if wanted != self._shape:
            self._request = self._compile_for(wanted)
            self._shape = wanted
        return self._request


class OpenVinoEngine:
    """The CPU engine of choice; see the protocol ``Engine``.

    Args:
        threads: CPU threads, at least 1.
        precision: ``"bf16"``, ``"f16"``, ``"f32"``, or None for what the processor is best at.
        int8: whether networks with an accepted table may run in INT8, where the processor multiplies bytes and ``precision`` is None.
        processor: the one we run on; looked at if not given.
        reason: why this engine was chosen, for ``describe``.
    """

    name = "openvino"

    def __init__(
        self, *, threads: int, precision: str | None = None, int8: bool = True, processor: Processor | None = None, reason: str = ""
    ) -> None:
        self._core = openvino.Core()
        self._threads = threads
        self._reason = reason
        capabilities = self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        processor = processor or this_processor()
        base, self._why = best_precision(processor, native=capabilities, int8=False)
        best, self._why_int8 = best_precision(processor, native=capabilities, int8=True)
        if precision is not None:
            self._why = Reason("CPU", "按要求指定", "it was asked for")
        self._precision = precision or base
        self._quantises = precision is None and int8 and best == "int8"
        self._quantised: list[str] = []
        self._device = str(self._core.get_property(_DEVICE, "FULL_DEVICE_NAME")).strip()

    @property
    def device(self) -> str:
        """The processor's name."""
        return self._device

    @property
    def precision(self) -> str:
        """``bf16``, ``f16`` or ``f32``; ``int8`` once a network runs in it."""
        return "int8" if self._quantised else self._precision

    def precision_of(self, name: str) -> str:
        """Arithmetic of a network that was loaded."""
        return "int8" if name in self._quantised else self._precision

    def why(self, name: str) -> Reason:
        """Why in that precision."""
        return self._why_int8 if name in self._quantised else self._why

    def describe(self) -> str:
        """One line for people."""
        version = openvino.get_version().split("-")[0]
        return f"OpenVINO {version}, {self._device}, {self._precisions()}, {self._threads} threads. {self._reason}".strip()

    def load(self, model: Model) -> OpenVinoSession:
        """Verify and compile a model; see ``Engine.load``."""
        content = model.verified_bytes()
        try:
            graph = self._core.read_model(content, b"")
        except RuntimeError as error:
            raise InferenceError(
                "INF-010", zh=f"引擎无法加载模型 {model.name}。", en=f"OpenVINO cannot take model {model.name}: {error}"
            ) from error
        table = read_table(model) if self._quantises else None
        if table is not None and table.accepted and put_quantisers(graph, table):
            self._quantised.append(model.name)
        return OpenVinoSession(model, partial(self._compile, graph))

    def _precisions(self) -> str:
        return f"{self._precision}, int8 for {', '.join(self._quantised)}" if self._quantised else self._precision

    def _compile(self, graph: Any, shape: tuple[int, ...]) -> Any:
        """A request of the graph for inputs of this shape; -1: any size."""
        graph.reshape({0: openvino.PartialShape(list(shape))})
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": str(self._threads),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        return self._core.compile_model(graph, _DEVICE, settings).create_infer_request()
