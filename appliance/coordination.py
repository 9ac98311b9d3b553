"""What the coordinator runs beside the receiver: builds, starts, stops in reverse.

What the parts do stands in `appliance.workflow` and `appliance.api`.

The analyst is a child process or a unit of its own; intake, delivery, the undo timer and the API are threads. In safe mode, which systemd
starts when the normal service has failed too often, only the receiver, the API and what serves the box itself run: images are stored, and
kiosk and front panel say so.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from appliance.api.messages import ApplianceInfo
from appliance.api.server import make_app, serve
from appliance.archive.archive import Archive
from appliance.archive.clock import Clock
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
from appliance.workflow.priors import prior_workers
from appliance.workflow.probe import ReceiverProbe, own_door
from appliance.workflow.receiving import RECEIVER_START_S, Reception, child
from appliance.workflow.relay import make_treater, relay_workers
from appliance.workflow.release import make_router
from appliance.workflow.safe_mode import SAFE_MODE, SafeMode
from appliance.workflow.self_test import SelfTest
from appliance.workflow.service import WorkflowService
from appliance.workflow.service_stick import ExportSite, OpenSite, ServiceStick
from appliance.workflow.set_up import SetUpDesk
from appliance.workflow.slots_door import HELPER, KEY_HELPER, KEY_TIMEOUT_S, adopt_settings, ask_slots
from appliance.workflow.states import StudyMachine
from appliance.workflow.supervisor import Child
from appliance.workflow.undo import UndoTimer, UndoWindows
from appliance.workflow.update_desk import UpdateDesk
from appliance.worklist import SelfTestRow

log = logging.getLogger(__name__)

WARM_UP_AFTER_S = 20.0
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
        export_site: writes settings and people, sealed, to a file; returns the passphrase.
        open_site: reads such a file with its passphrase; returns what puts it in its place.
    """

    read_signed: ReadSigned | None = None
    examine_box: ExamineBox | None = None
    write_support: WriteSupport | None = None
    export_site: ExportSite | None = None
    open_site: OpenSite | None = None


@contextmanager
def coordinate(
    settings: Settings, reception: Reception, *, settings_path: Path, apart: Collection[str] = (), tools: ServiceTools
) -> Iterator[Liveness]:
    """Everything built and started beside the reception, which ends the workers; stopped in reverse when the block ends."""
    archive, receiver, workers, clock = reception.archive, reception.receiver, reception.workers, reception.archive.clock
    with ExitStack() as stack:
        machine = StudyMachine(database=archive.database, studies=archive.studies, audit=archive.audit)
        windows = UndoWindows(clock=clock, seconds=settings.policy.undo_seconds)
        probe = _probe(settings, receiver, clock)
        archive.components.report("safe-mode", ready=True)
        archive.components.forget_peers()

        if "analyst" not in apart:
            workers.start("analyst", child("analyst", settings_path, archive).run)
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
        _await(reception)
        if "query" not in apart and (settings.query.enabled or settings.web.enabled):
            workers.start("query", child("query", settings_path, archive).run)  # not beside the receiver's start: images come first
        workers.start("warm-up", lambda stop: _warm_up(drafts, stop))
        yield Liveness(archive=archive, receiver_silent_s=probe.silent_s, worker_silent_s=workers.silent_s)


@contextmanager
def coordinate_safely(settings: Settings, reception: Reception, *, settings_path: Path, tools: ServiceTools) -> Iterator[Liveness]:
    """Receiver, its probe, and the API, so that the kiosk can say that this is safe mode; if anything else fails too, receiving goes on.

    Front panel and UPS are followed; service by stick, self-test and update are offered as ever: here they are needed most.
    """
    archive, receiver, workers, clock = reception.archive, reception.receiver, reception.workers, reception.archive.clock
    with ExitStack() as stack:
        probe = _probe(settings, receiver, clock)
        archive.components.report("analyst", ready=False, reason=SAFE_MODE)
        archive.components.report("safe-mode", ready=False, reason=SAFE_MODE)
        workers.start("probe", probe.run)
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
        _await(reception)
        yield Liveness(archive=archive, receiver_silent_s=probe.silent_s, worker_silent_s=workers.silent_s)


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
        stick = ServiceStick(
            archive=archive,
            ask=ask_slots,
            read=tools.read_signed,
            support=tools.write_support,
            export_site=tools.export_site,
            open_site=tools.open_site,
            ask_key=partial(ask_slots, path=KEY_HELPER, timeout_s=KEY_TIMEOUT_S) if KEY_HELPER.exists() else None,
        )
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


def _await(reception: Reception) -> None:
    """Until images can be received: the daemon is ready only then. A receiver that does not come up is started again and again."""
    if not reception.wait():
        log.error("the receiver is not ready after %.0f s", RECEIVER_START_S)
