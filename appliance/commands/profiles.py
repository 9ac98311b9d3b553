"""``appliance profiles``: bring profiles of devices and sites on a stick, signed; and make such bundles, where the key is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.maintenance.profile_bundle import import_profiles, pack_profiles
from appliance.maintenance.signature import KEYRING, sign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest="action", required=True)
    take = actions.add_parser("import", help="check a bundle's signature and each profile, then put them into the folder")
    take.add_argument("bundle", type=Path)
    take.add_argument("--keyring", type=Path, default=KEYRING, help="certificates of our authorities")
    take.add_argument("--to", type=Path, default=Path("/etc/coronet/profiles"))
    make = actions.add_parser("bundle", help="pack and sign the profiles of a folder (not on a box: it needs the key)")
    make.add_argument("folder", type=Path)
    make.add_argument("--out", type=Path, required=True)
    make.add_argument("--certificate", type=Path, required=True)
    make.add_argument("--key", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Do it; a MaintenanceError, which the command line prints, where it cannot be done."""
    if options.action == "import":
        names = import_profiles(options.bundle, keyring=options.keyring, folder=options.to)
    else:
        names = pack_profiles(options.folder, options.out)
        sign(options.out, certificate=options.certificate, key=options.key)
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return 0
