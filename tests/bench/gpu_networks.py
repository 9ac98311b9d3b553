"""The same network in PyTorch and in ONNX Runtime, on the same memory and stream as ours: what TensorRT is held against.

PyTorch runs the deployed graph itself: each node of the ONNX file as the torch function of the same name, in half precision, up to the
class scores; soft-max and arg-max are our kernel's, as with any engine. That favours PyTorch: its own would take longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from appliance.inference.catalog import Model
from appliance.inference.cuda.driver import Driver, Graph
from appliance.inference.cuda.network import Tile

SHARE_CLASSES = (1, 2, 3)
"""Lumen, wall, calcium."""


class OnTorch:
    """An ONNX graph of the few operations that our networks have, as a function of tensors, up to the node that gives the scores.

    Args:
        torch: the module.
        graph: the loaded ONNX model.
        device: where the weights go.
        dtype: their type.
        rounded: done to every weight and to what every layer leaves, where its effect is to be seen.
    """

    def __init__(self, torch: Any, graph: Any, *, device: str, dtype: Any, rounded: Callable[[Any], Any] | None = None) -> None:
        from onnx import helper, numpy_helper

        self._torch = torch
        self._rounded = rounded or (lambda value: value)
        self._input = graph.graph.input[0].name
        self._scores = next(node.input[0] for node in graph.graph.node if node.op_type == "Softmax")
        self._values: dict[str, Any] = {}
        for weight in graph.graph.initializer:
            self._hold(weight.name, numpy_helper.to_array(weight), device, dtype)
        self._nodes = []
        for node in graph.graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                self._hold(node.output[0], numpy_helper.to_array(attributes["value"]), device, dtype)
            else:
                self._nodes.append((node.op_type, list(node.input), node.output[0], attributes))
            if self._scores in node.output:
                break

    def _hold(self, name: str, array: np.ndarray, device: str, dtype: Any) -> None:
        if array.dtype.kind == "f":
            tensor = self._torch.from_numpy(np.array(array)).to(device, dtype)
            self._values[name] = self._rounded(tensor) if array.ndim else float(array)
        else:
            self._values[name] = [int(value) for value in np.atleast_1d(array)]

    @staticmethod
    def _rounds(kind: str) -> bool:
        return kind not in ("Slice", "Concat", "Relu")

    def __call__(self, channels: Any) -> Any:
        """Raw channels (n, c, z, y, x) -> scores."""
        torch, functional = self._torch, self._torch.nn.functional
        values = self._values | {self._input: channels}
        for kind, names, out, attributes in self._nodes:
            given = [values[name] if name else None for name in names]
            if kind == "Slice":
                start, stop, axis, _ = (one[0] for one in given[1:])
                size = given[0].shape[axis]
                values[out] = given[0].narrow(axis, start, min(stop, size) - start)
            elif kind == "Conv":
                stride, pads = attributes["strides"], attributes["pads"]
                values[out] = functional.conv3d(*given, stride=stride, padding=pads[:3])
            elif kind == "ConvTranspose":
                values[out] = functional.conv_transpose3d(*given, stride=attributes["strides"])
            elif kind == "BatchNormalization":
                source, weight, bias, mean, variance = given
                values[out] = functional.batch_norm(source, mean, variance, weight, bias, eps=attributes["epsilon"])
            else:
                values[out] = _simple(torch, kind, given, attributes)
            if self._rounds(kind):
                values[out] = self._rounded(values[out])
        return values[self._scores]


def _simple(torch: Any, kind: str, given: list[Any], attributes: Mapping[str, Any]) -> Any:
    if kind == "Clip":
        low, high = (*given[1:], None, None)[:2]  # either may be left out
        return torch.clamp(given[0], low, high)
    if kind == "Concat":
        return torch.cat(given, dim=attributes["axis"])
    if kind == "Relu":
        return torch.relu(given[0])
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Mul": lambda a, b: a * b,
        "Div": lambda a, b: a / b,
    }
    return operations[kind](*given)


class _Seen:
    """Device memory as other libraries take it: the CUDA array interface."""

    def __init__(self, pointer: int, shape: tuple[int, ...], kind: str, stream: int) -> None:
        self.__cuda_array_interface__ = {"data": (pointer, False), "shape": shape, "typestr": kind, "version": 3, "stream": stream}


class TorchNetwork:
    """The network in PyTorch on the card; see the protocol ``DeviceNetwork``.

    Args:
        model: of the catalog.
        compiled: by ``torch.compile``, tuned for the shape; else eager.
        largest_batch: tiles at once.
    """

    input_type: Literal["float16"] = "float16"
    gives: Literal["scores"] = "scores"
    share_classes = SHARE_CLASSES

    def __init__(self, model: Model, *, compiled: bool, largest_batch: int = 2) -> None:
        import onnx
        import torch

        self._torch = torch
        self._model = model
        self.largest_batch = largest_batch
        torch.backends.cudnn.benchmark = True
        plain = OnTorch(torch, onnx.load(model.path), device="cuda", dtype=torch.float16)
        self._network: Callable[[Any], Any] = torch.compile(plain, mode="max-autotune-no-cudagraphs", dynamic=False) if compiled else plain

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    def scratch_bytes(self, batch: int, tile: Tile) -> int:
        """A generous bound: PyTorch keeps every feature map of a level."""
        return batch * tile[0] * tile[1] * tile[2] * 2 * 96

    def prepare(self, batch: int, tile: Tile) -> None:
        """Tune and compile for the shape."""
        torch = self._torch
        given = torch.zeros((batch, len(self._model.channels), *tile), dtype=torch.float16, device="cuda")
        with torch.inference_mode():
            for _ in range(3):
                self._network(given)
        torch.cuda.synchronize()

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile, stream: int) -> None:
        """One run on the stream."""
        torch = self._torch
        with torch.inference_mode(), torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            given = _Seen(pointers["channels"], (batch, len(self._model.channels), *tile), "<f2", stream)
            left = _Seen(pointers["scores"], (batch, len(self._model.classes), *tile), "<f2", stream)
            torch.as_tensor(left, device="cuda").copy_(self._network(torch.as_tensor(given, device="cuda")))


class OrtNetwork:
    """The network in ONNX Runtime's CUDA provider; see the protocol ``DeviceNetwork``. In the file's own precision, with TF32 allowed.

    Args:
        model: of the catalog.
        stream: the stream that its sessions run on.
        largest_batch: tiles at once.
    """

    input_type: Literal["float32"] = "float32"
    gives: Literal["bytes"] = "bytes"
    share_classes: tuple[int, ...] = ()

    def __init__(self, model: Model, *, stream: int, largest_batch: int = 1) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise ImportError(f"this ONNX Runtime ({onnxruntime.__version__}) has no CUDA provider")
        self._model = model
        self.largest_batch = largest_batch
        options = {"user_compute_stream": str(stream), "cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "1"}
        self._session = onnxruntime.InferenceSession(model.verified_bytes(), providers=[("CUDAExecutionProvider", options)])

    @property
    def model(self) -> Model:
        """The model."""
        return self._model

    def scratch_bytes(self, batch: int, tile: Tile) -> int:
        """A generous bound."""
        return batch * tile[0] * tile[1] * tile[2] * 4 * 96

    def prepare(self, batch: int, tile: Tile) -> None:
        """It tunes itself in the first run."""

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile, stream: int) -> None:
        """One run on the stream."""
        binding = self._session.io_binding()
        binding.bind_input("channels", "cuda", 0, np.float32, (batch, len(self._model.channels), *tile), pointers["channels"])
        for output in self._model.outputs:
            shape, kind = ((batch,), np.float32) if output.role == "check" else ((batch, *tile), np.uint8)
            binding.bind_output(output.name, "cuda", 0, kind, shape, pointers[output.name])
        self._session.run_with_iobinding(binding)


class WithoutGraphs:
    """A driver that records nothing: PyTorch and ONNX Runtime allocate while they run."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def capture(self, stream: int, work: Callable[[], None]) -> Graph | None:
        """None."""
        return None
