"""An association of our own for C-STORE (PS3.8, PS3.7 9.3.1): one thread, one socket, files from the page cache to the wire.

pynetdicom hands each fragment through two threads and three objects, which halves the rate; a storage SCU needs little of that. The
association request and its answer are written and read by pynetdicom's PDU classes, the messages here. Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from appliance.dicom.association import (
    CONNECT_TIMEOUT_S,
    MAXIMUM_PDU_BYTES,
    connection_lost,
    no_answer,
    none_accepted,
    rejected,
    unreachable,
)
from appliance.dicom.bounds import tune_socket

ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
LARGEST_ANSWER = 1 << 20
PDUS_AT_ONCE = 64
RELEASE_WAIT_S = 5.0
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
STORE_REQUEST, STORE_RESPONSE = 0x0001, 0x8001

Kind = tuple[str, str]
"""SOP class UID, transfer syntax UID."""


class StoreStream:
    """An established association.

    Attributes:
        accepted: (SOP class, transfer syntax) -> presentation context ID.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        accepted: dict[Kind, int],
        maximum_pdu_bytes: int,
        timeout_s: float,
        megabits_s: float | None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.accepted = accepted
        self._sock = sock
        self._fragment = min(maximum_pdu_bytes or MAXIMUM_PDU_BYTES, MAXIMUM_PDU_BYTES) - 6
        self._timeout_s = timeout_s
        self._octets_s = None if megabits_s is None else megabits_s * 1e6 / 8
        self._sleep = sleep
        self._clock = clock
        self._message = 0
        self._free_at = clock()

    def store(self, kind: Kind, sop_instance_uid: str, dataset: memoryview) -> int:
        """C-STORE an encoded data set; the status of the answer.

        Args:
            kind: one of `accepted`.
            sop_instance_uid: of the instance.
            dataset: encoded in the transfer syntax of ``kind``.

        Raises:
            DicomError: DCM-005, the connection was lost or the peer did not answer in time.
        """
        self._message = self._message % 0xFFFF + 1
        context = self.accepted[kind]
        command = _store_command(kind[0], sop_instance_uid, self._message)
        try:
            self._send(self._pdus(context, memoryview(command), command=True), self._pdus(context, dataset, command=False))
            return self._status()
        except OSError as error:
            raise connection_lost() from error

    def release(self) -> None:
        """End the association in order; a peer that does not answer is left."""
        with contextlib.suppress(OSError):
            self._sock.sendall(struct.pack(">BBLL", RELEASE_RQ, 0, 4, 0))
            while read_pdu(self._sock, timeout_s=min(self._timeout_s, RELEASE_WAIT_S))[0] not in (RELEASE_RP, ABORT):
                pass

    def _pdus(self, context: int, content: memoryview, *, command: bool) -> Iterator[tuple[bytes, memoryview]]:
        """P-DATA-TF PDUs with one fragment each (PS3.8 9.3.5): header, and a view of the content."""
        for first in range(0, len(content), self._fragment):
            part = content[first : first + self._fragment]
            last = first + self._fragment >= len(content)
            yield struct.pack(">BBLLBB", DATA, 0, len(part) + 6, len(part) + 2, context, command | last << 1), part

    def _send(self, *messages: Iterator[tuple[bytes, memoryview]]) -> None:
        lot: list[bytes | memoryview] = []
        self._sock.settimeout(self._timeout_s)
        for pdus in messages:
            for pdu in pdus:
                lot += pdu
                if self._octets_s is not None or len(lot) >= 2 * PDUS_AT_ONCE:
                    self._send_lot(lot)
                    lot = []
        self._send_lot(lot)

    def _send_lot(self, lot: list[bytes | memoryview]) -> None:
        """All of some buffers, as the bandwidth allows; the socket may take less than it is given."""
        if self._octets_s is not None:
            now = self._clock()
            self._sleep(max(self._free_at - now, 0.0))
            self._free_at = max(self._free_at, now) + sum(map(len, lot)) / self._octets_s
        while lot:
            sent = self._sock.sendmsg(lot)
            while lot and sent >= len(lot[0]):
                sent -= len(lot.pop(0))
            if lot and sent:
                lot[0] = memoryview(lot[0])[sent:]

    def _status(self) -> int:
        """Status of the C-STORE-RSP."""
        command = b""
        while True:
            kind, content = read_pdu(self._sock, timeout_s=self._timeout_s)
            if kind != DATA:
                raise connection_lost()
            while content:
                if len(content) < 6:
                    raise connection_lost()
                length, _, control = struct.unpack_from(">LBB", content)
                if length < 2 or length + 4 > len(content) or not control & 1:
                    raise connection_lost()
                command += content[6 : 4 + length]
                content = content[4 + length :]
                if control & 2:
                    return _answered(command, self._message)
            if len(command) > LARGEST_ANSWER:
                raise connection_lost()


