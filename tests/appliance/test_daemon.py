"""The daemon as a real process with its real children."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.archive.archive import open_archive
from appliance.daemon import EXIT_FAULT, EXIT_NOT_STARTED, EXIT_OK, Workers
from appliance.errors import ArchiveError
from appliance.workflow.logs import JsonFormatter
from tests.appliance.archive.fakes import encode, make_dataset
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.waiting import answers, free_port, wait_until

SETTINGS = """
data = "{data}"
[receiver]
port = {port}
minimum_free_bytes = 0
[intake]
quiet_seconds = 0.5
stalled_seconds = 2.0
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
        self._socket.close()


@dataclass
class Running:
    """A daemon process."""

    process: subprocess.Popen[str]
    notify: NotifySocket
    port: int
    data: Path
    log: Path
    pids: list[int] = field(default_factory=list)

    def children(self) -> dict[str, int]:
        listing = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True, timeout=20, check=False
        ).stdout
        return {name: int(line.split()[0]) for line in listing.splitlines() for name in ("receiver", "analyst") if f" {name} " in line}


@contextmanager
def daemon(folder: Path, *, watchdog_s: float | None = None) -> Iterator[Running]:
    """Start a daemon and wait until it says that it is ready."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    settings = folder / "coronet.toml"
    settings.write_text(SETTINGS.format(data=folder / "data", port=port))
    (folder / "notify").unlink(missing_ok=True)
    notify = NotifySocket(folder / "notify")
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify.path), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    if watchdog_s is not None:
        environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
    log = folder / "log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "daemon", "--settings", str(settings)], env=environment, stderr=errors, text=True
        )
    try:
        wait_until(lambda: "READY=1" in notify.heard or process.poll() is not None, timeout_s=90, what="READY=1")
        assert process.poll() is None, log.read_text()
        yield Running(process, notify, port, folder / "data", log)
    finally:
        process.kill()
        process.wait(30)
        notify.close()


def image(folder: Path, number: int) -> Path:
    path = folder / f"{number}.dcm"
    path.write_bytes(encode(make_dataset(number=number)))
    return path


def test_ready_means_that_images_are_taken_and_sigterm_stops_cleanly(tmp_path: Path) -> None:
    with daemon(tmp_path / "box", watchdog_s=1.0) as running:
        assert echoscu(running.port).returncode == 0
        pushed = storescu(running.port, [image(tmp_path, 1)])
        assert pushed.returncode == 0, pushed.stderr
        with open_archive_of(running) as archive:
            wait_until(lambda: archive.studies.find("1.2.3") is not None)
            wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=30)
        wait_until(lambda: running.notify.heard.count("WATCHDOG=1") >= 2)
        children = running.children()
        assert "receiver" in children
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == EXIT_OK, running.log.read_text()
        assert running.notify.heard[-1] == "STOPPING=1"
        assert not answers(running.port)
        assert not any(Path(f"/proc/{pid}").exists() for pid in children.values())


@contextmanager
def open_archive_of(running: Running) -> Iterator[object]:
    archive = open_archive(running.data)
    yield archive
    archive.close()


def test_the_log_is_json_and_names_no_patient(tmp_path: Path) -> None:
    with daemon(tmp_path / "box") as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        with open_archive_of(running) as archive:
            wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=30)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(60)
        text = running.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"ready", "stopped"} <= {line["message"] for line in lines}
    for secret in ("Wang", "XiaoDong", "小东", "P-77", "1.2.3.1"):
        assert secret not in text
        assert not any(secret in path.name for path in running.data.rglob("*"))


def test_a_receiver_that_is_killed_comes_back_with_everything_it_acknowledged(tmp_path: Path) -> None:
    with daemon(tmp_path / "box") as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        first = running.children()["receiver"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: running.children().get("receiver") not in {None, first}, timeout_s=60)
        wait_until(lambda: answers(running.port), timeout_s=60)
        assert storescu(running.port, [image(tmp_path, 1), image(tmp_path, 2)]).returncode == 0
        with open_archive_of(running) as archive:
            wait_until(lambda: (study := archive.studies.find("1.2.3")) is not None and study.images == 2)


def test_kill_9_of_the_daemon_takes_its_children_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with daemon(tmp_path / "box") as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        children = running.children()
        running.process.kill()
        running.process.wait(30)
        wait_until(lambda: not any(_alive(pid) for pid in children.values()))
    with daemon(tmp_path / "box") as running, open_archive_of(running) as archive:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=30)
        assert archive.studies.in_state("declined")[0].images == 1


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_daemon_a_data_folder(tmp_path: Path) -> None:
    with daemon(tmp_path / "box") as running:
        second = subprocess.run(
            [sys.executable, "-m", "appliance", "daemon", "--settings", str(tmp_path / "box" / "coronet.toml")],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert second.returncode == EXIT_NOT_STARTED
        assert "ARC-003" in second.stderr
        assert echoscu(running.port).returncode == 0


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = tmp_path / "coronet.toml"
    path.write_text("[receiver]\nprot = 104\n")
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "daemon", "--settings", str(path)], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == EXIT_NOT_STARTED
    assert "did you mean `port`" in done.stderr


# -- the threads


def test_a_thread_that_fails_ends_the_daemon_with_a_fault() -> None:
    workers = Workers()

    def fail(_stop: threading.Event) -> None:
        raise ArchiveError("ARC-001", zh="坏", en="broken")

    workers.start("good", lambda stop: stop.wait() and None)
    workers.start("bad", fail)
    assert workers.over.wait(20)
    workers.finish()
    assert workers.failed == "bad"
    assert EXIT_FAULT not in {EXIT_OK, EXIT_NOT_STARTED}


def test_a_log_line_is_one_json_object() -> None:
    import logging

    record = logging.LogRecord("name", logging.INFO, "file", 1, "two\nlines %d", (5,), None)
    record.event = "receiver.listening"
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "two\nlines 5"
    assert json.loads(line)["event"] == "receiver.listening"


@pytest.fixture(autouse=True)
def _no_leftover_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
