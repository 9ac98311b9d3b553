"""The devices tied to the box: power, lights, badges; and all of them on a running daemon."""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import tty
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from appliance.__main__ import main
from appliance.archive.badges import BadgeCost, BadgeStore
from appliance.archive.components import Component
from appliance.daemon import EXIT_OK
from appliance.errors import ArchiveError, Reason, WorkflowError
from appliance.hardware.panel import Light
from appliance.hardware.panel_simulator import PanelSimulator
from appliance.hardware.ups import UpsLimits, UpsState
from appliance.settings import GpuSettings, Settings
from appliance.workflow.analyst import Analyst
from appliance.workflow.badge_desk import BadgeDesk
from appliance.workflow.box import CLOCK_FAULT, OLDEST_CLOCK, PowerGuard, _switch_off, box_workers, lights, may_begin, watch_clock
from tests.appliance.running import daemon, open_archive_of
from tests.appliance.workflow.world import World
from tests.peers.megatec import AVAILABLE, MegatecUps, nut
from tests.peers.waiting import wait_until

CHEAP = BadgeCost(passes=1, memory_kib=8)
BADGE = b"\x0262E3086CED08\x03"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def ups(flags: str, charge: float) -> UpsState:
    return UpsState(flags=frozenset(flags.split()), charge=charge)


# -- power


def test_the_guard_tells_each_change_once_and_switches_off_once(world: World) -> None:
    orders: list[bool] = []
    limits = UpsLimits(low_charge=50, end_charge=20, end_runtime_s=180)
    guard = PowerGuard(archive=world.archive, limits=limits, switch_off=lambda: orders.append(True))
    seen = []
    for flags, charge in (("OL", 100), ("OB", 90), ("OB", 89), ("OB", 40), ("OB", 15), ("OB", 14), ("OL", 14), ("OB", 90)):
        guard.changed(ups(flags, charge))
        component = world.archive.components.get("power")
        seen.append((component.detail, component.reason.code if component.reason else None, may_begin(component)))
    assert seen == [
        ("line", None, True), ("battery", "HW-032", True), ("battery", "HW-032", True), ("low", "HW-033", False), ("end", "HW-034", False),
        ("end", "HW-034", False), ("line", None, True), ("battery", "HW-032", True),
    ]  # fmt: skip
    assert len(orders) == 1
    actions = [entry.action for entry in world.archive.audit.entries()]
    assert actions == ["power battery", "power low", "power end", "power line", "power battery"]


@pytest.mark.parametrize(("flags", "seconds", "detail"), [("OB", 61, "end"), ("OB", 59, "battery"), ("OL", 3600, "line"), ("", 3600, "")])
def test_a_ups_that_dies_while_on_battery_is_taken_for_empty(world: World, flags: str, seconds: float, detail: str) -> None:
    """There will be no other warning; and work must not be held back for ever by the last word of a UPS that has gone."""
    orders: list[bool] = []
    limits = UpsLimits(low_charge=50, end_charge=20, end_runtime_s=180)
    guard = PowerGuard(archive=world.archive, limits=limits, switch_off=lambda: orders.append(True))
    if flags:
        guard.changed(ups(flags, 90))
    guard.silent(seconds)
    guard.silent(seconds)
    component = world.archive.components.get("power")
    assert component.detail == detail
    assert orders == ([True] if detail == "end" else [])
    assert (component.reason.code if component.reason else None) == {"end": "HW-036", "battery": "HW-032"}.get(detail)


