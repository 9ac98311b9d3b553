"""``appliance factory-reset``: erase everything of patients, people and the site. The daemon must not run; a word must be typed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance.errors import SettingsError
from appliance.maintenance.reset import CONFIRMATION, reset
from appliance.settings import Settings, load_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, default=Path("/etc/coronet/coronet.toml"))
    parser.add_argument("--keep-settings", action="store_true", help="keep the site's settings and profiles")


def run(options: argparse.Namespace) -> int:
    """0 if nothing is left; a MaintenanceError, which the command line prints, if nothing was done."""
    settings_file: Path = options.settings
    data = _data(settings_file)
    sys.stderr.write(
        f"将删除全部影像、报告、人员和设置:{data}\nthis erases all images, reports, people and settings: {data}\n"
        f"请输入 {CONFIRMATION} / type {CONFIRMATION}: "
    )
    sys.stderr.flush()
    site = [] if options.keep_settings else [settings_file, settings_file.parent / "profiles"]
    reset(data, site=site, confirmation=sys.stdin.readline().strip())
    return 0


def _data(settings_file: Path) -> Path:
    """Settings that cannot be used must not keep anybody from erasing the usual place."""
    try:
        return load_settings(settings_file).data
    except SettingsError as error:
        sys.stderr.write(f"{error.zh}\n{error.en}\n")
        return Settings().data