@contextmanager
def open_stream(
    *,
    host: str,
    port: int,
    ae_title: str,
    calling_ae_title: str,
    kinds: Sequence[Kind],
    timeout_s: float,
    megabits_s: float | None = None,
) -> Iterator[StoreStream]:
    """An association for at most 128 kinds; released at the end of the block, cut off if the block raises.

    Raises:
        DicomError: DCM-001 to DCM-004.
    """
    try:
        sock = socket.create_connection((host, port), timeout=min(CONNECT_TIMEOUT_S, timeout_s))
    except OSError as error:
        raise unreachable() from error
    with sock:
        tune_socket(sock, unacknowledged_s=timeout_s)
        contexts = {2 * number + 1: kind for number, kind in enumerate(kinds)}
        try:
            sock.sendall(_request(ae_title, calling_ae_title, contexts))
            answer, content = read_pdu(sock, timeout_s=timeout_s)
        except OSError as error:
            raise no_answer() from error
        if answer == ASSOCIATE_RJ:
            refusal: Any = A_ASSOCIATE_RJ()
            refusal.decode(content)
            raise rejected(refusal.source, refusal.reason_diagnostic)
        if answer != ASSOCIATE_AC:
            raise no_answer()
        accepted, maximum = _accepted(content, contexts)
        stream = StoreStream(sock, accepted=accepted, maximum_pdu_bytes=maximum, timeout_s=timeout_s, megabits_s=megabits_s)
        if not accepted:
            stream.release()
            raise none_accepted()
        yield stream
        stream.release()


def read_pdu(sock: socket.socket, *, timeout_s: float) -> tuple[int, bytes]:
    """Type and content of the next PDU; of those of an association the whole PDU, for pynetdicom to decode.

    Raises:
        OSError: the connection ended, the PDU is too long, or it was not whole in time.
    """
    deadline = time.monotonic() + timeout_s
    header = _read(sock, 6, deadline)
    kind, length = header[0], int.from_bytes(header[2:6], "big")
    if length > LARGEST_ANSWER:
        raise ConnectionError("PDU too long")
    content = _read(sock, length, deadline)
    return kind, header + content if kind in (ASSOCIATE_AC, ASSOCIATE_RJ) else content


def _read(sock: socket.socket, count: int, deadline: float) -> bytes:
    parts = b""
    while len(parts) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(count - len(parts))
        if not part:
            raise ConnectionError("the peer has closed the connection")
        parts += part
    return parts


def _request(called: str, calling: str, contexts: dict[int, Kind]) -> bytes:
    primitive: Any = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.called_ae_title, primitive.calling_ae_title = called, calling
    proposed = []
    for number, (sop_class, syntax) in contexts.items():
        context = build_context(sop_class, [syntax])
        context.context_id = number
        proposed.append(context)
    primitive.presentation_context_definition_list = proposed
    length, uid, version = MaximumLengthNotification(), ImplementationClassUIDNotification(), ImplementationVersionNameNotification()
    length.maximum_length_received = MAXIMUM_PDU_BYTES
    uid.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    primitive.user_information = [length, uid, version]
    pdu: Any = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return bytes(pdu.encode())


def _accepted(content: bytes, contexts: dict[int, Kind]) -> tuple[dict[Kind, int], int]:
    """Kinds that were accepted, and the longest PDU that the peer takes."""
    try:
        pdu: Any = A_ASSOCIATE_AC()
        pdu.decode(content)
        primitive = pdu.to_primitive()
        results = primitive.presentation_context_definition_results_list
        lengths = [each.maximum_length_received for each in primitive.user_information if isinstance(each, MaximumLengthNotification)]
    except Exception as error:
        raise no_answer() from error
    accepted = {contexts[each.context_id]: each.context_id for each in results if each.result == 0 and each.context_id in contexts}
    return accepted, max(lengths[0], 4096) if lengths and lengths[0] else 0


def _store_command(sop_class: str, sop_instance: str, message: int) -> bytes:
    """The command set of a C-STORE-RQ (PS3.7 table 9.3-1), implicit VR little endian, medium priority."""
    elements = (
        (0x0002, _uid(sop_class)),
        (0x0100, struct.pack("<H", STORE_REQUEST)),
        (0x0110, struct.pack("<H", message)),
        (0x0700, struct.pack("<H", 0x0000)),
        (0x0800, struct.pack("<H", 0x0001)),
        (0x1000, _uid(sop_instance)),
    )
    body = b"".join(struct.pack("<HHL", 0x0000, element, len(value)) + value for element, value in elements)
    return struct.pack("<HHLL", 0x0000, 0x0000, 4, len(body)) + body


def _uid(value: str) -> bytes:
    octets = value.encode("ascii")
    return octets + b"\0" * (len(octets) % 2)


def _answered(command: bytes, message: int) -> int:
    """Status of a C-STORE-RSP to that message."""
    values = {}
    at = 0
    while at + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        values[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    numbers = {element: int.from_bytes(values.get(element, b""), "little") for element in (0x0100, 0x0120, 0x0900)}
    if numbers[0x0100] != STORE_RESPONSE or numbers[0x0120] != message or len(values.get(0x0900, b"")) != 2:
        raise connection_lost()
    return numbers[0x0900]
