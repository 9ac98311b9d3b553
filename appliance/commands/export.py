"""``appliance export STUDY ... --to FOLDER``: studies to a stick, encrypted unless a person signs for plain media.

Secrets come by standard input or are typed unseen: the passphrase (encrypted), or the PIN of who signs (plain).
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import Archive, open_archive
from appliance.commands.passphrase import make_passphrase, read_new_passphrase, read_secret
from appliance.errors import WorkflowError
from appliance.settings import load_settings
from appliance.workflow.exporting import Permit, export_studies


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("study", nargs="+", help="key of a study (16 hexadecimal digits)")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--what", choices=["source", "results", "both"], default="both")
    parser.add_argument("--own-passphrase", action="store_true", help="read the passphrase from standard input instead of making one")
    parser.add_argument("--plain", action="store_true", help="not encrypted; needs the PIN of a radiographer or physician and --reason")
    parser.add_argument("--reason", default="", help="why plain media are made; kept in the audit trail")


def run(options: argparse.Namespace) -> int:
    """0 with the name of what was written; a typed error, which the command line prints, otherwise."""
    with closing(open_archive(load_settings(options.settings).data)) as archive:
        permit = _permit(archive, options.reason) if options.plain else None
        passphrase = None if options.plain else read_new_passphrase() if options.own_passphrase else make_passphrase()
        exported = export_studies(
            archive,
            options.study,
            options.to,
            what=("source", "results") if options.what == "both" else (options.what,),
            passphrase=passphrase,
            permit=permit,
            actor="service",
        )
    sys.stdout.write(f"{exported.path}\n{exported.files} 个文件 / files, {exported.bytes / 1e6:.1f} MB\n")
    if passphrase is not None and not options.own_passphrase:
        sys.stdout.write(f"口令(只显示一次)/ passphrase (shown once): {passphrase}\n")
    return 0


def _permit(archive: Archive, reason: str) -> Permit:
    user = archive.users.check(read_secret("PIN"))
    if user is None:
        raise WorkflowError("WF-050", zh="PIN 错误", en="wrong PIN")
    return Permit(user, reason)
