"""Updates as the coordinator sees them: what stands in the updater's file goes to the kiosk, what a person orders goes to the updater.

The two share a folder, ``update/`` of the data folder: ``record.json`` is written by the updater alone (`UpdateLog`), ``order.json`` by the
coordinator alone. Both are written whole and durably, so that an order given once is carried out once, whatever is cut off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.files import make_folder, write_durably
from appliance.errors import ArchiveError, WorkflowError
from appliance.workflow.slots_door import HELPER
from appliance.workflow.update_states import UpdateRecord
from appliance.worklist import Session, UpdateInfo

log = logging.getLogger(__name__)

STICK_DEVICE = Path("/dev/coronet/stick")
COMPONENT = "update"
LOOK_EVERY_S = 2.0
RECORD, ORDER = "record.json", "order.json"
Wish = Literal["look", "install", "restart", "dismiss"]
SHOWN = ("back", "failed")
"""States that the operator is told of on worklist and panel until a person has read them."""


class UpdateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants. ``digest``: of the update that the record named when they ordered it."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    wish: Wish
    by: str
    digest: str = ""


def read_record(folder: Path) -> UpdateRecord:
    """The updater's last word; an empty one where there is none that can be read (a new box, a file of another version)."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=UpdateRecord)
    except (OSError, msgspec.DecodeError):
        return UpdateRecord()


def write_record(folder: Path, record: UpdateRecord) -> None:
    """Durably, before what it stands for is done."""
    make_folder(folder)
    write_durably(folder / RECORD, msgspec.json.format(msgspec.json.encode(record)))


def read_order(folder: Path) -> UpdateOrder | None:
    """The last order; None if there is none."""
    try:
        return msgspec.json.decode((folder / ORDER).read_bytes(), type=UpdateOrder)
    except (OSError, msgspec.DecodeError):
        return None


class UpdateDesk:
    """See the module; may be used by several threads.

    Args:
        archive: for the audit trail and what the operator is told.
        installed: the running version.
        roles: who may order updates.
        stick: the device's name while a stick is plugged in.
        helper: the socket of the service that writes the slots; without it there are no updates.
    """

    def __init__(
        self, *, archive: Archive, installed: str, roles: Collection[str], stick: Path = STICK_DEVICE, helper: Path = HELPER
    ) -> None:
        self._archive = archive
        self._folder = archive.data / "update"
        self._installed = installed
        self._roles = roles
        self._stick = stick
        self._helper = helper
        self._told: UpdateRecord | None = None
        self._lock = threading.Lock()

    def update(self, session: Session) -> UpdateInfo:
        """Where the update stands, for one person."""
        record = read_record(self._folder)
        return UpdateInfo(
            installed=self._installed,
            state=record.state,
            stick=self._stick.exists(),
            available=self._helper.exists(),
            version=record.version,
            notes_zh=record.notes_zh,
            notes_en=record.notes_en,
            progress=record.progress,
            waiting=record.waiting,
            reason=record.reason,
            may=session.role in self._roles,
        )

    def order_update(self, *, session: Session, wish: Wish, command: str) -> UpdateInfo:
        """Hand a person's wish to the updater.

        Raises:
            WorkflowError: WF-104 not allowed (kind ``forbidden``), WF-105 this box has no slots (kind ``not_found``).
        """
        if session.role not in self._roles:
            raise WorkflowError("WF-104", zh="您的角色无权更新系统", en="your role may not update the box", kind="forbidden")
        if not self._helper.exists():
            raise WorkflowError("WF-105", zh="本机不支持系统更新", en="this box has no second slot to update", kind="not_found")
        with self._lock:
            before = read_order(self._folder)
            if before is None or before.command != command:
                record = read_record(self._folder)
                self._archive.audit.record(
                    actor=session.user_id, action=f"update {wish}", details={"version": record.version, "state": record.state}
                )
                order = UpdateOrder(command=command, wish=wish, by=session.user_id, digest=record.digest)
                make_folder(self._folder)
                write_durably(self._folder / ORDER, msgspec.json.encode(order))
        return self.update(session)

    def run(self, stop: threading.Event) -> None:
        """Tell the operator, and the audit trail, what becomes of an update; one thread of the coordinator."""
        while True:
            try:
                self.step()
            except ArchiveError as error:
                log.error("what became of an update is told later: %s", error)  # noqa: TRY400 - the typed error says it all
            if stop.wait(LOOK_EVERY_S):
                return

    def step(self) -> None:
        """Look once."""
        record = read_record(self._folder)
        if self._told is not None and record.number == self._told.number:
            return
        shown = record.state in SHOWN
        with self._archive.database.transaction():  # both or none: on a full disk it is all told later
            if self._told is not None or shown:
                details = {"state": record.state, "version": record.version, "code": record.reason.code if record.reason else ""}
                self._archive.audit.record(actor="coronet", action="update state", details=details)
            self._archive.components.report(COMPONENT, ready=not shown, detail=record.state, reason=record.reason if shown else None)
        self._told = record
