"""``appliance backup FOLDER``: index and settings in one sealed file, on a stick or in a folder; the passphrase comes by standard input."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.archive.carried import write_backup
from appliance.build import software
from appliance.commands.passphrase import read_new_passphrase
from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))


def run(options: argparse.Namespace) -> int:
    """0 with the name of the file; an ArchiveError, which the command line prints, where it cannot be made."""
    settings = load_settings(options.settings)
    passphrase = read_new_passphrase()
    with closing(open_archive(settings.data)) as archive:
        file = write_backup(
            settings.data, options.settings, options.folder, passphrase=passphrase, software=software().version, now=time.time()
        )
        archive.audit.record(actor="service", action="backup", details={"bytes": file.stat().st_size})
    sys.stdout.write(f"{file}\n")
    return 0
