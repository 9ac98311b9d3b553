"""TensorRT on the GPU, the processor's engine behind it: engines from the cache or built, one for each network of the catalog."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError, Reason
from appliance.inference.catalog import Model
from appliance.inference.cuda.arrays import CardArrays
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.session import Card, CudaSession
from appliance.inference.engine import Engine, Outputs, Session, check_input, check_outputs
from appliance.inference.engine_cache import EngineCache, EngineKey, Entry
from appliance.inference.guarded import Guard, GuardedSession, GuardedWholeSession
from appliance.inference.onnx_copies import half_copy
from appliance.inference.tensorrt_build import INPUT, Order, build
from appliance.inference.tensorrt_library import Capability, TensorRtLibrary, capability_text
from appliance.inference.tensorrt_network import TensorRtNetwork
from appliance.inference.tensorrt_shapes import output_shapes, shapes_of

log = logging.getLogger(__name__)

PRECISION = "fp16"
"""INT8 engines are built and looked into (`onnx_copies.int8_copy`), not used: TensorRT for RTX leaves the sums of each INT8 convolution in
float32 for a kernel of its own, so that more bytes are moved than in FP16, where they stay in the convolution (ARCHITECTURE.md)."""
OnBuild = Callable[[str, float], None]
"""Told the network whose engine is being built and the part done, 0..1."""


def key_of(library: TensorRtLibrary, model: Model, capability: Capability, *, device: str = "") -> EngineKey:
    """What an engine of this model depends on."""
    shapes = shapes_of(model)
    return EngineKey(
        model=model.name,
        sha256=model.sha256,
        library=library.name,
        version=library.version,
        capability=capability_text(capability),
        device="" if library.builds_ahead else device,
        precision=PRECISION,
        shapes=" ".join("x".join(map(str, each)) for each in (shapes.least, shapes.usual, shapes.largest)),
    )


def engine_for(
    library: TensorRtLibrary,
    model: Model,
    capability: Capability,
    *,
    cache: EngineCache,
    device: str = "",
    ahead: bool = False,
    on_build: OnBuild | None = None,
) -> Entry:
    """The engine of a model, from the cache or built into it.

    Args:
        library: builds.
        model: of the catalog.
        capability: of the device that it is for.
        cache: of built engines.
        device: name and driver of the card, for a library whose engines run on that one only.
        ahead: for a device that is not here; else a capability that the library cannot be told is that of the present device.
        on_build: told how far a build is.

    Raises:
        InferenceError: INF-002, INF-003 from the catalog; INF-053, INF-054, INF-071 where it cannot be built.
    """
    key = key_of(library, model, capability, device=device)
    timing = f"{key.library}-{key.version}-sm{key.capability.replace('.', '')}.timing"

    def made() -> tuple[bytes, Any, float]:
        told = capability if ahead or capability in library.ahead() else None
        order = Order(name=model.name, content=half_copy(model.verified_bytes()), shapes=shapes_of(model), capability=told)
        progress = None if on_build is None else partial(on_build, model.name)
        built = build(library, order, timing_cache=cache.timing_cache(timing), progress=progress)
        if built.timing_cache:
            cache.keep_timing_cache(timing, built.timing_cache)
        return built.plan, built.layers, built.seconds

    model.verified_bytes()
    return cache.get(key, made)


class TensorRtSession:
    """A model on the card for input that comes from the processor's memory; see the protocol ``Session``.

    Args:
        driver: the card.
        network: the model on it.
    """

    def __init__(self, *, driver: Driver, network: TensorRtNetwork) -> None:
        self._driver = driver
        self._network = network
        self._stream = driver.stream()

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._network.model

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Run the network; see ``Session.run``. Nothing of the input is left on the card."""
        check_input(self.model, channels)
        at_once = self._network.shapes.most_items(channels.shape) or 1
        parts = [self._run(np.ascontiguousarray(channels[at : at + at_once])) for at in range(0, len(channels), at_once)]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if len(parts) > 1 else parts[0]
        return check_outputs(self.model, channels, outputs)

    def _run(self, channels: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        batch, tile = channels.shape[0], channels.shape[2:]
        outputs = {name: np.empty(shape, kind) for name, (shape, kind) in output_shapes(self.model, channels.shape).items()}
        arrays: dict[str, NDArray[Any]] = {INPUT: channels, **outputs}
        pointers: dict[str, int] = {}
        try:
            self._network.prepare(batch, tile)
            for name, array in arrays.items():
                pointers[name] = self._driver.allocate(array.nbytes)
            self._driver.upload(pointers[INPUT], channels, self._stream)
            self._network.run_on_device(pointers, batch=batch, tile=tile, stream=self._stream)
            for name, array in outputs.items():
                self._driver.download(array, pointers[name], self._stream)
            for name, pointer in pointers.items():
                self._driver.fill(pointer, 0, arrays[name].nbytes, self._stream)
            self._driver.synchronise(self._stream)
        finally:
            for pointer in pointers.values():
                self._driver.free(pointer)
            self._network.release()
        return outputs


class TensorRtEngine:
    """The GPU's engine; see the protocol ``Engine``. Its sessions fall back to ``processor`` when the card fails.

    Args:
        library: TensorRT.
        driver: the card, its kernels loaded where whole volumes are to be done on it.
        cache: of built engines.
        processor: the engine that takes over.
        guard: whether the card may be used.
        whole_volumes: whether ``driver`` has the kernels for whole volumes.
        on_build: told of engines being built.
        reason: why this engine was chosen, for ``describe``.
    """

    def __init__(
        self,
        *,
        library: TensorRtLibrary,
        driver: Driver,
        cache: EngineCache,
        processor: Engine,
        guard: Guard,
        whole_volumes: bool = True,
        on_build: OnBuild | None = None,
        reason: str = "",
    ) -> None:
        self._library = library
        self._driver = driver
        self._cache = cache
        self._processor = processor
        self._guard = guard
        self._card = Card(driver) if whole_volumes else None
        self._on_build = on_build
        self._reason = reason
        self._networks: dict[str, tuple[TensorRtNetwork, EngineKey]] = {}

    @property
    def name(self) -> str:
        """``tensorrt`` or ``tensorrt_rtx``; the processor's engine once it has taken over."""
        return self._library.name if self._guard.usable else self._processor.name

    @property
    def device(self) -> str:
        """The card, or the processor once it has taken over."""
        return self._driver.device.name if self._guard.usable else self._processor.device

    @property
    def precision(self) -> str:
        """Arithmetic of the costly layers."""
        return PRECISION if self._guard.usable else self._processor.precision

    def precision_of(self, name: str) -> str:
        """Arithmetic of a network that was loaded."""
        return PRECISION if self._guard.usable else self._processor.precision_of(name)

    def why(self, name: str) -> Reason:
        """Why there and in that precision."""
        trouble = self._guard.trouble
        if not self._guard.usable and trouble is not None:
            why = self._processor.why(name)
            return Reason(trouble.code, f"GPU 不可用（{trouble.code}）；{why.zh}", f"the GPU is left alone ({trouble.code}); {why.en}")
        return Reason("GPU", "GPU 最快，半精度已核对", "the GPU is fastest, and half precision gives the golden answers")

    @property
    def given_up(self) -> bool:
        """Whether the processor has taken over for good."""
        return not self._guard.usable

    @property
    def trouble(self) -> Reason | None:
        """Why the processor did what the card should have done; None if all went well."""
        return self._guard.trouble

    def describe(self) -> str:
        """One line for people."""
        if not self._guard.usable:
            trouble = self._guard.trouble
            return f"{self._processor.describe()} The GPU is not used: {trouble.code if trouble else ''}"
        device = self._driver.device
        capability = capability_text(device.capability)
        return f"{self._library.name} {self._library.version}, {device.name} ({capability}), {PRECISION}. {self._reason}".strip()

    def load(self, model: Model) -> Session:
        """Make a model ready on the card, or on the processor where the card will not have it; see ``Engine.load``."""
        if not self._guard.usable:
            return self._processor.load(model)
        try:
            network = self._network(model)
        except InferenceError as error:
            if error.code in ("INF-002", "INF-003"):
                raise
            self._guard.give_up(error)
            return self._processor.load(model)
        session = TensorRtSession(driver=self._driver, network=network)
        make = partial(self._processor.load, model)
        roles = {output.role for output in model.outputs}
        if self._card is None or model.tile is None or model.many or not {"classes", "share"} <= roles:
            return GuardedSession(guard=self._guard, card=session, processor=make)
        whole = CudaSession(card=self._card, network=network, host=session, on_failure=self._guard.failed)
        return GuardedWholeSession(guard=self._guard, card=session, processor=make, whole=whole, network=network)

    @contextmanager
    def arrays(self) -> Iterator[CardArrays | None]:
        """The card for the pictures of one study; None where it is not to be used. What fails on it is told, and raised."""
        if self._card is None or not self._guard.usable:
            yield None
            return
        try:
            with self._card.arrays() as arrays:
                yield arrays
        except InferenceError as error:
            self._guard.failed(error)
            raise

    def begin_study(self) -> None:
        """What went without the card in the study before need not in this one."""
        self._guard.begin_study()

    def give_up(self, error: InferenceError) -> None:
        """Leave the card alone: its answers are not the expected ones. Its engines are built anew at the next start."""
        for _, key in self._networks.values():
            self._cache.discard(key)
        self._guard.give_up(error)

    def keep_compiled(self) -> None:
        """Keep the kernels that RTX compiled on the way, for the next start."""
        for network, key in self._networks.values():
            compiled = network.runtime_cache() if self._guard.usable else b""
            if compiled:
                self._cache.keep_timing_cache(_compiled_name(key, self._identity), compiled)

    @property
    def _identity(self) -> str:
        device = self._driver.device
        return f"{device.name}, driver {device.driver}"

    def _network(self, model: Model) -> TensorRtNetwork:
        capability = self._driver.device.capability
        entry = engine_for(self._library, model, capability, cache=self._cache, device=self._identity, on_build=self._on_build)
        key = entry.kept.key
        compiled = self._cache.timing_cache(_compiled_name(key, self._identity))
        try:
            network = TensorRtNetwork(
                library=self._library, driver=self._driver, model=model, plan=entry.plan, shapes=shapes_of(model), runtime_cache=compiled
            )
        except InferenceError as error:
            if error.code == "INF-052":
                self._cache.discard(key)
            raise
        self._networks[model.name] = network, key
        log.info("engine of %s: %s", model.name, "built" if entry.built_now else "from the cache")
        return network


def _compiled_name(key: EngineKey, identity: str) -> str:
    return f"{key.model}-{hashlib.sha256(f'{key.digest} {identity}'.encode()).hexdigest()[:20]}.kernels"
