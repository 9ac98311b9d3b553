"""Whether the appliance really lives: what must be true before the service manager's watchdog is fed.

A process that runs is not one that works. The watchdog (sd_watchdog_enabled(3)) is fed only while

- the receiver has answered a C-ECHO lately (`appliance.workflow.probe` asks it, and has restarted it when it did not answer),
- the database commits (a full disk is a state of the disk, which a restart does not mend: it counts as an answer),
- the loops of the workflow turn: each asks once a turn whether to stop (`appliance.workflow.workers`).

Otherwise it is not fed, and systemd ends and starts the daemon; after three times safe mode takes over (systemd/system/coronet.service).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from appliance.archive.archive import Archive
from appliance.errors import ArchiveError

log = logging.getLogger(__name__)

RECEIVER_SILENT_S = 420.0
"""Three echoes a minute apart that failed, a restart of the receiver, and time for three more."""
WORKER_SILENT_S = 300.0
WATCHED = ("receiver", "probe", "intake", "undo")
"""Workers whose turns are short. Delivery may rightly wait long for a slow printer."""
_DISK_FULL = "ARC-020"


class Liveness:
    """See the module.

    Args:
        archive: its database must commit.
        receiver_silent_s: seconds since the receiver last answered an echo.
        worker_silent_s: seconds since a worker last turned; None for one that does not run.
        watched: the workers that count.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        receiver_silent_s: Callable[[], float],
        worker_silent_s: Callable[[str], float | None],
        watched: Sequence[str] = WATCHED,
    ) -> None:
        self._archive = archive
        self._receiver_silent_s = receiver_silent_s
        self._worker_silent_s = worker_silent_s
        self._watched = watched

    def fault(self) -> str | None:
        """What does not live, in words for the log; None if everything does."""
        silent_s = self._receiver_silent_s()
        if silent_s > RECEIVER_SILENT_S:
            return f"the receiver has not answered for {silent_s:.0f} s"
        for name in self._watched:
            worker_s = self._worker_silent_s(name)
            if worker_s is not None and worker_s > WORKER_SILENT_S:
                return f"{name} has not turned for {worker_s:.0f} s"
        return self._database_fault()

    def _database_fault(self) -> str | None:
        try:
            self._archive.components.report("watchdog", ready=True)
        except ArchiveError as error:
            if error.code != _DISK_FULL:
                return f"the database does not commit: {error}"
            log.warning("the disk is full")
        return None
