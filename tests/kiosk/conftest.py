"""A kiosk without a window: the real controller and the real client against a workflow in memory on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.api import routes
from appliance.api.messages import ApplianceInfo
from appliance.api.server import ApiServer, make_app, serve
from kiosk.client import Client
from kiosk.controller import Controller
from tests.appliance.api.memory_workflow import MemoryWorkflow
from tests.kiosk.flow import Journey, ManualClock


@pytest.fixture(autouse=True)
def _quick_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops notices it within one slice of a long poll: short slices, so that tests end quickly."""
    monkeypatch.setattr(routes, "POLL_SLICE_S", 0.1)


@pytest.fixture
def wall() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workflow(tmp_path: Path, wall: ManualClock) -> MemoryWorkflow:
    return MemoryWorkflow(pictures=tmp_path, clock=wall)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


@pytest.fixture
def server(socket_path: Path, workflow: MemoryWorkflow) -> Iterator[ApiServer]:
    with serve(make_app(workflow, info=ApplianceInfo(institution="示范医院", idle_lock_seconds=300)), socket_path) as server:
        yield server


@pytest.fixture
def client(socket_path: Path) -> Iterator[Client]:
    client = Client(socket=socket_path)
    client.start()
    yield client
    client.stop()


@pytest.fixture
def journey(server: ApiServer, client: Client, wall: ManualClock) -> Journey:
    controller = Controller(client=client, clock=wall, wall_clock=wall)
    return Journey(controller=controller, clock=wall)
