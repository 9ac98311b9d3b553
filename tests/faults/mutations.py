"""Mutations of byte strings, each determined by a seed: what a bad cable, a broken disk, a careless or a hostile sender makes of them."""

from __future__ import annotations

import random

TELLING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xfe\xff\x00\xe0",
)
"""Values at which lengths, signs and delimiters turn over."""
START = 2048
"""Where headers lie: most mutations go there."""


def mutate(data: bytes, rng: random.Random, *, others: tuple[bytes, ...] = ()) -> bytes:
    """One to four mutations of a string."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_KINDS)(data, rng, others)
    return data


def nested(rng: random.Random, *, explicit: bool = True) -> bytes:
    """Sequences within sequences, without an end: what makes a recursive parser fall."""
    depth = rng.choice((3, 30, 300, 3000, 30_000))
    head = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" if explicit else b"\x08\x00\x40\x11\xff\xff\xff\xff"
    return (head + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(max(1, min(len(data), START if rng.random() < 0.8 else len(data))))


def _flip(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        if changed:
            changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    at, value = _place(data, rng), rng.choice(TELLING)
    return data[:at] + value + data[at + len(value) :]


def _random(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    at, size = _place(data, rng), rng.randrange(1, 32)
    return data[:at] + rng.randbytes(size) + data[at + size :]


def _cut(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.randrange(1, 64) :]


def _insert(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice((rng.randbytes(rng.randrange(1, 64)), rng.choice(TELLING) * rng.randrange(1, 40))) + data[at:]


def _repeat(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    at, size = _place(data, rng), rng.randrange(1, 200)
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 50)) + data[at + size :]


def _splice(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    if not others:
        return data[::-1][:64] + data
    other = rng.choice(others)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


_KINDS = (_flip, _flip, _overwrite, _overwrite, _random, _cut, _remove, _insert, _repeat, _splice)
