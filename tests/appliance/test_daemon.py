"""The daemon as a real process with its real children."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from appliance.commands.receiver import NOT_FOR_BYTES
from appliance.daemon import EXIT_FAULT, EXIT_NOT_STARTED, EXIT_OK
from appliance.errors import ArchiveError
from appliance.hardware.panel import Light
from appliance.hardware.panel_simulator import PanelSimulator
from appliance.workflow.logs import JsonFormatter
from appliance.workflow.update_desk import COMPONENT as UPDATE
from appliance.workflow.update_desk import write_record
from appliance.workflow.update_states import UpdateRecord
from appliance.workflow.workers import Workers
from tests.appliance.archive.fakes import encode, make_dataset
from tests.appliance.running import alive, daemon, open_archive_of
from tests.peers.dcmtk import echoscu, storescu
from tests.peers.waiting import answers, wait_until


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
        assert not any(alive(pid) for pid in children.values())
        check_log(running.log.read_text(), running.data)


def check_log(text: str, data: Path) -> None:
    """One JSON object a line; neither the log nor any file name says who the patient is."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"ready", "stopped"} <= {line["message"] for line in lines}
    for secret in ("Wang", "XiaoDong", "小东", "P-77", "1.2.3.1"):
        assert secret not in text
        assert not any(secret in path.name for path in data.rglob("*"))


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


STOPPED_EARLY = """
import signal, sys, threading
from pathlib import Path
from appliance.archive.clock import SystemClock
from appliance.daemon import run_daemon
from appliance.settings import Settings

class Told(SystemClock):
    def monotonic(self):
        if threading.current_thread() is threading.main_thread():  # which waits for the receiver
            signal.raise_signal(signal.SIGTERM)
        return super().monotonic()

data = Path(sys.argv[1])
status = run_daemon(Settings(data=data), settings_path=data / "none.toml", tools=lambda: sys.exit("asked for"), clock=Told())
print(status, "appliance.coordination" in sys.modules)
"""


def test_an_order_to_stop_while_only_the_receiver_runs_begins_nothing_more(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED_EARLY, tmp_path], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == f"{EXIT_OK} False\n", done.stderr


def test_kill_9_of_the_daemon_takes_its_children_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with daemon(tmp_path / "box") as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        children = running.children()
        running.process.kill()
        running.process.wait(30)
        wait_until(lambda: not any(alive(pid) for pid in children.values()))
    with daemon(tmp_path / "box") as running, open_archive_of(running) as archive:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=30)
        assert archive.studies.in_state("declined")[0].images == 1


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


def test_safe_mode_receives_and_stores_and_says_that_it_does_nothing_else(tmp_path: Path, panel: PanelSimulator) -> None:
    with daemon(tmp_path / "box", options=["--safe-mode"], more_settings=f'[panel]\ndevice = "{panel.device}"\n') as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        assert set(running.children()) == {"receiver"}
        with open_archive_of(running) as archive:
            reason = archive.components.get("safe-mode").reason
            assert reason is not None
            assert reason.code == "WF-080"
            assert len(archive.index.unsorted(limit=5)) == 1
        assert answers_api(running.data / "api.sock")
        wait_until(lambda: panel.lights == (Light.ON, Light.OFF, Light.ON, Light.SLOW), what="the front panel tells of safe mode")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == EXIT_OK, running.log.read_text()
    with daemon(tmp_path / "box") as running, open_archive_of(running) as archive:
        wait_until(lambda: archive.studies.in_state("declined") != [], timeout_s=30)
        assert archive.components.get("safe-mode").ready


def test_what_becomes_of_an_update_ordered_in_safe_mode_is_told_in_the_audit_trail(tmp_path: Path) -> None:
    box = tmp_path / "box"
    write_record(box / "data" / "update", UpdateRecord(state="looking", number=1))
    with daemon(box, options=["--safe-mode"]) as running, open_archive_of(running) as archive:
        wait_until(lambda: archive.components.get(UPDATE).detail == "looking")
        write_record(box / "data" / "update", UpdateRecord(state="offered", version="0.2.0", number=2))
        wait_until(lambda: archive.components.get(UPDATE).detail == "offered")
        told = [(entry.action, entry.details["state"], entry.details["version"]) for entry in archive.audit.entries()]
        assert told == [("update state", "offered", "0.2.0")]


@pytest.fixture
def panel() -> Iterator[PanelSimulator]:
    simulator = PanelSimulator()
    yield simulator
    simulator.unplug()


def answers_api(socket_path: Path) -> bool:
    """Whether ``/v1/info`` is answered."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path)), base_url="http://coronet", timeout=20) as client:
        return client.get("/v1/info").status_code == 200


def test_an_analyst_apart_is_not_started_here(tmp_path: Path) -> None:
    with daemon(tmp_path / "box", options=["--apart", "analyst"]) as running:
        assert "analyst" not in running.children()
        assert "analyst started" not in running.log.read_text()


NUMERIC = {"numpy", "scipy", "numba", "SimpleITK", "onnxruntime", "openvino"}


def loaded_after(script: str) -> set[str]:
    """What Python has read in at the end of a program."""
    program = f"import sys; {script}; print(*(name for name, module in sys.modules.items() if module is not None))"
    return set(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split())


def test_receiving_waits_for_little_that_is_read_in() -> None:
    before_the_receiver = loaded_after("import appliance.commands.daemon")
    assert "appliance.workflow.receiving" in before_the_receiver
    assert ({"appliance.coordination", "appliance.api", "pydicom", "pynetdicom", "starlette"} | NUMERIC).isdisjoint(before_the_receiver)
    beside_it = loaded_after("import appliance.coordination")
    assert "appliance.workflow.changing" in beside_it  # the changes that bring numeric libraries when somebody makes one
    assert (NUMERIC - {"numpy"}).isdisjoint(beside_it)


def test_the_receiver_has_nothing_that_reads_pixels(tmp_path: Path) -> None:
    with daemon(tmp_path / "box", options=["--apart", "analyst"]) as running:
        assert storescu(running.port, [image(tmp_path, 1)]).returncode == 0
        mapped = Path(f"/proc/{running.children()['receiver']}/maps").read_text()
    assert "msgspec" in mapped  # compiled parts of libraries are seen there
    assert not any(f"/{name}/" in mapped or f"/{name}.libs/" in mapped for name in (*NUMERIC, *NOT_FOR_BYTES))


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = tmp_path / "coronet.toml"
    path.write_text("[receiver]\nprot = 104\n")
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "daemon", "--settings", str(path)], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == EXIT_NOT_STARTED
    assert "did you mean `port`" in done.stderr


# -- the threads


def test_a_thread_that_is_not_vital_may_fail() -> None:
    workers = Workers()

    def fail(_stop: threading.Event) -> None:
        raise ArchiveError("ARC-001", zh="坏", en="broken")

    workers.start("extra", fail, vital=False)
    workers.finish()
    assert workers.failed is None
    assert not workers.over.is_set(), "the daemon goes on"


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
