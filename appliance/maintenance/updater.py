"""Installs updates: what a person has ordered on the kiosk, step by step through `appliance.workflow.update_states`.

The record is on the disk before what it stands for is done, so that a process or a machine that ends at any moment goes on from there:
`resume` at start, then `step` again and again. Nothing of a stick is trusted: it is mounted read only when a person asks for it, a bundle
is checked whole before it is shown and once more before it is written, and RAUC checks each block again while it writes.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from appliance.errors import CoronetError, Reason, UpdateError
from appliance.maintenance.slots import Slots
from appliance.maintenance.update_bundle import COMPATIBLE, Update, find_updates, inspect_update
from appliance.workflow.update_desk import UpdateOrder, read_order, read_record, write_record
from appliance.workflow.update_states import FELL_BACK, Machine, UpdateEvent, UpdateRecord, advance, fell_back, resume

log = logging.getLogger(__name__)

Busy = Literal["receiving", "analysis", "delivery"]
STEP_S = 1.0
AGAIN_S = 60.0
QUIET_S = 20.0
"""So long nothing may be under way before the restart."""
RESTART_AGAIN_S = 60.0
"""A restart that was ordered and did not happen is ordered again."""


class Updater:
    """One thread of one process; the record has no other writer while it runs.

    Args:
        folder: of record and order.
        slots: what only root may do.
        keyring: certificates of our authorities.
        installed: the running version.
        room: bytes of the slots of the other side, by class.
        busy: what is under way on the box.
        boot: identity of this boot.
        wall: seconds since the epoch.
        monotonic: seconds.
    """

    def __init__(
        self,
        *,
        folder: Path,
        slots: Slots,
        keyring: Path,
        installed: str,
        room: Callable[[], Mapping[str, int]],
        busy: Callable[[], tuple[Busy, ...]],
        boot: str,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._slots = slots
        self._keyring = keyring
        self._installed = installed
        self._room = room
        self._busy = busy
        self._boot = boot
        self._wall = wall
        self._monotonic = monotonic
        self._busy_until = monotonic()
        self._ordered_at = -RESTART_AGAIN_S
        self.record = read_record(folder)

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; while the slots cannot be reached, look again now and then."""
        while not self._tried(self.resume):
            if stop.wait(AGAIN_S):
                return
        while not stop.wait(STEP_S):
            if not self._tried(self.step) and stop.wait(AGAIN_S):
                return

    @staticmethod
    def _tried(work: Callable[[], None]) -> bool:
        try:
            work()
        except CoronetError as error:
            log.error("updates: %s", error)  # noqa: TRY400 - the typed error says it all
            return False
        return True

    def resume(self) -> None:
        """Bring the record up to what the machine shows, after a start of the process or of the machine.

        Raises:
            UpdateError: UPD-003, the slots cannot be reached.
        """
        status = self._slots.status()
        machine = Machine(booted=status.booted, primary=status.primary, boot=self._boot)
        if fell_back(self.record, machine):
            self._save(msgspec.structs.replace(self.record, state="back", reason=FELL_BACK, proven=machine.booted))
            return
        found = resume(self.record, machine)
        if found is not None:
            event, reason = found
            self._go(event, reason=reason, **({"waiting": ()} if event.startswith("booted") else {}))
        if self.record.state == "back" and self.record.proven != machine.booted:
            self._save(msgspec.structs.replace(self.record, proven=machine.booted))

    def proved(self) -> None:
        """The version on trial has shown that it works."""
        self._go("proved", proven=self.record.target, reason=None)

    def disproved(self, reason: Reason) -> None:
        """It has not: the machine goes back."""
        self._go("disproved", reason=_gone_back(self.record, reason))

    def note_proven(self) -> None:
        """No version is on trial: the slot that runs is the one that is known to work."""
        booted = self._slots.status().booted
        if self.record.proven != booted:
            self._save(msgspec.structs.replace(self.record, proven=booted))

    def step(self) -> None:
        """Take the next order, or the next step of what was ordered; what goes wrong ends in the record."""
        order = read_order(self._folder)
        if order is not None and order.command != self.record.order:
            self._obey(order)
        elif self.record.state == "installing":
            self._install()
        elif self.record.state == "installed":
            self._await_quiet()
        elif self.record.state in {"restarting", "returning"} and self._monotonic() - self._ordered_at >= RESTART_AGAIN_S:
            self._order_restart()

    # -- orders

    def _obey(self, order: UpdateOrder) -> None:
        """An order that does not fit the moment is taken and dropped: the screen shows where things stand."""
        state, mine = self.record.state, {"order": order.command, "by": order.by}
        if order.wish == "look" and state in {"idle", "offered", "good", "back", "refused", "failed"}:
            self._go("asked", **mine, reason=None, version="", notes_zh="", notes_en="", bundle="", digest="", progress=None)
            self._look()
        elif order.wish == "install" and state == "offered" and order.digest == self.record.digest:
            target = self._slots.status().other
            self._go("accepted", **mine, target=target, attempts=1, progress=0.0, former=self._installed)
        elif order.wish == "restart" and state == "installed":
            self._restart(**mine)
        elif order.wish == "dismiss" and state in {"offered", "good", "back", "refused", "failed"}:
            self._go("dismissed", **mine, reason=None, version="", notes_zh="", notes_en="", bundle="", digest="", progress=None)
        else:
            self._save(msgspec.structs.replace(self.record, order=order.command))

    def _look(self) -> None:
        """Mount the stick, choose the newest update that may be installed, check it whole."""
        try:
            bundle, update = self._newest(self._slots.mount())
        except CoronetError as error:
            self._go("refused", reason=error.reason)
        else:
            notes = {"notes_zh": update.notes.zh, "notes_en": update.notes.en}
            self._go("checked", version=update.version, bundle=bundle.name, digest=update.digest, **notes)
        finally:
            self._let_go()

    def _newest(self, stick: Path) -> tuple[Path, Update]:
        """The newest good one by its signed version; with none, the fault of the first."""
        good: list[tuple[tuple[int, ...], Path]] = []
        faults: list[CoronetError] = []
        for path in find_updates(stick):
            try:
                update = self._inspect(path, quick=True)
                good.append((tuple(int(part) for part in update.version.split(".")), path))
            except CoronetError as error:
                faults.append(error)
        for _version, path in sorted(good, reverse=True):
            try:
                return path, self._inspect(path)
            except CoronetError as error:
                faults.insert(0, error)
        raise faults[0] if faults else UpdateError("UPD-001", zh="U 盘上没有更新包", en="there is no update on the stick")

    def _inspect(self, path: Path, *, quick: bool = False) -> Update:
        return inspect_update(path, keyring=self._keyring, compatible=COMPATIBLE, minimum=self._installed, room=self._room(), quick=quick)

    # -- steps

    def _install(self) -> None:
        """Check once more, then have the other slot written; the stick may be another one by now."""
        record = self.record
        try:
            path = self._slots.mount() / record.bundle
            if self._inspect(path).digest != record.digest:
                raise UpdateError("UPD-006", zh="U 盘内容已更换,请重新检查", en="the stick holds another update now, have it checked again")
        except CoronetError as error:
            self._go("refused", reason=error.reason, progress=None)
            self._let_go()
            return
        try:
            self._slots.install(record.bundle, progress=self._progress)
        except CoronetError as error:
            self._go("failed", reason=error.reason, progress=None)
        else:
            self._go("written", progress=1.0)
            self._busy_until = self._monotonic()
        finally:
            self._let_go()

    def _progress(self, fraction: float) -> None:
        """What the screen shows; not a transition."""
        if self.record.progress is None or fraction >= self.record.progress + 0.02:
            self.record = msgspec.structs.replace(self.record, progress=fraction)
            with contextlib.suppress(OSError):  # a full disk ends no installation half-way
                write_record(self._folder, self.record)

    def _await_quiet(self) -> None:
        waiting = self._busy()
        now = self._monotonic()
        if waiting:
            self._busy_until = now
        if waiting != self.record.waiting:
            self._save(msgspec.structs.replace(self.record, waiting=waiting))
        if not waiting and now - self._busy_until >= QUIET_S:
            self._restart()

    def _restart(self, **changes: Any) -> None:
        self._go("quiet", waiting=(), **changes)
        self._order_restart()

    def _order_restart(self) -> None:
        self._ordered_at = self._monotonic()
        self._slots.restart()

    def _let_go(self) -> None:
        try:
            self._slots.unmount()
        except CoronetError as error:
            log.warning("the stick: %s", error)

    def _go(self, event: UpdateEvent, **changes: Any) -> None:
        if event == "again":
            changes["attempts"] = self.record.attempts + 1
        state = advance(self.record.state, event)
        self._save(msgspec.structs.replace(self.record, state=state, **changes))
        log.info("update: %s, now %s", event, state)

    def _save(self, record: UpdateRecord) -> None:
        self.record = msgspec.structs.replace(record, number=record.number + 1, at=self._wall(), boot=self._boot)
        write_record(self._folder, self.record)


def _gone_back(record: UpdateRecord, reason: Reason) -> Reason:
    """What the operator reads afterwards, on the old version."""
    return Reason(
        code=reason.code,
        zh=f"版本 {record.version} 未通过检验({reason.zh}),系统已自动恢复 {record.former or '原版本'}",
        en=f"version {record.version} did not prove itself ({reason.en}); the box went back to {record.former or 'the old one'} by itself",
    )
