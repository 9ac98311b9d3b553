"""The first set-up: settings made of what a person entered on the kiosk, checked as any settings are, and the first person.

A box without a settings file and without people is new. Until it is set up anybody in front of it may do that, and nobody anything else;
afterwards this door is shut for good (a factory reset opens it again).
"""

from __future__ import annotations

import json
import logging
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from appliance.archive.archive import Archive
from appliance.errors import CoronetError, WorkflowError
from appliance.settings import parse_settings
from appliance.study import Role

log = logging.getLogger(__name__)

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the scanner must reach us; units and site settings say who else may


class Peer(Protocol):
    """A printer or archive that was entered; without a host there is none."""

    host: str
    port: int
    ae_title: str


class Wanted(Protocol):
    """What was entered."""

    language: str
    institution: str
    ae_title: str
    port: int
    address: str
    gateway: str
    dns: str
    ntp: str
    time_zone: str
    clock: str
    archive: Peer
    printer: Peer
    user: str
    role: Role
    pin: str


class SetUpDesk:
    """May be used by several threads.

    Args:
        archive: where the first person is kept.
        settings_path: where the settings will stand; there are none yet.
        adopt: puts a settings file in its place and restarts the box; None where nobody does that (not on a box): it is written here.
    """

    def __init__(self, *, archive: Archive, settings_path: Path, adopt: Callable[[str, str], None] | None) -> None:
        self._archive = archive
        self._settings_path = settings_path
        self._adopt = adopt
        self._lock = threading.Lock()
        self._taken = False

    def wanted(self) -> bool:
        """Whether the box is new."""
        return not self._taken and not self._settings_path.exists() and not self._archive.users.all()

    def set_up(self, wanted: Wanted) -> bool:
        """Check and keep it all; whether the box restarts by itself then.

        Raises:
            WorkflowError: WF-110 the box is set up already (kind ``forbidden``), WF-111 a value cannot be used.
        """
        with self._lock:
            if not self.wanted():
                raise WorkflowError("WF-110", zh="本机已完成设置,请登录", en="this box is set up already, sign in", kind="forbidden")
            text = settings_text(wanted)
            try:
                parse_settings(tomllib.loads(text), source="coronet.toml")
                user = self._archive.users.add(name=wanted.user, role=wanted.role, pin=wanted.pin)
            except CoronetError as error:
                raise WorkflowError("WF-111", zh=error.zh, en=error.en) from error
            self._taken = True
        self._archive.audit.record(actor=user.id, action="set-up", details={"role": user.role})
        try:
            if self._adopt is not None:
                self._adopt(text, wanted.clock)
            else:
                self._settings_path.parent.mkdir(parents=True, exist_ok=True)
                self._settings_path.write_text(text, "utf-8")
        except CoronetError:
            self._archive.users.disable(user.id)
            self._taken = False
            raise
        return self._adopt is not None


def settings_text(wanted: Wanted) -> str:
    """The settings as a file, in the order of the manual (``firmware-config/coronet.toml``)."""
    lines = [
        "# Written by the first set-up on the kiosk; the manual of every option is coronet.toml beside the software.", "",
        "[receiver]", f"ae_title = {_text(wanted.ae_title)}", f"host = {_text(EVERYWHERE)}", f"port = {wanted.port}", "",
        "[policy]", f"institution = {_text(wanted.institution)}", "",
        "[kiosk]", f"language = {_text(wanted.language)}", "",
    ]  # fmt: skip
    if wanted.printer.host:
        lines += _peer("printer", "film", wanted.printer, calling=wanted.ae_title)
    if wanted.archive.host:
        lines += [*_peer("destination", "PACS", wanted.archive, calling=wanted.ae_title), "[archive]", 'destination = "PACS"', ""]
    lines += ["[network]", f"time_zone = {_text(wanted.time_zone)}"]
    for name in ("address", "gateway"):
        value = getattr(wanted, name)
        lines += [f"{name} = {_text(value)}"] if value else []
    for name in ("dns", "ntp"):
        value = getattr(wanted, name)
        lines += [f"{name} = [{_text(value)}]"] if value else []
    return "\n".join([*lines, ""])


def _peer(table: str, name: str, peer: Peer, *, calling: str) -> list[str]:
    title, calling = _text(peer.ae_title), _text(calling)
    return [f"[[{table}]]", f'name = "{name}"', f"host = {_text(peer.host)}", f"port = {peer.port}", f"ae_title = {title}", f"calling_ae_title = {calling}", ""]  # fmt: skip  # noqa: E501


def _text(value: str) -> str:
    """A basic string of TOML: JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
