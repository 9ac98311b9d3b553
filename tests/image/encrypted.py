"""Reading the box's encrypted data partition where there is no device mapper: LUKS2 (on-disk format 1.1.1), aes-xts-plain64.

Written for tests alone: a key slot with PBKDF2, one segment. The AES is OpenSSL's, through its library.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEY_AREA_SECTOR = 512
PIECE = 1 << 18


class Xts:
    """Deciphers sectors; ``size`` bytes each, counted in units of 512 bytes as plain64 does."""

    def __init__(self, key: bytes, size: int) -> None:
        name = ctypes.util.find_library("crypto")
        assert name, "OpenSSL's library is needed"
        self._library = library = ctypes.CDLL(name)
        for function in ("EVP_CIPHER_CTX_new", "EVP_aes_128_xts", "EVP_aes_256_xts"):
            getattr(library, function).restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.EVP_CIPHER_CTX_new())
        cipher = library.EVP_aes_256_xts() if len(key) == 64 else library.EVP_aes_128_xts()
        assert library.EVP_DecryptInit_ex(self._context, ctypes.c_void_p(cipher), None, key, bytes(16)) == 1
        self._size = size

    def decipher(self, data: bytes, first: int) -> bytes:
        """Whole sectors, the first of them number ``first`` (in units of 512 bytes)."""
        size, library, context = self._size, self._library, self._context
        out, written = ctypes.create_string_buffer(len(data)), ctypes.c_int()
        start, source = ctypes.addressof(out), ctypes.create_string_buffer(data, len(data))
        begin = ctypes.addressof(source)
        for at in range(0, len(data), size):
            number = first + at // 512
            library.EVP_DecryptInit_ex(context, None, None, None, number.to_bytes(16, "little"))
            library.EVP_DecryptUpdate(
                context, ctypes.c_void_p(start + at), ctypes.byref(written), ctypes.c_void_p(begin + at), ctypes.c_int(size)
            )
        return out.raw


def header(partition: Path) -> dict[str, Any]:
    """The header's JSON: the first of its two copies that is whole.

    Raises:
        AssertionError: neither is.
    """
    with partition.open("rb") as file:
        for at in (0, 0x4000, 0x8000, 0x10000):
            file.seek(at)
            binary = file.read(4096)
            if binary[:6] not in (b"LUKS\xba\xbe", b"SKUL\xba\xbe"):
                continue
            size = int.from_bytes(binary[8:16], "big")
            area = file.read(size - 4096)
            blank = binary[:448] + bytes(64) + binary[512:]
            if hashlib.sha256(blank + area).digest() == binary[448 : 448 + 32]:
                found: dict[str, Any] = json.loads(area.rstrip(b"\0"))
                return found
    raise AssertionError("no header of an encrypted partition is whole")


def volume_key(partition: Path, told: dict[str, Any], passphrase: bytes) -> bytes:
    """The key of the data, out of the first key slot."""
    slot = next(iter(told["keyslots"].values()))
    kdf, area, split = slot["kdf"], slot["area"], slot["af"]
    length, stripes = slot["key_size"], split["stripes"]
    key = hashlib.pbkdf2_hmac(kdf["hash"], passphrase, base64.b64decode(kdf["salt"]), kdf["iterations"], area["key_size"])
    with partition.open("rb") as file:
        file.seek(int(area["offset"]))
        room = -(-length * stripes // KEY_AREA_SECTOR) * KEY_AREA_SECTOR
        material = Xts(key, KEY_AREA_SECTOR).decipher(file.read(room), 0)[: length * stripes]
    merged = bytes(length)
    for number in range(stripes):
        stripe = material[number * length : (number + 1) * length]
        merged = bytes(a ^ b for a, b in zip(merged, stripe, strict=True))
        if number < stripes - 1:
            merged = _diffused(merged, split["hash"])
    digest = next(iter(told["digests"].values()))
    proof = hashlib.pbkdf2_hmac(digest["hash"], merged, base64.b64decode(digest["salt"]), digest["iterations"])
    assert proof == base64.b64decode(digest["digest"]), "this key does not open the partition"
    return merged


def _diffused(block: bytes, name: str) -> bytes:
    """The diffusion of LUKS' splitter of keys."""
    size = hashlib.new(name).digest_size
    parts = [block[at : at + size] for at in range(0, len(block), size)]
    return b"".join(hashlib.new(name, number.to_bytes(4, "big") + part).digest()[: len(part)] for number, part in enumerate(parts))


class Reader:
    """Deciphers states of one partition, one after the other; what has not changed since the last is not deciphered again.

    Args:
        folder: where the last state is kept.
        passphrase: opens the first key slot.
    """

    def __init__(self, folder: Path, passphrase: bytes) -> None:
        self._before, self._clear = folder / "before.luks", folder / "clear.ext4"
        self._passphrase = passphrase
        self._xts: Xts | None = None

    def read(self, partition: Path, target: Path) -> Path:
        """The file system inside, as a file with holes where nothing was ever written. ``partition`` is taken away."""
        told = header(partition)
        segment = next(iter(told["segments"].values()))
        assert segment["encryption"] == "aes-xts-plain64"
        if self._xts is None:
            self._xts = Xts(volume_key(partition, told, self._passphrase), segment["sector_size"])
        offset, tweak = int(segment["offset"]), int(segment["iv_tweak"])
        self._before.touch()
        self._clear.touch()
        os.truncate(self._clear, partition.stat().st_size - offset)
        with partition.open("rb") as source, self._before.open("rb") as before, self._clear.open("r+b") as clear:
            for at, size in written_pieces(source.fileno(), offset):
                source.seek(at)
                before.seek(at)
                data = source.read(size)
                if data != before.read(size):
                    clear.seek(at - offset)
                    clear.write(self._xts.decipher(data, (at - offset) // 512 + tweak))
        partition.replace(self._before)
        subprocess.run(["cp", "--sparse=always", str(self._clear), str(target)], check=True)
        return target


def written_pieces(descriptor: int, start: int) -> Iterator[tuple[int, int]]:
    """Pieces of a file that are not holes, on whole 4096 bytes."""
    end, at = os.fstat(descriptor).st_size, start
    while at < end:
        try:
            at = max(start, os.lseek(descriptor, at, os.SEEK_DATA) // 4096 * 4096)
        except OSError:  # nothing but holes from here on
            return
        hole = min(end, -(-os.lseek(descriptor, at, os.SEEK_HOLE) // 4096) * 4096)
        for begin in range(at, hole, PIECE):
            yield begin, min(PIECE, hole - begin)
        at = hole
