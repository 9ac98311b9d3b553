"""``appliance service-order``: sign the order that a service engineer takes to one box on a stick (never on a box: it needs the key)."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from pathlib import Path
from typing import get_args

from appliance.commands.passphrase import read_secret
from appliance.errors import SettingsError
from appliance.maintenance.signature import sign
from appliance.maintenance.site_file import open_site
from appliance.settings import load_settings
from appliance.settings.profiles import whole_text
from appliance.settings.toml_text import toml_value
from appliance.study import Role
from appliance.workflow.service_stick import ORDER, SITE, OrderKind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("order", choices=get_args(OrderKind), help="what the box does")
    parser.add_argument("--code", required=True, help="the eight digits that the box shows on its sign-in screen")
    parser.add_argument("--name", default="", help="of the person")
    parser.add_argument("--role", default="engineer", choices=get_args(Role))
    parser.add_argument("--settings", type=Path, help="the file that replaces the box's settings; profiles that it names become part of it")
    parser.add_argument("--site", type=Path, help="what another box exported; its passphrase is read from standard input")
    parser.add_argument("--to", type=Path, required=True, help="the stick's folder")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """0; names the two files. A typed error, which the command line prints, where it cannot be signed or the settings cannot be used."""
    path: Path = options.to / ORDER
    code = options.code.replace(" ", "")
    lines = [f'code = "{code}"', f'order = "{options.order}"']
    if options.order == "person":
        lines += [f"name = {toml_value(options.name)}", f'role = "{options.role}"']
    if options.order == "settings":
        if options.settings is None:
            raise SettingsError("CFG-001", zh="缺少 --settings 文件", en="--settings FILE is missing")
        load_settings(options.settings)  # raises what is wrong with it, while there is somebody who can put it right
        lines += [f"settings = {toml_value(whole_text(options.settings))}"]
    if options.order == "import":
        if options.site is None:
            raise SettingsError("CFG-001", zh="缺少 --site 文件", en="--site FILE is missing")
        passphrase = read_secret("口令 / passphrase")
        open_site(options.site, passphrase=passphrase)  # likewise
        with contextlib.suppress(shutil.SameFileError):  # the other box has written it onto this very stick
            shutil.copyfile(options.site, options.to / SITE)
        lines += [f"passphrase = {toml_value(passphrase)}"]
    path.write_text("\n".join([*lines, ""]), "utf-8")
    sys.stdout.write(f"{path}\n{sign(path, certificate=options.certificate, key=options.key)}\n")
    return 0
