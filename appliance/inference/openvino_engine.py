"""OpenVINO on the CPU: bf16 where the processor multiplies it natively, f32 elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.engine import Outputs, check_input, check_outputs

_DEVICE = "CPU"


class OpenVinoSession:
    """A compiled model; see the protocol ``Session``."""

    def __init__(self, model: Model, compiled: Any) -> None:
        self._model = model
        self._request = compiled.create_infer_request()

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``."""
        check_input(self._model, channels)
        try:
            results = self._request.infer({0: np.ascontiguousarray(channels)}, share_inputs=True)
        except RuntimeError as error:
            raise InferenceError(
                "INF-012", zh=f"模型 {self._model.name} 运行失败。", en=f"Model {self._model.name} failed: {error}"
            ) from error
        outputs = {name: array for port, array in results.items() for name in port.get_names()}
        return check_outputs(self._model, channels, outputs)


class OpenVinoEngine:
    """The CPU engine of choice; see the protocol ``Engine``.

    Args:
        threads: CPU threads, at least 1.
        precision: ``"bf16"``, ``"f32"``, or None for what the processor is best at.
        reason: why this engine was chosen, for ``describe``.
    """

    name = "openvino"

    def __init__(self, *, threads: int, precision: str | None = None, reason: str = "") -> None:
        self._core = openvino.Core()
        self._threads = threads
        self._reason = reason
        capabilities = self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        self._precision = precision or ("bf16" if "BF16" in capabilities else "f32")
        self._device = str(self._core.get_property(_DEVICE, "FULL_DEVICE_NAME")).strip()

    @property
    def device(self) -> str:
        """The processor's name."""
        return self._device

    @property
    def precision(self) -> str:
        """``bf16`` or ``f32``."""
        return self._precision

    def describe(self) -> str:
        """One line for people."""
        version = openvino.get_version().split("-")[0]
        return f"OpenVINO {version}, {self._device}, {self._precision}, {self._threads} threads. {self._reason}".strip()

    def load(self, model: Model) -> OpenVinoSession:
        """Verify and compile a model; see ``Engine.load``."""
        content = model.verified_bytes()
        try:
            graph = self._core.read_model(content, b"")
            shape = [-1 if model.many else 1, len(model.channels), *(model.tile or (-1,) * model.spatial)]
            graph.reshape({0: openvino.PartialShape(shape)})
            compiled = self._core.compile_model(
                graph,
                _DEVICE,
                {
                    "INFERENCE_PRECISION_HINT": self._precision,
                    "INFERENCE_NUM_THREADS": str(self._threads),
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": "1",
                },
            )
        except RuntimeError as error:
            raise InferenceError(
                "INF-010", zh=f"引擎无法加载模型 {model.name}。", en=f"OpenVINO cannot take model {model.name}: {error}"
            ) from error
        return OpenVinoSession(model, compiled)
