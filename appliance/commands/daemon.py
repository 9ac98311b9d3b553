"""``appliance daemon``: the coordinator, which starts everything else."""

from __future__ import annotations

import argparse
from pathlib import Path

from appliance.daemon import run_daemon
from appliance.maintenance.reset import CONFIRMATION, reset, reset_pending
from appliance.settings import load_settings_or_new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument(
        "--apart", action="append", default=[], choices=["analyst"], help="a process that is not started here: a unit of its own runs it"
    )
    parser.add_argument("--safe-mode", action="store_true", help="only receive and store (systemd, after too many failures)")


def run(options: argparse.Namespace) -> int:
    """Run until told to stop."""
    settings = load_settings_or_new(options.settings)
    if reset_pending(settings.data):
        reset(settings.data, site=[], confirmation=CONFIRMATION)  # confirmed when it was begun
    return run_daemon(settings, settings_path=options.settings, apart=options.apart, safe_mode=options.safe_mode)
