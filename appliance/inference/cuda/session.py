"""A session on the card: one tile as any other, and whole volumes; whatever the card cannot do, the processor does."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.errors import InferenceError
from appliance.inference.catalog import Model
from appliance.inference.cuda.arrays import CardArrays
from appliance.inference.cuda.driver import Driver
from appliance.inference.cuda.network import DeviceNetwork
from appliance.inference.cuda.window import DeviceWindow
from appliance.inference.engine import Outputs, Session
from appliance.inference.whole import Segmented, Whole

DEVICE_NODE = Path("/dev/nvidia0")
Failed = Callable[[InferenceError], None]


class Card:
    """The card, for one patient at a time: its streams and its pinned memory, shared by the sessions on it.

    Args:
        driver: the card, its kernels loaded.
        lease: a file that stands for the card in all processes: whoever works on a patient holds its lock. The card's own device node;
            none where that is missing.
    """

    def __init__(self, driver: Driver, *, lease: Path = DEVICE_NODE) -> None:
        self.driver = driver
        self._lease = lease
        self.streams = driver.stream(), driver.stream()
        self._one_patient = threading.Lock()
        self._pinned: list[NDArray[np.uint8]] = []
        self._lent: set[int] = set()

    def segment(self, network: DeviceNetwork, whole: Whole, progress: Callable[[float], None] | None) -> Segmented:
        """A whole volume; the memory is clear afterwards, however it went.

        Raises:
            InferenceError: INF-060 to INF-063, and what the network raises.
        """
        with self._patient():
            window = DeviceWindow(self.driver, network, whole, streams=self.streams, pinned=self._lend)
            try:
                return window.run(progress)
            finally:
                try:
                    window.clear()
                finally:
                    self._take_back()

    @contextmanager
    def arrays(self) -> Iterator[CardArrays]:
        """Pictures and measures of one patient on the card. Raises InferenceError INF-063 where it is at work on another."""
        with self._patient(), CardArrays(self.driver, stream=self.streams[0]) as arrays:
            yield arrays

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """One patient on the card, of this process and of any other."""
        if not self._one_patient.acquire(blocking=False):
            raise _busy()
        try:
            with ExitStack() as held:
                if self._lease.exists():
                    try:
                        file = held.enter_context(self._lease.open("rb", buffering=0))
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError as error:
                        raise _busy() from error
                    except OSError as error:  # a card that fell off its bus
                        raise InferenceError("INF-061", zh="显卡无应答。", en=f"The graphics card does not answer: {error}") from error
                yield
        finally:
            self._one_patient.release()

    def _lend(self, size: int) -> NDArray[np.uint8]:
        """Pinned memory, kept from study to study: locking pages takes longer than copying them."""
        for number, held in enumerate(self._pinned):
            if number not in self._lent and held.nbytes >= size:
                self._lent.add(number)
                return held[:size]
        self._pinned.append(self.driver.pinned((size,), np.uint8))
        self._lent.add(len(self._pinned) - 1)
        return self._pinned[-1][:size]

    def _take_back(self) -> None:
        for number in self._lent:
            self._pinned[number].fill(0)
        # what was too small for this study would only pile up
        self._pinned = sorted(self._pinned, key=lambda held: held.nbytes)[-3:]
        self._lent.clear()


def _busy() -> InferenceError:
    return InferenceError("INF-063", zh="显卡正在处理另一位患者。", en="The graphics card is at work on another patient.")


class CudaSession:
    """A model on the card; see the protocols ``Session`` and ``WholeSession``.

    After a failure of the card (INF-061) or an answer that must not be used (INF-062) this session leaves the card alone until the process
    starts anew: a card that has failed once in a process cannot be trusted in it again. Other refusals hold for one study.

    Args:
        card: the card.
        network: the model on it.
        host: the same model on the processor, or by an engine that copies in and out.
        on_failure: told why the card did not do a study.
    """

    def __init__(self, *, card: Card, network: DeviceNetwork, host: Session, on_failure: Failed) -> None:
        self._card = card
        self._network = network
        self._host = host
        self._on_failure = on_failure
        self._given_up: InferenceError | None = None

    @property
    def model(self) -> Model:
        """The model that runs."""
        return self._host.model

    @property
    def given_up(self) -> InferenceError | None:
        """Why the card is left alone, if it is."""
        return self._given_up

    def run(self, channels: NDArray[np.float32]) -> Outputs:
        """Single inputs; see ``Session.run``."""
        return self._host.run(channels)

    def whole_volume(self, whole: Whole, *, progress: Callable[[float], None] | None = None) -> Segmented | None:
        """A whole volume on the card; None where it could not, which has then been told to ``on_failure``."""
        if self._given_up is not None:
            return None
        try:
            return self._card.segment(self._network, whole, progress)
        except InferenceError as error:
            if error.code not in ("INF-060", "INF-063"):
                self._given_up = error
            self._on_failure(error)
            return None
