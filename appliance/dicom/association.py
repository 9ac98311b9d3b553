"""Associations that we request: opened with deadlines everywhere, ended whatever happens, refusals told apart.

DCM-001  the peer cannot be reached           DCM-004  none of the proposed contexts was accepted
DCM-002  the peer rejected the association    DCM-005  the connection was lost
DCM-003  no answer to the association request       DCM-009  what the peer or we said cannot be understood
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from appliance.dicom.bounds import ByteBudget, PduReader, tune_socket
from appliance.dicom.guard import guard
from appliance.errors import CoronetError, DicomError

CONNECT_TIMEOUT_S = 10.0
MAXIMUM_PDU_BYTES = 131072
NOT_UNDERSTOOD = "DCM-009"
LARGEST_ANSWER = 16 << 20
"""Nothing that a peer answers to us comes near this."""

REJECTIONS: dict[tuple[int, int], tuple[str, str]] = {
    (1, 1): ("未说明原因", "no reason given"),
    (1, 2): ("不支持的应用上下文", "application context not supported"),
    (1, 3): ("主叫 AE 名称未登记", "calling AE title not recognised"),
    (1, 7): ("被叫 AE 名称有误", "called AE title not recognised"),
    (2, 1): ("未说明原因", "no reason given"),
    (2, 2): ("不支持的协议版本", "protocol version not supported"),
    (3, 1): ("对方暂时繁忙", "temporary congestion"),
    (3, 2): ("对方连接数已满", "local limit exceeded"),
}
"""(source, reason) of an A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""

log = logging.getLogger(__name__)


@contextmanager
def understood() -> Iterator[None]:
    """For a whole exchange with a peer, as a decorator: whatever the libraries raise over odd content becomes an error of this exchange.

    Raises:
        DicomError: DCM-009. A worker that met anything else would end, and the appliance with it, again at each start.
    """
    try:
        yield
    except CoronetError:
        raise
    except Exception as error:
        log.error("an exchange cannot be understood: %s", type(error).__name__)  # noqa: TRY400 - the message may hold patient data
        raise DicomError(
            NOT_UNDERSTOOD, zh="与对方交换的内容无法解析", en="what was exchanged with the peer cannot be understood"
        ) from error


@contextmanager
def associate(
    *,
    host: str,
    port: int,
    ae_title: str,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    timeout_s: float,
    handlers: Sequence[tuple[Any, Any]] = (),
    roles: Sequence[Any] = (),
    largest_answer: int = LARGEST_ANSWER,
) -> Iterator[Any]:
    """An established pynetdicom association; released at the end of the block, aborted if the block raises.

    Args:
        host: peer.
        port: peer.
        ae_title: called AE title.
        calling_ae_title: ours.
        contexts: at most 128 presentation contexts.
        timeout_s: longest wait for any one answer.
        handlers: further pynetdicom event handlers.
        roles: SCP/SCU role selections (PS3.7 D.3.3.4).
        largest_answer: bytes of data sets that the peer may send us before `PduReader.message_done` gives them back.

    Raises:
        DicomError: DCM-001 to DCM-004.
    """
    ae: Any = AE(calling_ae_title)
    ae.connection_timeout = min(CONNECT_TIMEOUT_S, timeout_s)
    ae.acse_timeout = timeout_s
    ae.dimse_timeout = timeout_s
    ae.network_timeout = timeout_s
    ae.maximum_pdu_size = MAXIMUM_PDU_BYTES
    ae.requested_contexts = list(contexts)
    connected = False

    def opened(event: Event) -> None:
        nonlocal connected
        connected = True
        _bound(event.assoc, timeout_s, largest_answer)

    association = ae.associate(host, port, ae_title=ae_title, evt_handlers=[(evt.EVT_CONN_OPEN, opened), *handlers], ext_neg=list(roles))
    if not association.is_established:
        raise _not_established(association, connected=connected)
    try:
        yield association
    except BaseException:
        if association.is_established:
            association.abort()
        raise
    if association.is_established:
        association.release()


def _bound(association: Any, timeout_s: float, largest_answer: int) -> None:
    """Two faults of the library mended for this association.

    A peer that stops in the middle of a PDU would hold us for ever. And the association's own thread now and then takes the answer that
    ``send_*`` is waiting for out of the queue and throws it away, which looks like a lost connection after a whole timeout: the pause that
    is to prevent it (``_reactor_checkpoint``) leaves a gap.
    """
    serve = association._serve_request  # noqa: SLF001

    def serve_or_put_back(message: Any, context_id: int) -> None:
        if message.MessageIDBeingRespondedTo is None:
            serve(message, context_id)
        else:
            association.dimse.msg_queue.put((context_id, message))

    association._serve_request = serve_or_put_back  # noqa: SLF001
    guard(association)
    tune_socket(association.dul.socket.socket, unacknowledged_s=timeout_s)
    association.dul.socket.recv = PduReader(
        association,
        maximum_pdu_bytes=MAXIMUM_PDU_BYTES,
        maximum_instance_bytes=largest_answer,
        pdu_timeout_s=timeout_s,
        budget=ByteBudget(largest_answer),
    )


def _not_established(association: Any, *, connected: bool) -> DicomError:
    if not connected:
        return unreachable()
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        return rejected(answer.result_source, answer.diagnostic)
    return none_accepted() if answer is not None and answer.result == 0 else no_answer()


def unreachable() -> DicomError:
    """The error for a connection that could not be made."""
    return DicomError(
        "DCM-001", zh="无法连接对方(未开机、网络不通或端口有误)", en="the peer cannot be reached (off, no network, or another port)"
    )


def rejected(source: int, reason: int) -> DicomError:
    """The error for an A-ASSOCIATE-RJ."""
    zh, en = REJECTIONS.get((source, reason), ("未说明原因", "no reason given"))
    return DicomError("DCM-002", zh=f"对方拒绝连接:{zh}", en=f"the peer rejected the association: {en}")


def no_answer() -> DicomError:
    """The error for a peer that takes the connection and says nothing that makes sense."""
    return DicomError("DCM-003", zh="对方未应答连接请求", en="the peer did not answer the association request")


def none_accepted() -> DicomError:
    """The error for an association without any accepted presentation context."""
    return DicomError("DCM-004", zh="对方不支持所需的服务", en="the peer accepts none of the services asked for")


def connection_lost() -> DicomError:
    """The error for an operation that got no status."""
    return DicomError("DCM-005", zh="连接中断,对方未应答", en="the connection was lost before the peer answered")
