"""``appliance receiver``: the DICOM storage process. No numeric Python is imported here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.settings import load_settings_or_new

NOT_FOR_BYTES = ("numpy", "PIL", "pylibjpeg", "requests")
"""What pydicom would read in for pixels and downloads where it is installed; it goes without."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Receive until told to stop."""
    for name in NOT_FOR_BYTES:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # an import of it fails, as where it is not installed
    from appliance.workflow.reception import run_reception

    return run_reception(load_settings_or_new(options.settings))
