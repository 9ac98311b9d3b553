"""``appliance receiver``: the DICOM storage process. No numeric Python is imported here."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.dicom.receiver import run_receiver
from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Receive until told to stop."""
    settings = load_settings(options.settings)
    with (
        closing(open_archive(settings.data)) as archive,
        closing(archive.spool(minimum_free_bytes=settings.receiver.minimum_free_bytes)) as spool,
    ):
        return run_receiver(settings.receiver, spool)
