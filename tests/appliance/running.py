"""A daemon that runs as a process of its own, with systemd's ear played by a socket. Its analyst has no models, so it cannot start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.archive.archive import Archive, open_archive
from tests.peers.processes import child_named
from tests.peers.waiting import free_port, wait_until

SETTINGS = """
data = "{data}"
[receiver]
port = {port}
minimum_free_bytes = {minimum_free_bytes}
[query]
port = {query_port}
[intake]
quiet_seconds = 0.5
stalled_seconds = 2.0
[analysis]
catalog = "{data}/none.toml"
[api]
socket = "{data}/api.sock"
"""


class NotifySocket:
    """The service manager's end of sd_notify(3): a datagram socket that remembers what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except OSError:
                return

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@dataclass
class Running:
    """A daemon process."""

    process: subprocess.Popen[str]
    notify: NotifySocket
    port: int
    query_port: int
    data: Path
    log: Path

    def children(self) -> dict[str, int]:
        """Name of a child process -> its id."""
        named = {name: child_named(self.process.pid, name) for name in ("receiver", "analyst", "query")}
        return {name: pid for name, pid in named.items() if pid is not None}


@contextmanager
def daemon(
    folder: Path,
    *,
    watchdog_s: float | None = None,
    more_settings: str = "",
    options: Sequence[str] = (),
    minimum_free_bytes: int = 0,
    program: Sequence[str] = ("-m", "appliance"),
    spoil: Callable[[Path], None] = lambda _settings: None,
) -> Iterator[Running]:
    """Start a daemon and wait until it says that it is ready."""
    folder.mkdir(exist_ok=True)
    port, query_port = free_port(), free_port()
    settings = folder / "coronet.toml"
    settings.write_text(
        SETTINGS.format(data=folder / "data", port=port, query_port=query_port, minimum_free_bytes=minimum_free_bytes) + more_settings
    )
    spoil(settings)
    (folder / "notify").unlink(missing_ok=True)
    notify = NotifySocket(folder / "notify")
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify.path), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if watchdog_s is not None:
        environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    log = folder / "log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, *program, "daemon", "--settings", str(settings), *options], env=environment, stderr=errors, text=True
        )
    try:
        wait_until(lambda: "READY=1" in notify.heard or process.poll() is not None, timeout_s=90, what="READY=1")
        assert process.poll() is None, log.read_text()
        yield Running(process, notify, port, query_port, folder / "data", log)
    finally:
        process.kill()
        process.wait(30)
        notify.close()


@contextmanager
def open_archive_of(running: Running) -> Iterator[Archive]:
    """The archive of a running daemon, to look into."""
    archive = open_archive(running.data)
    yield archive
    archive.close()


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
