"""A workflow in memory, served on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from appliance.api.messages import ApplianceInfo
from appliance.api.server import make_app, serve
from tests.appliance.api.memory_workflow import PHYSICIAN_PIN, MemoryWorkflow


@pytest.fixture
def workflow(tmp_path: Path) -> MemoryWorkflow:
    return MemoryWorkflow(pictures=tmp_path)


@pytest.fixture
def socket_path(tmp_path: Path, workflow: MemoryWorkflow) -> Iterator[Path]:
    path = tmp_path / "api.sock"
    with serve(make_app(workflow, info=ApplianceInfo(institution="示范医院")), path):
        yield path


@pytest.fixture
def client(socket_path: Path) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(socket_path))
    with httpx.Client(transport=transport, base_url="http://coronet", timeout=30) as client:
        yield client


@pytest.fixture
def signed_in(client: httpx.Client) -> httpx.Client:
    token = client.post("/v1/sign-in", json={"pin": PHYSICIAN_PIN}).json()["token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return client
