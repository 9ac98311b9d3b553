"""The coordinator: builds, starts, waits, and stops in reverse. What the parts do stands in `appliance.workflow` and `appliance.api`.

Receiver and analyst are child processes; intake, delivery, the undo timer and the API are threads. If one of the threads fails the daemon
ends with a status that makes systemd start it again: everything that counts is in the database. In safe mode, which systemd starts when
the normal service has failed too often, only the receiver, the API and what serves the box itself run: images are stored, and kiosk and
front panel say so.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from appliance.api.messages import ApplianceInfo
from appliance.api.server import make_app, serve
from appliance.archive.archive import Archive
from appliance.archive.clock import Clock, SystemClock
from appliance.archive.instance_files import hold_lock
from appliance.archive.last_room import LastRoom
from appliance.archive.repair import open_repaired
from appliance.build import installed_version
from appliance.dicom.sender import echo
from appliance.errors import CoronetError
from appliance.settings import PolicySettings, Settings
from appliance.workflow.badge_desk import BadgeDesk
from appliance.workflow.box import box_workers
from appliance.workflow.box_desk import BoxDesk, update_roles
from appliance.workflow.channels import make_channels
from appliance.workflow.delivery import Delivery
from appliance.workflow.drafts import DraftFolders
from appliance.workflow.entries import index_missing
from appliance.workflow.examiner import examine
from appliance.workflow.headers import read_identity
from appliance.workflow.intake import Intake
from appliance.workflow.keeping import housekeeping
from appliance.workflow.liveness import Liveness
from appliance.workflow.logs import configure_logging
from appliance.workflow.notify import Notifier, SystemdNotifier
from appliance.workflow.priors import prior_workers
from appliance.workflow.probe import ReceiverProbe, own_door
from appliance.workflow.relay import make_treater, relay_workers
from appliance.workflow.release import make_router
from appliance.workflow.safe_mode import SAFE_MODE, SafeMode
from appliance.workflow.self_test import SelfTest
from appliance.workflow.service import WorkflowService
from appliance.workflow.service_stick import ServiceStick
from appliance.workflow.set_up import SetUpDesk
from appliance.workflow.slots_door import HELPER, adopt_settings, ask_slots
from appliance.workflow.states import StudyMachine
from appliance.workflow.supervisor import Child
from appliance.workflow.undo import UndoTimer, UndoWindows
from appliance.workflow.update_desk import UpdateDesk
from appliance.workflow.workers import Workers
from appliance.worklist import SelfTestRow

log = logging.getLogger(__name__)

EXIT_OK, EXIT_NOT_STARTED, EXIT_FAULT = 0, 1, 2
RECEIVER_START_S = 60.0
WARM_UP_AFTER_S = 20.0
TICK_S = 0.5
SAFE_DEVICES = ("panel", "ups")
"""The front panel tells of safe mode, and a battery that runs out switches off cleanly in it; by badge nobody signs in."""

ReadSigned = Callable[[Path], bytes]
ExamineBox = Callable[[], Sequence[SelfTestRow]]
WriteSupport = Callable[[Path], object]


@dataclass(frozen=True)
class ServiceTools:
    """What serves the box itself and comes from a floor above (`appliance.maintenance`); what is None is not offered.

    Attributes:
        read_signed: the content of a file whose signature is good; without it no orders are taken from a stick.
        examine_box: the self-test that the kiosk offers.
        write_support: writes the support bundle to a file.
    """

    read_signed: ReadSigned | None = None
    examine_box: ExamineBox | None = None
    write_support: WriteSupport | None = None


def run_daemon(
    settings: Settings,
    *,
    settings_path: Path,
    notifier: Notifier | None = None,
    clock: Clock | None = None,
    apart: Collection[str] = (),
    safe_mode: bool = False,
    tools: ServiceTools | None = None,
) -> int:
    """Run the appliance until SIGTERM or SIGINT; returns the exit status.

    Args:
        settings: what the site wants.
        settings_path: where they stand, for the child processes.
        notifier: the service manager's ear.
        clock: this machine's if not given.
        apart: names of processes that are not children of ours: units of their own run them.
        safe_mode: run the receiver and the API only, until it ends by itself (`appliance.workflow.safe_mode`).
        tools: what the service engineer needs.

    Returns:
        0 after a clean stop, 1 if it could not start, 2 if a part of it failed.
    """
    configure_logging()
    notifier = notifier or SystemdNotifier()
    workers = Workers()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: workers.over.set())
    try:
        clock, tools = clock or SystemClock(), tools or ServiceTools()
        if safe_mode:
            appliance = _safe_appliance(settings, settings_path=settings_path, workers=workers, clock=clock, tools=tools)
        else:
            appliance = _appliance(settings, settings_path=settings_path, workers=workers, clock=clock, apart=apart, tools=tools)
        with appliance as liveness:
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


@contextmanager
def _appliance(
    settings: Settings,
    *,
    settings_path: Path,
    workers: Workers,
    clock: Clock,
    apart: Collection[str],
    tools: ServiceTools,
) -> Iterator[Liveness]:
    """Everything built and started; stopped in reverse when the block ends, however it ends."""
    with ExitStack() as stack:
        archive, last_room = _open(settings, clock)
        stack.callback(archive.close)
        stack.callback(hold_lock(settings.data / "daemon.lock", what="daemon").close)
        stack.callback(workers.finish)
        machine = StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)
        windows = UndoWindows(clock=clock, seconds=settings.policy.undo_seconds)
        receiver = _child("receiver", settings_path, archive)
        probe = _probe(settings, receiver, clock)
        archive.components.report("safe-mode", ready=True)
        archive.components.forget_peers()

        workers.start("receiver", receiver.run)
        workers.start("last room", last_room.run)
        if "analyst" not in apart:
            workers.start("analyst", _child("analyst", settings_path, archive).run)
        workers.start("probe", probe.run)
        workers.start("intake", _intake(settings, archive, machine).run)
        workers.start("search index", lambda stop: index_missing(archive, stop))
        workers.start("undo", UndoTimer(studies=archive.studies, machine=machine, windows=windows).run)
        delivery = _delivery(settings, archive, machine)
        for name, work in delivery.workers().items():
            workers.start(f"delivery {name}", work)
        for name, work in relay_workers(settings, archive).items():
            workers.start(name, work)
        for name, work in housekeeping(archive, settings).items():
            workers.start(name, work)
        for name, work in prior_workers(settings, archive, today=lambda: datetime.now().astimezone().date()).items():
            workers.start(name, work)
        drafts = DraftFolders(institution=settings.policy.institution)
        badges = BadgeDesk(archive=archive)
        service = WorkflowService(
            archive=archive,
            machine=machine,
            drafts=drafts,
            windows=windows,
            policy=settings.policy,
            receiver_ready=lambda: receiver.pid is not None and archive.components.get("receiver").ready,
            badges=None if settings.badge.device is None else badges,
        )
        for name, work in box_workers(settings, archive=archive, present_badge=badges.present).items():
            workers.start(name, work)
        updates = _updates(settings, archive)
        workers.start("update", updates.run)
        box = _box(settings, settings_path=settings_path, archive=archive, updates=updates, tools=tools)
        info = _info(settings.policy, badge_reader=settings.badge.device is not None)
        stack.callback(_serve_api(service, info, settings.api.socket, box=box))
        _await_receiver(archive, workers)
        if "query" not in apart and (settings.query.enabled or settings.web.enabled):
            workers.start("query", _child("query", settings_path, archive).run)  # not beside the receiver's start: images come first
        workers.start("warm-up", lambda stop: _warm_up(drafts, stop))
        yield Liveness(archive=archive, receiver_silent_s=probe.silent_s, worker_silent_s=workers.silent_s)


@contextmanager
def _safe_appliance(settings: Settings, *, settings_path: Path, workers: Workers, clock: Clock, tools: ServiceTools) -> Iterator[Liveness]:
    """Receiver, its probe, and the API, so that the kiosk can say that this is safe mode; if anything else fails too, receiving goes on.

    Front panel and UPS are followed; service by stick, self-test and update are offered as ever: here they are needed most.
    """
    with ExitStack() as stack:
        archive, last_room = _open(settings, clock)
        stack.callback(archive.close)
        stack.callback(hold_lock(settings.data / "daemon.lock", what="daemon").close)
        stack.callback(workers.finish)
        receiver = _child("receiver", settings_path, archive)
        probe = _probe(settings, receiver, clock)
        archive.components.report("analyst", ready=False, reason=SAFE_MODE)
        archive.components.report("safe-mode", ready=False, reason=SAFE_MODE)
        workers.start("receiver", receiver.run)
        workers.start("probe", probe.run)
        workers.start("last room", last_room.run)
        workers.start("safe mode", SafeMode(archive=archive).run)
        updates = _updates(settings, archive)
        workers.start("update", updates.run, vital=False)
        try:
            machine = StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)
            service = WorkflowService(
                archive=archive,
                machine=machine,
                drafts=DraftFolders(institution=settings.policy.institution),
                windows=UndoWindows(clock=clock, seconds=settings.policy.undo_seconds),
                policy=settings.policy,
                receiver_ready=lambda: receiver.pid is not None and archive.components.get("receiver").ready,
            )
            box = _box(settings, settings_path=settings_path, archive=archive, updates=updates, tools=tools)
            stack.callback(_serve_api(service, _info(settings.policy), settings.api.socket, box=box))
            for name, work in box_workers(settings, archive=archive, present_badge=lambda _badge: None, only=SAFE_DEVICES).items():
                workers.start(name, work, vital=False)
        except (CoronetError, OSError) as error:
            log.error("safe mode only receives: %s", type(error).__name__)  # noqa: TRY400 - the name says enough
        _await_receiver(archive, workers)
        yield Liveness(archive=archive, receiver_silent_s=probe.silent_s, worker_silent_s=workers.silent_s)


def _open(settings: Settings, clock: Clock) -> tuple[Archive, LastRoom]:
    """The archive, whole; on a disk that is full to the last byte in the room that was set aside for that."""
    last_room = LastRoom(settings.data)
    if settings.data.is_dir():
        last_room.give_back()
    return open_repaired(settings, clock=clock), last_room


def _child(name: str, settings_path: Path, archive: Archive) -> Child:
    command = [sys.executable, "-m", "appliance.workflow.child", str(os.getpid()), name, "--settings", str(settings_path)]
    archive.components.report(name, ready=False)
    return Child(name=name, command=command, clock=archive.clock, ended=lambda: _ended(name, archive))


def _ended(name: str, archive: Archive) -> None:
    """A child has ended: it is not ready any more; what it said of the cause stays."""
    archive.components.report(name, ready=False, reason=archive.components.get(name).reason)


def _probe(settings: Settings, receiver: Child, clock: Clock) -> ReceiverProbe:
    return ReceiverProbe(destination=own_door(settings.receiver), echo=echo, restart=receiver.restart, clock=clock)


def _intake(settings: Settings, archive: Archive, machine: StudyMachine) -> Intake:
    return Intake(
        archive=archive,
        machine=machine,
        settings=settings.intake,
        router=make_router(settings),
        examine=examine,
        identify=read_identity,
        workflow_of=settings.receiver.workflow_of,
    )


def _delivery(settings: Settings, archive: Archive, machine: StudyMachine) -> Delivery:
    delivery = Delivery(
        archive=archive,
        machine=machine,
        channels=make_channels(settings, treater=make_treater(archive)),
        random=random.SystemRandom().random,
    )
    delivery.resume()
    return delivery


def _warm_up(drafts: DraftFolders, stop: threading.Event) -> None:
    """Later, so as not to compete with the start; no draft can be corrected before anyway."""
    if not stop.wait(WARM_UP_AFTER_S):
        drafts.warm_up()
        stop.wait()


def _updates(settings: Settings, archive: Archive) -> UpdateDesk:
    return UpdateDesk(archive=archive, installed=installed_version(), roles=update_roles(settings.policy))


def _box(settings: Settings, *, settings_path: Path, archive: Archive, updates: UpdateDesk, tools: ServiceTools) -> BoxDesk:
    """Update, service by stick and first set-up, where a person may ask for them on the kiosk."""
    has_helper = HELPER.exists()
    set_up = SetUpDesk(
        archive=archive,
        settings_path=settings_path,
        adopt=adopt_settings if has_helper else None,
        restart=(lambda: ask_slots("restart")) if has_helper else None,
    )
    stick = None
    if has_helper and tools.read_signed is not None:
        stick = ServiceStick(archive=archive, ask=ask_slots, read=tools.read_signed, support=tools.write_support)
    self_test = None
    if tools.examine_box is not None:
        self_test = SelfTest(archive=archive, run=tools.examine_box, roles=update_roles(settings.policy))
    return BoxDesk(updates=updates, set_up=set_up, stick=stick, self_test=self_test)


def _serve_api(service: WorkflowService, info: ApplianceInfo, socket_path: Path, *, box: BoxDesk | None = None) -> Callable[[], None]:
    """Serve the API in its thread; returns how to stop it."""
    socket_path.parent.mkdir(parents=True, exist_ok=True)

    def told() -> ApplianceInfo:
        return info if box is None else msgspec.structs.replace(info, set_up=box.new(), service_code=box.service_code())

    server = serve(make_app(service, info=told, box=box), socket_path)
    server.start()
    return server.stop


def _info(policy: PolicySettings, *, badge_reader: bool = False) -> ApplianceInfo:
    """What the kiosk is told of the site's policy."""
    return ApplianceInfo(
        institution=policy.institution,
        idle_lock_seconds=policy.idle_lock_seconds,
        stenosis_bands=policy.stenosis_bands,
        badge_reader=badge_reader,
        version=installed_version(),
        update_roles=update_roles(policy) if HELPER.exists() else (),
    )


def _await_receiver(archive: Archive, workers: Workers) -> None:
    """Wait until images can be received: the daemon is ready only then. A receiver that does not come up is started again and again."""
    deadline = archive.clock.monotonic() + RECEIVER_START_S
    watcher = archive.database.watcher()
    while not archive.components.get("receiver").ready and archive.clock.monotonic() < deadline and not workers.over.is_set():
        watcher.wait(TICK_S, stopped=workers.over.wait)
    watcher.close()
    if not archive.components.get("receiver").ready:
        log.error("the receiver is not ready after %.0f s", RECEIVER_START_S)


def _wait(workers: Workers, liveness: Liveness, notifier: Notifier) -> None:
    """Until told to stop or until a part fails; the watchdog hears from us only while everything lives."""
    interval = notifier.watchdog_s()
    while not workers.over.wait(interval):
        fault = liveness.fault()
        if fault is None:
            notifier.notify("WATCHDOG=1")
        else:
            log.error("the watchdog is not fed: %s", fault)
