"""Named threads that end together, and how long ago each of them last asked whether to go on."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable

from appliance.errors import CoronetError

log = logging.getLogger(__name__)

JOIN_S = 30.0

Work = Callable[[threading.Event], None]


class Workers:
    """Named threads that end together: when a vital one fails, `failed` is set and the daemon stops."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.over = threading.Event()
        self.failed: str | None = None
        self._threads: list[threading.Thread] = []
        self._asked: dict[str, float] = {}

    def start(self, name: str, work: Work, *, vital: bool = True) -> None:
        """Begin one. One that is not vital may end, also by a fault, and the others go on."""
        # daemonic: a sender that waits for a peer must not keep the process; what it sends is sent again
        thread = threading.Thread(target=self._run, args=(name, work, vital), name=name, daemon=True)
        self._threads.append(thread)
        self._ask(name)
        thread.start()

    def silent_s(self, name: str) -> float | None:
        """Seconds since the worker last asked whether to stop, which every loop does once a turn; None if there is no such worker."""
        asked = self._asked.get(name)
        return None if asked is None else time.monotonic() - asked

    def finish(self) -> None:
        """Tell all of them to stop and wait for them, the last started first, `JOIN_S` at most."""
        self.stop.set()
        deadline = time.monotonic() + JOIN_S
        for thread in reversed(self._threads):
            thread.join(max(deadline - time.monotonic(), 0.1))
            if thread.is_alive():
                log.warning("%s is left in the middle of its work", thread.name)

    def _run(self, name: str, work: Work, vital: bool) -> None:
        try:
            work(_AskedStop(self.stop, asked=lambda: self._ask(name)))
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the daemon ends with a fault and is started anew
            detail = str(error) if isinstance(error, CoronetError) else "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed: %s %s", name, type(error).__name__, detail)  # noqa: TRY400 - foreign messages may hold patient data
            if vital:
                self.failed = name
        finally:
            if vital:
                self.over.set()

    def _ask(self, name: str) -> None:
        self._asked[name] = time.monotonic()


class _AskedStop(threading.Event):
    """The common order to stop, as one worker sees it: each look at it is noted."""

    def __init__(self, stop: threading.Event, *, asked: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop
        self._note = asked

    def is_set(self) -> bool:
        self._note()
        return self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self._note()
        return self._stop.wait(timeout)

    def set(self) -> None:
        self._stop.set()
