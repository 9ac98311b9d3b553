"""``appliance query``: the process that answers those who look here: DICOM query/retrieve and DICOMweb. It reads, it never stores."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec

from appliance.archive.archive import Archive, open_archive
from appliance.dicom.query_scp import QueryServer, configure_libraries
from appliance.dicom.retrieve import MoveTarget
from appliance.dicom.tls import server_context
from appliance.errors import Reason
from appliance.settings import Settings, TlsSettings, load_settings_or_new
from appliance.web.server import WebServer, serve_web
from appliance.workflow.probe import own_door

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--settings", type=Path, required=True)


def run(options: argparse.Namespace) -> int:
    """Answer until told to stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = load_settings_or_new(options.settings)
    configure_libraries()
    with closing(open_archive(settings.data)) as archive:
        return serve(settings, archive, stop)


def serve(settings: Settings, archive: Archive, stop: threading.Event) -> int:
    """Serve what the settings switch on until ``stop`` is set; the exit status."""
    try:
        with doors(settings, archive):
            archive.components.report("query", ready=True)
            stop.wait()
    except OSError as error:
        zh, en = f"查询服务无法启动:{error.strerror}", f"the query service cannot start: {error.strerror}"
        log.error("cannot listen: %s", error.strerror)  # noqa: TRY400 - one line says it
        archive.components.report("query", ready=False, reason=Reason("DCM-020", zh=zh, en=en))
        return 1
    archive.components.report("query", ready=False)
    return 0


@contextmanager
def doors(settings: Settings, archive: Archive) -> Iterator[tuple[QueryServer | None, WebServer | None]]:
    """The doors that are switched on, open while the block runs."""
    with ExitStack() as stack:
        query = web = None
        if settings.query.enabled:
            query = QueryServer(settings.query, search=archive.search, targets=move_targets(settings), audit=archive.audit)
            query.start()
            stack.callback(query.stop)
            if settings.query.tls is not None:
                stack.callback(_start_secure(settings, settings.query.tls, archive).stop)
        if settings.web.enabled:
            web = serve_web(
                settings.web,
                search=archive.search,
                tokens=archive.tokens,
                audit=archive.audit,
                receiver=own_door(settings.receiver),
                maximum_instance_bytes=settings.receiver.maximum_instance_bytes,
                scratch=settings.data / "uploads",
            )
            stack.callback(web.stop)
        yield query, web


def _start_secure(settings: Settings, tls: TlsSettings, archive: Archive) -> QueryServer:
    """The same door once more, on the port with TLS."""
    settings_there = msgspec.structs.replace(settings.query, port=tls.port)
    server = QueryServer(
        settings_there, search=archive.search, targets=move_targets(settings), audit=archive.audit, secure=server_context(tls)
    )
    server.start()
    return server


def move_targets(settings: Settings) -> dict[str, MoveTarget]:
    """Where C-MOVE may send: every peer and destination of the settings, by its AE title; a peer's entry counts first.

    Not to a destination of pseudonymised routes: images go by C-MOVE as they lie on the disk, and such a place must never get a name.
    """
    nameless = {name for route in settings.route if route.pseudonymise for name in route.to}
    named = [each for each in settings.destination if each.name not in nameless]
    destinations = {each.ae_title: MoveTarget(each.ae_title, each.host, each.port, each.timeout_s) for each in named}
    peers = {each.ae_title: MoveTarget(each.ae_title, each.host, each.port, each.timeout_s) for each in settings.peer}
    return {**destinations, **peers}
