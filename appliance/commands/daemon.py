"""``appliance daemon``: the coordinator, which starts everything else."""

from __future__ import annotations

import argparse
from pathlib import Path

from appliance.daemon import run_daemon
from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))


def run(options: argparse.Namespace) -> int:
    """Run until told to stop."""
    return run_daemon(load_settings(options.settings), settings_path=options.settings)
