"""ONNX Runtime on the CPU, in f32: the fall-back that runs on any processor."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import Model
from appliance.inference.engine import Outputs, check_input, check_outputs

_PROVIDER = "CPUExecutionProvider"


class OnnxRuntimeSession:
    """A model in ONNX Runtime; see the protocol ``Session``."""

    def __init__(self, model: Model, session: Any) -> None:
        self._model = model
        self._session = session
        self._input = session.get_inputs()[0].name
        self._names = [output.name for output in session.get_outputs()]

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``."""
        check_input(self._model, channels)
        try:
            results = self._session.run(self._names, {self._input: np.ascontiguousarray(channels)})
        except RuntimeError as error:
            raise InferenceError(
                "INF-012", zh=f"模型 {self._model.name} 运行失败。", en=f"Model {self._model.name} failed: {error}"
            ) from error
        return check_outputs(self._model, channels, dict(zip(self._names, results, strict=True)))


class OnnxRuntimeEngine:
    """The fall-back engine; see the protocol ``Engine``.

    Args:
        threads: CPU threads, at least 1.
        reason: why this engine was chosen, for ``describe``.
    """

    name = "onnxruntime"
    precision = "f32"

    def __init__(self, *, threads: int, reason: str = "") -> None:
        self._threads = threads
        self._reason = reason

    @property
    def device(self) -> str:
        """The processor's architecture."""
        return f"CPU ({platform.machine()})"

    def precision_of(self, name: str) -> str:  # noqa: ARG002 - all are the same
        """Arithmetic of a network."""
        return self.precision

    def why(self, name: str) -> Reason:  # noqa: ARG002 - all are the same
        """Why in that precision."""
        return Reason("CPU", "任何处理器均可运行", "it runs on any processor")

    def describe(self) -> str:
        """One line for people."""
        return f"ONNX Runtime {onnxruntime.__version__}, {self.device}, f32, {self._threads} threads. {self._reason}".strip()

    def load(self, model: Model) -> OnnxRuntimeSession:
        """Verify a model and make it ready; see ``Engine.load``."""
        content = model.verified_bytes()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(content, options, providers=[_PROVIDER])
        except Exception as error:
            raise InferenceError(
                "INF-010", zh=f"引擎无法加载模型 {model.name}。", en=f"ONNX Runtime cannot take model {model.name}: {error}"
            ) from error
        return OnnxRuntimeSession(model, session)
