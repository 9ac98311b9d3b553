"""C-STORE without pynetdicom's queues: an image goes from the socket into one buffer, and from there into the store.

pynetdicom reads a PDU in pieces of 4096 bytes, copies it five times, and passes it through two queues and two threads that sleep a
millisecond between looks. That is the limit of a receiver made with it, long before disk or wire. Here the thread that reads
the socket (its DUL reactor) reads fragments of data sets to their place, calls the store, and sends the answer itself. All else stays
with pynetdicom: association and release, aborts, other messages, command sets in several fragments; what was read of those is put back.

This leans on parts of pynetdicom that it does not promise: `check_library` says at start if they are not as known.
"""

from __future__ import annotations

import inspect
import select
import struct
from collections.abc import Callable
from typing import Any

import pynetdicom
from pynetdicom import association, dul
from pynetdicom.timer import Timer

from appliance.dicom.bounds import ByteBudget, PduReader
from appliance.dicom.store_message import COMMAND, LAST, P_DATA_TF, PDV_OVERHEAD, StoreRequest, parse_store_request
from appliance.errors import DicomError

KNOWN_VERSIONS = ("3.0.4",)
DATA_TRANSFER = "Sta6"
"""State of an established association that transfers data (PS3.8 section 9.2.1)."""
LINGER_S = 0.02
"""How long the next message of a series is waited for before pynetdicom looks after the association again."""
SMALLEST_BUFFER = 1 << 20
KEPT_BUFFER = 4 << 20
"""A buffer that has grown beyond this is given back after the image."""
LONGEST_HEAD = 1024
HEADER = struct.Struct(">BBL")
PDV_HEADER = struct.Struct(">LBB")

Serve = Callable[[StoreRequest, memoryview], bytes]
Begin = Callable[[StoreRequest], bytes]


def check_library() -> None:
    """Make sure that pynetdicom is one whose inner workings this module knows.

    Raises:
        DicomError: it is not; the receiver must not start.
    """
    reactor, transport = inspect.getsource(dul.DULServiceProvider), inspect.getsource(association.Association)
    known = [
        pynetdicom.__version__ in KNOWN_VERSIONS,
        "elif self._is_transport_event()" in reactor,
        "self._read_pdu_data()" in reactor,
        "self.socket.recv(6)" in reactor,
        "self._reactor_checkpoint.wait()" in transport,
        "self._serve_request(msg" in transport,
        hasattr(Timer, "restart"),
    ]
    if not all(known):
        raise DicomError(
            "DCM-040",
            zh=f"pynetdicom {pynetdicom.__version__} 与接收程序不相容,需要 {KNOWN_VERSIONS[-1]}",
            en=f"pynetdicom {pynetdicom.__version__} is not one that the receiver knows; it needs {KNOWN_VERSIONS[-1]}",
        )


class InstanceBuffer:
    """Room for one instance after the other, counted against the budget of all associations; it grows only with what has arrived.

    Args:
        budget: shared by all associations.
        maximum: bytes that a data set may have.
    """

    def __init__(self, *, budget: ByteBudget, maximum: int) -> None:
        self._budget = budget
        self._maximum = maximum
        self._bytes = bytearray()
        self._filled = self._head = 0

    @property
    def size(self) -> int:
        """Bytes of the data set so far."""
        return self._filled - self._head

    def begin(self, head: bytes) -> None:
        """Start an instance with what goes before its data set."""
        self._head = self._filled = 0
        self.room(len(head))[:] = head
        self._head = self._filled = len(head)

    def room(self, count: int) -> memoryview:
        """The place for the next ``count`` bytes.

        Raises:
            MemoryError: the instance gets too large, or there is no budget left.
        """
        needed = self._filled + count
        if needed - self._head > self._maximum:
            raise MemoryError(f"an instance exceeds {self._maximum} bytes")
        if needed > len(self._bytes):
            larger = max(SMALLEST_BUFFER, min(2 * len(self._bytes), self._maximum + LONGEST_HEAD), needed)
            if not self._budget.take(larger - len(self._bytes)):
                raise MemoryError("all instances being received together exceed the memory set aside for them")
            grown = bytearray(larger)
            grown[: self._filled] = memoryview(self._bytes)[: self._filled]
            self._bytes = grown
        return memoryview(self._bytes)[self._filled : needed]

    def add(self, count: int) -> None:
        """The last room has been filled."""
        self._filled += count

    def whole(self) -> memoryview:
        """Head and data set."""
        return memoryview(self._bytes)[: self._filled]

    def done(self) -> None:
        """The instance has been dealt with."""
        self._head = self._filled = 0
        if len(self._bytes) > KEPT_BUFFER:
            self.close()

    def close(self) -> None:
        """Give all memory back."""
        self._budget.give(len(self._bytes))
        self._bytes = bytearray()
        self._head = self._filled = 0


