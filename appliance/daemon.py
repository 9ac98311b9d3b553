"""The coordinator: builds, starts, waits, and stops in reverse. What the parts do stands in `appliance.workflow` and `appliance.api`.

Receiver and analyst are child processes; intake, delivery, the undo timer and the API are threads. If one of the threads fails the daemon
ends with a status that makes systemd start it again: everything that counts is in the database.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from appliance.api.messages import ApplianceInfo
from appliance.api.server import make_app, serve
from appliance.archive.archive import Archive, open_archive
from appliance.archive.clock import Clock, SystemClock
from appliance.archive.instances import hold_lock
from appliance.dicom.sender import echo
from appliance.errors import CoronetError
from appliance.settings import PolicySettings, Settings
from appliance.workflow.channels import make_channels
from appliance.workflow.delivery import Delivery
from appliance.workflow.drafts import DraftFolders
from appliance.workflow.examiner import examine
from appliance.workflow.headers import read_identity
from appliance.workflow.intake import Intake
from appliance.workflow.logs import configure_logging
from appliance.workflow.probe import ReceiverProbe, own_door
from appliance.workflow.service import WorkflowService
from appliance.workflow.states import StudyMachine
from appliance.workflow.supervisor import Child
from appliance.workflow.undo import UndoTimer, UndoWindows

log = logging.getLogger(__name__)

EXIT_OK, EXIT_NOT_STARTED, EXIT_FAULT = 0, 1, 2
RECEIVER_START_S = 60.0
JOIN_S = 30.0
WARM_UP_AFTER_S = 20.0
TICK_S = 0.5

Work = Callable[[threading.Event], None]


class Notifier(Protocol):
    """The service manager's ear (sd_notify(3))."""

    def notify(self, message: str) -> None:
        """Tell it, e.g. ``READY=1``."""
        ...

    def watchdog_s(self) -> float | None:
        """How often it wants to hear ``WATCHDOG=1``; None if it does not."""
        ...


class SystemdNotifier:
    """systemd, where it started us; silence elsewhere."""

    def __init__(self) -> None:
        # not an import statement: for tools that look from the root of this repository, ``systemd`` is our folder of units
        self._daemon = importlib.import_module("systemd.daemon")

    def notify(self, message: str) -> None:
        """See `Notifier`."""
        self._daemon.notify(message)

    def watchdog_s(self) -> float | None:
        """See `Notifier`; half of the limit that systemd has set."""
        limit = os.environ.get("WATCHDOG_USEC", "")
        return int(limit) / 2e6 if limit.isdigit() else None


