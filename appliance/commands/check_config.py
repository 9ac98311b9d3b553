"""``appliance check-config FILE``: read a settings file as the daemon would and say what is wrong with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.settings import load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path)


def run(options: argparse.Namespace) -> int:
    """0 if the file can be used; a SettingsError, which the command line prints, otherwise."""
    settings = load_settings(options.file)
    names = ", ".join(entry.name for entry in settings.printer) or "-"
    destinations = ", ".join(entry.name for entry in settings.destination) or "-"
    sys.stdout.write(f"设置文件可用 / settings are good\nprinters: {names}\ndestinations: {destinations}\n")
    return 0
