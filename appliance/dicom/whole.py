"""Whether a DICOM file ends where its data set ends: a file cut short must be told from a whole one before it is passed on.

Only tags and lengths are walked over, in a file that is mapped, not read: size costs nothing, and no value is decoded.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from appliance.dicom.dataset_start import DEFLATED, EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
DEEPEST = 32
MOST_ELEMENTS = 1_000_000
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})


class CutShortError(ValueError):
    """The file ends within an element, or its elements cannot be followed."""


def check_whole(path: Path) -> None:
    """Walk over a part 10 file (PS3.10 section 7.1) to its end.

    Raises:
        CutShortError: it ends within an element or a sequence, or is no chain of elements at all.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at, syntax = _after_meta(data)
        if syntax == DEFLATED:
            return  # the receiver and the reader inflate it; a cut stream fails there
        walker = _Walker(data, ">" if syntax == EXPLICIT_BIG_ENDIAN else "<")
        end = walker.elements(at, len(data), explicit=syntax != IMPLICIT_LITTLE_ENDIAN, depth=0)
        if any(data[end : end + 64]):
            raise CutShortError("bytes after the last element")


def _after_meta(data: mmap.mmap) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax."""
    if data[128:132] != b"DICM":
        raise CutShortError("no part 10 file")
    at, syntax = 132, ""
    walker = _Walker(data, "<")
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        value, length = walker.head(at, explicit=True)
        if length == UNDEFINED or value + length > len(data):
            raise CutShortError("the file meta information is cut short")
        if data[at + 2 : at + 4] == b"\x10\x00":
            syntax = data[value : value + length].decode("ascii", "replace").strip("\0 ")
        at = value + length
    if not syntax:
        raise CutShortError("no transfer syntax")
    return at, syntax


class _Walker:
    """Follows elements in one byte order; counts them, so that no file keeps us for ever."""

    def __init__(self, data: mmap.mmap, order: str) -> None:
        self._data = data
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._long: Callable[..., tuple[int]] = struct.Struct(f"{order}L").unpack_from
        self._short: Callable[..., tuple[int]] = struct.Struct(f"{order}H").unpack_from
        self._elements = 0

    def head(self, at: int, *, explicit: bool) -> tuple[int, int]:
        """Where the value of the element at ``at`` starts, and its length."""
        if not explicit:
            return at + 8, self._long(self._data, at + 4)[0]
        vr = self._data[at + 4 : at + 6]
        if not (vr.isalpha() and vr.isupper()):
            raise CutShortError("no value representation where one must be")
        if vr not in _LONG:
            return at + 8, self._short(self._data, at + 6)[0]
        if at + 12 > len(self._data):
            raise CutShortError("the file ends within an element")
        return at + 12, self._long(self._data, at + 8)[0]

    def elements(self, at: int, end: int, *, explicit: bool, depth: int, until: tuple[int, int] | None = None) -> int:
        """Walk over elements up to ``end``, or to the delimiter ``until``; returns where they ended."""
        while at + 8 <= end:
            self._count()
            tag = self._tag(self._data, at)
            if tag == until:
                return at + 8
            if until is None and depth == 0 and tag == (0, 0):
                return at  # zeros behind the data set
            value, length = self.head(at, explicit=explicit)
            if length == UNDEFINED:
                # UN of undefined length is written in implicit VR (PS3.5 section 6.2.2)
                inner = explicit and self._data[at + 4 : at + 6] != b"UN"
                at = self._sequence(value, end, explicit=inner, depth=depth + 1)
                continue
            if value + length > end:
                raise CutShortError("the file ends within an element")
            at = value + length
        if until is not None:
            raise CutShortError("an item without an end")
        return at

    def _sequence(self, at: int, end: int, *, explicit: bool, depth: int) -> int:
        """Walk over the items of a sequence, or the fragments of pixels, of undefined length; returns where it ended."""
        if depth > DEEPEST:
            raise CutShortError("sequences nested too deeply")
        while at + 8 <= end:
            self._count()
            tag, length = self._tag(self._data, at), self._long(self._data, at + 4)[0]
            at += 8
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM:
                raise CutShortError("no item where one must be")
            if length == UNDEFINED:
                at = self.elements(at, end, explicit=explicit, depth=depth, until=ITEM_END)
            elif at + length > end:
                raise CutShortError("the file ends within an item")
            else:
                at += length
        raise CutShortError("a sequence without an end")

    def _count(self) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            raise CutShortError("more elements than any image has")
