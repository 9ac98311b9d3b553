"""The self-test of the box: each part is tried, each gets a plain answer in both languages. `examine` is the table of contents."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from appliance.dicom.sender import echo
from appliance.errors import CoronetError, MaintenanceError, Reason
from appliance.maintenance.database_view import DatabaseView
from appliance.maintenance.devices import device_checks
from appliance.settings import DestinationSettings, PrinterSettings, Settings
from appliance.workflow.box import OLDEST_CLOCK
from appliance.workflow.probe import own_door
from appliance.workflow.unit_watch import FOLDERS, changed_units, units_fault

State = Literal["good", "absent", "bad"]
TRIAL_BYTES = 4 << 20


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the examination says of one part. ``absent``: not there, and need not be."""

    part: str
    state: State
    zh: str
    en: str
    code: str = ""


Check = Callable[[], Finding]


def examine(settings: Settings, *, models: Check, echo: Callable[[DestinationSettings], None] = echo) -> list[Finding]:
    """Try everything; one part that fails never hides another.

    Args:
        settings: of the box.
        models: tries engine, models and golden case (the caller knows how they are loaded).
        echo: C-ECHO, raising DicomError.
    """
    view = DatabaseView(settings.data)
    checks: list[tuple[str, Check]] = [
        ("disk", lambda: _disk(settings)),
        ("database", lambda: _database(view)),
        ("models", models),
        ("receiver", lambda: _peer("receiver", own_door(settings.receiver), echo)),
        *(
            (f"destination {each.name}", partial(_peer, f"destination {each.name}", each, echo))
            for each in settings.destination
            if each.enabled
        ),
        *(
            (f"printer {each.name}", partial(_peer, f"printer {each.name}", _as_destination(each), echo))
            for each in settings.printer
            if each.enabled
        ),
        ("clock", lambda: _clock(time.time())),
        ("units", _units),
        ("display", lambda: _display(Path("/sys/class/drm"))),
    ]
    findings = [_tried(part, check) for part, check in checks]
    said = _components(view)
    findings += [_tried(part, partial(_device, part, check, said)) for part, check in device_checks(settings).items()]
    return findings


def worst(findings: Sequence[Finding]) -> State:
    """``bad`` if any part is."""
    return "bad" if any(each.state == "bad" for each in findings) else "good"


def good(part: str, zh: str, en: str) -> Finding:
    """A part that works."""
    return Finding(part=part, state="good", zh=zh, en=en)


def absent(part: str, zh: str, en: str) -> Finding:
    """A part that is not there, and need not be."""
    return Finding(part=part, state="absent", zh=zh, en=en)


def bad(part: str, reason: Reason) -> Finding:
    """A part that does not work."""
    return Finding(part=part, state="bad", zh=reason.zh, en=reason.en, code=reason.code)


def _tried(part: str, check: Check) -> Finding:
    try:
        return check()
    except CoronetError as error:
        return bad(part, error.reason)
    except OSError as error:
        return bad(part, Reason(code="MNT-040", zh=f"系统错误:{error.strerror}", en=f"the system refuses: {error.strerror}"))


def _disk(settings: Settings) -> Finding:
    """Free space, and whether what is written comes back."""
    data = settings.data
    if not data.is_dir():
        return bad("disk", Reason(code="MNT-041", zh="数据目录不存在", en="the data folder is not there"))
    free = shutil.disk_usage(data).free
    if free < settings.receiver.minimum_free_bytes:
        reason = Reason(
            code="MNT-042", zh=f"磁盘剩余 {free >> 30} GB,新影像将被拒收", en=f"{free >> 30} GB are left: new images are refused"
        )
        return bad("disk", reason)
    trial = data / f".doctor-{os.getpid()}"
    content = os.urandom(TRIAL_BYTES)
    started = time.monotonic()
    try:
        with trial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        took_s = max(time.monotonic() - started, 1e-6)
        if trial.read_bytes() != content:
            raise MaintenanceError("MNT-043", zh="写入磁盘的数据读回不一致", en="what is read is not what was written")
    finally:
        trial.unlink(missing_ok=True)
    rate = TRIAL_BYTES / took_s / 1e6
    return good("disk", f"剩余 {free >> 30} GB,写入 {rate:.0f} MB/s", f"{free >> 30} GB free, writes {rate:.0f} MB/s")


def _database(view: DatabaseView) -> Finding:
    if not view.path.exists():
        return absent("database", "尚无数据库(首次启动时建立)", "there is none yet (the first start makes it)")
    damage = view.damage()
    if damage is not None:
        return bad("database", Reason(code="MNT-044", zh=f"数据库损坏:{damage}", en=f"the database is damaged: {damage}"))
    studies = sum(view.counts("SELECT state, COUNT(*) FROM studies GROUP BY state").values())
    return good("database", f"完好,{studies} 个检查", f"whole, {studies} studies")


def _peer(part: str, destination: DestinationSettings, echo: Callable[[DestinationSettings], None]) -> Finding:
    echo(destination)
    return good(part, "有应答(C-ECHO)", "answers (C-ECHO)")


def _clock(now: float) -> Finding:
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    if now < OLDEST_CLOCK:
        return bad("clock", Reason(code="MNT-045", zh=f"时钟错误:{shown}", en=f"the clock is wrong: {shown}"))
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    zh, en = ("已同步", "synchronised") if synchronised else ("未与时间服务器同步", "not synchronised with a time server")
    return good("clock", f"{shown},{zh}", f"{shown}, {en}")


def _units() -> Finding:
    fault = units_fault(changed_units())
    if fault is not None:
        return bad("units", fault)
    if not any((folder / "coronet.service").exists() for folder in FOLDERS):
        return absent("units", "本机未由 systemd 管理", "not run by systemd here")
    return good("units", "与出厂一致", "as shipped")


def _display(folder: Path) -> Finding:
    outputs = sorted(folder.glob("card*-*/status"))
    connected = [path.parent.name.partition("-")[2] for path in outputs if path.read_text().strip() == "connected"]
    if connected:
        return good("display", f"已连接:{', '.join(connected)}", f"connected: {', '.join(connected)}")
    if outputs:
        return bad("display", Reason(code="MNT-046", zh="未连接显示器", en="no screen is connected"))
    return absent("display", "本机没有显示输出", "this machine has no display output")


def _device(part: str, check: Callable[[], str] | None, said: dict[str, tuple[bool, str, Reason | None]]) -> Finding:
    """A device that a running daemon holds cannot be opened twice: then its last word counts."""
    if check is None:
        return absent(part, "未配置", "not in the settings")
    try:
        return good(part, "工作正常", check())
    except CoronetError as error:
        ready, detail, _reason = said.get(part, (False, "", None))
        if error.code == "HW-001" and ready:
            return good(part, "工作正常(守护进程使用中)", detail or "in use by the daemon")
        return bad(part, error.reason)


def _components(view: DatabaseView) -> dict[str, tuple[bool, str, Reason | None]]:
    try:
        return view.components() if view.path.exists() else {}
    except CoronetError:
        return {}


def _as_destination(printer: PrinterSettings) -> DestinationSettings:
    return DestinationSettings(
        name=printer.name, host=printer.host, port=printer.port, ae_title=printer.ae_title, calling_ae_title=printer.calling_ae_title,
        timeout_s=min(printer.timeout_s, 15.0),
    )  # fmt: skip
