"""A network that takes its input and leaves its output on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from appliance.inference.catalog import Model

Tile = tuple[int, int, int]


class DeviceNetwork(Protocol):
    """A model on the device, whoever runs it: TensorRT, or in the benchmark PyTorch and ONNX Runtime.

    It takes ``channels``: raw values (n, channels, z, y, x), C-contiguous, of ``input_type``. With ``gives == "bytes"`` it leaves the
    graph's own outputs under their names (uint8 classes, uint8 share, float32 check). With ``"scores"`` it leaves ``scores``: the class
    scores before soft-max, float16 (n, classes, z, y, x); ``share_classes`` are then those whose probabilities make the share.
    """

    @property
    def model(self) -> Model:
        """The model."""

    @property
    def input_type(self) -> Literal["float16", "float32"]:
        """Type of the channels."""

    @property
    def gives(self) -> Literal["bytes", "scores"]:
        """What it leaves."""

    @property
    def share_classes(self) -> tuple[int, ...]:
        """The classes of the share; empty with ``bytes``."""

    @property
    def largest_batch(self) -> int:
        """Tiles that may go in at once."""

    def scratch_bytes(self, batch: int, tile: Tile) -> int:
        """Device memory that such a run takes, the weights included and what is held already left out."""

    def prepare(self, batch: int, tile: Tile) -> None:
        """Make ready for input of this shape. Raises InferenceError INF-010 where it cannot."""

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile, stream: int) -> None:
        """Put one run on the stream; nothing is waited for or allocated, so that it can be recorded into a graph.

        Raises:
            InferenceError: INF-012 where the engine refuses.
        """
