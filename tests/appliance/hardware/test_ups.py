"""The UPS: our client against NUT itself with a Megatec UPS behind it, and against servers that misbehave."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import HardwareError, Reason
from appliance.hardware.keeper import Keeper
from appliance.hardware.ups import Power, Ups, UpsClient, UpsLimits, UpsState, judge, order_power_off, power_reason
from appliance.maintenance.system_files import system_files
from appliance.settings import parse_settings
from tests.peers.megatec import AVAILABLE, MegatecUps, nut
from tests.peers.waiting import free_port, wait_until

SIMULATED = Path("/lib/nut/dummy-ups")
LIMITS = UpsLimits(low_charge=50, end_charge=20, end_runtime_s=180)


def state(flags: str, charge: float | None = None, runtime_s: float | None = None) -> UpsState:
    return UpsState(flags=frozenset(flags.split()), charge=charge, runtime_s=runtime_s)


@pytest.mark.parametrize(
    ("ups", "power"),
    [
        (state("OL CHRG", charge=3), "line"),
        (state("OB DISCHRG", charge=90, runtime_s=900), "battery"),
        (state("OB"), "battery"),
        (state("OB", charge=50), "low"),
        (state("OB", charge=20), "end"),
        (state("OB", charge=80, runtime_s=179), "end"),
        (state("OB LB"), "end"),
        (state("OL LB"), "line"),
    ],
)
def test_what_the_ups_says_and_what_it_means(ups: UpsState, power: Power) -> None:
    assert judge(ups, LIMITS) == power


def test_people_are_told() -> None:
    codes = [power_reason(power, state("OB", charge=42)) for power in ("battery", "low", "end")]
    assert [reason.code for reason in codes if reason] == ["HW-032", "HW-033", "HW-034"]
    assert "42 %" in str(codes[0])
    assert power_reason("line", state("OL")) is None
    replace = power_reason("line", state("OL RB"))
    assert replace is not None
    assert replace.code == "HW-035"


@pytest.mark.skipif(not AVAILABLE, reason="NUT is not installed")
def test_with_nut_and_a_megatec_ups_mains_go_battery_sinks_mains_come_back(tmp_path: Path) -> None:
    ups = MegatecUps()
    seen: list[tuple[Power, float | None]] = []
    said: list[tuple[bool, str]] = []

    def report(_name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        said.append((ready, reason.code if reason else detail))

    with nut(ups, tmp_path) as port:
        device = Ups(
            connect=lambda: UpsClient(host="127.0.0.1", port=port, name="ups"),
            changed=lambda now: seen.append((judge(now, LIMITS), now.charge)),
            poll_s=0.05,
        )
        stop = threading.Event()
        thread = threading.Thread(target=Keeper(name="ups", device=device, report=report, first_wait_s=0.1).run, args=(stop,), daemon=True)
        thread.start()
        wait_until(lambda: seen and seen[-1] == ("line", 100.0), timeout_s=60, what="on line, full")
        assert "CORONETUPS" in said[-1][1]
        upsc = subprocess.run(["upsc", f"ups@127.0.0.1:{port}", "battery.charge"], capture_output=True, text=True, timeout=20, check=False)
        assert upsc.stdout.strip() == "100"
        ups.mains = False
        wait_until(lambda: seen[-1][0] == "battery", timeout_s=60, what="on battery")
        ups.volts = 11.8
        wait_until(lambda: seen[-1][0] == "low", timeout_s=60, what="low")
        ups.low = True
        wait_until(lambda: seen[-1][0] == "end", timeout_s=60, what="at its end")
        ups.mains, ups.low = True, False
        wait_until(lambda: seen[-1][0] == "line", timeout_s=60, what="on line again")
        before = len(seen)
        ups.garbled = True
        wait_until(lambda: said[-1] == (False, "HW-031"), timeout_s=60, what="a bad line has its name")
        ups.garbled = False
        wait_until(lambda: said[-1][0], timeout_s=60, what="heard again")
        assert {power for power, _charge in seen[before:]} == {"line"}, "noise switches nothing off"
        ups.close()
        wait_until(lambda: said[-1] == (False, "HW-031"), timeout_s=60, what="dead UPS")
        stop.set()
        thread.join(20)


@pytest.mark.skipif(not SIMULATED.is_file(), reason="NUT is not installed")
def test_a_driver_is_told_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    settings = parse_settings({"ups": {"name": "ups", "driver": SIMULATED.name}}, source="test")
    (tmp_path / "ups.conf").write_text(system_files(settings)[PurePosixPath("etc/nut/ups.conf")], "utf-8")
    (tmp_path / "auto").write_text("ups.status: OL\n", "ascii")  # what it simulates; its "port" is a file
    environment = {**os.environ, "NUT_CONFPATH": str(tmp_path), "NUT_STATEPATH": str(tmp_path), "NUT_ALTPIDPATH": str(tmp_path)}
    with subprocess.Popen([SIMULATED, "-a", "ups", "-u", "root", "-D"], env=environment, stderr=subprocess.PIPE, text=True) as driver:
        try:
            wait_until(lambda: (tmp_path / "dummy-ups-ups").is_socket() or driver.poll() is not None, what="its socket")
            ended = driver.poll()
        finally:
            driver.kill()
        assert ended is None, driver.stderr and driver.stderr.read()


def test_a_ups_that_falls_silent_is_told_with_the_time_since_it_was_heard() -> None:
    now = [100.0]
    silent: list[float] = []
    ports = [free_port()]
    device = Ups(
        connect=lambda: UpsClient(host="127.0.0.1", port=ports[-1], name="ups"),
        changed=lambda _state: None,
        silent=silent.append,
        poll_s=0.01,
        clock=lambda: now[0],
    )
    now[0] += 61
    with pytest.raises(HardwareError, match="HW-030"):
        device.serve(threading.Event(), ready=lambda _text: None)
    assert silent == [61.0]
    absent = [b"ERR VAR-NOT-SUPPORTED\n"] * 4
    with server(b'VAR ups ups.status "OB"\n', *absent, b"ERR DATA-STALE\n") as port:
        ports.append(port)
        with pytest.raises(HardwareError, match="HW-031"):
            device.serve(threading.Event(), ready=lambda _text: None)
    assert silent == [61.0, 0.0], "it was heard in between"


# -- servers that misbehave


@contextmanager
def server(*replies: bytes) -> Iterator[int]:
    """Answers each line with the next reply, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for reply in replies:
                    if not connection.recv(1024):
                        return
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(20)


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ((b"ERR DATA-STALE\n",), "HW-031"),
        ((b"ERR UNKNOWN-UPS\n",), "HW-031"),
        ((b'VAR ups ups.status "OL"\n', b'VAR ups battery.charge "much"\n'), "HW-031"),
        ((b'VAR ups ups.status "OL\n',), "HW-031"),
        ((b'VAR other ups.status "OL"\n',), "HW-031"),
        ((b"\xff" * 4096,), "HW-031"),
        ((b"",), "HW-030"),
    ],
)
def test_what_is_no_answer_is_a_named_fault(replies: tuple[bytes, ...], code: str) -> None:
    with server(*replies) as port:
        client = UpsClient(host="127.0.0.1", port=port, name="ups")
        with pytest.raises(HardwareError) as caught:
            client.state()
        client.close()
    assert caught.value.code == code


