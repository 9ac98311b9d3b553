"""``appliance check-config FILE|FOLDER``: read settings as the daemon would and say what is wrong with them.

A folder is one of profiles (each is checked), or one with ``coronet.toml`` and ``profiles/`` (both are).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from appliance.errors import SettingsError
from appliance.settings import check_profile, load_settings

SETTINGS = "coronet.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, help="a settings file, or a folder of profiles or of both")


def run(options: argparse.Namespace) -> int:
    """0 if everything can be used, 1 if something cannot: all faults are told, not only the first."""
    faults = 0
    for check in _checks(options.file):
        try:
            sys.stdout.write(check())
        except SettingsError as error:
            faults += 1
            sys.stderr.write(f"{error.code}\n{error.zh}\n{error.en}\n")
    return 1 if faults else 0


def _checks(place: Path) -> list[Callable[[], str]]:
    if not place.is_dir():
        return [partial(_settings, place)]
    folder = place / "profiles" if (place / "profiles").is_dir() else place
    checks: list[Callable[[], str]] = [partial(_settings, place / SETTINGS)] if (place / SETTINGS).exists() else []
    checks += [partial(_profile, path.stem, folder) for path in sorted(folder.glob("*.toml")) if path.name != SETTINGS]
    if not checks:
        raise SettingsError("CFG-001", zh=f"{place.name} 中没有设置文件", en=f"there are no settings in {place.name}")
    return checks


def _settings(path: Path) -> str:
    settings = load_settings(path)
    names = ", ".join(entry.name for entry in settings.printer) or "-"
    destinations = ", ".join(entry.name for entry in settings.destination) or "-"
    return f"设置文件可用 / settings are good\nprinters: {names}\ndestinations: {destinations}\n"


def _profile(name: str, folder: Path) -> str:
    profile = check_profile(name, folder=folder)
    return f"{profile.name}: {profile.kind}, {profile.text}\n"
