"""multipart/related bodies (RFC 2387, PS3.18 8.7.1): written as they are made, read as they arrive, never held whole."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message

from appliance.errors import ApiError

LARGEST_PART_HEAD = 8 * 1024
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{1,70}")


@dataclass(frozen=True)
class Part:
    """One part to write: its media type and its body in pieces."""

    media_type: str
    body: Iterable[bytes]


def new_boundary() -> str:
    """A boundary that no body holds (128 random bits)."""
    return f"coronet-{secrets.token_hex(16)}"


def write(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """The body of a response, piece by piece."""
    for part in parts:
        yield f"--{boundary}\r\nContent-Type: {part.media_type}\r\n\r\n".encode()
        yield from part.body
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def boundary_of(content_type: str) -> str:
    """The boundary of a multipart/related request with DICOM parts.

    Raises:
        ApiError: API-046 it is something else.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = str(header.get_param("boundary", ""))
    kind = str(header.get_param("type", "application/dicom")).lower()
    if header.get_content_type() != "multipart/related" or kind != "application/dicom" or not _BOUNDARY.fullmatch(boundary):
        raise not_multipart()
    return boundary


def not_multipart() -> ApiError:
    """The refusal of a body that is not what it has to be."""
    return ApiError(
        "API-046",
        zh="须为 multipart/related 的 application/dicom",
        en="the body must be multipart/related with parts of application/dicom",
        status=415,
    )


@dataclass
class PartReader:
    """Takes a body apart: feed it with bytes, it tells of pieces of parts and of their ends.

    `feed` yields bytes of the present part, and None where a part ends.
    """

    boundary: str
    ended: bool = False
    _buffer: bytearray = field(default_factory=bytearray)
    _in_part: bool = False
    _begun: bool = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Bytes that have come.

        Raises:
            ApiError: API-046 the body is not what it has to be.
        """
        self._buffer += data
        while not self.ended:
            if self._in_part:
                piece, over = self._body()
                if piece:
                    yield piece
                if not over:
                    return
                yield None
            elif not self._head():
                return

    def _delimiter(self) -> bytes:
        return b"\r\n--" + self.boundary.encode()

    def _body(self) -> tuple[bytes, bool]:
        """What is surely part of the body, and whether the part is over."""
        at = self._buffer.find(self._delimiter())
        if at < 0:
            sure = max(len(self._buffer) - len(self._delimiter()) + 1, 0)
            piece = bytes(self._buffer[:sure])
            del self._buffer[:sure]
            return piece, False
        piece = bytes(self._buffer[:at])
        del self._buffer[: at + 2]
        self._in_part = False
        return piece, True

    def _head(self) -> bool:
        """Read delimiter and headers of the next part; False while they are not whole."""
        delimiter = b"--" + self.boundary.encode()
        if not self._begun:
            at = self._buffer.find(delimiter)
            if at < 0:
                self._check_size()
                return False
            del self._buffer[:at]
            self._begun = True
        if len(self._buffer) < len(delimiter) + 2:
            return False
        if self._buffer[len(delimiter) : len(delimiter) + 2] == b"--":
            self.ended = True
            return False
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self._check_size()
            return False
        head = bytes(self._buffer[len(delimiter) : end]).decode("latin-1")
        kinds = [
            line.partition(":")[2].partition(";")[0].strip().lower()
            for line in head.split("\r\n")
            if line.lower().startswith("content-type:")
        ]
        if any(kind != "application/dicom" for kind in kinds):
            raise not_multipart()
        del self._buffer[: end + 4]
        self._in_part = True
        return True

    def _check_size(self) -> None:
        if len(self._buffer) > LARGEST_PART_HEAD:
            raise not_multipart()


async def parts_of(pieces: AsyncIterator[bytes], boundary: str) -> AsyncIterator[bytes | None]:
    """Pieces of the parts of a request as they arrive, None where a part ends.

    Raises:
        ApiError: API-046 the body is not what it has to be, or breaks off.
    """
    reader = PartReader(boundary)
    async for piece in pieces:
        for each in reader.feed(piece):
            yield each
    if not reader.ended:
        raise not_multipart()