class Workers:
    """Named threads that end together: when one fails, `failed` is set and the daemon stops."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.over = threading.Event()
        self.failed: str | None = None
        self._threads: list[threading.Thread] = []

    def start(self, name: str, work: Work) -> None:
        """Begin one."""
        # daemonic: a sender that waits for a peer must not keep the process; what it sends is sent again
        thread = threading.Thread(target=self._run, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def finish(self) -> None:
        """Tell all of them to stop and wait for them, the last started first, `JOIN_S` at most."""
        self.stop.set()
        deadline = time.monotonic() + JOIN_S
        for thread in reversed(self._threads):
            thread.join(max(deadline - time.monotonic(), 0.1))
            if thread.is_alive():
                log.warning("%s is left in the middle of its work", thread.name)

    def _run(self, name: str, work: Work) -> None:
        try:
            work(self.stop)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the daemon ends with a fault and is started anew
            detail = str(error) if isinstance(error, CoronetError) else "".join(traceback.format_tb(error.__traceback__))
            log.error("%s failed: %s %s", name, type(error).__name__, detail)  # noqa: TRY400 - foreign messages may hold patient data
            self.failed = name
        finally:
            self.over.set()


def run_daemon(settings: Settings, *, settings_path: Path, notifier: Notifier | None = None, clock: Clock | None = None) -> int:
    """Run the appliance until SIGTERM or SIGINT; returns the exit status.

    Returns:
        0 after a clean stop, 1 if it could not start, 2 if a part of it failed.
    """
    configure_logging()
    notifier = notifier or SystemdNotifier()
    workers = Workers()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: workers.over.set())
    try:
        with _appliance(settings, settings_path=settings_path, workers=workers, clock=clock or SystemClock()) as archive:
            notifier.notify("READY=1")
            log.info("ready")
            _wait(workers, archive, notifier)
            notifier.notify("STOPPING=1")
    except CoronetError as error:
        log.error("not started: %s", error)  # noqa: TRY400 - the typed error says it all
        sys.stderr.write(f"{error.code}\n{error.zh}\n{error.en}\n")
        return EXIT_NOT_STARTED
    log.info("stopped")
    return EXIT_OK if workers.failed is None else EXIT_FAULT


@contextmanager
def _appliance(settings: Settings, *, settings_path: Path, workers: Workers, clock: Clock) -> Iterator[Archive]:
    """Everything built and started; stopped in reverse when the block ends, however it ends."""
    with ExitStack() as stack:
        archive = open_archive(settings.data, clock=clock)
        stack.callback(archive.close)
        stack.callback(hold_lock(settings.data / "daemon.lock", what="daemon").close)
        stack.callback(workers.finish)
        machine = StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)
        windows = UndoWindows(clock=clock, seconds=settings.policy.undo_seconds)
        receiver = _child("receiver", settings_path, archive)
        analyst = _child("analyst", settings_path, archive)

        workers.start("receiver", receiver.run)
        workers.start("analyst", analyst.run)
        workers.start("probe", _probe(settings, receiver).run)
        workers.start("intake", _intake(settings, archive, machine).run)
        workers.start("undo", UndoTimer(studies=archive.studies, machine=machine, windows=windows).run)
        delivery = _delivery(settings, archive, machine)
        for name, work in delivery.workers().items():
            workers.start(f"delivery {name}", work)
        drafts = DraftFolders(institution=settings.policy.institution)
        service = WorkflowService(
            archive=archive,
            machine=machine,
            drafts=drafts,
            windows=windows,
            policy=settings.policy,
            receiver_ready=lambda: receiver.pid is not None and archive.components.get("receiver").ready,
        )
        stack.callback(_serve_api(service, _info(settings.policy), settings.api.socket))
        _await_receiver(archive, workers)
        workers.start("warm-up", lambda stop: _warm_up(drafts, stop))
        yield archive


def _child(name: str, settings_path: Path, archive: Archive) -> Child:
    command = [sys.executable, "-m", "appliance.workflow.child", str(os.getpid()), name, "--settings", str(settings_path)]
    archive.components.report(name, ready=False)
    return Child(name=name, command=command, clock=archive.clock, ended=lambda: _ended(name, archive))


def _ended(name: str, archive: Archive) -> None:
    """A child has ended: it is not ready any more; what it said of the cause stays."""
    archive.components.report(name, ready=False, reason=archive.components.get(name).reason)


def _probe(settings: Settings, receiver: Child) -> ReceiverProbe:
    return ReceiverProbe(destination=own_door(settings.receiver), echo=echo, restart=receiver.restart)


def _intake(settings: Settings, archive: Archive, machine: StudyMachine) -> Intake:
    return Intake(
        archive=archive,
        machine=machine,
        settings=settings.intake,
        destinations=settings.destination,
        examine=examine,
        identify=read_identity,
    )


def _delivery(settings: Settings, archive: Archive, machine: StudyMachine) -> Delivery:
    delivery = Delivery(archive=archive, machine=machine, channels=make_channels(settings), random=random.SystemRandom().random)
    delivery.resume()
    return delivery


def _warm_up(drafts: DraftFolders, stop: threading.Event) -> None:
    """Later, so as not to compete with the start; no draft can be corrected before anyway."""
    if not stop.wait(WARM_UP_AFTER_S):
        drafts.warm_up()
        stop.wait()


def _serve_api(service: WorkflowService, info: ApplianceInfo, socket_path: Path) -> Callable[[], None]:
    """Serve the API in its thread; returns how to stop it."""
    socket_path.parent.mkdir(parents=True, exist_ok=True)
    server = serve(make_app(service, info=info), socket_path)
    server.start()
    return server.stop


def _info(policy: PolicySettings) -> ApplianceInfo:
    """What the kiosk is told of the site's policy."""
    return ApplianceInfo(institution=policy.institution, idle_lock_seconds=policy.idle_lock_seconds, stenosis_bands=policy.stenosis_bands)


def _await_receiver(archive: Archive, workers: Workers) -> None:
    """Wait until images can be received: the daemon is ready only then. A receiver that does not come up is started again and again."""
    deadline = archive.clock.monotonic() + RECEIVER_START_S
    watcher = archive.database.watcher()
    while not archive.components.get("receiver").ready and archive.clock.monotonic() < deadline and not workers.over.is_set():
        watcher.wait(TICK_S, stopped=workers.over.wait)
    watcher.close()
    if not archive.components.get("receiver").ready:
        log.error("the receiver is not ready after %.0f s", RECEIVER_START_S)


def _wait(workers: Workers, archive: Archive, notifier: Notifier) -> None:
    """Until told to stop or until a part fails; the watchdog hears from us only while the database answers."""
    interval = notifier.watchdog_s()
    while not workers.over.wait(interval):
        archive.studies.last_event()
        notifier.notify("WATCHDOG=1")
