"""From a C-STORE request to its status: what is checked before the store is asked, and one association's account of it.

Status of a C-STORE (PS3.4 annex B.2.3, PS3.7 section 9.1.1.1.9):

    0000  stored, or already there with the same bytes
    0122  the SOP class is not one that we take
    A700  out of resources: disk below its reserve, or the store failed; worth sending again
    A900  the data set is not what the command says: UID missing or different, class not of the context
    C000  not a DICOM data set in the agreed transfer syntax
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal

from appliance.archive.instances import InstanceStore
from appliance.dicom.bounds import PduReader, peer_address
from appliance.dicom.dataset_start import NotDicomError, is_uid, read_start
from appliance.dicom.fast_path import InstanceBuffer
from appliance.dicom.store_message import StoreRequest
from appliance.dicom.syntaxes import STORAGE_CLASSES
from appliance.errors import ArchiveError

SUCCESS, CLASS_NOT_SUPPORTED, OUT_OF_RESOURCES, DATASET_MISMATCH, CANNOT_UNDERSTAND = 0x0000, 0x0122, 0xA700, 0xA900, 0xC000

log = logging.getLogger(__name__)


class Reception:
    """One association as the receiver sees it: what came, and how it ended."""

    def __init__(self, association: Any, *, reader: PduReader, buffer: InstanceBuffer) -> None:
        self.association = association
        self.reader = reader
        self.buffer = buffer
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
    def calling_ae(self) -> str:
        """Title that the peer gave itself."""
        return str(self.association.requestor.primitive.calling_ae_title).strip()

    @property
    def called_ae(self) -> str:
        """Title of ours that the peer asked for."""
        return str(self.association.requestor.primitive.called_ae_title).strip()

    @property
    def ended(self) -> bool:
        """True once the association's threads have come to their end, however they did."""
        association = self.association
        return association.ident is not None and not association.is_alive() and not association.dul.is_alive()

    def context(self, number: int) -> tuple[str, str] | None:
        """Abstract and transfer syntax of an accepted presentation context."""
        accepted = self.association._accepted_cx.get(number)  # noqa: SLF001 - the property builds a list each time
        return None if accepted is None else (str(accepted.abstract_syntax), str(accepted.transfer_syntax[0]))

    def close(self) -> None:
        """Leave nothing behind: memory, reader thread, socket."""
        self.reader.close()
        self.buffer.close()
        self.association.dul.kill_dul()
        sock = self.association.dul.socket
        if sock is not None and sock.socket is not None:
            sock.socket.close()


@dataclass(frozen=True)
class Answer:
    """Status and Error Comment of a C-STORE-RSP."""

    status: int
    comment: str = ""


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """An instance is answered with a failure status; ``comment`` goes into (0000,0902)."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.answer = Answer(status, comment)


class Keeper:
    """Checks instances and hands them to the store; used by all associations at once.

    Args:
        store: where instances go.
    """

    def __init__(self, store: InstanceStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._storing = 0
        self._stopping = False

    @property
    def storing(self) -> int:
        """Instances in hand."""
        return self._storing

    def stop(self) -> None:
        """Refuse what comes from now on."""
        self._stopping = True

    def keep(self, reception: Reception, request: StoreRequest, part10: memoryview | None, *, head: int) -> Answer:
        """Keep one instance; whatever happens there is an answer.

        Args:
            reception: the association that brought it.
            request: its command.
            part10: the file that it becomes; None: the request has no data set. Valid until this returns.
            head: bytes of the file before the data set.
        """
        with self._lock:
            self._storing += 1
        try:
            self._keep(reception, request, part10, head)
            reception.instances += 1
            reception.octets += 0 if part10 is None else len(part10)
            return Answer(SUCCESS)
        except Refusal as refusal:
            return _refused(reception, refusal.answer)
        except Exception as error:  # noqa: BLE001 - the door stays open whatever the store does
            # A traceback could hold patient data, the name of the class cannot.
            log.error("an instance could not be kept: %s", type(error).__name__)  # noqa: TRY400
            return _refused(reception, Answer(OUT_OF_RESOURCES, "internal error"))
        finally:
            with self._lock:
                self._storing -= 1

    def report(self, reception: Reception) -> None:
        """Log and record the end of an association."""
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

    def _keep(self, reception: Reception, request: StoreRequest, part10: memoryview | None, head: int) -> None:
        """Check an instance and hand it to the store.

        Raises:
            Refusal: with the status to answer.
        """
        context = reception.context(request.context)
        if part10 is None or context is None:
            raise Refusal(CANNOT_UNDERSTAND, "no data set")
        class_of_context, transfer_syntax = context
        if request.sop_class != class_of_context:
            known = request.sop_class in STORAGE_CLASSES
            raise Refusal(DATASET_MISMATCH if known else CLASS_NOT_SUPPORTED, "SOP class is not that of the context")
        if not is_uid(request.sop_instance):
            raise Refusal(DATASET_MISMATCH, "SOP Instance UID is empty or not a UID")
        _check_start(part10[head:], transfer_syntax, request)
        if self._stopping:
            raise Refusal(OUT_OF_RESOURCES, "the receiver is stopping")
        try:
            if reception.number is None:
                reception.number = self._store.association_opened(
                    peer=reception.peer, calling_ae=reception.calling_ae, called_ae=reception.called_ae
                )
            self._store.store(
                sop_class_uid=request.sop_class,
                sop_instance_uid=request.sop_instance,
                transfer_syntax_uid=transfer_syntax,
                part10=part10,
                association=reception.number,
            )
        except ArchiveError as error:
            raise Refusal(int(error.details.get("status", OUT_OF_RESOURCES)), error.code) from error


def _check_start(dataset: memoryview, transfer_syntax: str, request: StoreRequest) -> None:
    try:
        start = read_start(dataset, transfer_syntax)
    except NotDicomError as error:
        raise Refusal(CANNOT_UNDERSTAND, "not a data set of the agreed transfer syntax") from error
    if start.sop_class_uid != request.sop_class or start.sop_instance_uid != request.sop_instance:
        raise Refusal(DATASET_MISMATCH, "UIDs of the data set differ from those of the command")


def _refused(reception: Reception, answer: Answer) -> Answer:
    reception.refused += 1
    log.warning("instance of %s refused with %04X: %s", reception.peer, answer.status, answer.comment, extra={"event": "receiver.refused"})
    return answer
