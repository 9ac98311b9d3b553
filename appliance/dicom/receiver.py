"""The storage SCP: the one door through which pixels enter. A process of its own, without numeric code.

Success (0x0000) is answered only after the store has returned, that is, when the instance and its index row survive a power cut. Instances
are passed on as part 10 bytes exactly as sent; of the data set only the two UIDs at its start are looked at. What is checked and answered:
``reception``. Bounds: ``bounds``. How images come in faster than pynetdicom can read them: ``fast_path``.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pydicom
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.archive.instances import InstanceStore
from appliance.dicom.bounds import LOCAL_LIMIT_EXCEEDED, SPARE_CONNECTIONS, BoundedServer, ByteBudget, PduReader, peer_address, tune_socket
from appliance.dicom.fast_path import FastPath, InstanceBuffer, check_library
from appliance.dicom.guard import guard
from appliance.dicom.reception import Keeper, Reception
from appliance.dicom.service import Service, contexts_of, handlers_of
from appliance.dicom.store_message import StoreRequest, part10_head, store_response
from appliance.dicom.syntaxes import RAW_DATA, STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from appliance.dicom.tls import server_context
from appliance.errors import DicomError
from appliance.settings import ReceiverSettings

CALLING_TITLE_NOT_RECOGNISED, CALLED_TITLE_NOT_RECOGNISED = (0x01, 0x01, 0x03), (0x01, 0x01, 0x07)
SMALLEST_BUDGET = 256 << 20
"""Bytes that instances being received may always take together."""
GRACE_S = 10.0
"""How long instances in hand may take to finish when the receiver is told to stop."""

log = logging.getLogger(__name__)


class Receiver:
    """The storage SCP around an instance store.

    Args:
        settings: ``[receiver]``.
        store: where instances go.
        services: what else peers may ask for on the same port (storage commitment, MPPS).
        clock: monotonic seconds, for the PDU deadline.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        store: InstanceStore,
        services: Sequence[Service] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._keeper = Keeper(store)
        self._services = tuple(services)
        self._clock = clock
        self._budget = ByteBudget(max(2 * settings.maximum_instance_bytes, SMALLEST_BUDGET))
        # one for all ports, since it counts the associations
        self._ae = AE(settings.ae_title)
        self._ae.maximum_pdu_size = settings.maximum_pdu_bytes
        self._ae.maximum_associations = settings.maximum_associations
        self._ae.acse_timeout = settings.association_timeout_s
        self._ae.dimse_timeout = settings.idle_timeout_s
        self._ae.network_timeout = settings.idle_timeout_s
        self._titles = {settings.ae_title, *(each.title for each in settings.ae)}
        self._receptions: dict[int, Reception] = {}
        self._lock = threading.Lock()
        self._servers: list[BoundedServer] = []
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port that is listened on in the clear."""
        if not self._servers:
            raise RuntimeError("the receiver has not been started")
        return int(self._servers[0].server_address[1])

    @property
    def active_associations(self) -> int:
        """Connections that are, or may become, associations."""
        return sum(len(server.active_associations) for server in self._servers)

    @property
    def free_budget(self) -> int:
        """Bytes that instances being received may still take."""
        return self._budget.left

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: an address cannot be bound.
            DicomError: pynetdicom is not as known, or the TLS certificate cannot be used.
        """
        check_library()
        settings = self._settings
        self._listen(settings.port)
        if settings.tls is not None:
            try:
                self._listen(settings.tls.port, tls=server_context(settings.tls))
            except (OSError, DicomError):
                self.stop()
                raise
        log.info("listening on port %d as %s", self.port, ", ".join(sorted(self._titles)), extra={"event": "receiver.listening"})

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """Stop listening, let instances in hand finish (at most ``grace_s``), end the associations."""
        for server in self._servers:
            server.close()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._keeper.stop()
        deadline = time.monotonic() + grace_s
        while self._keeper.storing and time.monotonic() < deadline:
            time.sleep(0.01)
        for server in self._servers:
            for association in server.active_associations:
                association.abort(block=False)
        while (self.active_associations or self._receptions) and time.monotonic() < deadline:
            time.sleep(0.01)
            self._sweep()

    def _listen(self, port: int, *, tls: Any = None) -> None:
        settings = self._settings
        classes = [uid for uid in STORAGE_CLASSES if uid != RAW_DATA or settings.raw_data == "keep"]
        contexts = [build_context(VERIFICATION), *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in classes)]
        handlers = [(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_REQUESTED, self._requested), (evt.EVT_CONN_CLOSE, self._closed)]
        server: Any = self._ae.make_server(
            (settings.host, port),
            contexts=[*contexts, *contexts_of(self._services)],
            evt_handlers=[*handlers, (evt.EVT_RELEASED, self._released), *handlers_of(self._services)],
            server_class=BoundedServer,
            connections_per_peer=settings.maximum_associations_per_peer + SPARE_CONNECTIONS,
            connections=settings.maximum_associations + SPARE_CONNECTIONS,
            on_tick=self._sweep,
            networks=[ipaddress.ip_network(text) for text in settings.calling_addresses],
            tls=tls,
        )
        self._servers.append(server)
        name = f"receiver-listener-{len(self._servers)}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name=name)
        self._threads.append(thread)
        thread.start()

    # -- events of an association

    def _opened(self, event: Event) -> None:
        association: Any = event.assoc
        settings = self._settings
        guard(association)
        tune_socket(association.dul.socket.socket, unacknowledged_s=settings.idle_timeout_s)
        reader = PduReader(
            association,
            maximum_pdu_bytes=settings.maximum_pdu_bytes,
            maximum_instance_bytes=settings.maximum_instance_bytes,
            pdu_timeout_s=settings.pdu_timeout_s,
            budget=self._budget,
            clock=self._clock,
        )
        association.dul.socket.recv = reader
        buffer = InstanceBuffer(budget=self._budget, maximum=settings.maximum_instance_bytes)
        reception = Reception(association, reader=reader, buffer=buffer)
        association.dul._is_transport_event = FastPath(  # noqa: SLF001 - see fast_path.check_library
            association,
            reader=reader,
            buffer=buffer,
            begin=functools.partial(self._head, reception),
            serve=functools.partial(self._serve, reception),
        )
        # pynetdicom drops a C-STORE with an empty UID without an answer, and aborts on a class that it does not know.
        association._serve_request = functools.partial(self._serve_slowly, reception, association._serve_request)  # noqa: SLF001
        with self._lock:
            self._receptions[id(association)] = reception

    def _requested(self, event: Event) -> None:
        """Reject who is not on the lists, asks for a title that is not ours, or has too many associations."""
        association: Any = event.assoc
        peer, request = peer_address(association), association.requestor.primitive
        calling, called = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        of_peer = sum(server.associations_of(peer) for server in self._servers)
        if self._settings.calling_ae_titles and calling not in self._settings.calling_ae_titles:
            reason, text = CALLING_TITLE_NOT_RECOGNISED, "calling title not on the list"
        elif called not in self._titles:
            reason, text = CALLED_TITLE_NOT_RECOGNISED, "called title is none of ours"
        elif of_peer > self._settings.maximum_associations_per_peer:
            reason, text = LOCAL_LIMIT_EXCEEDED, "too many of this peer"
        else:
            return
        log.warning("association of %s rejected: %s", peer, text, extra={"event": "receiver.rejected", "peer": peer})
        association.acse.send_reject(*reason)
        association.kill()  # returns once the A-ASSOCIATE-RJ has gone out

    def _closed(self, event: Event) -> None:
        """The connection has gone: wake an acceptor that still waits for its A-ASSOCIATE-RQ, so that the slot is free at once."""
        association = event.assoc
        if association.requestor.primitive is None:
            association.dul.kill_dul()
            association.dul.to_user_queue.put(None)

    def _released(self, event: Event) -> None:
        with self._lock:
            reception = self._receptions.get(id(event.assoc))
        if reception is not None:
            reception.released = True

    def _sweep(self) -> None:
        """Close the books of associations whose thread has ended, however it ended."""
        with self._lock:
            ended = [key for key, reception in self._receptions.items() if reception.ended]
            receptions = [self._receptions.pop(key) for key in ended]
        for reception in receptions:
            reception.close()
            self._keeper.report(reception)

    # -- C-STORE

    def _head(self, reception: Reception, request: StoreRequest) -> bytes:
        """What goes before the data set of an instance that is about to come."""
        context = reception.context(request.context)
        if context is None:
            reception.reader.cut("a presentation context that was not accepted")
        return part10_head(
            sop_class=request.sop_class,
            sop_instance=request.sop_instance,
            transfer_syntax=context[1],
            source=reception.calling_ae,
        )

    def _serve(self, reception: Reception, request: StoreRequest, part10: memoryview) -> bytes:
        """Keep an instance; the bytes of the answer."""
        answer = self._keeper.keep(reception, request, part10, head=len(part10) - reception.buffer.size)
        maximum = int(reception.association.requestor.maximum_length or 0)
        return store_response(request, status=answer.status, comment=answer.comment, maximum_length=maximum)

    def _serve_slowly(self, reception: Reception, otherwise: Callable[[Any, int], None], message: Any, context_id: int) -> None:
        """Answer a C-STORE request that came by pynetdicom's own way; leave every other message to it."""
        context = reception.context(context_id)
        if not isinstance(message, C_STORE) or message.MessageID is None or context is None:
            otherwise(message, context_id)
            return
        sop_class, sop_instance = (str(uid or "") for uid in (message.AffectedSOPClassUID, message.AffectedSOPInstanceUID))
        request = StoreRequest(context_id, message.MessageID, sop_class, sop_instance)
        head = self._head(reception, request)
        size = 0 if message.DataSet is None else message.DataSet.getbuffer().nbytes
        try:
            part10 = None if message.DataSet is None else memoryview(b"".join((head, message.DataSet.getbuffer())))
            answer = self._keeper.keep(reception, request, part10, head=len(head))
        finally:
            message.DataSet = None
            reception.reader.message_done(size)
        response: Any = C_STORE()
        response.MessageIDBeingRespondedTo = message.MessageID
        response.AffectedSOPClassUID = message.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = message.AffectedSOPInstanceUID
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = answer.comment
        reception.association.dimse.send_msg(response, context_id)


