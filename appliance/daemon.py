"""The coordinator: opens the archive, starts the receiver, then all the rest, waits, and stops in reverse.

A scanner is answered first: what the rest needs is read in only once the receiver is up (`appliance.coordination`; on a slow processor that
takes longer than the receiver itself). If a thread fails the daemon ends with a status that makes systemd start it again: everything that
counts is in the database.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.archive.clock import Clock, SystemClock
from appliance.errors import CoronetError
from appliance.settings import Settings
from appliance.workflow.logs import configure_logging
from appliance.workflow.notify import Notifier, SystemdNotifier
from appliance.workflow.receiving import reception
from appliance.workflow.workers import Workers

if TYPE_CHECKING:
    from appliance.coordination import ServiceTools
    from appliance.workflow.liveness import Liveness

log = logging.getLogger(__name__)

EXIT_OK, EXIT_NOT_STARTED, EXIT_FAULT = 0, 1, 2
ALONE_S = 10.0
"""So long nothing else begins beside the receiver's start; one that needs longer is not waited for by kiosk and front panel."""


def run_daemon(
    settings: Settings,
    *,
    settings_path: Path,
    tools: Callable[[], ServiceTools],
    notifier: Notifier | None = None,
    clock: Clock | None = None,
    apart: Collection[str] = (),
    safe_mode: bool = False,
) -> int:
    """Run the appliance until SIGTERM or SIGINT; returns the exit status.

    Args:
        settings: what the site wants.
        settings_path: where they stand, for the child processes.
        tools: makes what the service engineer needs; called after the receiver was started.
        notifier: the service manager's ear.
        clock: this machine's if not given.
        apart: names of processes that are not children of ours: units of their own run them.
        safe_mode: run the receiver and the API only, until it ends by itself (`appliance.workflow.safe_mode`).

    Returns:
        0 after a clean stop, 1 if it could not start, 2 if a part of it failed.
    """
    configure_logging()
    notifier = notifier or SystemdNotifier()
    workers = Workers()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: workers.over.set())
    try:
        with reception(settings, settings_path=settings_path, workers=workers, clock=clock or SystemClock()) as begun:
            begun.wait(ALONE_S)
            if not workers.over.is_set():  # told to stop already, or failed: nothing more is begun
                from appliance.coordination import coordinate, coordinate_safely  # only now: see above

                if safe_mode:
                    rest = coordinate_safely(settings, begun, settings_path=settings_path, tools=tools())
                else:
                    rest = coordinate(settings, begun, settings_path=settings_path, apart=apart, tools=tools())
                with rest as liveness:
                    notifier.notify("READY=1")
                    log.info("ready")
                    _wait(workers, liveness, notifier)
                    notifier.notify("STOPPING=1")
    except CoronetError as error:
        log.error("not started: %s", error)  # noqa: TRY400 - the typed error says it all
        sys.stderr.write(f"{error.code}\n{error.zh}\n{error.en}\n")
        return EXIT_NOT_STARTED
    log.info("stopped")
    return EXIT_OK if workers.failed is None else EXIT_FAULT


def _wait(workers: Workers, liveness: Liveness, notifier: Notifier) -> None:
    """Until told to stop or until a part fails; the watchdog hears from us only while everything lives."""
    interval = notifier.watchdog_s()
    while not workers.over.wait(interval):
        fault = liveness.fault()
        if fault is None:
            notifier.notify("WATCHDOG=1")
        else:
            log.error("the watchdog is not fed: %s", fault)