def test_a_variable_that_the_ups_does_not_have_is_unknown_not_zero() -> None:
    absent = b"ERR VAR-NOT-SUPPORTED\n"
    with server(b'VAR ups ups.status "OB"\n', absent, absent) as port:
        client = UpsClient(host="127.0.0.1", port=port, name="ups")
        assert client.state() == state("OB")
        client.close()


def test_a_server_that_went_away_is_named_and_heard_of_again_when_it_is_back() -> None:
    ports: list[int] = [free_port()]
    said: list[tuple[bool, str]] = []
    heard: list[UpsState] = []

    def report(_name: str, *, ready: bool, detail: str = "", reason: Reason | None = None) -> None:
        said.append((ready, reason.code if reason else ""))

    device = Ups(connect=lambda: UpsClient(host="127.0.0.1", port=ports[-1], name="ups"), changed=heard.append, poll_s=0.01)
    stop = threading.Event()
    thread = threading.Thread(target=Keeper(name="ups", device=device, report=report, first_wait_s=0.05).run, args=(stop,), daemon=True)
    thread.start()
    wait_until(lambda: said == [(False, "HW-030")])
    absent = [b"ERR VAR-NOT-SUPPORTED\n"] * 4
    for times in (1, 2):
        with server(b'VAR ups ups.status "OL"\n', *absent, *[b'VAR ups ups.status "OL"\n', *absent[:2]] * 3) as port:
            ports.append(port)
            wait_until(lambda times=times: said.count((True, "")) == times)  # type: ignore[misc]
        wait_until(lambda: said[-1] == (False, "HW-030"))
    stop.set()
    thread.join(20)
    assert {state.flags for state in heard} == {frozenset({"OL"})}


def test_no_server_and_no_switch_are_named(tmp_path: Path) -> None:
    with pytest.raises(HardwareError, match="HW-030"):
        UpsClient(host="127.0.0.1", port=free_port(), name="ups")
    with pytest.raises(HardwareError, match="HW-031"):
        UpsClient(host="127.0.0.1", port=free_port(), name="ups\nLOGIN x")
    with pytest.raises(HardwareError, match="HW-050"):
        order_power_off(str(tmp_path / "power.sock"))


def test_the_order_to_switch_off_is_a_connection(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "power.sock"))
        door.listen(1)
        door.settimeout(20)
        order_power_off(str(tmp_path / "power.sock"))
        door.accept()[0].close()
