"""A TPM 2.0 that is swtpm's, behind a device as Linux has it: ``/dev/tpmrm0``, for programs in a mount name space of their own.

A pseudo-terminal stands for the device, and this module for the kernel's resource manager: what a program leaves in the TPM is flushed when
the next one begins. Commands: TPM 2.0 Library, part 3.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

STARTUP, CREATE, UNSEAL, FLUSH_CONTEXT, PCR_EXTEND = 0x144, 0x153, 0x15E, 0x165, 0x182
FAILURE = 0x101
CONTEXTS = (0x02000000, 0x03000000, 0x80000000)
"""First handles of sessions (HMAC, policy) and of objects that were loaded."""
CONTEXTS_OF_A_KIND = 3
SHA256 = 0x000B
PCR_OF_SECURE_BOOT = 7
HEAD = 10
INSIDE = """set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/dev"
for node in null zero full random urandom; do touch "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
mkdir "$1/dev/shm"
if [ -n "$2" ]; then
    touch "$1/dev/tpmrm0"
    mount --bind "$2" "$1/dev/tpmrm0"
    mount -t tmpfs tmpfs /sys/class
    mkdir -p /sys/class/tpmrm/tpmrm0
fi
mount --move "$1/dev" /dev
shift 2
exec "$@"
"""


def tpm_is_here() -> bool:
    """Whether swtpm is installed, with what systemd needs for a TPM, and we may make name spaces (root)."""
    programs = ("swtpm", "cryptsetup", "systemd-cryptenroll")
    return all(shutil.which(name) for name in programs) and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0


class Tpm:
    """One that runs while the block does; its state is kept in the folder.

    Args:
        folder: for its state.
    """

    def __init__(self, folder: Path) -> None:
        self.broken: dict[int, int] = {}
        """Commands that it answers with a failure, each after so many that it still obeys."""
        self._folder = folder
        self._process: subprocess.Popen[bytes]
        self._wire: socket.socket
        self._master = -1
        self._slave = -1
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        (self._folder / "state").mkdir(parents=True, exist_ok=True)
        (self._folder / "dev").mkdir(exist_ok=True)
        self._start()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()
        os.close(self._slave)  # ends the thread
        os.close(self._master)

    def _start(self) -> None:
        self._wire, other = socket.socketpair()
        with other:
            state = f"dir={self._folder / 'state'}"
            words = [
                "swtpm",
                "socket",
                "--tpm2",
                "--tpmstate",
                state,
                "--flags",
                "not-need-init,startup-clear",
                "--fd",
                str(other.fileno()),
            ]
            self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, pass_fds=[other.fileno()])
        self._measure(b"secure boot is on")

    def _stop(self) -> None:
        self._wire.close()
        self._process.kill()
        self._process.wait()

    def restart(self, *, forget: bool = False) -> None:
        """As a start of the box does; ``forget``: it is another chip, or was cleared: what the former one sealed it cannot open."""
        with self._lock:
            self._stop()
            if forget:
                shutil.rmtree(self._folder / "state")
                (self._folder / "state").mkdir()
            self._start()

    def measure(self, what: bytes) -> None:
        """Extend PCR 7, as firmware does with its secure-boot settings."""
        with self._lock:
            self._measure(what)

    def _measure(self, what: bytes) -> None:
        digest = what.ljust(32)[:32]
        no_password = (0x40000009).to_bytes(4, "big") + bytes(5)
        body = PCR_OF_SECURE_BOOT.to_bytes(4, "big") + len(no_password).to_bytes(4, "big") + no_password
        body += (1).to_bytes(4, "big") + SHA256.to_bytes(2, "big") + digest
        assert self._ask(command(PCR_EXTEND, body, tag=0x8002))[6:HEAD] == bytes(4), "the TPM takes no measurement"

    def command(self, *words: str, there: bool = True) -> list[str]:
        """A program and its words, on a machine that has this TPM (or, not ``there``, none)."""
        return ["unshare", "-m", "sh", "-c", INSIDE, "inside", str(self._folder), self.device if there else "", *words]

    @property
    def device(self) -> str:
        """What stands for ``/dev/tpmrm0``."""
        return os.ttyname(self._slave)

    def _serve(self) -> None:
        """Between device and TPM; ends with the device."""
        while True:
            try:
                asked = whole(lambda size: os.read(self._master, size))
                with self._lock:
                    code = int.from_bytes(asked[6:HEAD], "big")
                    if code == STARTUP:  # a program's first
                        self._flush()
                    os.write(self._master, command(FAILURE, b"") if self._breaks(code) else self._ask(asked))
            except OSError:
                return

    def _breaks(self, code: int) -> bool:
        left = self.broken.get(code)
        if left:
            self.broken[code] = left - 1
        return left == 0

    def _flush(self) -> None:
        for first in CONTEXTS:
            for handle in range(first, first + CONTEXTS_OF_A_KIND):
                self._ask(command(FLUSH_CONTEXT, handle.to_bytes(4, "big")))  # refused where there is none

    def _ask(self, asked: bytes) -> bytes:
        self._wire.sendall(asked)
        return whole(self._wire.recv)


def command(code: int, body: bytes, *, tag: int = 0x8001) -> bytes:
    """One command with its head; an answer's is the same."""
    return tag.to_bytes(2, "big") + (HEAD + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body


def whole(read: Callable[[int], bytes]) -> bytes:
    """A command or an answer: the head says how long it is.

    Raises:
        OSError: the other end has gone.
    """
    data, size = b"", HEAD
    while len(data) < size:
        piece = read(size - len(data))
        if not piece:
            raise ConnectionError("the TPM has gone")
        data += piece
        if len(data) >= 6:
            size = int.from_bytes(data[2:6], "big")
    return data


def main() -> None:
    """``python -m tests.peers.tpm FOLDER``: one that runs until it is ended; prints its device."""
    with Tpm(Path(sys.argv[1])) as tpm:
        sys.stdout.write(f"{tpm.device}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
