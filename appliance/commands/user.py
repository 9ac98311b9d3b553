"""``appliance user``: the people who may sign in. A PIN is read from standard input, never from the command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from contextlib import closing
from pathlib import Path
from typing import get_args

from appliance.archive.archive import open_archive
from appliance.settings import load_settings
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


def run(options: argparse.Namespace) -> int:
    """Do it; an ArchiveError, which the command line prints, where it cannot be done."""
    with closing(open_archive(load_settings(options.settings).data)) as archive:
        if options.action == "add":
            user = archive.users.add(name=options.name, role=options.role, pin=_pin())
            archive.audit.record(actor="service", action="user-add", details={"user": user.id, "role": user.role})
            sys.stdout.write(f"{user.id}\n")
        elif options.action == "list":
            for user in archive.users.all():
                sys.stdout.write(f"{user.id}  {user.role:12} {'-' if user.disabled else '+'} {user.name}\n")
        else:
            archive.users.disable(options.id, disabled=options.action == "disable")
            archive.audit.record(actor="service", action=f"user-{options.action}", details={"user": options.id})
    return 0


def _pin() -> str:
    return getpass.getpass("PIN: ") if sys.stdin.isatty() else sys.stdin.readline().strip()
