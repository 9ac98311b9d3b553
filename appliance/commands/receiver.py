"""``appliance receiver``: the DICOM storage process. No numeric Python is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

from appliance.settings import load_settings_or_new
from appliance.workflow.reception import run_reception


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Receive until told to stop."""
    return run_reception(load_settings_or_new(options.settings))
