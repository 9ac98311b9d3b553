"""Bounds in time, size and number around the storage SCP.

pynetdicom reads whatever PDU length a peer declares, waits for the rest of a PDU without a limit, and keeps an instance in memory until
it is whole. A hostile peer, and just as well a pulled cable, can so hold every slot or fill the memory. What this module adds:

* a PDU must arrive whole within a deadline, and may not declare more than its type can need (PS3.8 section 9.3);
* the bytes of all instances being received come from one budget, and one instance has a limit of its own;
* a peer that sends on without waiting for answers is cut;
* a peer address has a limited number of associations (answered with an A-ASSOCIATE-RJ) and of connections (closed);
* TCP: no Nagle delay, keepalive, and a time limit for unacknowledged data.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import logging
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

from pynetdicom.transport import AssociationServer

from appliance.dicom.store_message import P_DATA_TF, PDV_OVERHEAD

LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)
"""A-ASSOCIATE-RJ: transient, presentation service provider, local limit exceeded (PS3.8 section 9.3.4)."""
SPARE_CONNECTIONS = 4
"""Connections beyond the association limit that still get a proper A-ASSOCIATE-RJ."""
ASSOCIATE_RQ = 0x01
LARGEST_ASSOCIATE_RQ = 512 * 1024
"""128 presentation contexts with forty transfer syntaxes each need less."""
LARGEST_OTHER = 4096
WAITING_ANSWERS = 20_000
"""Answers to a query of ours (C-FIND) that an archive may send faster than they are read; their bytes have a limit of their own."""
UNANSWERED_MESSAGES = 4
"""Messages that a peer may send ahead of our answers; the protocol without asynchronous operations allows one."""
ABORT_INVALID_PARAMETER = b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06"
"""A-ABORT, source service provider, reason 6 'invalid PDU parameter value' (PS3.8 section 9.3.8)."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

log = logging.getLogger(__name__)


class ByteBudget:
    """Bytes that all associations together may hold in unfinished instances.

    Args:
        total: the budget in bytes.
    """

    def __init__(self, total: int) -> None:
        self._left = total
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Bytes that may still be taken."""
        return self._left

    def take(self, count: int) -> bool:
        """Take ``count`` bytes; False, and nothing taken, if the budget does not allow it."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give(self, count: int) -> None:
        """Put ``count`` bytes back."""
        with self._lock:
            self._left += count


class PduReader:
    """Reads one PDU after the other from an association's socket; stands in for ``AssociationSocket.recv``.

    pynetdicom asks first for the six header bytes, then for as many as the header declares; the fast path reads in pieces of its own.

    Args:
        association: the pynetdicom association (acceptor) whose socket is read.
        maximum_pdu_bytes: the length that we advertise for P-DATA.
        maximum_instance_bytes: largest data set of one message.
        pdu_timeout_s: time for one PDU to arrive whole, from its first byte; also for one send.
        budget: shared by all associations.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        association: Any,
        *,
        maximum_pdu_bytes: int,
        maximum_instance_bytes: int,
        pdu_timeout_s: float,
        budget: ByteBudget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._association = association
        self._largest = {ASSOCIATE_RQ: LARGEST_ASSOCIATE_RQ, P_DATA_TF: maximum_pdu_bytes + PDV_OVERHEAD}
        self._maximum_instance = maximum_instance_bytes
        self._timeout = pdu_timeout_s
        self._budget = budget
        self._clock = clock
        self._deadline = 0.0
        self._unread = b""
        self._body_type: int | None = None
        self._current = 0
        self._held = 0
        self._lock = threading.Lock()
        association.dul.socket.socket.settimeout(pdu_timeout_s)

    def __call__(self, count: int) -> bytes:
        """The next ``count`` bytes for pynetdicom; fewer if the peer closed the connection.

        Raises:
            OSError: the deadline passed or a bound was broken; the connection is shut down.
        """
        if self._body_type is None:
            if not self._unread:
                self.begin()
            header = self.read(count)
            if len(header) == count:
                self._check_header(header)
            return header
        pdu_type, self._body_type = self._body_type, None
        body = self.read(count)
        if pdu_type == P_DATA_TF and len(body) == count:
            self._check_data(body)
        return body

    def begin(self) -> None:
        """A PDU begins: its deadline runs from now on."""
        self._deadline = self._clock() + self._timeout

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer if the peer closed the connection.

        Raises:
            OSError: the deadline passed; the connection is shut down.
        """
        before, self._unread = self._unread[:count], self._unread[count:]
        if len(before) == count:
            return before
        rest = bytearray(count - len(before))
        got = self._receive(memoryview(rest))
        return before + rest[:got]

    def fill(self, view: memoryview) -> None:
        """Read exactly as much as the view has room for.

        Raises:
            OSError: the deadline passed, or the peer closed the connection.
        """
        if self._receive(view) < len(view):
            raise ConnectionAbortedError("the peer closed the connection")

    def put_back(self, data: bytes) -> None:
        """The next bytes read are these again."""
        self._unread = data + self._unread

    def check_length(self, pdu_type: int, length: int) -> None:
        """Cut the connection if a PDU declares more than its type can need."""
        if length > self._largest.get(pdu_type, LARGEST_OTHER):
            self.cut(f"PDU type {pdu_type} declares {length} bytes")

    def message_done(self, size: int) -> None:
        """Give back the bytes of a data set that pynetdicom has gathered and that was dealt with."""
        with self._lock:
            size = min(size, self._held)
            self._held -= size
        self._budget.give(size)

    def close(self) -> None:
        """Give back everything held: the association has ended."""
        self.message_done(self._held)

    def cut(self, why: str) -> NoReturn:
        """Send an A-ABORT if that goes at once, shut the connection down, and raise.

        Where answers wait that the peer has not taken, it is reset: they would keep its end open for minutes.

        Raises:
            ConnectionAbortedError: always.
        """
        peer = peer_address(self._association)
        log.warning("connection of %s cut: %s", peer, why, extra={"event": "receiver.cut", "peer": peer})
        sock = self._association.dul.socket.socket
        with contextlib.suppress(OSError):
            sock.settimeout(0)
            if _unsent(sock):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.send(ABORT_INVALID_PARAMETER)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError(why)

    def _check_header(self, header: bytes) -> None:
        pdu_type, _, length = struct.unpack(">BBL", header)
        if not 1 <= pdu_type <= 7:
            return  # pynetdicom aborts with 'unrecognised PDU' without asking for a body
        self.check_length(pdu_type, length)
        if self._association.dimse.msg_queue.qsize() > (UNANSWERED_MESSAGES if self._association.is_acceptor else WAITING_ANSWERS):
            self.cut("the peer does not wait for answers")
        self._body_type = pdu_type

    def _check_data(self, body: bytes) -> None:
        """Count the data set bytes of each presentation data value (PS3.8 section 9.3.5.1 and annex E)."""
        at = 0
        while at + PDV_OVERHEAD <= len(body):
            length, _, control = struct.unpack_from(">LBB", body, at)
            if not control & 1:
                self._count_data(length - 2)
                if control & 2:
                    self._current = 0
            at += 4 + length

    def _count_data(self, size: int) -> None:
        self._current += size
        if self._current > self._maximum_instance:
            self.cut(f"an instance exceeds {self._maximum_instance} bytes")
        if size > 0 and not self._budget.take(size):
            self.cut("all instances being received together exceed the memory set aside for them")
        with self._lock:
            self._held += size

    def _receive(self, view: memoryview) -> int:
        """Fill a view from the socket; returns how much came before the peer closed the connection."""
        at = 0
        sock = self._association.dul.socket.socket
        if sock is None:
            raise ConnectionAbortedError("the connection is closed")
        try:
            while at < len(view):
                left = self._deadline - self._clock()
                if left <= 0:
                    self.cut(f"a PDU did not arrive within {self._timeout:g} s")
                sock.settimeout(left)
                got = sock.recv_into(view[at:])
                if not got:
                    break
                at += got
        except TimeoutError:
            self.cut(f"a PDU did not arrive within {self._timeout:g} s")
        finally:
            with contextlib.suppress(OSError):
                sock.settimeout(self._timeout)
        return at


