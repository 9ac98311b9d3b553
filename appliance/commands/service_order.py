"""``appliance service-order``: sign the order that a service engineer takes to one box on a stick (never on a box: it needs the key)."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args

from appliance.errors import SettingsError
from appliance.maintenance.signature import sign
from appliance.settings import load_settings
from appliance.settings.profiles import expand
from appliance.study import Role
from appliance.workflow.service_stick import ORDER, OrderKind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("order", choices=get_args(OrderKind), help="add a person, replace the settings, or erase everything")
    parser.add_argument("--code", required=True, help="the eight digits that the box shows on its sign-in screen")
    parser.add_argument("--name", default="", help="of the person")
    parser.add_argument("--role", default="engineer", choices=get_args(Role))
    parser.add_argument("--settings", type=Path, help="the file that replaces the box's settings; profiles that it names become part of it")
    parser.add_argument("--to", type=Path, required=True, help="the stick's folder")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """0; names the two files. A typed error, which the command line prints, where it cannot be signed or the settings cannot be used."""
    path: Path = options.to / ORDER
    code = options.code.replace(" ", "")
    lines = [f'code = "{code}"', f'order = "{options.order}"']
    if options.order == "person":
        lines += [f"name = {json.dumps(options.name, ensure_ascii=False)}", f'role = "{options.role}"']
    if options.order == "settings":
        if options.settings is None:
            raise SettingsError("CFG-001", zh="缺少 --settings 文件", en="--settings FILE is missing")
        load_settings(options.settings)  # raises what is wrong with it, while there is somebody who can put it right
        tree = tomllib.loads(options.settings.read_text("utf-8"))
        lines += [f"settings = {json.dumps(toml_text(expand(tree, folder=options.settings.parent / 'profiles')), ensure_ascii=False)}"]
    path.write_text("\n".join([*lines, ""]), "utf-8")
    sys.stdout.write(f"{path}\n{sign(path, certificate=options.certificate, key=options.key)}\n")
    return 0


def toml_text(tree: dict[str, Any]) -> str:
    """A settings tree as TOML, one top-level key a line. Of values only those that settings have: tables, lists, texts, numbers, truth."""
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in tree.items())


def _value(value: Any) -> str:
    """JSON's texts and numbers are TOML's; a table is an inline one."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)
