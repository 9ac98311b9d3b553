"""A whole appliance on loopback: settings, people, daemon, and a client of its API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.peers.dcmtk import PrintScp
from tests.peers.waiting import answers, free_port, wait_until

PHYSICIAN_PIN, RADIOGRAPHER_PIN = "2468", "1357"
PAGE_PIXELS = (2128, 2587)


@dataclass(frozen=True)
class Box:
    """An appliance that runs: its port, its socket, its data."""

    port: int
    socket: Path
    settings: Path
    data: Path
    process: subprocess.Popen[bytes]

    def client(self, pin: str = PHYSICIAN_PIN) -> Client:
        """Somebody who is signed in over the API."""
        return Client(self.socket, pin)


class Client:
    """The API as a program uses it."""

    def __init__(self, socket: Path, pin: str) -> None:
        self._http = httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://appliance", timeout=30)
        token = self.call("POST", "/v1/sign-in", {"pin": pin})["token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; its JSON answer."""
        reply = self._http.request(method, path, json=body)
        if reply.is_error:
            raise RuntimeError(f"{method} {path}: {reply.status_code} {reply.text}")
        answer: dict[str, Any] = reply.json()
        return answer

    def rows(self) -> list[dict[str, Any]]:
        """The worklist."""
        rows: list[dict[str, Any]] = self.call("GET", "/v1/snapshot")["rows"]
        return rows

    def study(self, key: str) -> dict[str, Any]:
        """One study."""
        return self.call("GET", f"/v1/studies/{key}")

    def wait_for(self, states: set[str], *, timeout_s: float, seen: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Wait until the only study is in one of ``states``; its row.

        Raises:
            RuntimeError: it was declined or failed instead.
            TimeoutError: neither came.
        """
        found: list[dict[str, Any]] = []

        def there() -> bool:
            for row in self.rows():
                if seen is not None:
                    seen(row)
                if row["state"] in {"declined", "failed"} - states:
                    raise RuntimeError(f"the study was {row['state']}: {row['reason']}")
                if row["state"] in states:
                    found.append(row)
            return bool(found)

        wait_until(there, timeout_s=timeout_s, what=f"a study that is {' or '.join(sorted(states))}")
        return found[0]


@contextmanager
def box(folder: Path, *, printer: PrintScp | None = None, pacs_port: int | None = None, undo_seconds: float = 6.0) -> Iterator[Box]:
    """Run an appliance with its data in ``folder``; the daemon's log goes to ``folder/daemon.log``."""
    folder.mkdir(parents=True, exist_ok=True)
    port, socket, settings, data = free_port(), folder / "api.sock", folder / "coronet.toml", folder / "data"
    settings.write_text(_settings(port, socket, data, printer, pacs_port, undo_seconds), "utf-8")
    for name, role, pin in (("测试医师", "physician", PHYSICIAN_PIN), ("测试技师", "radiographer", RADIOGRAPHER_PIN)):
        appliance("user", "--settings", str(settings), "add", "--name", name, "--role", role, stdin=f"{pin}\n")
    with (folder / "daemon.log").open("wb") as log:
        command = [sys.executable, "-m", "appliance", "daemon", "--settings", str(settings)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(
                lambda: process.poll() is not None or (socket.exists() and answers(port)), timeout_s=60, what="the appliance answering"
            )
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {process.returncode}: {(folder / 'daemon.log').read_text()[-2000:]}")
            yield Box(port, socket, settings, data, process)
        finally:
            process.terminate()
            process.wait(timeout=60)


def appliance(*words: str, stdin: str = "") -> str:
    """Run one command of the appliance; what it printed.

    Raises:
        RuntimeError: it ended with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words], input=stdin, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"appliance {words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _settings(port: int, socket: Path, data: Path, printer: PrintScp | None, pacs_port: int | None, undo_seconds: float) -> str:
    lines = [
        f'data = "{data}"',
        "[query]",
        "enabled = false",
        "[receiver]",
        f"port = {port}",
        f"minimum_free_bytes = {256 << 20}",
        "[intake]",
        "quiet_seconds = 2.0",
        "[policy]",
        f"undo_seconds = {undo_seconds}",
        'institution = "示范医院 Demo Hospital"',
        "[api]",
        f'socket = "{socket}"',
    ]
    if printer is not None:
        columns, rows = PAGE_PIXELS
        place = f'host = "127.0.0.1"\nport = {printer.port}\nae_title = "IHEFULL"'
        lines += ["[[printer]]", 'name = "胶片打印机"', place, f"page_pixels = [{columns}, {rows}]"]
    if pacs_port is not None:
        lines += ["[[destination]]", 'name = "PACS"', 'host = "127.0.0.1"', f"port = {pacs_port}", 'ae_title = "ORTHANC"']
    return "\n".join(lines) + "\n"
