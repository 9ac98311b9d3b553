"""The first set-up: settings made of what a person entered on the kiosk, checked as any settings are, and the first person.

A box without a settings file and without people is new. Until it is set up anybody in front of it may do that, and nobody anything else;
afterwards this door is shut for good (a factory reset opens it again), also when the database and its people are lost.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

from appliance.archive.archive import Archive
from appliance.archive.files import make_folder, write_durably
from appliance.errors import CoronetError, WorkflowError
from appliance.settings import parse_settings
from appliance.settings.toml_text import toml_value
from appliance.worklist import SetUpPeer, SetUpRequest

HEAD = "# Written by the first set-up on the kiosk; the manual of every option is coronet.toml beside the software."
log = logging.getLogger(__name__)

DONE = "set-up-done"
"""Stands in the data folder once somebody could sign in; it outlives the database."""
EVERYWHERE = "0.0.0.0"  # noqa: S104 - the scanner must reach us; units and site settings say who else may


class SetUpDesk:
    """May be used by several threads.

    Args:
        archive: where the first person is kept.
        settings_path: where the settings will stand.
        adopt: puts the text of the settings in its place and sets the clock; None where nobody does (no box): it is written here.
        restart: restarts the box; None where nobody does.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        settings_path: Path,
        adopt: Callable[[str, str], None] | None = None,
        restart: Callable[[], None] | None = None,
    ) -> None:
        self._archive = archive
        self._settings_path = settings_path
        self._adopt = adopt
        self._restart = restart
        self._lock = threading.Lock()
        self._done = archive.data / DONE

    def wanted(self) -> bool:
        """Whether the box is new: nobody can sign in, and no settings are there but what a set-up that was cut off has left."""
        if self._done.exists():
            return False
        if self._archive.users.all():
            with contextlib.suppress(OSError):
                write_durably(self._done, b"")
            return False
        try:
            return self._settings_path.read_text("utf-8").startswith(HEAD)
        except FileNotFoundError:
            return True
        except (OSError, UnicodeDecodeError):
            return False

    def set_up(self, wanted: SetUpRequest) -> bool:
        """Check and keep it all, the person last; whether the box restarts by itself then.

        Raises:
            WorkflowError: WF-110 the box is set up already (kind ``forbidden``), WF-111 a value cannot be used.
        """
        with self._lock:
            if not self.wanted():
                raise WorkflowError("WF-110", zh="本机已完成设置,请登录", en="this box is set up already, sign in", kind="forbidden")
            text = settings_text(wanted)
            try:
                parse_settings(tomllib.loads(text), source="coronet.toml")
                if self._adopt is not None:
                    self._adopt(text, wanted.clock)
                else:
                    make_folder(self._settings_path.parent)
                    write_durably(self._settings_path, text.encode())
                user = self._archive.users.add(name=wanted.user, role=wanted.role, pin=wanted.pin)
            except CoronetError as error:
                raise WorkflowError("WF-111", zh=error.zh, en=error.en) from error
            self._archive.audit.record(actor=user.id, action="set-up", details={"role": user.role})
        try:
            if self._restart is not None:
                self._restart()
        except CoronetError as error:
            log.error("the box does not restart by itself: %s", error)  # noqa: TRY400 - the typed error says it all
            return False
        return self._restart is not None


def settings_text(wanted: SetUpRequest) -> str:
    """The settings as a file, in the order of the manual (``firmware-config/coronet.toml``)."""
    lines = [
        HEAD, "",
        "[receiver]", f"ae_title = {toml_value(wanted.ae_title)}", f"host = {toml_value(EVERYWHERE)}", f"port = {wanted.port}", "",
        "[policy]", f"institution = {toml_value(wanted.institution)}", "",
        "[kiosk]", f"language = {toml_value(wanted.language)}", "",
    ]  # fmt: skip
    if wanted.printer.host:
        lines += _peer("printer", "film", wanted.printer, calling=wanted.ae_title)
    if wanted.archive.host:
        # not yet the long-term archive ([archive]): that asks for storage commitment, which nobody has said that it offers
        lines += _peer("destination", "PACS", wanted.archive, calling=wanted.ae_title)
    lines += ["[network]", f"time_zone = {toml_value(wanted.time_zone)}"]
    for name in ("address", "gateway"):
        value = getattr(wanted, name)
        lines += [f"{name} = {toml_value(value)}"] if value else []
    for name in ("dns", "ntp"):
        value = getattr(wanted, name)
        lines += [f"{name} = [{toml_value(value)}]"] if value else []
    return "\n".join([*lines, ""])


def _peer(table: str, name: str, peer: SetUpPeer, *, calling: str) -> list[str]:
    title, calling = toml_value(peer.ae_title), toml_value(calling)
    return [f"[[{table}]]", f'name = "{name}"', f"host = {toml_value(peer.host)}", f"port = {peer.port}", f"ae_title = {title}", f"calling_ae_title = {calling}", ""]  # fmt: skip  # noqa: E501
