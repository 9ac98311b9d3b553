"""Writing catalog.toml: the few kinds of value that it holds, in a fixed order, so that a new export is a small change."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

_HEADING = """# The model catalog. Written by `python -m models.training export`; figures by `python -m models.evaluation --record`.
# The appliance uses a file only if its sha256 is the one named here.
"""
_TABLES = ("training", "figures")
_ARRAYS = ("channels", "outputs")


def write_catalog(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write the entries as an array of tables."""
    path.write_text(_HEADING + "".join(_entry(entry) for entry in entries), encoding="utf-8")


def record_figures(name: str, figures: dict[str, str | int | float], *, catalog: Path) -> None:
    """Put measured figures into a network's entry."""
    entries = tomllib.loads(catalog.read_text(encoding="utf-8"))["model"]
    for entry in entries:
        if entry["name"] == name:
            entry["figures"] = figures
    write_catalog(catalog, entries)


def _entry(entry: dict[str, Any]) -> str:
    lines = ["", "[[model]]"]
    lines += [f"{key} = {_value(value)}" for key, value in entry.items() if key not in _TABLES + _ARRAYS]
    for key in _ARRAYS:
        for item in entry[key]:
            lines += ["", f"[[model.{key}]]", *(f"{name} = {_value(value)}" for name, value in item.items())]
    for key in _TABLES:
        lines += ["", f"[model.{key}]", *(f"{name} = {_value(value)}" for name, value in entry[key].items())]
    return "\n".join(lines) + "\n"


def _value(value: str | bool | int | float | list[Any]) -> str:
    """JSON's strings, numbers, booleans and lists are TOML's."""
    return json.dumps(value, ensure_ascii=False)
