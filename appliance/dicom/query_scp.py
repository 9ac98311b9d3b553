"""The query/retrieve SCP: C-FIND, C-MOVE and C-GET of the Patient Root and Study Root models (PS3.4 annex C), and C-ECHO.

It reads database and spool only, in a process of its own, so that a peer that asks for everything cannot slow receiving down. Answers
stream from the index in small batches, wait for a slow peer, and end at a limit; every request can be cancelled between two answers.

Status of a C-FIND (PS3.4 C.4.1.1.4):

    FF00  a match; more may come
    0000  all matches were sent
    FE00  cancelled
    A700  more matches than are answered at once: ask for less
    A900  the identifier does not fit the information model
    C311  the index could not be read
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.archive.audit import AuditTrail
from appliance.archive.search import Level, SearchIndex
from appliance.dicom.bounds import LOCAL_LIMIT_EXCEEDED, SPARE_CONNECTIONS, BoundedServer, ByteBudget, PduReader, peer_address, tune_socket
from appliance.dicom.guard import guard
from appliance.dicom.query_answer import answer_of
from appliance.dicom.query_keys import KeyMismatchError, Query, parse_query
from appliance.dicom.retrieve import MoveTarget, Retrieval
from appliance.dicom.syntaxes import STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from appliance.errors import ArchiveError
from appliance.settings import QuerySettings

FIND: Mapping[str, Level] = {"1.2.840.10008.5.1.4.1.2.1.1": "patient", "1.2.840.10008.5.1.4.1.2.2.1": "study"}
MOVE: Mapping[str, Level] = {"1.2.840.10008.5.1.4.1.2.1.2": "patient", "1.2.840.10008.5.1.4.1.2.2.2": "study"}
GET: Mapping[str, Level] = {"1.2.840.10008.5.1.4.1.2.1.3": "patient", "1.2.840.10008.5.1.4.1.2.2.3": "study"}
LITTLE_ENDIAN = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
PENDING, CANCELLED, TOO_MANY, MISMATCH, UNABLE = 0xFF00, 0xFE00, 0xA700, 0xA900, 0xC311
NOT_RECOGNISED = (0x01, 0x01, 0x03)
"""A-ASSOCIATE-RJ: permanent, service user, calling AE title not recognised; for an address that is not on the list too."""
LARGEST_MESSAGE = 4 << 20
"""No identifier comes near this."""
WAITING_PDUS = 64
"""PDUs that may wait for a slow peer; then no further match is read."""

log = logging.getLogger(__name__)


class QueryServer:
    """The query/retrieve SCP over the search index.

    Args:
        settings: ``[query]``.
        search: reads the index.
        targets: where C-MOVE may send, by AE title.
        audit: what was handed out, and to whom.
        secure: wraps the listener in TLS, where the site has it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: QuerySettings,
        *,
        search: SearchIndex,
        targets: Mapping[str, MoveTarget],
        audit: AuditTrail,
        secure: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._search = search
        self._targets = targets
        self._audit = audit
        self._secure = secure
        self._clock = clock
        self._networks = [ipaddress.ip_network(text, strict=False) for text in settings.addresses]
        self._budget = ByteBudget(settings.maximum_associations * LARGEST_MESSAGE)
        self._readers: dict[int, tuple[Any, PduReader]] = {}
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("the query server has not been started")
        return int(self._server.server_address[1])

    @property
    def active_associations(self) -> int:
        """Connections that are, or may become, associations."""
        return len(self._server.active_associations) if self._server else 0

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        settings = self._settings
        ae: Any = AE(settings.ae_title)
        ae.maximum_associations = settings.maximum_associations
        ae.acse_timeout = settings.association_timeout_s
        ae.dimse_timeout = settings.idle_timeout_s
        ae.network_timeout = settings.idle_timeout_s
        ae.require_called_aet = True
        ae.require_calling_aet = list(settings.calling_ae_titles)
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_CONN_CLOSE, self._closed),
            (evt.EVT_C_FIND, self._find),
        ]
        server: Any = ae.make_server(
            (settings.host, settings.port),
            contexts=_contexts(),
            evt_handlers=handlers,
            ssl_context=self._secure,
            server_class=BoundedServer,
            connections_per_peer=settings.maximum_associations_per_peer + SPARE_CONNECTIONS,
            connections=settings.maximum_associations + SPARE_CONNECTIONS,
            on_tick=self._sweep,
        )
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="query-listener")
        self._thread.start()
        log.info("listening on port %d as %s", self.port, settings.ae_title, extra={"event": "query.listening"})

    def stop(self, *, grace_s: float = 5.0) -> None:
        """Stop listening and end the associations."""
        if self._server is None:
            return
        self._server.close()
        if self._thread is not None:
            self._thread.join()
        deadline = time.monotonic() + grace_s
        for association in self._server.active_associations:
            association.abort(block=False)
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(0.01)
        self._sweep(all_of_them=True)

    # -- events of an association

    def _opened(self, event: Event) -> None:
        association: Any = event.assoc
        settings = self._settings
        guard(association)
        tune_socket(association.dul.socket.socket, unacknowledged_s=settings.idle_timeout_s)
        reader = PduReader(
            association,
            maximum_pdu_bytes=association.ae.maximum_pdu_size,
            maximum_instance_bytes=LARGEST_MESSAGE,
            pdu_timeout_s=settings.pdu_timeout_s,
            budget=self._budget,
            clock=self._clock,
        )
        association.dul.socket.recv = reader
        association._serve_request = functools.partial(self._serve, association, reader, association._serve_request)  # noqa: SLF001
        with self._lock:
            self._readers[id(association)] = (association, reader)

    def _requested(self, event: Event) -> None:
        association: Any = event.assoc
        peer = peer_address(association)
        refusal = None
        if not self._admits(peer):
            refusal = NOT_RECOGNISED
        elif self._server is not None and self._server.associations_of(peer) > self._settings.maximum_associations_per_peer:
            refusal = LOCAL_LIMIT_EXCEEDED
        if refusal is not None:
            log.warning("association of %s rejected", peer, extra={"event": "query.rejected", "peer": peer})
            association.acse.send_reject(*refusal)
            association.kill()

    def _admits(self, peer: str) -> bool:
        if not self._networks:
            return True
        address = ipaddress.ip_address(peer)
        return any(address in network for network in self._networks)

    def _closed(self, event: Event) -> None:
        """The connection has gone: wake an acceptor that still waits for its A-ASSOCIATE-RQ, so that the slot is free at once."""
        association = event.assoc
        if association.requestor.primitive is None:
            association.dul.kill_dul()
            association.dul.to_user_queue.put(None)

    def _sweep(self, *, all_of_them: bool = False) -> None:
        """Give back the memory of associations whose thread has ended."""
        with self._lock:
            ended = [
                key
                for key, (association, _) in self._readers.items()
                if all_of_them or (association.ident is not None and not association.is_alive())
            ]
            gone = [self._readers.pop(key) for key in ended]
        for association, reader in gone:
            reader.close()
            association.dul.kill_dul()
            sock = association.dul.socket
            if sock is not None and sock.socket is not None:
                sock.socket.close()

    # -- requests

    def _serve(self, association: Any, reader: PduReader, otherwise: Callable[[Any, int], None], message: Any, context_id: int) -> None:
        """C-MOVE and C-GET here, whose files go out as they lie on the disk; every other request as pynetdicom does it."""
        context = next((each for each in association.accepted_contexts if each.context_id == context_id), None)
        root = None if context is None else {**MOVE, **GET}.get(str(context.abstract_syntax))
        try:
            if context is None or root is None or not isinstance(message, C_MOVE | C_GET):
                otherwise(message, context_id)
                return
            association.dimse.cancel_req = {}
            association._is_paused = True  # noqa: SLF001 - as pynetdicom does before it calls a service class that sends requests itself
            try:
                self._retrieve(association, message, context, root)
            finally:
                association._is_paused = False  # noqa: SLF001
                association.dimse.cancel_req = {}
        finally:
            reader.message_done(LARGEST_MESSAGE)

    def _retrieve(self, association: Any, message: Any, context: Any, root: Level) -> None:
        Retrieval(
            association=association,
            request=message,
            context=context,
            root=root,
            search=self._search,
            targets=self._targets,
            audit=self._audit,
            our_ae_title=self._settings.ae_title,
            maximum_instances=self._settings.maximum_instances,
        ).run()

    def _find(self, event: Event) -> Iterator[tuple[Any, Dataset | None]]:
        """Answers to a C-FIND, as pynetdicom wants them."""
        try:
            identifier = event.identifier
            root = FIND[str(event.request.AffectedSOPClassUID)]
            query = parse_query(identifier, root=root)
            requested = str(identifier.get("SpecificCharacterSet") or "")
        except KeyMismatchError as error:
            yield _status(MISMATCH, str(error)), None
            return
        except Exception as error:  # noqa: BLE001 - whatever an identifier holds, it is answered
            log.warning("a query could not be read: %s", type(error).__name__)
            yield _status(MISMATCH, "the identifier cannot be read"), None
            return
        yield from self._answers(event, query, requested)

    def _answers(self, event: Event, query: Query, requested: str) -> Iterator[tuple[Any, Dataset | None]]:
        settings, association = self._settings, event.assoc
        try:
            rows = self._search.find(query.level, query.criteria, counted=query.counted)
            for number, row in enumerate(rows):
                if event.is_cancelled:
                    yield CANCELLED, None
                    return
                if number >= settings.maximum_matches:
                    yield _status(TOO_MANY, f"more than {settings.maximum_matches} matches"), None
                    return
                if not self._room(association):
                    association.abort()
                    return
                sets = (requested, settings.character_set)
                yield PENDING, answer_of(query, row, ae_title=settings.ae_title, character_sets=sets)
        except ArchiveError as error:
            log.error("a query failed: %s", error.code)  # noqa: TRY400 - the code says it all
            yield _status(UNABLE, error.code), None

    def _room(self, association: Any) -> bool:
        """Wait for a peer that reads slowly; False when it has not read anything for the idle time."""
        deadline = self._clock() + self._settings.idle_timeout_s
        while association.dul.to_provider_queue.qsize() > WAITING_PDUS:
            if self._clock() > deadline or not association.is_established:
                return False
            time.sleep(0.005)
        return True


def configure_libraries() -> None:
    """Keep what peers ask for out of the log, and let odd values of kept headers pass."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE


def _contexts() -> list[Any]:
    contexts: list[Any] = [build_context(uid, LITTLE_ENDIAN) for uid in (VERIFICATION, *FIND, *MOVE, *GET)]
    for uid in STORAGE_CLASSES:
        context = build_context(uid, list(TRANSFER_SYNTAXES))
        # of a C-GET: the one who asks is the storage SCP (PS3.4 C.4.3.1, PS3.7 D.3.3.4)
        context.scu_role, context.scp_role = False, True
        contexts.append(context)
    return contexts


def _status(code: int, comment: str) -> Dataset:
    status = Dataset()
    status.Status = code
    status.ErrorComment = comment[:64]
    return status
