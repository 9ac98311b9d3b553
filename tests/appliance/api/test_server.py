"""The socket: its mode, its life, and clients that misbehave."""

from __future__ import annotations

import contextlib
import socket
import stat
import time
from pathlib import Path

import httpx
import pytest

from appliance import http_bounds
from appliance.api.server import MAXIMUM_CLIENTS, make_app, serve
from appliance.errors import ApiError
from tests.appliance.api.memory_workflow import MemoryWorkflow


def test_socket_is_for_owner_and_group_only(socket_path: Path) -> None:
    mode = socket_path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_socket_of_a_dead_process_is_replaced(tmp_path: Path, workflow: MemoryWorkflow) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with serve(make_app(workflow), path):
        assert _info(path).status_code == 200
    assert not path.exists()


def test_socket_of_a_living_process_is_left_alone(socket_path: Path, workflow: MemoryWorkflow) -> None:
    with pytest.raises(ApiError) as caught:
        serve(make_app(workflow), socket_path).start()
    assert caught.value.code == "API-020"
    assert _info(socket_path).status_code == 200


def test_folder_that_is_missing_is_a_typed_error(tmp_path: Path, workflow: MemoryWorkflow) -> None:
    with pytest.raises(ApiError) as caught:
        serve(make_app(workflow), tmp_path / "no" / "api.sock").start()
    assert caught.value.code == "API-022"


def test_server_can_be_started_again_at_the_same_path(tmp_path: Path, workflow: MemoryWorkflow) -> None:
    path = tmp_path / "api.sock"
    for _ in range(2):
        with serve(make_app(workflow), path):
            assert _info(path).status_code == 200


def test_stop_ends_a_long_poll(tmp_path: Path, workflow: MemoryWorkflow) -> None:
    path = tmp_path / "api.sock"
    token = workflow.sign_in("2468").token
    server = serve(make_app(workflow), path)
    server.start()
    with socket.socket(socket.AF_UNIX) as poll:
        poll.settimeout(15)
        poll.connect(str(path))
        poll.sendall(f"GET /v1/events?after=0 HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        server.stop()
        assert not path.exists()
        while poll.recv(4096):
            pass


def test_client_that_trickles_its_head_is_dropped(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_bounds, "HEADER_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(10)
        slow.connect(str(socket_path))
        slow.sendall(b"GET /v1/info HTTP/1.1\r\nHost:")
        assert slow.recv(10) == b""
    assert _info(socket_path).status_code == 200


def test_body_that_does_not_come_is_408(socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.api.routes.BODY_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(10)
        slow.connect(str(socket_path))
        slow.sendall(b"POST /v1/sign-in HTTP/1.1\r\nHost: c\r\nContent-Length: 100\r\n\r\n{")
        assert b"408" in slow.recv(4096)


def test_too_long_a_head_is_refused(socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as wordy:
        wordy.settimeout(10)
        wordy.connect(str(socket_path))
        wordy.sendall(b"GET /v1/info HTTP/1.1\r\nX: " + b"x" * 40_000)
        assert b"400" in wordy.recv(4096)


def test_too_many_clients_are_refused_and_the_rest_served_after(socket_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAXIMUM_CLIENTS + 4):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.connect(str(socket_path))
        assert _info(socket_path).status_code == 503
    end = time.monotonic() + 10
    while _info(socket_path).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.02)


def _info(path: Path) -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://coronet") as client:
        return client.get("/v1/info")
