"""Files sealed with a passphrase: nobody reads them without it, and nobody changes, shortens or reorders them unnoticed.

The key comes from the passphrase by Argon2id (RFC 9106, second recommended option); the content goes in pieces of 1 MiB, each sealed with
AES-256-GCM (NIST SP 800-38D). The nonce of a piece counts the pieces, and what is authenticated with it says whether it is the last one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
from argon2.low_level import Type, hash_secret_raw
from Cryptodome.Cipher import AES

from appliance.errors import ArchiveError

MAGIC = b"CORONETS"
VERSION = 1
SHORTEST_PASSPHRASE = 12
PIECE = 1 << 20
TAG = 16
MEMORY_KIB = 65536
LARGEST_HEAD = 4096
LARGEST_MEMORY_KIB = 1 << 20


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    salt: bytes
    nonce: bytes
    time_cost: int = 3
    memory_kib: int = MEMORY_KIB
    parallelism: int = 4


def check_passphrase(passphrase: str) -> None:
    """A passphrase that would be guessed is refused.

    Raises:
        ArchiveError: ARC-060 it is too short.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise ArchiveError(
            "ARC-060", zh=f"口令至少 {SHORTEST_PASSPHRASE} 个字符", en=f"a passphrase has {SHORTEST_PASSPHRASE} characters or more"
        )


def seal(source: Path, target: Path, *, passphrase: str, memory_kib: int = MEMORY_KIB) -> None:
    """Write a sealed copy of a file, put on the disk before the return.

    Args:
        source: the file.
        target: the sealed one.
        passphrase: what opens it.
        memory_kib: memory that each guess at the passphrase costs; tests take less.

    Raises:
        ArchiveError: ARC-060 the passphrase is too short.
        OSError: it cannot be written.
    """
    check_passphrase(passphrase)
    head = _Head(version=VERSION, salt=os.urandom(16), nonce=os.urandom(4), memory_kib=memory_kib)
    encoded = msgspec.json.encode(head)
    key = _key(head, passphrase)
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.write(MAGIC + struct.pack("<L", len(encoded)) + encoded)
        for number, (piece, last) in enumerate(_pieces(reader)):
            cipher = _cipher(key, head, number, encoded, last=last)
            sealed, tag = cipher.encrypt_and_digest(piece)
            writer.write(struct.pack("<LB", len(sealed), last) + sealed + tag)
        writer.flush()
        os.fsync(writer.fileno())


def unseal(source: Path, target: Path, *, passphrase: str) -> None:
    """Write the content of a sealed file; nothing is left behind unless all of it is as it was sealed.

    Raises:
        ArchiveError: ARC-061 it is no sealed file of ours; ARC-062 the passphrase is wrong, or the file was changed or cut.
        OSError: it cannot be read or written.
    """
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            head, encoded = _read_head(reader)
            key = _key(head, passphrase)
            number, last = 0, False
            while not last:
                piece, last = _unsealed_piece(reader, key, head, number, encoded)
                writer.write(piece)
                number += 1
            _expect_end(reader)
            writer.flush()
            os.fsync(writer.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _read_head(reader: IO[bytes]) -> tuple[_Head, bytes]:
    start = reader.read(len(MAGIC) + 4)
    if len(start) < len(MAGIC) + 4 or not start.startswith(MAGIC):
        raise _foreign()
    length = struct.unpack("<L", start[len(MAGIC) :])[0]
    encoded = reader.read(min(length, LARGEST_HEAD))
    try:
        head = msgspec.json.decode(encoded, type=_Head)
    except msgspec.DecodeError as error:
        raise _foreign() from error
    # what a file says must not take all memory or all day
    if head.version != VERSION or not 8 <= head.memory_kib <= LARGEST_MEMORY_KIB or not 1 <= head.time_cost <= 10:
        raise _foreign()
    if not 1 <= head.parallelism <= 16 or len(head.nonce) != 4 or not 8 <= len(head.salt) <= 64:
        raise _foreign()
    return head, encoded


def _unsealed_piece(reader: IO[bytes], key: bytes, head: _Head, number: int, encoded: bytes) -> tuple[bytes, bool]:
    start = reader.read(5)
    if len(start) < 5:
        raise _refused()
    length, last = struct.unpack("<LB", start)
    if length > PIECE:
        raise _refused()
    sealed, tag = reader.read(length), reader.read(TAG)
    try:
        piece: bytes = _cipher(key, head, number, encoded, last=bool(last)).decrypt_and_verify(sealed, tag)
    except ValueError as error:
        raise _refused() from error
    return piece, bool(last)


def _expect_end(reader: IO[bytes]) -> None:
    if reader.read(1):
        raise _refused()


def _pieces(reader: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    piece = reader.read(PIECE)
    while True:
        following = reader.read(PIECE)
        yield piece, not following
        if not following:
            return
        piece = following


def _key(head: _Head, passphrase: str) -> bytes:
    return hash_secret_raw(passphrase.encode(), head.salt, head.time_cost, head.memory_kib, head.parallelism, 32, Type.ID)


def _cipher(key: bytes, head: _Head, number: int, encoded: bytes, *, last: bool) -> AES.GcmMode:  # type: ignore[name-defined]
    cipher = AES.new(key, AES.MODE_GCM, nonce=head.nonce + struct.pack(">Q", number), mac_len=TAG)
    cipher.update(MAGIC + encoded + bytes([last]))
    return cipher


def _foreign() -> ArchiveError:
    return ArchiveError("ARC-061", zh="不是本系统的加密文件", en="this is no sealed file of this system")


def _refused() -> ArchiveError:
    return ArchiveError("ARC-062", zh="口令错误,或文件被改动、不完整", en="the passphrase is wrong, or the file was changed or is cut")
