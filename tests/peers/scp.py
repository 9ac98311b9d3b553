"""A pynetdicom SCP that runs while a block does, and stops at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socketserver import TCPServer
from typing import Any

from pynetdicom import AE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer


@contextmanager
def scp(ae: AE, *, contexts: Sequence[PresentationContext], handlers: Sequence[tuple[Any, Any]] = ()) -> Iterator[int]:
    """Serve on a free port of loopback: the port."""
    server: Any = ae.make_server(
        ("127.0.0.1", 0), contexts=list(contexts), evt_handlers=list(handlers), server_class=ThreadedAssociationServer
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        TCPServer.shutdown(server)  # that of pynetdicom wants a server which AE.start_server made
        thread.join()
        server.server_close()
