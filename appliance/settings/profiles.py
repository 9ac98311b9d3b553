"""Profiles: what is known of a device or a site, in a file of its own, so that a site's settings only say what is the site's.

A profile is a TOML file ``profiles/NAME.toml`` beside the settings file. Its ``[profile]`` table says what it is of (`KINDS`), its
``[settings]`` table holds options of that table of the settings. It is used by name:

    use = ["ups-megatec", "display-1080p"]      # at the head of the settings, for tables that stand once

    [[printer]]                                 # in a table that stands for each device
    profile = "printer-14x17"
    name = "film" ...

What the settings say themselves counts more than what a profile says.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import SettingsError
from appliance.settings.toml_text import toml_text

LISTED = {"printer": "printer", "destination": "destination", "scanner": "peer"}
"""Kinds of devices of which a site has several -> their table."""
SINGLE = ("receiver", "intake", "panel", "badge", "ups", "gpu", "display", "network", "kiosk")
KINDS = (*LISTED, *SINGLE)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}\Z")
_HEAD = {"kind", "text", "source"}
MAXIMUM_BYTES = 64 * 1024


@dataclass(frozen=True)
class Profile:
    """One profile. ``source`` says how its values are known (a conformance statement, a test), so that nobody takes a guess for a fact."""

    name: str
    kind: str
    text: str
    source: str
    settings: dict[str, Any]

    @property
    def table(self) -> str:
        """The table of the settings that it belongs to."""
        return LISTED.get(self.kind, self.kind)


def parse_profile(text: str, *, name: str) -> Profile:
    """Read a profile; its settings are checked when they are used with a site's (`appliance.settings.load_settings`).

    Raises:
        SettingsError: CFG-010, it is not one.
    """
    if not _NAME.match(name):
        raise _fault(name, "名称只能含小写字母、数字和连字符", "a name has lower case letters, digits and hyphens")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(name, str(error), str(error)) from error
    head, settings = tree.get("profile"), tree.get("settings", {})
    if not isinstance(head, dict) or not isinstance(settings, dict) or set(tree) - {"profile", "settings"}:
        raise _fault(name, "应只含 [profile] 和 [settings]", "it has the tables [profile] and [settings], nothing else")
    if set(head) != _HEAD or not all(isinstance(value, str) and value for value in head.values()):
        raise _fault(name, "[profile] 应含 kind、text、source", "[profile] has kind, text and source")
    if head["kind"] not in KINDS:
        raise _fault(name, f"没有类型 {head['kind']}", f"there is no kind {head['kind']}, only {', '.join(KINDS)}")
    return Profile(name=name, kind=head["kind"], text=head["text"], source=head["source"], settings=settings)


def read_profile(name: str, *, folder: Path) -> Profile:
    """Read a profile of a folder.

    Raises:
        SettingsError: CFG-010 it is none, CFG-011 it is not there.
    """
    if not _NAME.match(name):
        raise _fault(name[:48], "名称只能含小写字母、数字和连字符", "a name has lower case letters, digits and hyphens")
    path = folder / f"{name}.toml"
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise _fault(name, "文件过大", "the file is too large")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(each.stem for each in folder.glob("*.toml"))) or "-"
        raise SettingsError(
            "CFG-011", zh=f"没有配置档 {name}(现有:{known})", en=f"there is no profile {name} (there are: {known})"
        ) from error
    return parse_profile(text, name=name)


def expand(tree: dict[str, Any], *, folder: Path) -> dict[str, Any]:
    """The settings tree with the profiles that it names laid beneath; a tree that names none comes back as it is.

    Raises:
        SettingsError: CFG-010, CFG-011, or CFG-012: a profile of another kind is named.
    """
    expanded = {key: value for key, value in tree.items() if key != "use"}
    use = tree.get("use", [])
    if not isinstance(use, list) or not all(isinstance(name, str) for name in use):
        raise SettingsError("CFG-012", zh="use 应为名称列表", en="use is a list of names")
    for name in use:
        profile = read_profile(name, folder=folder)
        if profile.kind in LISTED:
            raise _wrong_kind(name, profile.kind, "use")
        own = expanded.get(profile.table, {})
        expanded[profile.table] = {**profile.settings, **own} if isinstance(own, dict) else own
    for kind, table in LISTED.items():
        rows = expanded.get(table)
        if isinstance(rows, list):
            expanded[table] = [_expand_row(row, kind=kind, folder=folder) for row in rows]
    return expanded


def whole_text(path: Path) -> str:
    """The settings of a file, with the profiles that it names laid beneath, as TOML that needs no other file.

    Raises:
        SettingsError: CFG-010 to CFG-012 as `expand`.
        OSError: the file cannot be read; ValueError: it is no TOML.
    """
    return toml_text(expand(tomllib.loads(path.read_text("utf-8")), folder=path.parent / "profiles"))


def _expand_row(row: Any, *, kind: str, folder: Path) -> Any:
    if not isinstance(row, dict) or "profile" not in row:
        return row
    profile = read_profile(str(row["profile"]), folder=folder)
    if profile.kind != kind:
        raise _wrong_kind(profile.name, profile.kind, kind)
    return {**profile.settings, **{key: value for key, value in row.items() if key != "profile"}}


def _wrong_kind(name: str, kind: str, place: str) -> SettingsError:
    return SettingsError(
        "CFG-012", zh=f"配置档 {name} 的类型 {kind} 不适用于 {place}", en=f"the profile {name} is of a {kind}, it does not fit {place}"
    )


def _fault(name: str, zh: str, en: str) -> SettingsError:
    return SettingsError("CFG-010", zh=f"配置档 {name}:{zh}", en=f"profile {name}: {en}")
