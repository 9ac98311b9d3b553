"""The storage SCP: the one door through which pixels enter. A process of its own, without numeric code.

Success (0x0000) is answered only after the store has returned, that is, after the instance and its index row are on the disk. Instances
are passed on as part 10 bytes exactly as sent; of the data set only the two UIDs at its start are looked at. Bounds: ``bounds``.

Status of a C-STORE (PS3.4 annex B.2.3, PS3.7 section 9.1.1.1.9):

    0000  stored, or already there with the same bytes
    0122  the SOP class is not one that we take
    A700  out of resources: disk below its reserve, or the store failed; worth sending again
    A900  the data set is not what the command says: UID missing or different, class not of the context
    C000  not a DICOM data set in the agreed transfer syntax
"""

from __future__ import annotations

import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pydicom
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, PYNETDICOM_IMPLEMENTATION_UID, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.events import Event
from pynetdicom.presentation import build_context

from appliance.archive.instances import InstanceStore
from appliance.dicom.bounds import BoundedServer, ByteBudget, PduReader, peer_address, tune_socket
from appliance.dicom.dataset_start import NotDicomError, is_uid, read_start
from appliance.dicom.service import Service, contexts_of, handlers_of
from appliance.dicom.syntaxes import STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from appliance.errors import ArchiveError
from appliance.settings import ReceiverSettings