def test_the_end_of_the_battery_switches_off_though_nothing_can_be_written(world: World, tmp_path: Path) -> None:
    """What could not be told is told once it can be."""

    def may_write(*, yes: bool) -> None:
        with world.archive.database.reading() as connection:
            connection.execute(f"PRAGMA query_only = {'OFF' if yes else 'ON'}")

    limits = UpsLimits(low_charge=50, end_charge=20, end_runtime_s=180)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(tmp_path / "power.sock"))
        door.listen()
        door.setblocking(False)
        guard = PowerGuard(archive=world.archive, limits=limits, switch_off=partial(_switch_off, world.archive, door.getsockname()))
        guard.changed(ups("OL", 100))
        may_write(yes=False)
        guard.changed(ups("OB", 15))
        guard.changed(ups("OB", 14))
        door.accept()[0].close()
        with pytest.raises(BlockingIOError):
            door.accept()
    assert world.archive.components.get("power").detail == "line"
    may_write(yes=True)
    guard.changed(ups("OB", 13))
    assert world.archive.components.get("power").detail == "end"


def test_a_missing_gpu_driver_is_named_on_kiosk_and_panel_and_receiving_goes_on(world: World) -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has a card and its driver")
    settings = msgspec.structs.replace(Settings(), gpu=GpuSettings(watch=True))
    stop = threading.Event()
    thread = threading.Thread(target=box_workers(settings, archive=world.archive, present_badge=lambda _badge: None)["gpu"], args=(stop,))
    thread.start()
    wait_until(lambda: world.archive.components.get("gpu").reason is not None)
    stop.set()
    thread.join(40)
    world.archive.components.report("receiver", ready=True)
    assert "HW-040" in {reason.code for reason in world.archive.components.troubles()}
    shown = lights(world.archive)
    assert (shown.ready, shown.attention, shown.fault) == (Light.ON, Light.ON, Light.OFF)


def test_at_low_charge_no_new_study_is_taken_and_with_mains_it_is(world: World) -> None:
    world.queued()
    analyst = Analyst(archive=world.archive, machine=world.machine, drafts=None, settings=Settings())  # type: ignore[arg-type]
    world.archive.components.report("power", ready=False, detail="low")
    assert analyst.take() is None
    world.archive.components.report("power", ready=True, detail="line")
    assert analyst.take() is not None


def test_a_box_that_never_heard_of_a_ups_works() -> None:
    assert may_begin(Component(ready=False, detail="", reason=None))


# -- lights


def test_the_panel_shows_the_state_of_the_box(world: World) -> None:
    report = world.archive.components.report
    assert (lights(world.archive).fault, lights(world.archive).alarm) == (Light.FAST, True)
    report("receiver", ready=True)
    shown = lights(world.archive)
    assert (shown.ready, shown.busy, shown.attention, shown.fault, shown.alarm) == (Light.ON, Light.OFF, Light.OFF, Light.OFF, False)
    report("ups", ready=False, reason=Reason(code="HW-031", zh="坏", en="bad"))
    assert lights(world.archive).attention == Light.ON
    report("power", ready=False, detail="low", reason=Reason(code="HW-033", zh="低", en="low"))
    assert (lights(world.archive).attention, lights(world.archive).alarm) == (Light.FAST, True)
    report("safe-mode", ready=False, reason=Reason(code="WF-080", zh="安全", en="safe"))
    assert lights(world.archive).fault == Light.SLOW
    world.push(1)
    world.intake().step()
    assert lights(world.archive).busy == Light.SLOW


def test_a_clock_in_1970_is_named_and_images_are_taken(world: World) -> None:
    stop = threading.Event()
    stop.set()
    world.clock.wall_time = 86400.0
    watch_clock(world.archive, stop)
    assert world.archive.components.get("clock").reason == CLOCK_FAULT
    world.push(1)
    world.intake().step()
    assert world.study().images == 1
    world.clock.wall_time = OLDEST_CLOCK + 1
    watch_clock(world.archive, stop)
    assert world.archive.components.get("clock").ready


# -- badges


