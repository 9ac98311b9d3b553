"""The sliding window on the device: one upload of the image, one download of the answer, everything between stays there.

    upload stream   image, slab by slab ............ | fine image down ......... | classes, share down
    compute stream  resample each slab as it arrives | gather, network, answer, per batch | blend

The batches have one shape, so the second and all further are one recorded graph; a counter on the device says which tiles are meant. Same
tiles, same weights, same rounding as ``sliding.sliding_window``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.cuda.driver import Argument, Dim, Driver
from appliance.inference.cuda.memory import Memory
from appliance.inference.cuda.network import DeviceNetwork, Tile
from appliance.inference.cuda.plan import MemoryPlan, plan_memory
from appliance.inference.cuda.tables import TileGrid, channel_table, coarse
from appliance.inference.engine import LARGEST_CHECK
from appliance.inference.sliding import THIN, best_tile_of_thin
from appliance.inference.whole import Image, Segmented, Whole

Voxel = TypeVar("Voxel", bound=np.generic)

_BLOCK = 256
_LINES: Dim = (64, 4, 1)
_REGION_BLOCKS = 64
_ANSWER_BLOCKS = 512
_SLABS = 8
_MOST_CLASSES = 8
"""As in ``kernels/tiles.cu``."""


def scalar_int(value: int) -> Argument:
    """A kernel's ``int``."""
    return np.int32(value)


def pointer(value: int) -> Argument:
    """A kernel's pointer, or ``u64``."""
    return np.uint64(value)


@dataclass(frozen=True)
class _Reach:
    """The wanted region on the device: its record, and whether there is none, so that everything is wanted."""

    record: int
    everywhere: bool


