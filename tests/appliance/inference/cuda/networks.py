"""A network whose answers depend on where a tile ends, as a convolution's do: for the processor, and for the stand-in of a card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from appliance.inference.catalog import Channel, Model, Output
from appliance.inference.cuda.network import Tile
from appliance.inference.engine import Outputs, check_input, check_outputs
from tests.appliance.inference.cuda.hostcuda import HostDriver

CLASSES = ("none", "lumen", "wall", "calcium", "vein")
SHARE_CLASSES = (1, 2, 3)


def made_model(tile: Tile = (16, 16, 16), largest: Tile | None = (32, 32, 32)) -> Model:
    """A catalog entry like that of cor-seg, with small tiles."""
    names = (("hu", -1000.0), ("inside", 0.0), ("blood", 0.0), ("level", 0.0))
    return Model(
        name="made",
        version="1",
        file="made.onnx",
        sha256="",
        purpose="test",
        spacing_mm=0.5,
        multiple=8,
        channels=tuple(Channel(name=name, unit="1", low=0.0, high=1.0, padding=padding) for name, padding in names),
        classes=CLASSES,
        outputs=(
            Output(name="classes", role="classes"),
            Output(name="coronary", role="share"),
            Output(name="check", role="check"),
        ),
        tile=tile,
        largest_tile=largest,
    )


def scores(channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 4, z, y, x) -> (n, 5, z, y, x): smooth, seeing zeros beyond the tile, rounded to half as a card's scores are."""
    hu, inside, blood, level = (channels[:, c].astype(np.float64) for c in range(4))
    smooth = gaussian_filter(hu, (0, 1.5, 1.5, 1.5), mode="constant")
    lumen = (smooth - 150) / 60 + inside / 128 - 1
    wall = (hu - smooth) / 60 + blood / 200
    calcium = (hu - level + 100) / 40
    vein = 1.5 - np.abs(smooth - 60) / 50 + (128 - inside) / 100
    stacked = np.stack([np.full_like(hu, 0.7), lumen, wall, calcium, vein], axis=1)
    return stacked.astype(np.float16).astype(np.float32)


def answers(found: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """What the deployed graph makes of scores."""
    share = softmax(found, axis=1)[:, list(SHARE_CLASSES)].sum(axis=1)
    return {
        "classes": found.argmax(axis=1).astype(np.uint8),
        "coronary": (np.clip(share, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8),
        "check": np.abs(found).mean(axis=(1, 2, 3, 4), dtype=np.float64).astype(np.float32),
    }


class ProcessorSession:
    """The network on the processor."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.runs = 0

    @property
    def model(self) -> Model:
        return self._model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        check_input(self._model, channels)
        self.runs += 1
        return check_outputs(self._model, channels, answers(scores(channels)))


class HostNetwork:
    """The network on the host's stand-in of a card. ``spoil`` is called with the outputs before they are left."""

    def __init__(
        self,
        driver: HostDriver,
        model: Model,
        *,
        gives: Literal["bytes", "scores"] = "scores",
        input_type: Literal["float16", "float32"] = "float16",
        largest_batch: int = 3,
        scratch: int = 0,
    ) -> None:
        self._driver = driver
        self.model = model
        self.gives = gives
        self.input_type = input_type
        self.share_classes = SHARE_CLASSES if gives == "scores" else ()
        self.largest_batch = largest_batch
        self.scratch = scratch
        self.prepared: list[tuple[int, Tile]] = []
        self.spoiled: Mapping[str, Any] = {}

    def scratch_bytes(self, batch: int, tile: Tile) -> int:
        return self.scratch * batch

    def prepare(self, batch: int, tile: Tile) -> None:
        self.prepared.append((batch, tile))

    def run_on_device(self, pointers: Mapping[str, int], *, batch: int, tile: Tile, stream: int) -> None:
        self._driver.on_stream(lambda: self._run(pointers, batch, tile))

    def _run(self, pointers: Mapping[str, int], batch: int, tile: Tile) -> None:
        channels = self._array(pointers["channels"], (batch, len(self.model.channels), *tile), self.input_type).astype(np.float32)
        found = scores(channels)
        if self.gives == "scores":
            left: dict[str, NDArray[Any]] = {"scores": found.astype(np.float16)}
        else:
            left = answers(found)
        for name, array in left.items():
            array[...] = self.spoiled.get(name, array)
            self._array(pointers[name], array.shape, array.dtype)[...] = array

    def _array(self, pointer: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._driver.view(pointer, size).view(dtype).reshape(shape)


def smaller(model: Model, **changes: Any) -> Model:
    """The model with something changed."""
    return msgspec.structs.replace(model, **changes)