def test_a_badge_is_one_persons_and_is_not_kept_in_the_clear(world: World) -> None:
    badges = BadgeStore(database=world.archive.database, clock=world.clock, cost=CHEAP)
    one = world.archive.users.add(name="周技师", role="radiographer", pin="1357")
    two = world.archive.users.add(name="林医师", role="physician", pin="2468")
    badges.enrol(one.id, badge="62E3086CED")
    with pytest.raises(ArchiveError, match="ARC-070"):
        badges.enrol(two.id, badge="62E3086CED")
    with pytest.raises(ArchiveError, match="ARC-035"):
        badges.enrol("nobody", badge="1234567890")
    assert badges.check("62E3086CED") == one
    assert badges.check("62E3086CEE") is None
    assert b"62E3086CED" not in world.archive.database.path.read_bytes() + Path(f"{world.archive.database.path}-wal").read_bytes()
    world.archive.users.disable(one.id)
    assert badges.check("62E3086CED") is None
    world.archive.users.disable(one.id, disabled=False)
    badges.enrol(one.id, badge="AAAAAAAAAA")
    assert (badges.check("62E3086CED"), badges.check("AAAAAAAAAA")) == (None, one)
    badges.remove(one.id)
    assert badges.check("AAAAAAAAAA") is None


def test_a_badge_counts_only_while_a_kiosk_waits(world: World) -> None:
    desk = BadgeDesk(archive=world.archive)
    desk.present("62E3086CED")
    assert desk.wait(0.05) is None
    refused: list[str] = []

    def wait() -> None:
        try:
            desk.wait(20)
        except WorkflowError as error:
            refused.append(error.code)

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: desk._waiting == 1)
    desk.present("62E3086CED")
    thread.join(20)
    assert refused == ["WF-081"]
    assert [entry.action for entry in world.archive.audit.entries()] == ["badge refused"]


# -- all of it on a daemon


def test_a_daemon_with_panel_badge_reader_and_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lights come on, a badge signs in, the UPS ends and the order to switch off comes; unplugged devices are named, receiving goes on."""
    if not AVAILABLE:
        pytest.skip("NUT is not installed")
    panel, power = PanelSimulator(), MegatecUps()
    master, slave = os.openpty()
    tty.setraw(slave)
    switch = tmp_path / "power.sock"
    with socket.socket(socket.AF_UNIX) as door, nut(power, tmp_path) as port:
        door.bind(str(switch))
        door.listen(1)
        door.settimeout(60)
        more = f"""
[panel]
device = "{panel.device}"
[badge]
device = "{os.ttyname(slave)}"
[ups]
name = "ups"
port = {port}
switch = "{switch}"
"""
        with daemon(tmp_path / "box", more_settings=more) as running, open_archive_of(running) as archive:
            wait_until(lambda: panel.lights[0] == 1, what="the green light")
            user = archive.users.add(name="林医师", role="physician", pin="2468")
            monkeypatch.setattr(sys, "stdin", io.StringIO("62E3086CED\n"))
            assert main(["user", "--settings", str(tmp_path / "box/coronet.toml"), "badge", user.id]) == 0
            assert signed_in_by_badge(running.data / "api.sock", master) == "林医师"

            panel.unplug()
            wait_until(lambda: not archive.components.get("panel").ready, what="the panel is missed")
            reason = archive.components.get("panel").reason
            assert reason is not None
            assert reason.code in {"HW-001", "HW-002", "HW-010"}

            power.mains, power.low = False, True
            door.accept()[0].close()
            assert archive.components.get("power").detail == "end"
            assert archive.components.get("receiver").ready
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(60) == EXIT_OK, running.log.read_text()
            assert "62E3086CED" not in running.log.read_text()
    power.close()
    os.close(master)
    os.close(slave)


def signed_in_by_badge(api: Path, reader: int) -> str:
    """The name in the session that a badge opens."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(api)), base_url="http://coronet", timeout=30) as client:
        assert client.get("/v1/badge?timeout=0").status_code == 204
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(client.get("/v1/badge?timeout=20")))
        thread.start()
        while thread.is_alive():
            os.write(reader, BADGE)  # a badge that lies on the reader
            thread.join(2.5)
        return str(answers[0].json()["user_name"])
