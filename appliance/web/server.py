"""Serves DICOMweb in a thread of the query process: HTTPS by the site's certificate, or HTTP on a loopback address."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from appliance.archive.audit import AuditTrail
from appliance.archive.search import SearchIndex
from appliance.archive.tokens import TokenStore
from appliance.errors import ApiError
from appliance.http_bounds import MAXIMUM_HEADER_BYTES, BoundedProtocol
from appliance.settings import DestinationSettings, WebSettings
from appliance.web.app import make_app
from appliance.web.stow import Storing

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0


def serve_web(
    settings: WebSettings,
    *,
    search: SearchIndex,
    tokens: TokenStore,
    audit: AuditTrail,
    receiver: DestinationSettings,
    maximum_instance_bytes: int,
    scratch: Path,
) -> WebServer:
    """A server that listens when this returns.

    Args:
        settings: ``[web]``.
        search: finds studies, series and instances.
        tokens: who may ask.
        audit: what was stored and fetched by whom.
        receiver: how our own receiver is reached; it stores what is uploaded.
        maximum_instance_bytes: the largest instance that it takes.
        scratch: folder for parts of uploads that are under way.

    Raises:
        ApiError: API-021 it did not come up.
        OSError: certificate or address cannot be used.
    """
    storing = Storing(
        receiver=receiver, scratch=scratch, maximum_part_bytes=maximum_instance_bytes, maximum_bytes=settings.maximum_upload_bytes
    )
    server = WebServer(settings, app=make_app(settings, search=search, tokens=tokens, audit=audit, storing=storing))
    server.start()
    return server


class WebServer:
    """The listening socket and the thread that serves it; ``start`` and ``stop`` once each."""

    def __init__(self, settings: WebSettings, *, app: Starlette) -> None:
        secure: dict[str, Any] = {}
        if settings.certificate is not None:
            secure = {
                "ssl_certfile": settings.certificate,
                "ssl_keyfile": settings.private_key,
                "ssl_ca_certs": settings.client_authorities,
                "ssl_cert_reqs": ssl.CERT_NONE if settings.client_authorities is None else ssl.CERT_OPTIONAL,
                "ssl_ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20",
            }
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=_CertifyingProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=settings.maximum_connections,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=MAXIMUM_HEADER_BYTES,
            **secure,
        )
        config.load()
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen and serve; returns when clients can connect.

        Raises:
            ApiError: the server did not come up.
        """
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise ApiError("API-021", zh="DICOMweb 服务未能启动", en="the DICOMweb server did not start")
            self._thread.join(0.01)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_S)

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:  # uvicorn's word for an address that it cannot bind; `start` says so
            return


class _CertifyingProtocol(BoundedProtocol):
    """Tells the application whether the client has shown a certificate (checked by TLS against the site's authorities)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        certified = bool(transport.get_extra_info("peercert"))
        inner = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await inner({**scope, "coronet.certified": certified}, receive, send)

        self.app = app
