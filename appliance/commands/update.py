"""``appliance update``: look for updates on a stick, and check one whole. Installing is RAUC's work, after a person has said yes."""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

from appliance import __version__
from appliance.maintenance.update_bundle import find_updates, inspect_update


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True)
    find = actions.add_parser("find", help="name the updates on a mounted stick")
    find.add_argument("stick", type=Path)
    inspect = actions.add_parser("inspect", help="check an update whole: signature, machine, version, every byte")
    inspect.add_argument("bundle", type=Path)
    inspect.add_argument("--keyring", type=Path, default=Path("/etc/coronet/keyring.pem"), help="certificates of our authorities")
    inspect.add_argument("--compatible", default=f"coronet-{platform.machine()}", help="what this machine is")
    inspect.add_argument("--minimum", default=__version__, help="oldest version that may be installed; the running one if not given")


def run(options: argparse.Namespace) -> int:
    """0 if the update may be installed; a MaintenanceError, which the command line prints, if not."""
    if options.action == "find":
        for path in find_updates(options.stick):
            sys.stdout.write(f"{path.name}\n")
        return 0
    update = inspect_update(options.bundle, keyring=options.keyring, compatible=options.compatible, minimum=options.minimum)
    sys.stdout.write(f"可以安装 / may be installed\n{update.compatible} {update.version}, {update.payload_bytes} bytes\n{update.notes}\n")
    return 0
