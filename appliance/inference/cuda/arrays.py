"""Pictures and measures on the card: what numba does elsewhere, by the same arithmetic in single precision.

Arrays go up once in a study: ``CardArrays`` is a context, and what was uploaded inside it stays until its end and is cleared then.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.cuda.driver import Argument, Dim, Driver
from appliance.inference.cuda.memory import Memory

Float = NDArray[np.float64]

_BLOCK = 128
_PIXELS: Dim = (16, 8, 1)


def _int(value: int) -> Argument:
    return np.int32(value)


def _float(value: float) -> Argument:
    return np.float32(value)


def _long(value: int) -> Argument:
    return np.uint64(value)


class CardArrays:
    """Work on arrays on the card, within one study.

    Args:
        driver: the card, its kernels loaded.
        stream: a stream of its own.
    """

    def __init__(self, driver: Driver, *, stream: int) -> None:
        self._driver = driver
        self._stream = stream
        self._kept = Memory(driver, stream=stream)
        self._passing = Memory(driver, stream=stream)
        self._uploaded: dict[int, tuple[NDArray[Any], int]] = {}

    def __enter__(self) -> CardArrays:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave nothing on the card."""
        self._uploaded.clear()
        self._passing.clear()
        self._kept.clear()

    def _stays(self, array: NDArray[Any]) -> Argument:
        """An array that several calls read: uploaded the first time. It must not change within the study."""
        known = self._uploaded.get(id(array))
        if known is None:
            known = array, self._kept.put(array)  # the array is held, so that its id stays its own
            self._uploaded[id(array)] = known
        return np.uint64(known[1])

    def _passes(self, array: NDArray[Any]) -> Argument:
        return np.uint64(self._passing.put(array))

    def _run(self, kernel: str, grid: Dim, block: Dim, *arguments: Argument) -> None:
        self._driver.launch(kernel, grid=grid, block=block, arguments=arguments, stream=self._stream)

    def _fetched(self, pointer: int, like: NDArray[Any]) -> NDArray[Any]:
        self._driver.download(like, pointer, self._stream)
        self._driver.synchronise(self._stream)
        self._passing.clear()
        return like

    def slab(
        self,
        voxels: NDArray[np.int16],
        place: Float,
        direction: Float,
        direction_of: NDArray[np.intp],
        offsets: Float,
        *,
        maximum: bool,
        outside: float,
    ) -> NDArray[np.float32]:
        """Mean or maximum of a slab per pixel; as ``imaging.reformat``.

        Args:
            voxels: the volume (z, y, x).
            place: fractional index of each pixel, (n, 3).
            direction: index steps per mm, (m, 3).
            direction_of: which of them each pixel has, (n,).
            offsets: mm along the direction, (steps,).
            maximum: the maximum; else the mean.
            outside: value beyond the volume.
        """
        out = self._passing.take(4 * len(place))
        arguments = (
            self._passes(place.astype(np.float32)), self._passes(direction.astype(np.float32)), self._passes(direction_of.astype(np.int32)),
            self._passes(offsets.astype(np.float32)), _int(len(offsets)), _int(maximum), _float(outside), _long(len(place)), _long(out),
        )  # fmt: skip
        self._run("slab", self._blocks(len(place)), (_BLOCK, 1, 1), self._stays(voxels), *map(_int, voxels.shape), *arguments)
        return self._fetched(out, np.empty(len(place), np.float32))

    def section_rays(
        self, voxels: NDArray[np.int16], centre: Float, across: Float, up: Float, *, rays: int, samples: int, step_mm: float
    ) -> NDArray[np.float32]:
        """Attenuation along the rays of cross-sections (n, rays, samples), NaN beyond the volume; as ``analysis.section_samples``."""
        return self._rays("section_rays", voxels, (centre, across, up), (rays, samples), step_mm, np.dtype(np.float32))

    def section_labels(
        self, classes: NDArray[np.uint8], centre: Float, across: Float, up: Float, *, rays: int, samples: int, step_mm: float
    ) -> NDArray[np.uint8]:
        """Class of the nearest voxel along the rays (n, rays, samples), 0 beyond the grid; as ``analysis.section_samples``."""
        return self._rays("section_labels", classes, (centre, across, up), (rays, samples), step_mm, np.dtype(np.uint8))

    def _rays(
        self,
        kernel: str,
        grid: NDArray[Any],
        frame: tuple[Float, Float, Float],
        size: tuple[int, int],
        step_mm: float,
        dtype: np.dtype[Any],
    ) -> NDArray[Any]:
        rays, samples = size
        angle = 2 * np.pi * np.arange(rays) / rays
        turn = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        shape = (len(frame[0]), rays, samples)
        count = int(np.prod(shape))
        out = self._passing.take(count * dtype.itemsize)
        frames = self._passes(np.concatenate(frame, axis=1).astype(np.float32))
        arguments = (frames, self._passes(turn), _int(rays), _int(samples), _float(step_mm), _long(count), _long(out))
        self._run(kernel, self._blocks(count), (_BLOCK, 1, 1), self._stays(grid), *map(_int, grid.shape), *arguments)
        return self._fetched(out, np.empty(shape, dtype))

    def distance(self, mask: NDArray[np.bool_], spacing: tuple[float, float, float]) -> NDArray[np.float32]:
        """Distance (same unit as ``spacing``, along z, y, x) of each voxel to the nearest marked one; 1e10 where nothing is marked."""
        nz, ny, nx = mask.shape
        size = 4 * mask.size
        first, second, vertex, border = (self._passing.take(size) for _ in range(4))
        scratch = (_long(vertex), _long(border))
        rows = (self._passes(mask.astype(np.uint8)), _long(nz * ny), _int(nx), _float(spacing[2]), _long(first))
        self._run("distance_rows", self._blocks(nz * ny), (_BLOCK, 1, 1), *rows)
        lines = (_long(first), _int(ny), _long(nx), _long(nx), _long(ny * nx), _long(nz * nx), _float(spacing[1]), _int(0))
        self._run("distance_lines", self._blocks(nz * nx), (_BLOCK, 1, 1), *lines, *scratch, _long(second))
        lines = (_long(second), _int(nz), _long(ny * nx), _long(ny * nx), _long(0), _long(ny * nx), _float(spacing[0]), _int(1))
        self._run("distance_lines", self._blocks(ny * nx), (_BLOCK, 1, 1), *lines, *scratch, _long(first))
        return self._fetched(first, np.empty(mask.shape, np.float32))

    def cast(
        self,
        field: NDArray[np.int16],
        tone: NDArray[np.uint8],
        tables: tuple[NDArray[np.float32], NDArray[np.float32]],
        blocks: NDArray[np.uint8],
        coarse: NDArray[np.float32],
        *,
        middle: Float,
        axes: tuple[Float, Float, Float],
        scale: float,
        size: int,
        reach: float,
        spacing: float,
    ) -> NDArray[np.uint8]:
        """A volume rendering (size, size, 3), as ``imaging.render``; places in voxels (x, y, z), axes right, up, toward."""
        out = self._passing.take(3 * size * size)
        camera = np.concatenate([middle, *axes]).astype(np.float32)
        arguments = (
            self._stays(field), self._stays(tone), *map(_int, field.shape), self._stays(tables[0]), self._stays(tables[1]),
            self._stays(blocks), *map(_int, blocks.shape[1:]), self._stays(coarse), *map(_int, coarse.shape),
            self._passes(camera), _float(scale), _int(size), _float(reach), _float(spacing), _long(out),
        )  # fmt: skip
        self._run("raycast", (-(-size // _PIXELS[0]), -(-size // _PIXELS[1]), 1), _PIXELS, *arguments)
        return self._fetched(out, np.empty((size, size, 3), np.uint8))

    @staticmethod
    def _blocks(count: int) -> Dim:
        return (-(-count // _BLOCK), 1, 1)
