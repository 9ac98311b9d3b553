"""``appliance token``: the programs that may use DICOMweb. The text of a token is shown once, when it is made."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    actions = parser.add_subparsers(dest="action", required=True)
    add = actions.add_parser("add", help="make a token and show its text, this once")
    add.add_argument("--name", required=True, help="the program that gets it")
    add.add_argument("--store", action="store_true", help="it may store, too")
    actions.add_parser("list", help="show all tokens, without their texts")
    actions.add_parser("revoke", help="let a token allow nothing from now on").add_argument("id")


def run(options: argparse.Namespace) -> int:
    """Do it; an ArchiveError, which the command line prints, where it cannot be done."""
    with closing(open_archive(load_settings(options.settings).data)) as archive:
        if options.action == "add":
            token, secret = archive.tokens.add(name=options.name, may_store=options.store)
            archive.audit.record(actor="service", action="token-add", details={"token": token.id, "store": token.may_store})
            sys.stdout.write(f"{secret}\n")
        elif options.action == "list":
            for token in archive.tokens.all():
                rights = "-" if token.revoked else "read+store" if token.may_store else "read"
                sys.stdout.write(f"{token.id}  {rights:10} {token.name}\n")
        else:
            archive.tokens.revoke(options.id)
            archive.audit.record(actor="service", action="token-revoke", details={"token": options.id})
    return 0
