"""``appliance user``: the people who may sign in. A PIN is read from standard input, never from the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import get_args

from appliance.archive.archive import open_archive
from appliance.errors import HardwareError
from appliance.hardware.badges import BadgeReader
from appliance.settings import Settings, load_settings
from appliance.study import Role


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="add somebody; the PIN (4 to 12 digits) is read from standard input")
    add.add_argument("--name", required=True)
    add.add_argument("--role", required=True, choices=get_args(Role))
    actions.add_parser("list", help="show everybody")
    for action, text in (("disable", "bar somebody from signing in"), ("enable", "allow somebody again")):
        actions.add_parser(action, help=text).add_argument("id")
    badge = actions.add_parser("badge", help="give somebody a badge; its number is read from standard input, or from the reader")
    badge.add_argument("id")
    badge.add_argument("--remove", action="store_true", help="take the badge away instead")
    badge.add_argument("--from-reader", action="store_true", help="show the badge to the reader of the settings (the daemon must not run)")


def run(options: argparse.Namespace) -> int:
    """Do it; an ArchiveError, which the command line prints, where it cannot be done."""
    settings = load_settings(options.settings)
    with closing(open_archive(settings.data)) as archive:
        if options.action == "add":
            user = archive.users.add(name=options.name, role=options.role, pin=_pin())
            archive.audit.record(actor="service", action="user-add", details={"user": user.id, "role": user.role})
            sys.stdout.write(f"{user.id}\n")
        elif options.action == "list":
            for user in archive.users.all():
                sys.stdout.write(f"{user.id}  {user.role:12} {'-' if user.disabled else '+'} {user.name}\n")
        elif options.action == "badge":
            if options.remove:
                archive.badges.remove(options.id)
            else:
                archive.badges.enrol(options.id, badge=_badge(settings, from_reader=options.from_reader))
            archive.audit.record(actor="service", action="user-badge", details={"user": options.id, "removed": options.remove})
        else:
            archive.users.disable(options.id, disabled=options.action == "disable")
            archive.audit.record(actor="service", action=f"user-{options.action}", details={"user": options.id})
    return 0


def _pin() -> str:
    return getpass.getpass("PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()


def _badge(settings: Settings, *, from_reader: bool) -> str:
    """A badge number; never from the command line, where others could read it."""
    if not from_reader:
        return getpass.getpass("badge: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
    if settings.badge.device is None:
        raise HardwareError("HW-001", zh="设置中没有读卡器", en="the settings name no badge reader")
    shown: list[str] = []
    stop = threading.Event()

    def read(badge: str) -> None:
        shown.append(badge)
        stop.set()

    reader = BadgeReader(device=settings.badge.device, baud=settings.badge.baud, kind=settings.badge.format, read=read)
    reader.serve(stop, ready=_ask_for_badge)
    return shown[0]


def _ask_for_badge(_kind: str) -> None:
    sys.stderr.write("请刷卡 / show the badge to the reader\n")