class FastPath:
    """Stands in for ``DULServiceProvider._is_transport_event`` of one association.

    Args:
        association: the pynetdicom association (acceptor).
        reader: reads its socket within the bounds.
        buffer: where instances go.
        begin: gives the head of the file for a request.
        serve: keeps an instance and gives the bytes of the answer; the view is valid until it returns.
    """

    def __init__(self, association: Any, *, reader: PduReader, buffer: InstanceBuffer, begin: Begin, serve: Serve) -> None:
        self._association = association
        self._dul = association.dul
        self._otherwise: Callable[[], bool] = association.dul._is_transport_event  # noqa: SLF001 - see check_library
        self._reader = reader
        self._buffer = buffer
        self._begin = begin
        self._serve = serve
        self._request: StoreRequest | None = None

    def __call__(self) -> bool:
        """Deal with what has arrived; True if anything has."""
        if self._dul.state_machine.current_state != DATA_TRANSFER or self._association.dimse.message is not None:
            return self._otherwise()
        if not self._dul.socket.ready:
            return False
        checkpoint = self._association._reactor_checkpoint  # noqa: SLF001 - see check_library
        checkpoint.clear()  # the association's own thread need not look every millisecond meanwhile
        try:
            while self._read_pdu() and self._more():
                self._dul._idle_timer.restart()  # noqa: SLF001
        except OSError:
            self._dul.event_queue.put("Evt17")  # transport connection closed
        finally:
            checkpoint.set()
        return True

    def _more(self) -> bool:
        """Whether the next PDU begins to arrive within a moment, and nothing else is to be done."""
        if not self._dul.to_provider_queue.empty() or self._dul._kill_thread:  # noqa: SLF001
            return False
        sock = self._dul.socket.socket
        if getattr(sock, "pending", int)():  # what TLS has decrypted already
            return True
        return bool(select.select([sock], [], [], LINGER_S)[0])

    def _read_pdu(self) -> bool:
        """Read one PDU; False if it was left to pynetdicom."""
        self._reader.begin()
        header = self._reader.read(HEADER.size)
        if len(header) < HEADER.size:
            raise ConnectionAbortedError("the peer closed the connection")
        kind, _, left = HEADER.unpack(header)
        if kind != P_DATA_TF:
            self._leave(header)
            return False
        self._reader.check_length(kind, left)
        seen = header
        while left:
            head = self._reader.read(PDV_OVERHEAD) if left >= PDV_OVERHEAD else b""
            length, context, control = PDV_HEADER.unpack(head) if len(head) == PDV_OVERHEAD else (0, 0, 0)
            if length < 2 or length + 4 > left:
                self._reader.cut("a presentation data value does not fit its PDU")
            left -= length + 4
            if self._request is not None:
                self._take_data(context, control, length - 2)
            elif not self._take_command(seen, head, context, control, length - 2, first=len(seen) == HEADER.size):
                return False
            seen = b""
        return True

    def _take_data(self, context: int, control: int, size: int) -> None:
        """Read a fragment of the data set to its place; after the last one serve the message."""
        request = self._request
        if request is None or control & COMMAND or context != request.context:
            self._reader.cut("a data set is interrupted by something else")
        try:
            room = self._buffer.room(size)
        except MemoryError as error:
            self._reader.cut(str(error))
        self._reader.fill(room)
        room.release()
        self._buffer.add(size)
        if control & LAST:
            self._request = None
            answer = self._serve(request, self._buffer.whole())
            self._buffer.done()
            self._association.dul.socket.socket.sendall(answer)

    def _take_command(self, seen: bytes, head: bytes, context: int, control: int, size: int, *, first: bool) -> bool:
        """Read a command fragment; False if the message is one for pynetdicom, which then finds all of it unread."""
        if not first:
            self._reader.cut("a message begins within the PDU of another")
        command = self._reader.read(size)
        request = parse_store_request(command, context) if control & (COMMAND | LAST) == COMMAND | LAST else None
        if request is None or len(command) < size:
            self._leave(seen + head + command)
            return False
        try:
            self._buffer.begin(self._begin(request))
        except MemoryError as error:
            self._reader.cut(str(error))
        self._request = request
        return True

    def _leave(self, seen: bytes) -> None:
        """Let pynetdicom read a PDU of which some has been read already."""
        self._reader.put_back(seen)
        self._dul._read_pdu_data()  # noqa: SLF001
