"""What an engine promises, and the checks that every output passes whichever engine made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import Model

Outputs = Mapping[str, NDArray[Any]]

LARGEST_CHECK = 1e4
"""Mean absolute class scores are of the order of 10; beyond this the arithmetic has broken down."""


class Session(Protocol):
    """A model made ready on an engine. Not for use by two threads at once."""

    @property
    def model(self) -> Model:
        """The model that runs."""

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network on raw channel values (n, c, *spatial), for a volume (n, c, z, y, x); outputs by name.

        Spatial axes must be such as ``model.takes``.

        Raises:
            InferenceError: INF-011 for input of a wrong shape, INF-012 where the engine fails, INF-020 to INF-023
                for an output that must not be used.
        """


class Engine(Protocol):
    """Something that runs models."""

    @property
    def name(self) -> str:
        """Short name, as in the findings file: ``openvino``, ``onnxruntime``."""

    @property
    def device(self) -> str:
        """The processor it runs on."""

    @property
    def precision(self) -> str:
        """Arithmetic of the costly layers: ``bf16``, ``f32``."""

    def precision_of(self, name: str) -> str:
        """Arithmetic of a network that was loaded."""

    def why(self, name: str) -> Reason:
        """Why that one, for people."""

    def describe(self) -> str:
        """One line for people: version, device, precision, threads, and why this engine."""

    def load(self, model: Model) -> Session:
        """Verify the model's file and make it ready.

        Raises:
            InferenceError: INF-002, INF-003 from the catalog; INF-010 where the engine cannot take the model.
        """


def check_input(model: Model, channels: NDArray[np.float32]) -> None:
    """Refuse input that does not have the model's shape, or that holds NaN or infinity (InferenceError INF-011)."""
    if channels.ndim != 2 + model.spatial or channels.shape[1] != len(model.channels) or not model.takes(channels.shape[2:]):
        raise InferenceError(
            "INF-011",
            zh=f"模型 {model.name} 的输入尺寸不符：{channels.shape}。",
            en=f"Input of shape {channels.shape} does not fit model {model.name}.",
        )
    if not np.isfinite(channels).all():
        raise InferenceError(
            "INF-011", zh=f"模型 {model.name} 的输入含无效数值。", en=f"Input of model {model.name} holds NaN or infinity."
        )


def check_outputs(model: Model, channels: NDArray[np.float32], outputs: Outputs) -> Outputs:
    """Refuse outputs that a sound network cannot have given; return them otherwise.

    Raises:
        InferenceError: INF-020 missing output, INF-021 wrong shape or type, INF-022 NaN, infinity or runaway scores,
            INF-023 a class that the model does not have.
    """
    count, spatial = channels.shape[0], channels.shape[2:]
    for output in model.outputs:
        if output.name not in outputs:
            raise _output_error("INF-020", model, f"output {output.name} is missing", f"缺少输出 {output.name}")
        array = outputs[output.name]
        classes = output.classes or model.classes
        wanted: tuple[int, ...] = (count,) if output.role == "check" else (count, *spatial[: output.axes])
        wanted += (len(classes),) if output.role == "scores" else ()
        dtype = np.float32 if output.role in ("check", "scores") else np.uint8
        if array.shape != wanted or array.dtype != dtype:
            what = f"{output.name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {wanted}"
            raise _output_error("INF-021", model, what, f"输出 {output.name} 尺寸或类型不符")
        if output.role in ("check", "scores") and not (np.isfinite(array).all() and (np.abs(array) < LARGEST_CHECK).all()):
            raise _output_error("INF-022", model, f"{output.name} is {array.max()}", "输出含无效数值")
        if output.role == "classes" and int(array.max(initial=0)) >= len(classes):
            raise _output_error("INF-023", model, f"{output.name} holds class {array.max()}", "输出含未知类别")
    return outputs


def _output_error(code: str, model: Model, en: str, zh: str) -> InferenceError:
    return InferenceError(code, zh=f"模型 {model.name} 结果不可用：{zh}。", en=f"Output of model {model.name} is refused: {en}.")
