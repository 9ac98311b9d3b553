"""What a start does first: the archive is opened and the receiver started, with as little of Python read in as that takes.

Everything else of the coordinator takes longer to read in than the receiver itself; it comes after it (`appliance.daemon`).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.archive.clock import Clock
from appliance.archive.instance_files import hold_lock
from appliance.archive.last_room import LastRoom
from appliance.archive.repair import open_repaired
from appliance.settings import Settings
from appliance.workflow.supervisor import Child
from appliance.workflow.workers import Workers

log = logging.getLogger(__name__)

RECEIVER_START_S = 60.0
TICK_S = 0.5


@dataclass(frozen=True)
class Reception:
    """The open archive, and the receiver in front of it, which is started again whenever it ends."""

    archive: Archive
    receiver: Child
    workers: Workers

    def wait(self, seconds: float = RECEIVER_START_S) -> bool:
        """Until images are received, an order to stop, or so long; whether they are received."""
        components, clock = self.archive.components, self.archive.clock
        deadline = clock.monotonic() + seconds
        watcher = self.archive.database.watcher()
        while not components.get("receiver").ready and clock.monotonic() < deadline and not self.workers.over.is_set():
            watcher.wait(TICK_S, stopped=self.workers.over.wait)
        watcher.close()
        return components.get("receiver").ready


@contextmanager
def reception(settings: Settings, *, settings_path: Path, workers: Workers, clock: Clock) -> Iterator[Reception]:
    """Open the archive and start the receiver; both end with the block, and with them every worker.

    Raises:
        ArchiveError: another daemon holds the data folder, or the archive cannot be opened.
    """
    with ExitStack() as stack:
        last_room = LastRoom(settings.data)
        if settings.data.is_dir():
            last_room.give_back()  # on a disk that is full to the last byte: the room that was set aside for that
        archive = open_repaired(settings, clock=clock)
        stack.callback(archive.close)
        stack.callback(hold_lock(settings.data / "daemon.lock", what="daemon").close)
        stack.callback(workers.finish)
        receiver = child("receiver", settings_path, archive)
        workers.start("receiver", receiver.run)
        workers.start("last room", last_room.run)
        yield Reception(archive=archive, receiver=receiver, workers=workers)


def child(name: str, settings_path: Path, archive: Archive) -> Child:
    """A process of ours, not started yet and told as such: ``receiver``, ``analyst``, ``query``."""
    command = [sys.executable, "-m", "appliance.workflow.child", str(os.getpid()), name, "--settings", str(settings_path)]
    archive.components.report(name, ready=False)
    return Child(name=name, command=command, clock=archive.clock, ended=lambda: _ended(name, archive))


def _ended(name: str, archive: Archive) -> None:
    """A child has ended: it is not ready any more; what it said of the cause stays."""
    archive.components.report(name, ready=False, reason=archive.components.get(name).reason)
