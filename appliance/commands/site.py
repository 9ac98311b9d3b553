"""``appliance site export|import FILE``: settings, profiles and people in one sealed file, from box to box; nothing of any patient."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from appliance.archive.archive import open_archive
from appliance.build import installed_version
from appliance.commands.passphrase import read_new_passphrase, read_secret
from appliance.maintenance.site_file import export_site, import_site
from appliance.settings import SETTINGS, load_settings_or_new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes; the passphrase is read from standard input."""
    actions = parser.add_subparsers(dest="action", required=True)
    for action, text in (
        ("export", "write the file"),
        ("import", "take everything of the file, after a check; then start the service again"),
    ):
        each = actions.add_parser(action, help=text)
        each.add_argument("file", type=Path)
        each.add_argument("--settings", type=Path, default=SETTINGS)


def run(options: argparse.Namespace) -> int:
    """0 if it is done; a typed error, which the command line prints, otherwise."""
    settings = load_settings_or_new(options.settings)
    with closing(open_archive(settings.data)) as archive:
        if options.action == "export":
            passphrase = read_new_passphrase()
            people = export_site(archive, options.settings, options.file, passphrase=passphrase, software=installed_version())
            sys.stdout.write(f"{options.file}: {people} 人 / people\n")
            return 0
        passphrase = read_secret("口令 / passphrase")
        for name in import_site(archive, options.file, options.settings, passphrase=passphrase):
            sys.stdout.write(f"+ {name}\n")
    sys.stdout.write("请重新启动服务 / start the service again\n")
    return 0
