"""``appliance update``: look for updates on a stick, check one whole, install it; and the services behind that.

``install`` does what a tap on the kiosk does: it hands the order to the updater (`coronet-updater.service`) and follows it.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import IO

from appliance.archive.archive import open_archive
from appliance.archive.files import make_folder
from appliance.archive.instance_files import hold_lock
from appliance.build import installed_version
from appliance.errors import CoronetError, SettingsError, WorkflowError
from appliance.maintenance.quiet import boot_identity, busy, slot_room
from appliance.maintenance.signature import KEYRING
from appliance.maintenance.slots import SlotsClient
from appliance.maintenance.trial import LIMIT_S, proofs, prove
from appliance.maintenance.update_bundle import COMPATIBLE, find_updates, inspect_update
from appliance.maintenance.updater import Updater
from appliance.settings import Settings, load_settings_or_new
from appliance.workflow.logs import configure_logging
from appliance.workflow.slots_door import HELPER
from appliance.workflow.update_desk import UpdateDesk, Wish, read_record
from appliance.worklist import Session

SETTINGS = Path("/etc/coronet/coronet.toml")
SERVICE = Session(token="", user_id="service", user_name="service", role="engineer", may_approve=False, may_finalise=False)
FOLLOW_S = 1.0
UNDER_WAY = ("installing", "installed", "restarting", "trying", "returning")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True)
    find = actions.add_parser("find", help="name the updates on a mounted stick")
    find.add_argument("stick", type=Path)
    inspect = actions.add_parser("inspect", help="check an update whole: signature, machine, version, every byte")
    inspect.add_argument("bundle", type=Path)
    inspect.add_argument("--keyring", type=Path, default=KEYRING, help="certificates of our authorities")
    inspect.add_argument("--compatible", default=COMPATIBLE, help="what this machine is")
    inspect.add_argument(
        "--minimum", default=installed_version(), help="oldest version that may be installed; the running one if not given"
    )
    for action, text in (
        ("look", "have the stick looked at; says what is on it"),
        ("install", "have the update that was found installed, and follow it"),
        ("status", "say where the update stands"),
        ("serve", "the updater (coronet-updater.service)"),
        ("verify", "prove the running slot, or go back (coronet-trial.service)"),
    ):
        each = actions.add_parser(action, help=text)
        each.add_argument("--settings", type=Path, default=SETTINGS)
        each.add_argument("--helper", type=Path, default=HELPER, help=argparse.SUPPRESS)
        if action in {"serve", "verify"}:
            each.add_argument("--keyring", type=Path, default=KEYRING)
        if action == "verify":
            each.add_argument("--limit", type=float, default=LIMIT_S, help="seconds that a version on trial has")


def run(options: argparse.Namespace) -> int:
    """0 if it was done; a typed error, which the command line prints, if not."""
    if options.action == "find":
        for path in find_updates(options.stick):
            sys.stdout.write(f"{path.name}\n")
        return 0
    if options.action == "inspect":
        return _inspect(options)
    settings = _own_settings(options.settings) if options.action == "verify" else load_settings_or_new(options.settings)
    if options.action == "status":
        return _status(settings)
    if options.action in {"look", "install"}:
        return _order(settings, "look" if options.action == "look" else "install", options.helper)
    configure_logging()
    return _verify(settings, options) if options.action == "verify" else _serve(settings, options)


def _inspect(options: argparse.Namespace) -> int:
    update = inspect_update(options.bundle, keyring=options.keyring, compatible=options.compatible, minimum=options.minimum)
    notes = dict.fromkeys((update.notes.zh, update.notes.en))
    sys.stdout.write(f"可以安装 / may be installed\n{update.compatible} {update.version}, {update.payload_bytes} bytes\n")
    sys.stdout.write("".join(f"{each}\n" for each in notes))
    return 0


def _status(settings: Settings) -> int:
    record = read_record(settings.data / "update")
    reason = f"\n{record.reason.zh}\n{record.reason.en}" if record.reason else ""
    sys.stdout.write(f"{installed_version()}: {record.state} {record.version}{reason}\n")
    return 0


def _order(settings: Settings, wish: Wish, helper: Path) -> int:
    """Give the order as the service engineer at the console, follow it until it rests or the machine restarts."""
    folder = settings.data / "update"
    with closing(open_archive(settings.data)) as archive:
        desk = UpdateDesk(archive=archive, installed=installed_version(), roles=frozenset({"engineer"}), helper=helper)
        command = secrets.token_urlsafe(12)
        if wish == "install" and read_record(folder).state != "offered":
            raise WorkflowError("WF-103", zh="请先检查 U 盘(update look)", en="have the stick looked at first (update look)")
        desk.order_update(session=SERVICE, wish=wish, command=command)
    told = ""
    while True:
        record = read_record(folder)
        share = "" if record.progress is None else f" {record.progress:.0%}"
        said = f"{record.state} {record.version}{share}"
        if record.order == command and said != told:
            told = said
            sys.stdout.write(f"{said}\n")
        if record.order == command and record.state not in {"looking", "installing"}:
            return 1 if record.state in {"refused", "failed"} and _status(settings) == 0 else 0
        time.sleep(FOLLOW_S)


def _updater(settings: Settings, options: argparse.Namespace, slots: SlotsClient) -> Updater:
    def room() -> Mapping[str, int]:
        return slot_room(slots.status().other)

    return Updater(
        folder=settings.data / "update",
        slots=slots,
        keyring=options.keyring,
        installed=installed_version(),
        room=room,
        busy=lambda: busy(settings.data),
        boot=boot_identity(),
        wall=time.time,
        monotonic=time.monotonic,
    )


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(_lock(settings)):
        _updater(settings, options, SlotsClient(path=options.helper)).run(stop)
    return 0


def _own_settings(path: Path) -> Settings:
    """Settings that cannot be used are no reason to restart a proven version again and again; a new one is refused by what does not run."""
    try:
        return load_settings_or_new(path)
    except SettingsError as error:
        log.error("the settings cannot be used: %s", error)  # noqa: TRY400 - the typed error says it all
        return Settings()


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    """0 also where the slot is given up: the restart has been ordered. 1, which restarts the machine, only while one may be on trial."""
    slots = SlotsClient(path=options.helper)
    try:
        with closing(_lock(settings)):
            updater = _updater(settings, options, slots)
            updater.resume()
            wanted = proofs(settings, version=installed_version())
            prove(updater, slots, proofs=wanted, monotonic=time.monotonic, sleep=time.sleep, limit_s=options.limit)
    except (CoronetError, OSError) as error:
        log.error("the running slot cannot be marked: %s", error)  # noqa: TRY400 - what it says is all there is to know
        return 1 if read_record(settings.data / "update").state in UNDER_WAY else 0
    return 0


def _lock(settings: Settings) -> IO[str]:
    """One updater at a time: the trial at the start of the machine, then the service."""
    folder = settings.data / "update"
    make_folder(folder)
    return hold_lock(folder / "updater.lock", what="updater")