def _unsent(sock: socket.socket) -> int:
    """Bytes that were given to the socket and that the peer has not acknowledged (tcp(7), SIOCOUTQ)."""
    waiting = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", waiting)[0])


def tune_socket(sock: socket.socket, *, unacknowledged_s: float) -> None:
    """No Nagle delay; notice a dead peer by keepalive after some 25 s, and by unacknowledged data after ``unacknowledged_s``."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))


def peer_address(association: Any) -> str:
    """Address of the other side of an association."""
    other = association.requestor if association.is_acceptor else association.acceptor
    return str(other.address_info.address)


class BoundedServer(AssociationServer):
    """A listener that counts the connections of each peer and reports ended associations.

    It accepts in one thread: an association is counted before the next connection is taken.

    Args:
        args: as ``AE.make_server`` passes them.
        connections_per_peer: connections of one address beyond which further ones are closed at once.
        connections: likewise, of all peers together.
        on_tick: called about ten times a second from the accepting thread.
        networks: addresses that may connect, besides this machine itself; none: any.
        tls: wraps each connection; its handshake is part of the first read, so that it runs in the connection's own thread and deadline.
        kwargs: as ``AE.make_server`` passes them.
    """

    request_queue_size = 64

    def __init__(
        self,
        *args: Any,
        connections_per_peer: int,
        connections: int,
        on_tick: Callable[[], None],
        networks: Sequence[Network] = (),
        tls: ssl.SSLContext | None = None,
        **kwargs: Any,
    ) -> None:
        self._connections_per_peer = connections_per_peer
        self._connections = connections
        self._on_tick = on_tick
        self._networks = tuple(networks)
        self._tls = tls
        super().__init__(*args, **kwargs)

    def associations_of(self, peer: str) -> int:
        """Associations and connections on their way to one, of one peer address."""
        return sum(peer_address(association) == peer for association in self.active_associations)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the connection may become an association; the server closes it if not."""
        peer = str(client_address[0])
        # our own probe, imports and uploads come from the very address they call; a list of scanners does not name it
        ours = peer == request.getsockname()[0]
        if self._networks and not ours and not any(ipaddress.ip_address(peer) in network for network in self._networks):
            log.warning("connection of %s closed: not on the list", peer, extra={"event": "receiver.not-allowed", "peer": peer})
            return False
        full = len(self.active_associations) >= self._connections or self.associations_of(peer) >= self._connections_per_peer
        if full:
            log.warning("connection of %s closed: too many", peer, extra={"event": "receiver.too-many", "peer": peer})
        return not full

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; a TLS handshake is left to its first read."""
        connection, address = cast("socket.socket", self.socket).accept()
        if self._tls is None:
            return connection, address
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log that a connection could not be taken; the listener goes on."""
        log.error("connection of %s not taken", client_address[0], exc_info=True)  # noqa: LOG014 - socketserver calls this while handling it

    def service_actions(self) -> None:
        """Called by ``serve_forever`` after each wait."""
        super().service_actions()
        self._on_tick()

    def close(self) -> None:
        """Stop accepting and close the listening socket; associations go on."""
        super(AssociationServer, self).shutdown()
        self.server_close()