def run_receiver(
    settings: ReceiverSettings,
    store: InstanceStore,
    *,
    services: Sequence[Service] = (),
    ready: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Receive until SIGTERM or SIGINT, or until ``stop`` is set; the exit status of the process.

    Args:
        settings: ``[receiver]``.
        store: where instances go.
        services: what else peers may ask for on the same port.
        ready: called with the port once associations are taken (for sd_notify, or a test).
        stop: ends the receiver when set.

    Returns:
        0 after a clean stop, 1 if an address cannot be bound or the receiver must not start.
    """
    _configure_libraries()
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    receiver = Receiver(settings, store=store, services=services)
    try:
        receiver.start()
    except (OSError, DicomError) as error:
        log.error("cannot listen on %s:%d: %s", settings.host, settings.port, error)  # noqa: TRY400 - one line says it
        return 1
    try:
        if ready is not None:
            ready(receiver.port)
        stop.wait()
    finally:
        receiver.stop()
        log.info("stopped", extra={"event": "receiver.stopped"})
    return 0


def _configure_libraries() -> None:
    """Its log could hold patient data (identifiers of requests), and it costs time for each PDU; we log what matters ourselves."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    for name in ("pynetdicom", "pydicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # A UID that is none shall be answered with a status; pynetdicom would abort the association.
    _config.VALIDATORS["UI"] = lambda _: (True, "")
    # Command sets are all that pydicom decodes here: no warnings that quote what came.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
