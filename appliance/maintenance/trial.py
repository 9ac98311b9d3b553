"""A version on trial: after each start of the machine the running slot is proved, or given up.

A slot that has proved itself before is good as soon as this runs: it was started, and its kernel, its files and the data partition work.
One that was just installed must show within a time that the whole box works: the service is up, the receiver answers an echo, the kiosk
draws, the golden case was analysed. What it does not show makes the slot bad and the machine restart into the old one, at once where the
service has failed for good (systemd tries no longer): the sooner the old version receives, the better. The boot loader
counts starts all the while: a version that does not even come this far is given up by it (three starts), or by the unit, whose failure
restarts the machine.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.dicom.sender import echo
from appliance.errors import CoronetError, UpdateError
from appliance.maintenance.slots import Slots
from appliance.maintenance.updater import Updater
from appliance.settings import DestinationSettings, Settings
from appliance.workflow.probe import own_door

log = logging.getLogger(__name__)

LIMIT_S = 1800.0
"""The analyst compiles its kernels anew for a new version; its own unit allows it 20 minutes."""
POLL_S = 2.0
LONGEST_REPLY = 1 << 20
STEADY_S = 10.0
"""So long everything has to stay good."""


class HopelessError(UpdateError):
    """What is wrong with a version on trial and will not get better by waiting."""


@dataclass(frozen=True)
class Proof:
    """One thing that a version on trial must show. ``check`` raises the UpdateError that says what is wrong."""

    name: str
    check: Callable[[], None]


def prove(
    updater: Updater,
    slots: Slots,
    *,
    proofs: Sequence[Proof],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    limit_s: float = LIMIT_S,
    steady_s: float = STEADY_S,
) -> bool:
    """Prove the running slot, after `Updater.resume` has found out whether it is on trial; whether it may stay.

    Raises:
        UpdateError: UPD-003, the slots cannot be reached.
    """
    record = updater.record
    if record.state == "returning":
        slots.mark_bad()
        slots.restart()
        return False
    if record.state != "trying":
        slots.mark_good()
        updater.note_proven()
        return True
    fault = _first_fault(proofs, monotonic=monotonic, sleep=sleep, limit_s=limit_s, steady_s=steady_s)
    if fault is None:
        slots.mark_good()
        updater.proved()
        return True
    log.error("the version on trial is given up: %s", fault)
    updater.disproved(fault.reason)
    slots.mark_bad()
    slots.restart()
    return False


def _first_fault(
    proofs: Sequence[Proof], *, monotonic: Callable[[], float], sleep: Callable[[float], None], limit_s: float, steady_s: float
) -> CoronetError | None:
    """None as soon as every proof has held for a while; the fault that was left when the time was over, or that makes waiting useless."""
    end, good_since = monotonic() + limit_s, None
    while True:
        fault = next((found for found in map(_fault_of, proofs) if found is not None), None)
        now = monotonic()
        if fault is not None:
            good_since = None
            if now >= end or isinstance(fault, HopelessError):
                return fault
        elif good_since is None:
            good_since = now
        if good_since is not None and now - good_since >= steady_s:
            return None
        sleep(POLL_S)


def _fault_of(proof: Proof) -> CoronetError | None:
    try:
        proof.check()
    except CoronetError as error:
        return error
    return None


def proofs(
    settings: Settings, *, version: str, active: Callable[[str], bool] | None = None, failed: Callable[[str], bool] | None = None
) -> list[Proof]:
    """What a new version must show on this box.

    Args:
        settings: of the box.
        version: the running one; the service must be of it.
        active: whether a unit of systemd is up. Those of the kiosk and the analyst are of Type=notify: the kiosk says READY with its
            first frame and is restarted when frames stop, the analyst says READY after the golden case.
        failed: whether systemd has given a unit up (its start limit).
    """
    active, failed = active or unit_is_active, failed or unit_has_failed
    door = own_door(settings.receiver)

    def service() -> None:
        if failed("coronet.service"):
            raise HopelessError("UPD-010", zh="新版本的服务多次启动失败", en="the service of the new version failed again and again")
        if not active("coronet.service"):
            raise UpdateError("UPD-010", zh="新版本的服务未运行", en="the service of the new version is not up")
        said = _info_version(settings.api.socket)
        if said != version:
            raise UpdateError("UPD-010", zh="服务接口无应答或版本不符", en=f"the service does not answer, or as another version ({said})")

    def kiosk() -> None:
        if not active("coronet-kiosk.service"):
            raise UpdateError("UPD-012", zh="触摸屏界面未显示", en="the kiosk shows no picture")

    def golden() -> None:
        if not active("coronet-analyst.service"):
            raise UpdateError("UPD-013", zh="基准病例分析未通过", en="the golden case has not been analysed as expected")

    return [Proof("service", service), Proof("receiver", lambda: _echo(door)), Proof("kiosk", kiosk), Proof("golden", golden)]


def unit_is_active(unit: str) -> bool:
    """Whether systemd says that a unit is up."""
    return _systemd_says("is-active", unit)


def unit_has_failed(unit: str) -> bool:
    """Whether systemd has given a unit up."""
    return _systemd_says("is-failed", unit)


def _systemd_says(question: str, unit: str) -> bool:
    try:
        return subprocess.run(["systemctl", "--quiet", question, unit], timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _echo(door: DestinationSettings) -> None:
    try:
        echo(door)
    except CoronetError as error:
        raise UpdateError("UPD-011", zh="接收端口无应答(C-ECHO)", en="the receiver does not answer an echo") from error


def _info_version(path: Path) -> str:
    """The version that the API tells; empty if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.settimeout(10)
            door.connect(str(path))
            door.sendall(b"GET /v1/info HTTP/1.1\r\nHost: coronet\r\nConnection: close\r\n\r\n")
            reply = b""
            while len(reply) < LONGEST_REPLY and (part := door.recv(65536)):
                reply += part
        return str(json.loads(reply.partition(b"\r\n\r\n")[2]).get("version", ""))
    except (OSError, ValueError, AttributeError):
        return ""
