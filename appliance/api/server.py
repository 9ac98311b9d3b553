"""Serves the API on a Unix socket, in a thread of the coordinator.

The socket has mode 0660 (its group is the kiosk's), appears at its path in one step, and replaces one that a dead process left behind.
Clients are bounded in number, and one that does not finish its request in time is dropped.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from appliance.api.port import WorkflowPort
from appliance.api.routes import make_app
from appliance.errors import ApiError
from appliance.http_bounds import MAXIMUM_HEADER_BYTES, BoundedProtocol

MAXIMUM_CLIENTS = 32
KEEP_ALIVE_S = 60
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0

__all__ = ["ApiServer", "WorkflowPort", "make_app", "serve"]


def serve(app: Starlette, socket_path: Path) -> ApiServer:
    """A server for the app; nothing happens before ``start()``."""
    return ApiServer(app=app, socket_path=socket_path)


class ApiServer:
    """The listening socket and the thread that serves it; ``start`` and ``stop`` once each."""

    def __init__(self, *, app: Starlette, socket_path: Path) -> None:
        self._app = app
        self._path = socket_path
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAXIMUM_CLIENTS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=MAXIMUM_HEADER_BYTES,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self._inode: int | None = None

    def start(self) -> None:
        """Listen and serve; returns when clients can connect.

        Raises:
            ApiError: the socket cannot be made, another process serves it, or the server did not come up.
        """
        listener = _listen(self._path)
        self._inode = self._path.stat().st_ino
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, name="api", daemon=True)
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise ApiError("API-021", zh="接口服务未能启动", en="the API server did not start")
            self._thread.join(0.01)

    def stop(self) -> None:
        """Stop serving, end open requests, remove the socket."""
        self._app.state.closing = True  # long polls end within one slice
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def __enter__(self) -> ApiServer:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def _listen(path: Path) -> socket.socket:
    """A listening Unix socket at ``path`` with mode 0660.

    It is bound in a private folder and moved to its place with the right mode, so it is never open to others, not even for a moment.

    Raises:
        ApiError: a living process serves the path, or the file system refuses.
    """
    if _is_served(path):
        raise ApiError("API-020", zh=f"接口套接字 {path.name} 已被占用", en=f"another process serves the socket {path.name}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with tempfile.TemporaryDirectory(prefix=".api-", dir=path.parent) as private:
            bound = Path(private) / "s"
            listener.bind(str(bound))
            bound.chmod(0o660)
            listener.listen(MAXIMUM_CLIENTS * 2)
            bound.replace(path)
    except OSError as error:
        listener.close()
        message = f"{path.name}: {error.strerror}"
        raise ApiError("API-022", zh=f"无法建立接口套接字 {message}", en=f"the API socket cannot be made: {message}") from error
    return listener


def _is_served(path: Path) -> bool:
    """Whether a living process accepts connections at ``path``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
