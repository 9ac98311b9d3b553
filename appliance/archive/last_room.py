"""Room that is set aside so that a box whose disk is full to the last byte still starts, answers, and says what is wrong.

The receiver refuses images long before that (`receiver.minimum_free_bytes`), but others write too: logs, another service, a hand. A
database that cannot take one row lets neither the normal service nor safe mode start, and a scanner that gets no answer at all does not
know why. So a file of plain blocks lies in the data folder; whoever finds the disk full at its start gives it back, and it is set aside
again once there is room.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from appliance.archive.retention import room_of

log = logging.getLogger(__name__)

NAME = "last-room"
LARGEST = 64 << 20
SHARE = 16
"""Of a small disk at most this part."""
NEEDED = 4
"""Set aside only where so many times its size is free."""
LOOK_S = 60.0


class LastRoom:
    """One process of a data folder uses it: the coordinator.

    Args:
        data: the data folder.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._path = data / NAME

    def give_back(self) -> bool:
        """Free the room if the disk is full; whether that was done. Before the database is opened."""
        if not self._path.exists() or room_of(self._data).free >= self._size() // 2:
            return False
        self._path.unlink(missing_ok=True)
        log.error("the disk is full: the room that was set aside is given back")
        return True

    def set_aside(self) -> bool:
        """Set it aside where it is not and there is plenty; whether it is there now."""
        size = self._size()
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= size:
                return True
            if room_of(self._data).free >= NEEDED * size:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, size)
                finally:
                    os.close(descriptor)
                return True
        return False

    def run(self, stop: threading.Event) -> None:
        """Set it aside as soon as there is room, until told to stop."""
        while True:
            self.set_aside()
            if stop.wait(LOOK_S):
                return

    def _size(self) -> int:
        return min(LARGEST, room_of(self._data).total // SHARE)
