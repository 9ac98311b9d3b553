"""A box in QEMU: firmware, disk, network card, screen and a root shell on the serial line. Software emulation only."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
SHELL = "systemd.debug_shell=ttyS0"
"""What the kernel file of the tests is given besides: the product has no way to log in. Root and hash tree are the product's own."""

NS_PER_INSTRUCTION_LOG2 = 1
"""The box's own clock goes by the instructions that it has carried out, one each two nanoseconds, and by ours only while it is idle.

So its time limits (watchdogs, starts of units) mean what they mean on a real, slow processor, however slow or busy the machine
is that emulates it, and times told by the box can be compared with each other.
"""

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What a shell says to a terminal, such as that pasting begins: never part of an answer."""


class NoAnswerError(AssertionError):
    """The machine did not say in time what was waited for."""


def free_port() -> int:
    """A port of the loopback that nobody has at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Machine:
    """One run of the emulator; leaving the block kills it, as a pulled plug would."""

    disk: Path
    folder: Path
    memory_mib: int = 3072
    cache: str = "writeback"
    clock: str = "utc"
    resume: str = ""
    """The state to go on from (`save`) instead of a start; the disk is that of the moment at which it was saved."""
    more: tuple[str, ...] = ()
    dicom_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    _shell: socket.socket | None = None
    _said: bytes = b""
    _gone: bool = False
    _heard: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pull_the_plug()

    def start(self) -> None:
        """Power on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        variables = self.folder / "firmware.qcow2"  # a format that holds the states of `save`
        if not variables.is_file():
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(VARIABLES), str(variables)], check=True)
        for name in ("serial", "qmp"):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / "qemu.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(variables), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started = time.monotonic()
        self._shell, self._said, self._gone = self._connect("serial"), b"", False
        threading.Thread(target=self._listen, args=(self._shell,), daemon=True).start()

    def _listen(self, shell: socket.socket) -> None:
        """Read all the time: a serial line that nobody reads stops firmware and kernel in the middle of a word."""
        while True:
            try:
                piece = shell.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                piece = b""
            with self._heard:
                if shell is not self._shell:
                    return
                self._said += piece
                self._gone = not piece
                self._heard.notify_all()
            if not piece:
                return

    def _command(self, variables: Path) -> list[str]:
        words = [
            "qemu-system-x86_64",
            "-name",
            "coronet",
            "-machine",
            "q35,accel=tcg",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-icount",
            f"shift={NS_PER_INSTRUCTION_LOG2},sleep=on",
            "-m",
            str(self.memory_mib),
        ]
        words += [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-vga",
            "none",
            "-device",
            "virtio-vga",
            "-rtc",
            f"base={self.clock}",
        ]
        words += ["-uuid", "5b1f7c52-6d0e-4f0e-9a55-6f5b6a6d0001", "-device", "virtio-rng-pci"]
        words += [
            "-drive",
            f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}",
            "-drive",
            f"if=pflash,format=qcow2,unit=1,file={variables}",
        ]
        drive = f"if=none,id=disk,format={self.disk.suffix.lstrip('.')},file={self.disk},cache={self.cache},discard=unmap"
        words += ["-drive", drive, "-device", "virtio-blk-pci,drive=disk", "-device", "qemu-xhci,id=xhci"]
        words += [
            "-netdev",
            f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self.dicom_port}-:11112",
            "-device",
            "virtio-net-pci,netdev=n0,romfile=",
        ]
        words += [
            "-chardev",
            f"socket,id=s0,path={self.folder / 'serial'},server=on,wait=off,logfile={self.folder / 'serial.log'},logappend=on",
        ]
        words += ["-serial", "chardev:s0", "-qmp", f"unix:{self.folder / 'qmp'},server=on,wait=off", "-action", "watchdog=reset"]
        if self.resume:
            words += ["-loadvm", self.resume]
        return [*words, *self.more]

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + 60
        while True:
            one = socket.socket(socket.AF_UNIX)
            try:
                one.connect(str(self.folder / name))
            except OSError:
                one.close()
                if time.monotonic() > deadline or self.process is None or self.process.poll() is not None:
                    raise
                time.sleep(0.1)
            else:
                one.settimeout(5)
                return one

    def age(self) -> float:
        """Seconds since power on."""
        return time.monotonic() - self.started

    def pull_the_plug(self) -> None:
        """Kill it (SIGKILL). What the guest had flushed is in the host's page cache and stays; what it had not is lost."""
        if self._shell is not None:
            self._shell.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)

    def read_until(self, pattern: str, *, seconds: float) -> str:
        """What the serial line says up to a pattern (a regular expression over the text since the last match)."""
        deadline = time.monotonic() + seconds
        wanted = re.compile(pattern.encode(), re.DOTALL)
        with self._heard:
            while not (found := wanted.search(self._said)):
                if self._gone:
                    raise NoAnswerError("the machine has gone")
                if time.monotonic() > deadline:
                    raise NoAnswerError(f"no {pattern!r} within {seconds:.0f} s; last: {self._said[-600:].decode(errors='replace')}")
                self._heard.wait(5)
            text, self._said = self._said[: found.end()], self._said[found.end() :]
        return text.decode(errors="replace")

    def shell(self, command: str, *, seconds: float = 120) -> str:
        """Run a command as root inside and return what it printed (both streams)."""
        assert self._shell is not None
        mark = secrets.token_hex(6)
        # The mark is put together inside, so that the echo of the line typed does not look like the end.
        self._shell.sendall(f" stty -echo; {{ {command}\n}} 2>&1; echo {mark[:6]}''{mark[6:]}:$?\n".encode())
        text = self.read_until(f"{mark}:[0-9]+\r?\n", seconds=seconds)
        body = ESCAPES.sub("", text.rsplit(mark, 1)[0].replace("\r", ""))
        return "\n".join(line for line in body.split("\n") if f"{mark[:6]}''" not in line).strip()

    def wait_for_shell(self, *, seconds: float) -> None:
        """Until the shell on the serial line answers."""
        self.read_until(r"[#$] ", seconds=seconds)
        self.shell("export PS1= PS2=; stty -echo; dmesg -n 1", seconds=60)

    def monitor(self, command: str, **arguments: Any) -> Any:
        """One command of QEMU's own monitor."""
        with self._connect("qmp") as one:
            one.settimeout(900)  # to write the memory away takes its time
            reader = one.makefile("r")
            reader.readline()
            for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                one.sendall(json.dumps(words).encode() + b"\n")
                answer = json.loads(reader.readline())
                while "event" in answer:
                    answer = json.loads(reader.readline())
            return answer

    def told(self, command: str) -> None:
        """One command of the monitor for people, which says nothing when it went well.

        Raises:
            AssertionError: it said something.
        """
        answer = self.monitor("human-monitor-command", **{"command-line": command})
        assert answer.get("return") == "", answer

    def save(self, name: str) -> None:
        """Keep memory and disk as they are now, inside the disk's own file; ``resume`` goes on from there as often as wanted."""
        self.told(f"savevm {name}")

    def plug_in(self, stick: Path) -> None:
        """A USB stick."""
        medium = {"driver": "file", "filename": str(stick)}
        for command, words in (
            ("blockdev-add", {"driver": "raw", "node-name": "stick", "read-only": True, "file": medium}),
            ("device_add", {"driver": "usb-storage", "bus": "xhci.0", "drive": "stick", "id": "usb-stick"}),
        ):
            answer = self.monitor(command, **words)
            assert "error" not in answer, answer

    def screenshot(self, target: Path) -> Path:
        """A picture of what stands on the screen."""
        answer = self.monitor("screendump", filename=str(target), format="png")
        assert "error" not in answer, answer
        return target


def overlay(image: Path, target: Path, *, gib: int = 24) -> Path:
    """A disk of its own over the image, which stays as it is."""
    target.unlink(missing_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image), str(target), f"{gib}G"], check=True)
    return target


def emulator_is_here() -> bool:
    """Whether QEMU and its firmware are installed and we may build (root)."""
    return bool(shutil.which("qemu-system-x86_64")) and FIRMWARE.is_file() and os.geteuid() == 0
