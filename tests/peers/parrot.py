"""A scripted DICOM peer on a raw socket: any malformed or half-finished exchange in a few lines.

The PDUs are built here from PS3.8 section 9.3 and the command sets from PS3.7 section 6.3, by hand, so that they can be wrong on purpose.
"""

from __future__ import annotations

import socket
import struct
import time
from types import TracebackType

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP, ABORT = 2, 3, 4, 6, 7


def item(kind: int, value: bytes) -> bytes:
    """An item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


def pdu(kind: int, body: bytes, *, declared: int | None = None) -> bytes:
    """A PDU; ``declared`` is a length that need not be true."""
    return struct.pack(">BBL", kind, 0, len(body) if declared is None else declared) + body


def associate_rq(
    *,
    called: str = "CORONET",
    calling: str = "PARROT",
    contexts: tuple[tuple[int, str, tuple[str, ...]], ...] = ((1, CT_IMAGE, (EXPLICIT,)),),
) -> bytes:
    """An A-ASSOCIATE-RQ."""
    proposals = b""
    for number, abstract, transfers in contexts:
        syntaxes = item(0x30, abstract.encode()) + b"".join(item(0x40, transfer.encode()) for transfer in transfers)
        proposals += item(0x20, bytes([number, 0, 0, 0]) + syntaxes)
    user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3.4.5"))
    head = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    return pdu(0x01, head + item(0x10, APPLICATION_CONTEXT.encode()) + proposals + user)


def element(group: int, number: int, value: bytes) -> bytes:
    """An element in Implicit VR Little Endian."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHL", group, number, len(value)) + value


def store_command(
    *, sop_class: str = CT_IMAGE, sop_instance: str = "1.2.3", message_id: int = 1, command: int = 0x0001, has_data: bool = True
) -> bytes:
    """The command set of a C-STORE-RQ."""
    body = b"".join(
        [
            element(0, 0x0002, sop_class.encode()),
            element(0, 0x0100, struct.pack("<H", command)),
            element(0, 0x0110, struct.pack("<H", message_id)),
            element(0, 0x0700, struct.pack("<H", 0)),
            element(0, 0x0800, struct.pack("<H", 0x0001 if has_data else 0x0101)),
            element(0, 0x1000, sop_instance.encode()),
        ]
    )
    return element(0, 0x0000, struct.pack("<L", len(body))) + body


def p_data(fragment: bytes, *, command: bool, last: bool, context: int = 1) -> bytes:
    """A P-DATA-TF PDU with one presentation data value."""
    control = (1 if command else 0) | (2 if last else 0)
    return pdu(P_DATA, struct.pack(">LBB", len(fragment) + 2, context, control) + fragment)


class Parrot:
    """A connection to an SCP; says what it is told to say.

    Args:
        port: of the SCP on 127.0.0.1.
        source: address to connect from; any of 127.0.0.0/8 makes another peer.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))

    def __enter__(self) -> Parrot:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def say(self, data: bytes) -> Parrot:
        """Send bytes."""
        self.socket.sendall(data)
        return self

    def hear(self) -> tuple[int, bytes]:
        """The next PDU: its type and body; ``(0, b"")`` if the SCP has closed the connection."""
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBL", header)
        return kind, self._exactly(length)

    def status(self) -> tuple[int, str]:
        """Status (0000,0900) and Error Comment (0000,0902) of the next DIMSE response."""
        kind, body = self.hear()
        if kind != P_DATA:
            raise AssertionError(f"a response was due, PDU type {kind} came")
        found: dict[int, bytes] = {}
        at = 6
        while at < len(body):
            _, number, length = struct.unpack_from("<HHL", body, at)
            found[number] = body[at + 8 : at + 8 + length]
            at += 8 + length
        return struct.unpack("<H", found[0x0900])[0], found.get(0x0902, b"").decode().strip("\0 ")

    def associate(self, **request: object) -> Parrot:
        """Associate; the SCP must accept."""
        kind, _ = self.say(associate_rq(**request)).hear()  # type: ignore[arg-type]
        if kind != ASSOCIATE_AC:
            raise AssertionError(f"no A-ASSOCIATE-AC but PDU type {kind}")
        return self

    def store(self, dataset: bytes, *, context: int = 1, **command: object) -> tuple[int, str]:
        """A whole C-STORE; the status and comment that came back."""
        self.say(p_data(store_command(**command), command=True, last=True, context=context))  # type: ignore[arg-type]
        for at in range(0, len(dataset), 16000):
            self.say(p_data(dataset[at : at + 16000], command=False, last=at + 16000 >= len(dataset), context=context))
        return self.status()

    def seconds_until_closed(self) -> float:
        """Time until the SCP closes the connection; an A-ABORT before that is read over.

        Raises:
            TimeoutError: it stays open for 20 s.
        """
        start = time.monotonic()
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            pass
        return time.monotonic() - start

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                got = self.socket.recv(count - len(data))
            except ConnectionError:
                break
            if not got:
                break
            data += got
        return data