class DeviceWindow:
    """One study on the device, from image to answer. Used once.

    Args:
        driver: the card, its kernels loaded.
        network: the network on it.
        whole: what is to be done.
        streams: compute and copy.
        pinned: gives host memory that the card can read and write.
    """

    def __init__(
        self, driver: Driver, network: DeviceNetwork, whole: Whole, *, streams: tuple[int, int], pinned: Callable[[int], NDArray[np.uint8]]
    ) -> None:
        self._driver = driver
        self._network = network
        self._model: Model = network.model
        self._whole = whole
        self._compute, self._copy = streams
        self._pinned = pinned
        self._memory = Memory(driver, stream=self._compute)
        self.plan: MemoryPlan | None = None

    def run(self, progress: Callable[[float], None] | None) -> Segmented:
        """Do it.

        Raises:
            InferenceError: INF-060 too little memory, INF-061 the card failed, INF-062 an answer that must not be used.
        """
        shape, memory = self._whole.shape, self._memory
        reach = self._upload_reach()
        tile = self._best_tile(reach)
        grid = TileGrid(shape, tile, overlap=self._whole.overlap, border=self._whole.border)
        chosen = self._chosen(grid, reach)
        count, fine = int(chosen.sum()), int(np.prod(shape))
        image = _cropped(self._whole.image)
        tables = memory.held_bytes + 64 * sum(shape) + 256 * len(grid.places)
        free, total = self._driver.memory()
        plan = plan_memory(
            self._network, source_voxels=image.voxels.size, fine_voxels=fine, tile=tile, tiles=count, small_bytes=tables,
            free=free + memory.held_bytes, total=total,
        )  # fmt: skip
        self.plan = plan
        hu = memory.take(2 * fine)
        self._resample(image, hu)
        hu_here = self._pinned(2 * fine)
        self._after(self._copy, self._compute)
        self._driver.download(hu_here, hu, self._copy)
        answers = self._run_tiles(hu, grid, chosen, plan.batch, progress)
        classes, share = self._blend(grid, chosen, answers, reach)
        self._driver.synchronise(self._copy)
        return Segmented(hu_here.view(np.int16).reshape(shape).copy(), classes, share, count, len(chosen) - count)

    def clear(self) -> None:
        """Leave nothing of the patient on the device."""
        self._driver.synchronise(self._copy)
        self._memory.clear()

    def _after(self, later: int, earlier: int) -> None:
        """What follows on one stream waits for what is on the other."""
        event = self._driver.event()
        self._driver.record(event, earlier)
        self._driver.wait(later, event)

    def _launch(self, kernel: str, grid: Dim, block: Dim, *arguments: Argument) -> None:
        self._driver.launch(kernel, grid=grid, block=block, arguments=arguments, stream=self._compute)

    def _fetch(self, source: int, like: NDArray[Voxel]) -> NDArray[Voxel]:
        self._driver.download(like, source, self._compute)
        self._driver.synchronise(self._compute)
        return like

    def _upload_reach(self) -> _Reach:
        if self._whole.reach is None:
            return _Reach(0, everywhere=True)
        return _Reach(self._memory.put(coarse(self._whole.reach, self._memory).view(np.uint8)), everywhere=False)

    def _best_tile(self, reach: _Reach) -> Tile:
        whole, thin = self._whole, None
        if not reach.everywhere:
            size = tuple(-(-side // THIN) for side in whole.shape)
            voxels = int(np.prod(size))
            out = self._memory.take(voxels)
            arguments = (pointer(reach.record), scalar_int(THIN), *map(scalar_int, size), pointer(out))
            self._launch("thin_reach", (-(-voxels // _BLOCK), 1, 1), (_BLOCK, 1, 1), *arguments)
            thin = self._fetch(out, np.empty(voxels, np.uint8)).reshape(size).astype(np.bool_)
        return best_tile_of_thin(self._model, whole.shape, thin=thin, overlap=whole.overlap, border=whole.border)

    def _chosen(self, grid: TileGrid, reach: _Reach) -> NDArray[np.bool_]:
        """Which tiles hold anything that is wanted."""
        regions = grid.regions()
        if reach.everywhere:
            return np.ones(len(regions), np.bool_)
        hit = self._memory.zeros(4 * len(regions))
        arguments = (pointer(reach.record), pointer(self._memory.put(regions)), scalar_int(len(regions)), pointer(hit))
        self._launch("regions_hit", (_REGION_BLOCKS, 1, len(regions)), (_BLOCK, 1, 1), *arguments)
        return np.asarray(self._fetch(hit, np.empty(len(regions), np.int32)) > 0)

    def _resample(self, image: Image, out: int) -> None:
        """The fine image; each slab is resampled while the next is on its way."""
        voxels, (at_z, at_y, at_x) = image.voxels, image.at
        source = self._memory.take(voxels.nbytes)
        staged = self._pinned(voxels.nbytes).view(np.int16).reshape(voxels.shape)
        positions = [pointer(self._memory.put(at)) for at in image.at]
        planes, plane_bytes = len(voxels), voxels[0].nbytes
        self._after(self._copy, self._compute)
        done = 0
        for slab in range(_SLABS):
            first, last = planes * slab // _SLABS, planes * (slab + 1) // _SLABS
            if first < last:
                staged[first:last] = voxels[first:last]
                self._driver.upload(source + first * plane_bytes, staged[first:last], self._copy)
            # a fine plane needs the source plane above it too
            ready = len(at_z) if last == planes else int(np.searchsorted(at_z, last - 1, side="left"))
            if ready <= done:
                continue
            self._after(self._compute, self._copy)
            size = (scalar_int(done), scalar_int(ready - done), scalar_int(len(at_y)), scalar_int(len(at_x)))
            blocks = (-(-len(at_x) // _LINES[0]), -(-len(at_y) // _LINES[1]), ready - done)
            self._launch(
                "resample_volume", blocks, _LINES, pointer(source), *map(scalar_int, voxels.shape), *positions, pointer(out), *size
            )
            done = ready

    def _run_tiles(
        self, hu: int, grid: TileGrid, chosen: NDArray[np.bool_], batch: int, progress: Callable[[float], None] | None
    ) -> tuple[int, int]:
        """All chosen tiles through the network; class and share bytes of each, on the device."""
        memory, count, voxels = self._memory, int(chosen.sum()), int(np.prod(grid.tile))
        slots = memory.take(count * voxels), memory.take(count * voxels)
        if not count:
            return slots
        self._network.prepare(batch, grid.tile)
        checks, cursor = memory.zeros(4 * count), memory.zeros(4)
        step = self._step(hu, grid, chosen, batch, slots, checks, cursor)
        runs = -(-count // batch)
        step()
        graph = self._driver.capture(self._compute, step) if runs > 2 else None
        behind = None
        for number in range(1, runs):
            if graph is None:
                step()
            else:
                graph.launch(self._compute)
            if progress is not None:
                if behind is not None:
                    self._driver.reach(behind)
                    progress((number - 1) / runs)
                behind = self._driver.event()
                self._driver.record(behind, self._compute)
        self._check(checks, count, voxels)
        if progress is not None:
            progress(1.0)
        return slots

    def _step(
        self, hu: int, grid: TileGrid, chosen: NDArray[np.bool_], batch: int, slots: tuple[int, int], checks: int, cursor: int
    ) -> Callable[[], None]:
        """What is done for one batch, as a function that puts it on the stream."""
        memory, network, count, voxels = self._memory, self._network, int(chosen.sum()), int(np.prod(grid.tile))
        if grid.tile[2] % 2 or (network.gives == "scores" and len(self._model.classes) > _MOST_CLASSES):
            raise unusable(self._model, f"its tiles {grid.tile} or {len(self._model.classes)} classes are not what the kernels take")
        half = network.input_type == "float16"
        channels = memory.take(batch * len(self._model.channels) * voxels * (2 if half else 4))
        table = channel_table(self._whole.channels, self._model.channels, memory)
        shape = tuple(map(scalar_int, self._whole.shape))
        tiles = (pointer(memory.put(grid.origins(chosen))), scalar_int(count), pointer(cursor), scalar_int(batch))
        gather = (pointer(hu), *shape, pointer(table), scalar_int(len(self._model.channels)), *tiles, *map(scalar_int, grid.tile))
        blocks = -(-voxels // _BLOCK)
        outputs = self._outputs(batch, voxels)
        where = (pointer(cursor), scalar_int(count), scalar_int(batch), pointer(slots[0]), pointer(slots[1]), pointer(checks))
        members = np.uint32(sum(1 << number for number in network.share_classes))

        def step() -> None:
            kernel = "gather_half" if half else "gather_float"
            self._launch(kernel, (-(-blocks // 2), batch, len(self._model.channels)), (_BLOCK, 1, 1), *gather, pointer(channels))
            network.run_on_device({"channels": channels} | outputs, batch=batch, tile=grid.tile, stream=self._compute)
            if network.gives == "scores":
                scores = (pointer(outputs["scores"]), scalar_int(len(self._model.classes)), members)
                self._launch("answer_scores", (min(blocks, _ANSWER_BLOCKS), batch, 1), (_BLOCK, 1, 1), *scores, pointer(voxels), *where)
            else:
                given = [pointer(outputs[_named(self._model, role)]) for role in ("classes", "share", "check")]
                self._launch("answer_bytes", (blocks, batch, 1), (_BLOCK, 1, 1), *given, pointer(voxels), *where)
            self._launch("advance", (1, 1, 1), (1, 1, 1), pointer(cursor), scalar_int(batch))

        return step

    def _outputs(self, batch: int, voxels: int) -> dict[str, int]:
        if self._network.gives == "scores":
            return {"scores": self._memory.take(2 * batch * len(self._model.classes) * voxels)}
        sizes = {"classes": voxels, "share": voxels, "check": 4}
        return {output.name: self._memory.take(batch * sizes[output.role]) for output in self._model.outputs if output.role in sizes}

    def _check(self, checks: int, count: int, voxels: int) -> None:
        """Refuse what a sound network cannot have given."""
        found = self._fetch(checks, np.empty(count, np.float32)).astype(np.float64)
        if self._network.gives == "scores":
            found /= voxels * len(self._model.classes)
        if not (np.isfinite(found).all() and (np.abs(found) < LARGEST_CHECK).all()):
            raise unusable(self._model, f"a check of {found[np.argmax(~np.isfinite(found) | (np.abs(found) >= LARGEST_CHECK))]}")

    def _blend(
        self, grid: TileGrid, chosen: NDArray[np.bool_], answers: tuple[int, int], reach: _Reach
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        shape, memory = self._whole.shape, self._memory
        fine = int(np.prod(shape))
        out, worst = memory.take(2 * fine), memory.zeros(4)
        tables = (pointer(grid.axis_table(memory)), pointer(memory.put(grid.slots(chosen))), *map(pointer, answers))
        wanted = (pointer(reach.record), scalar_int(reach.everywhere), scalar_int(len(self._model.classes)))
        blocks = (-(-shape[2] // _LINES[0]), -(-shape[1] // _LINES[1]), shape[0])
        self._launch("blend", blocks, _LINES, *tables, *wanted, *map(scalar_int, shape), pointer(out), pointer(out + fine), pointer(worst))
        here = self._pinned(2 * fine)
        self._after(self._copy, self._compute)
        self._driver.download(here, out, self._copy)
        self._driver.synchronise(self._copy)
        if self._fetch(worst, np.empty(1, np.int32))[0]:
            raise unusable(self._model, "a class that does not exist")
        return here[:fine].reshape(shape).copy(), here[fine:].reshape(shape).copy()


def _named(model: Model, role: str) -> str:
    return next(output.name for output in model.outputs if output.role == role)


def _cropped(image: Image) -> Image:
    """The part of the image that the fine grid lies in; positions are whole numbers less, which single precision holds exactly."""
    parts, at = [], []
    for positions, size in zip(image.at, image.voxels.shape, strict=True):
        low = max(min(int(positions.min()), size - 2), 0)
        high = min(int(positions.max()) + 2, size)
        parts.append(slice(low, high))
        at.append((positions - np.float32(low)).astype(np.float32))
    return Image(image.voxels[tuple(parts)], (at[0], at[1], at[2]))


def unusable(model: Model, what: str) -> InferenceError:
    """INF-062: the device's answer must not be used."""
    return InferenceError(
        "INF-062",
        zh=f"显卡对模型 {model.name} 给出的结果不可用。",
        en=f"The graphics card's answer for model {model.name} is refused: {what}.",
    )
