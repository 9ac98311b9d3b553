"""The slots as the updater sees them: a socket of systemd, behind it a helper of root that knows a fixed list of verbs and nothing else.

One connection, one line, one verb; the helper answers with lines of JSON: ``{"progress": 40}`` any number of times, then ``{"done": ...}``
or ``{"code", "zh", "en"}``. `SlotsClient` is this side, `answer` that of `coronet-slots@.service`.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import tomllib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO, cast, get_args

from appliance.archive.files import write_durably
from appliance.errors import CoronetError, UpdateError
from appliance.settings import parse_settings
from appliance.workflow.slots_door import HELPER, LARGEST_SETTINGS, TIMEOUT_S, ask_slots, no_answer
from appliance.workflow.update_states import Slot

STICK = Path("/run/coronet-stick")
MOUNT_UNIT = "run-coronet\\x2dstick.mount"
WRITE_UNIT = "run-coronet\\x2dstick\\x2dout.mount"
INSTALL_TIMEOUT_S = 3600.0
LONGEST_LINE = 256
LONGEST_ANSWER = 1 << 20
"""Characters of one line of a program; RAUC's status is one line."""
SETTINGS = Path("/etc/coronet/coronet.toml")
ERASE = Path("/efi/coronet/erase")
"""The mark of a factory reset, beside the loader: it is read before the data partition is opened."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\.raucb\Z")
_CLOCK = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]\Z")
_PERCENT = re.compile(r"^\s*([0-9]{1,3})%")
_LAST_ERROR = re.compile(r"LastError: (.*)")

Run = Callable[[Sequence[str], float], Iterator[str]]
"""Runs a program; yields its lines; raises subprocess.CalledProcessError (with the output), TimeoutExpired or OSError."""


@dataclass(frozen=True)
class SlotStatus:
    """Which slot runs, and which one is started next."""

    booted: Slot
    primary: Slot

    @property
    def other(self) -> Slot:
        """The slot that an update goes to."""
        return "B" if self.booted == "A" else "A"


class Slots(Protocol):
    """What the updater needs of the slots. Every method raises an UpdateError for what cannot be done."""

    def status(self) -> SlotStatus:
        """Which slot runs, and which one is started next."""
        ...

    def mount(self) -> Path:
        """Mount the stick, read only; where it lies."""
        ...

    def unmount(self) -> None:
        """Let the stick go; nothing happens if there is none."""
        ...

    def install(self, name: str, *, progress: Callable[[float], None]) -> None:
        """Write the other slot from a bundle of the mounted stick, and make it the one to be started next."""
        ...

    def mark_good(self) -> None:
        """The running slot has proved itself."""
        ...

    def mark_bad(self) -> None:
        """The running slot must not be started again."""
        ...

    def restart(self) -> None:
        """Restart the machine."""
        ...


class SlotsClient:
    """`Slots` by the helper's socket."""

    def __init__(self, *, path: Path = HELPER, stick: Path = STICK) -> None:
        self._path = path
        self._stick = stick

    def status(self) -> SlotStatus:
        """See `Slots`."""
        done = self._ask("status")
        if not (isinstance(done, dict) and {done.get("booted"), done.get("primary")} <= set(get_args(Slot))):
            raise no_answer()
        return SlotStatus(booted=done["booted"], primary=done["primary"])

    def mount(self) -> Path:
        """See `Slots`."""
        self._ask("mount")
        return self._stick

    def unmount(self) -> None:
        """See `Slots`."""
        self._ask("unmount")

    def install(self, name: str, *, progress: Callable[[float], None]) -> None:
        """See `Slots`."""
        self._ask(f"install {name}", progress=progress, timeout_s=INSTALL_TIMEOUT_S)

    def mark_good(self) -> None:
        """See `Slots`."""
        self._ask("good")

    def mark_bad(self) -> None:
        """See `Slots`."""
        self._ask("bad")

    def restart(self) -> None:
        """See `Slots`."""
        self._ask("restart")

    def _ask(self, line: str, *, progress: Callable[[float], None] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        return ask_slots(line, path=self._path, progress=progress, timeout_s=timeout_s)


def answer(reading: TextIO, writing: TextIO, *, run: Run, stick: Path = STICK, settings: Path = SETTINGS, erase: Path = ERASE) -> None:
    """Serve one connection: one line in (settings: and so many characters), its answer out.

    Root runs this; a verb that is not in the list does nothing.
    """
    verb, _, name = reading.readline(LONGEST_LINE).strip().partition(" ")

    def say(message: dict[str, Any]) -> None:
        writing.write(json.dumps(message, ensure_ascii=False) + "\n")
        writing.flush()

    verbs: dict[str, Callable[[], Any]] = {
        "status": lambda: _status(run),
        "mount": lambda: _quietly(run, ["systemctl", "start", MOUNT_UNIT], _no_stick("没有可读取的 U 盘", "no stick can be read")),
        "unmount": lambda: _quietly(run, ["systemctl", "stop", MOUNT_UNIT], _no_stick("U 盘无法卸载", "the stick cannot be let go")),
        "mount-out": lambda: _quietly(run, ["systemctl", "start", WRITE_UNIT], _no_stick("U 盘无法写入", "the stick cannot be written")),
        "unmount-out": lambda: _quietly(run, ["systemctl", "stop", WRITE_UNIT], _no_stick("U 盘写入未完成", "the stick is not whole")),
        "good": lambda: _quietly(run, ["rauc", "status", "mark-good", "booted"], _refused("rauc")),
        "bad": lambda: _quietly(run, ["rauc", "status", "mark-bad", "booted"], _refused("rauc")),
        "restart": lambda: _quietly(run, ["systemctl", "--no-block", "reboot"], _refused("systemctl")),
        "erase": lambda: _erase(run, erase),
    }
    try:
        if verb == "settings" and name.isdecimal() and int(name) <= LARGEST_SETTINGS:
            text = reading.read(int(name))
            if len(text) != int(name):  # half of a file can be a good file
                raise UpdateError("UPD-031", zh="设置未完整送达", en="the settings did not arrive whole")
            say({"done": _adopt(text, settings)})
        elif verb == "clock" and _CLOCK.match(name):
            say({"done": _set_clock(run, name.replace("T", " "))})
        elif verb == "install" and _NAME.match(name):
            _install(run, stick / name, say)
            say({"done": {}})
        elif verb in verbs and not name:
            say({"done": verbs[verb]()})
        else:
            raise UpdateError("UPD-030", zh="无法识别的指令", en="there is no such order")
    except (CoronetError, tomllib.TOMLDecodeError) as error:
        error = error if isinstance(error, CoronetError) else UpdateError("UPD-031", zh="设置文件有误", en="those are no settings")
        say({"code": error.code, "zh": error.zh, "en": error.en})


def run_program(command: Sequence[str], timeout_s: float) -> Iterator[str]:
    """The lines of a program as they come; see `Run`. One that is not done in time is killed, also where it says nothing any more."""
    output: deque[str] = deque(maxlen=40)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is piped
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            while line := process.stdout.readline(LONGEST_ANSWER):
                output.append(line)
                yield line
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()  # nothing happens if it has ended; who no longer listens must not leave it behind
    if late.is_set():
        raise subprocess.TimeoutExpired(list(command), timeout_s)
    if status:
        raise subprocess.CalledProcessError(status, list(command), output="".join(output))


def _status(run: Run) -> dict[str, str]:
    """Booted and primary slot by their boot names, out of RAUC's JSON."""
    text = "".join(_lines(run, ["rauc", "status", "--output-format=json"], _refused("rauc")))
    try:
        tree = json.loads(text[text.index("{") :])
        names = {name: slot["bootname"] for each in tree["slots"] for name, slot in each.items() if slot.get("bootname")}
        return {"booted": cast("str", tree["booted"]), "primary": names[tree["boot_primary"]]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused("rauc") from error


def _install(run: Run, bundle: Path, say: Callable[[dict[str, Any]], None]) -> None:
    said = ""
    try:
        for line in run(["rauc", "install", str(bundle)], INSTALL_TIMEOUT_S):
            percent, error = _PERCENT.match(line), _LAST_ERROR.search(line)
            if percent is not None:
                say({"progress": min(int(percent.group(1)), 100)})
            said = error.group(1).strip()[:200] if error is not None else said
    except (subprocess.SubprocessError, OSError) as error:
        raise UpdateError("UPD-004", zh=f"安装失败:{said}", en=f"the installation failed: {said}") from error


def _adopt(text: str, path: Path) -> dict[str, str]:
    """Put settings that can be used in their place; root owns them."""
    parse_settings(tomllib.loads(text), source=path.name)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(text, "utf-8")
        new.chmod(0o644)  # its folder is shut to everybody but the service
        write_durably(path, text.encode(), part=new)
    except OSError as error:
        raise UpdateError("UPD-031", zh="设置无法保存", en="the settings cannot be kept") from error
    return {}


def _erase(run: Run, mark: Path) -> dict[str, str]:
    """Leave the mark at which the next start throws the key and the head of the data partition away (open-data), and start anew."""
    try:
        write_durably(mark, b"erase\n")
    except OSError as error:
        raise UpdateError("UPD-032", zh="无法清除数据", en="the data cannot be erased") from error
    return _quietly(run, ["systemctl", "--no-block", "reboot"], _refused("systemctl"))


def _set_clock(run: Run, text: str) -> dict[str, str]:
    """Set the time; the time servers, which do not allow that while they are asked, are asked again whatever happens."""
    with contextlib.suppress(UpdateError):
        _quietly(run, ["timedatectl", "set-ntp", "false"], _refused("timedatectl"))
    try:
        return _quietly(run, ["timedatectl", "set-time", text], _refused("timedatectl"))
    finally:
        with contextlib.suppress(UpdateError):
            _quietly(run, ["timedatectl", "set-ntp", "true"], _refused("timedatectl"))


def _quietly(run: Run, command: Sequence[str], error: UpdateError) -> dict[str, str]:
    _lines(run, command, error)
    return {}


def _lines(run: Run, command: Sequence[str], error: UpdateError) -> list[str]:
    try:
        return list(run(command, TIMEOUT_S))
    except (subprocess.SubprocessError, OSError) as cause:
        raise error from cause


def _no_stick(zh: str, en: str) -> UpdateError:
    return UpdateError("UPD-002", zh=zh, en=en)


def _refused(program: str) -> UpdateError:
    return UpdateError("UPD-003", zh=f"系统分区服务出错({program})", en=f"the slots cannot be reached ({program})")
