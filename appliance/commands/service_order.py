"""``appliance service-order``: sign the order that a service engineer takes to one box on a stick (never on a box: it needs the key)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from appliance.maintenance.signature import sign
from appliance.study import Role
from appliance.workflow.service_stick import ORDER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("order", choices=["person", "erase"], help="add somebody who may sign in, or erase everything")
    parser.add_argument("--code", required=True, help="the eight digits that the box shows on its sign-in screen")
    parser.add_argument("--name", default="", help="of the person")
    parser.add_argument("--role", default="engineer", choices=get_args(Role))
    parser.add_argument("--to", type=Path, required=True, help="the stick's folder")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """0; names the two files. A MaintenanceError, which the command line prints, where it cannot be signed."""
    path: Path = options.to / ORDER
    code = options.code.replace(" ", "")
    lines = [f'code = "{code}"', f'order = "{options.order}"']
    if options.order == "person":
        lines += [f"name = {json.dumps(options.name, ensure_ascii=False)}", f'role = "{options.role}"']
    path.write_text("\n".join([*lines, ""]), "utf-8")
    sys.stdout.write(f"{path}\n{sign(path, certificate=options.certificate, key=options.key)}\n")
    return 0
