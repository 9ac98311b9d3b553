"""What a service engineer brings on a stick when nobody can sign in, or a box is given away: one signed order for one box, once.

The box shows a code of its own on the sign-in screen. Whoever holds the release key signs a small file that names this code and what is
wanted: another person who may sign in (the box draws the PIN and shows it once), other settings, a support bundle onto the stick, settings
and people onto the stick (sealed; the box shows the passphrase once) or from it, the data partition's key into the TPM (the box shows the
recovery key once) or another recovery key, or that everything is erased. A code is used up by the order that names it, so a stick that was
found opens nothing.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.files import write_durably
from appliance.errors import CoronetError, WorkflowError
from appliance.settings import parse_settings
from appliance.study import Role
from appliance.workflow.slots_door import LARGEST_SETTINGS, adopt_settings
from appliance.workflow.update_desk import read_record
from appliance.worklist import ServiceReply

CODE = "service-code"
ORDER = "coronet-service.toml"
"""Beside it on the stick lies its signature, ``coronet-service.toml.p7s``."""
STICK = Path("/run/coronet-stick")
DEVICE = Path("/dev/coronet/stick")
OUTGOING = Path("/run/coronet-stick-out")
SUPPORT = "coronet-support.tar.gz"
SITE = "coronet-site.sealed"
"""Settings and people of a box (`appliance.maintenance.site_file`), written by ``export``, read by ``import``."""
OrderKind = Literal["person", "settings", "support", "export", "import", "seal", "recovery", "erase"]
PutSite = Callable[[Archive, Callable[[str], object]], object]
ExportSite = Callable[[Archive, Path], str]
OpenSite = Callable[[Path, str], PutSite]
T = TypeVar("T")
PIN_TRIES = 20
LARGEST_ORDER = 8 * LARGEST_SETTINGS
"""Bytes of the file, in which a character may take as many."""


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file.

    Attributes:
        name: with ``role``, of the person who is added.
        settings: the text of the file that replaces the box's.
        passphrase: opens the sealed file beside the order.
    """

    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{8}$")]
    order: OrderKind
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    role: Role = "engineer"
    settings: Annotated[str, msgspec.Meta(max_length=LARGEST_SETTINGS)] = ""
    passphrase: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ServiceStick:
    """May be used by several threads; one order is looked at at a time.

    Args:
        archive: people and audit trail, and the data folder, where the code is kept.
        ask: an order to root's helper (`appliance.workflow.slots_door.ask_slots`).
        read: the content of a file if the signature beside it is one of our keys'; raises CoronetError.
        support: writes the support bundle, of which nobody can tell a patient, to a file; None where there is none.
        export_site: writes settings and people, sealed, to a file; returns the passphrase. None where nobody does.
        open_site: reads such a file with its passphrase and checks it; returns what puts it in its place. None where nobody does.
        ask_key: an order to root's helper for the data partition's key; None where the box has no such partition.
        device: there while a stick is plugged in.
        mounted: where the stick lies once it is mounted.
        outgoing: where it lies while it is written.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        ask: Callable[..., object],
        read: Callable[[Path], bytes],
        support: Callable[[Path], object] | None = None,
        export_site: ExportSite | None = None,
        open_site: OpenSite | None = None,
        ask_key: Callable[[str], Any] | None = None,
        device: Path = DEVICE,
        mounted: Path = STICK,
        outgoing: Path = OUTGOING,
    ) -> None:
        self._archive = archive
        self._ask = ask
        self._read = read
        self._device = device
        self._mounted = mounted
        self._support = support
        self._export_site = export_site
        self._open_site = open_site
        self._ask_key = ask_key
        self._outgoing = outgoing
        self._path = archive.data / CODE
        self._lock = threading.Lock()
        self._last: tuple[str, ServiceReply] | None = None

    def code(self) -> str:
        """What the sign-in screen shows: while a stick is plugged in, or nobody can sign in; else, or where it cannot be known, nothing."""
        with contextlib.suppress(CoronetError):  # the screen must say what else is wrong: a full disk, a damaged database
            if self._device.exists() or all(user.disabled for user in self._archive.users.all()):
                return self._code()
        return ""

    def carry_out(self, command: str) -> ServiceReply:
        """Do what the stick's order says; the same command again gets the same answer.

        Raises:
            WorkflowError: WF-112 there is no good order on the stick, WF-113 it is for another box or was used already.
        """
        with self._lock:
            if self._last is None or self._last[0] != command:
                self._last = (command, self._obey(self._order()))
            return self._last[1]

    def _order(self) -> Order:
        if read_record(self._archive.data / "update").state in {"looking", "installing"}:
            raise WorkflowError("WF-112", zh="正在更新系统,请稍后再试", en="an update is under way on the stick, try again later")
        try:
            text = self._with_stick(lambda stick: self._read(stick / ORDER).decode())
            return msgspec.convert(tomllib.loads(text), Order)
        except CoronetError as error:
            raise WorkflowError("WF-112", zh=error.zh, en=error.en) from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise WorkflowError("WF-112", zh="U 盘上的维修指令无法识别", en="the order on the stick is not understood") from error

    def _obey(self, order: Order) -> ServiceReply:
        if not secrets.compare_digest(order.code, self._code()):
            raise WorkflowError("WF-113", zh="此维修指令不适用于本机,或已使用过", en="this order is for another box, or was used already")
        work = self._prepared(order)  # what cannot be done costs no code
        self._new_code()  # first: an order that is cut off is asked for again, one that was obeyed is never obeyed twice
        self._archive.audit.record(actor="service", action=f"service {order.order}", details={"role": order.role})
        try:
            return work()
        except WorkflowError:
            raise
        except CoronetError as error:
            raise WorkflowError("WF-112", zh=error.zh, en=error.en) from error

    def _prepared(self, order: Order) -> Callable[[], ServiceReply]:
        """What is to be done, checked as far as it can be."""
        match order.order:
            case "erase":
                return self._erase
            case "settings":
                _check(order.settings)
                return partial(self._set, order.settings)
            case "support":
                return self._write_support
            case "export":
                return self._export
            case "import":
                return partial(self._take, self._opened(order.passphrase))
            case "seal" | "recovery":
                if self._ask_key is None:
                    raise _not_offered()
                return partial(_draw_recovery_key, self._ask_key, order.order)
            case "person":
                return partial(self._add, order)

    def _with_stick(self, look: Callable[[Path], T]) -> T:
        """Look at the stick, which is mounted for that long."""
        self._ask("mount")
        try:
            return look(self._mounted)
        finally:
            with contextlib.suppress(CoronetError):  # one that is not let go now is let go when it is pulled out
                self._ask("unmount")

    def _erase(self) -> ServiceReply:
        self._ask("erase")
        return ServiceReply(zh="正在重启并清除全部数据…", en="The box restarts and erases everything…")

    def _set(self, text: str) -> ServiceReply:
        """Settings in the place of the former ones; they count from the next start."""
        adopt_settings(text, ask=self._ask)
        self._ask("restart")
        return ServiceReply(zh="设置已更新,正在重启…", en="The settings were replaced, the box restarts…")

    def _write_support(self) -> ServiceReply:
        self._written(SUPPORT, self._support)
        return ServiceReply(zh=f"支持包已写入 U 盘({SUPPORT}),可拔出", en=f"{SUPPORT} is on the stick, which may be pulled out")

    def _export(self) -> ServiceReply:
        """The passphrase is shown once and kept nowhere."""
        export = self._export_site
        words = self._written(SITE, None if export is None else partial(export, self._archive))
        return exported(words)

    def _written(self, name: str, write: Callable[[Path], T] | None) -> T:
        """Have a file written; it is on the stick, and the stick let go, when this returns."""
        if write is None:
            raise _not_offered()
        try:
            self._ask("mount-out")
            try:
                return write(self._outgoing / name)
            finally:
                self._ask("unmount-out")  # only now is it on the stick
        except OSError as error:
            raise WorkflowError("WF-112", zh=f"{name} 无法写入 U 盘", en=f"{name} cannot be written to the stick") from error

    def _opened(self, passphrase: str) -> PutSite:
        """The sealed file of the stick, found good."""
        read = self._open_site
        if read is None:
            raise _not_offered()
        try:
            return self._with_stick(lambda stick: read(stick / SITE, passphrase))
        except CoronetError as error:
            raise WorkflowError("WF-112", zh=error.zh, en=error.en) from error

    def _take(self, put: PutSite) -> ServiceReply:
        """Settings and people of another box; who is here already stays as they are."""
        put(self._archive, partial(adopt_settings, ask=self._ask))
        self._ask("restart")
        return ServiceReply(zh="设置与人员已导入,正在重启…", en="Settings and people were taken, the box restarts…")

    def _add(self, order: Order) -> ServiceReply:
        """Somebody with a PIN that nobody has; it is shown once and kept nowhere."""
        for _ in range(PIN_TRIES):
            pin = f"{secrets.randbelow(10**6):06}"
            try:
                user = self._archive.users.add(name=order.name, role=order.role, pin=pin)
            except CoronetError as error:
                if error.code == "ARC-034":
                    continue
                raise WorkflowError("WF-112", zh=error.zh, en=error.en) from error
            self._archive.audit.record(actor="service", action="user-add", details={"user": user.id, "role": user.role})
            return ServiceReply(
                zh=f"已添加 {user.name},PIN 码 {pin},请立即记下", en=f"{user.name} was added. The PIN is {pin}: write it down now"
            )
        raise WorkflowError("WF-112", zh="无法分配 PIN 码", en="no free PIN was found")

    def _code(self) -> str:
        try:
            text = self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        return text if len(text) == 8 and text.isdecimal() else self._new_code()

    def _new_code(self) -> str:
        code = f"{secrets.randbelow(10**8):08}"
        try:
            write_durably(self._path, code.encode())
        except OSError as error:
            raise WorkflowError("WF-112", zh="维修码无法保存", en="the service code cannot be kept") from error
        return code


def exported(passphrase: str) -> ServiceReply:
    """What the person reads after an export; the passphrase on two lines of its own, as it is too long for one."""
    groups = passphrase.split("-")
    shown = "-".join(groups[:2]) + "-\n" + "-".join(groups[2:])
    return ServiceReply(
        zh=f"设置与人员已写入 U 盘({SITE}),可拔出。口令(两行相连),请立即记下:\n{shown}",
        en=f"Settings and people are on the stick ({SITE}), which may be pulled out. Write down the passphrase (both lines):\n{shown}",
    )


def _draw_recovery_key(ask: Callable[[str], Any], order: str) -> ServiceReply:
    """The recovery key is shown once and kept nowhere."""
    return sealed(order, ask(order)["recovery"])


def sealed(order: str, recovery_key: str) -> ServiceReply:
    """What the person reads after ``seal`` or ``recovery``; the recovery key on lines of two groups each."""
    groups = recovery_key.split("-")
    shown = "-\n".join("-".join(groups[at : at + 2]) for at in range(0, len(groups), 2))
    if order == "seal":
        return ServiceReply(
            zh=f"数据密钥已存入 TPM,下次开机后启动分区上的密钥即删除。恢复密钥({len(groups)} 组),请立即记下并妥善保管:\n{shown}",
            en=f"The TPM has the key of the data; the one beside the loader goes at the next start. Write down the recovery key:\n{shown}",
        )
    return ServiceReply(
        zh=f"新的恢复密钥({len(groups)} 组),请立即记下并妥善保管,原恢复密钥已失效:\n{shown}",
        en=f"The new recovery key; the former one opens nothing any more. Write it down:\n{shown}",
    )


def _not_offered() -> WorkflowError:
    return WorkflowError("WF-112", zh="本机不提供此功能", en="this box does not offer that")


def _check(text: str) -> None:
    """Raises WorkflowError where these are no settings that the box could use."""
    try:
        parse_settings(tomllib.loads(text), source="coronet.toml")
    except tomllib.TOMLDecodeError as error:
        raise WorkflowError("WF-112", zh="U 盘上的设置无法识别", en="the settings on the stick are not understood") from error
    except CoronetError as error:
        raise WorkflowError("WF-112", zh=error.zh, en=error.en) from error