SUCCESS, CLASS_NOT_SUPPORTED, OUT_OF_RESOURCES, DATASET_MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0x0122, 0xA700, 0xA900, 0xC000
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""A-ASSOCIATE-RJ: transient, presentation service provider, local limit exceeded (PS3.8 section 9.3.4)."""
SMALLEST_BUDGET = 256 << 20
"""Bytes that instances being received may always take together."""
SPARE_CONNECTIONS = 4
"""Connections beyond the association limit that still get a proper A-ASSOCIATE-RJ."""
GRACE_S = 10.0
"""How long instances in hand may take to finish when the receiver is told to stop."""

log = logging.getLogger(__name__)


class Reception:
    """One association as the receiver sees it: what came, and how it ended."""

    def __init__(self, association: Any, reader: PduReader) -> None:
        self.association = association
        self.reader = reader
        self.number: int | None = None
        self.instances = 0
        self.refused = 0
        self.octets = 0
        self.released = False
        self.since = time.monotonic()

    @property
    def peer(self) -> str:
        """Address of the peer."""
        return peer_address(self.association)

    @property
    def ended(self) -> bool:
        """True once the association's thread has come to its end, however it did."""
        return self.association.ident is not None and not self.association.is_alive()

    def close(self) -> None:
        """Leave nothing behind: memory, reader thread, socket."""
        self.reader.close()
        self.association.dul.kill_dul()
        sock = self.association.dul.socket
        if sock is not None and sock.socket is not None:
            sock.socket.close()


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """An instance is answered with a failure status; ``comment`` goes into (0000,0902)."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment


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
        self._store = store
        self._services = tuple(services)
        self._clock = clock
        self._budget = ByteBudget(max(2 * settings.maximum_instance_bytes, SMALLEST_BUDGET))
        self._receptions: dict[int, Reception] = {}
        self._lock = threading.Lock()
        self._storing = 0
        self._stopping = False
        self._server: BoundedServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._server is None:
            raise RuntimeError("the receiver has not been started")
        return int(self._server.server_address[1])

    @property
    def active_associations(self) -> int:
        """Connections that are, or may become, associations."""
        return len(self._server.active_associations) if self._server else 0

    @property
    def free_budget(self) -> int:
        """Bytes that instances being received may still take."""
        return self._budget.left

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        settings = self._settings
        ae = AE(settings.ae_title)
        ae.maximum_pdu_size = settings.maximum_pdu_bytes
        ae.maximum_associations = settings.maximum_associations
        ae.acse_timeout = settings.association_timeout_s
        ae.dimse_timeout = settings.idle_timeout_s
        ae.network_timeout = settings.idle_timeout_s
        ae.require_called_aet = True
        ae.require_calling_aet = list(settings.calling_ae_titles)
        contexts = [build_context(VERIFICATION)] + [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES]
        contexts += contexts_of(self._services)
        handlers = [(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_REQUESTED, self._requested), (evt.EVT_CONN_CLOSE, self._closed)]
        server: Any = ae.make_server(
            (settings.host, settings.port),
            contexts=contexts,
            evt_handlers=[*handlers, (evt.EVT_RELEASED, self._released), *handlers_of(self._services)],
            server_class=BoundedServer,
            connections_per_peer=settings.maximum_associations_per_peer + SPARE_CONNECTIONS,
            connections=settings.maximum_associations + SPARE_CONNECTIONS,
            on_tick=self._sweep,
        )
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="receiver-listener")
        self._thread.start()
        log.info("listening on port %d as %s", self.port, settings.ae_title, extra={"event": "receiver.listening"})

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """Stop listening, let instances in hand finish (at most ``grace_s``), end the associations."""
        if self._server is None:
            return
        self._server.close()
        if self._thread is not None:
            self._thread.join()
        self._stopping = True
        deadline = time.monotonic() + grace_s
        while self._storing and time.monotonic() < deadline:
            time.sleep(0.01)
        for association in self._server.active_associations:
            association.abort(block=False)
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(0.01)
        self._sweep()

    # -- events of an association

    def _opened(self, event: Event) -> None:
        association: Any = event.assoc
        settings = self._settings
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
        reception = Reception(association, reader)
        # pynetdicom drops a C-STORE with an empty UID without an answer, and aborts on a class that it does not know.
        association._serve_request = functools.partial(self._serve, reception, association._serve_request)  # noqa: SLF001
        with self._lock:
            self._receptions[id(association)] = reception

    def _requested(self, event: Event) -> None:
        association: Any = event.assoc
        peer = peer_address(association)
        if self._server is not None and self._server.associations_of(peer) > self._settings.maximum_associations_per_peer:
            log.warning("association of %s rejected: too many", peer, extra={"event": "receiver.rejected", "peer": peer})
            association.acse.send_reject(*LOCAL_LIMIT_EXCEEDED)
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
            self._report(reception)

    def _report(self, reception: Reception) -> None:
        outcome: Literal["released", "aborted"] = "released" if reception.released else "aborted"
        seconds = max(time.monotonic() - reception.since, 1e-3)
        log.info(
            "association of %s %s: %d stored, %d refused, %.1f MB/s",
            reception.peer, outcome, reception.instances, reception.refused, reception.octets / seconds / 1e6,
            extra={"event": "receiver.closed", "association": reception.number},
        )  # fmt: skip
        if reception.number is None:
            return
        try:
            self._store.association_closed(reception.number, outcome=outcome, instances=reception.instances)
        except ArchiveError as error:
            log.error("association %d not closed in the archive: %s", reception.number, error.code)  # noqa: TRY400

    # -- C-STORE

    def _serve(self, reception: Reception, otherwise: Callable[[Any, int], None], message: Any, context_id: int) -> None:
        """Answer a C-STORE request; leave every other message to pynetdicom."""
        accepted = reception.association.accepted_contexts
        context = next((context for context in accepted if context.context_id == context_id), None)
        if not isinstance(message, C_STORE) or message.MessageID is None or context is None:
            otherwise(message, context_id)
            return
        answer: Any = C_STORE()
        answer.MessageIDBeingRespondedTo = message.MessageID
        answer.AffectedSOPClassUID = message.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = message.AffectedSOPInstanceUID
        size = message.DataSet.getbuffer().nbytes if message.DataSet is not None else 0
        with self._lock:
            self._storing += 1
        try:
            self._keep(reception, message, str(context.abstract_syntax), str(context.transfer_syntax[0]))
            answer.Status = SUCCESS
            reception.instances += 1
            reception.octets += size
        except Refusal as refusal:
            self._refuse(reception, answer, refusal)
        except Exception as error:  # noqa: BLE001 - the door stays open whatever the store does
            # A traceback could hold patient data, the name of the class cannot.
            log.error("an instance could not be kept: %s", type(error).__name__)  # noqa: TRY400
            self._refuse(reception, answer, Refusal(OUT_OF_RESOURCES, "internal error"))
        finally:
            message.DataSet = None
            reception.reader.message_done(size)
            with self._lock:
                self._storing -= 1
        reception.association.dimse.send_msg(answer, context_id)

    @staticmethod
    def _refuse(reception: Reception, answer: Any, refusal: Refusal) -> None:
        reception.refused += 1
        answer.Status = refusal.status
        answer.ErrorComment = refusal.comment
        log.warning(
            "instance of %s refused with %04X: %s", reception.peer, refusal.status, refusal.comment, extra={"event": "receiver.refused"}
        )

    def _keep(self, reception: Reception, message: Any, class_of_context: str, transfer_syntax: str) -> None:
        """Check an instance and hand it to the store.

        Raises:
            Refusal: with the status to answer.
        """
        sop_class, sop_instance = str(message.AffectedSOPClassUID or ""), str(message.AffectedSOPInstanceUID or "")
        if message.DataSet is None:
            raise Refusal(CANNOT_UNDERSTAND, "no data set")
        if sop_class != class_of_context:
            known = sop_class in STORAGE_CLASSES
            raise Refusal(DATASET_MISMATCH if known else CLASS_NOT_SUPPORTED, "SOP class is not that of the context")
        if not is_uid(sop_instance):
            raise Refusal(DATASET_MISMATCH, "SOP Instance UID is empty or not a UID")
        self._check_start(message.DataSet.getbuffer(), transfer_syntax, sop_class, sop_instance)
        if self._stopping:
            raise Refusal(OUT_OF_RESOURCES, "the receiver is stopping")
        calling_ae = str(reception.association.requestor.ae_title).strip()
        part10 = _part10(message.DataSet.getbuffer(), sop_class, sop_instance, transfer_syntax, calling_ae)
        try:
            if reception.number is None:
                called_ae = str(reception.association.acceptor.ae_title).strip()
                reception.number = self._store.association_opened(peer=reception.peer, calling_ae=calling_ae, called_ae=called_ae)
            self._store.store(
                sop_class_uid=sop_class,
                sop_instance_uid=sop_instance,
                transfer_syntax_uid=transfer_syntax,
                part10=part10,
                association=reception.number,
            )
        except ArchiveError as error:
            raise Refusal(int(error.details.get("status", OUT_OF_RESOURCES)), error.code) from error

    @staticmethod
    def _check_start(dataset: memoryview, transfer_syntax: str, sop_class: str, sop_instance: str) -> None:
        try:
            start = read_start(dataset, transfer_syntax)
        except NotDicomError as error:
            raise Refusal(CANNOT_UNDERSTAND, "not a data set of the agreed transfer syntax") from error
        if start.sop_class_uid != sop_class or start.sop_instance_uid != sop_instance:
            raise Refusal(DATASET_MISMATCH, "UIDs of the data set differ from those of the command")


def _part10(dataset: memoryview, sop_class: str, sop_instance: str, transfer_syntax: str, source: str) -> bytes:
    """The instance as a DICOM file (PS3.10 section 7.1), its data set byte for byte as sent."""
    meta: Any = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = PYNETDICOM_IMPLEMENTATION_UID
    meta.SourceApplicationEntityTitle = source
    return b"".join((bytes(128), b"DICM", encode_file_meta(meta), dataset))


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
        0 after a clean stop, 1 if the address cannot be bound.
    """
    _configure_libraries()
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    receiver = Receiver(settings, store=store, services=services)
    try:
        receiver.start()
    except OSError as error:
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
