"""The fonts of the kiosk: Noto Sans CJK in its simplified Chinese face.

Debian packs all faces of the family into one collection whose first face is the Japanese one, and SDL opens the first: Chinese text would
come out in Japanese letter shapes. So the simplified Chinese face is taken out of the collection once and kept in a cache folder.
Source of the formats: OpenType 1.9, 'Font collections' and the name table.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDERS = (Path("/usr/share/fonts/opentype/noto"), Path("/usr/share/fonts/truetype/noto"), Path("/usr/share/fonts/noto-cjk"))
FACES = {"NotoSansCJK-Regular.ttc": "NotoSansCJKsc-Regular", "NotoSansCJK-Bold.ttc": "NotoSansCJKsc-Bold"}
POSTSCRIPT_NAME = 6
WINDOWS_PLATFORM = 3


class FontError(Exception):
    """No font that can show Chinese."""


@dataclass(frozen=True)
class Fonts:
    """Font files."""

    regular: Path
    bold: Path


def find_fonts(cache: Path, *, folders: tuple[Path, ...] = FOLDERS) -> Fonts:
    """The regular and bold faces, taken out of their collections into ``cache`` if they are not there yet.

    Raises:
        FontError: the fonts are not installed (Debian: fonts-noto-cjk) or cannot be read.
    """
    regular, bold = (_face(collection, face, cache, folders) for collection, face in FACES.items())
    return Fonts(regular=regular, bold=bold)


def _face(collection: str, face: str, cache: Path, folders: tuple[Path, ...]) -> Path:
    source = next((folder / collection for folder in folders if (folder / collection).is_file()), None)
    if source is None:
        raise FontError(f"{collection} is not installed (Debian package fonts-noto-cjk)")
    status = source.stat()
    target = cache / f"{face}-{status.st_size:x}-{status.st_mtime_ns:x}.otf"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _write_whole(target, extract_face(source.read_bytes(), face))
    return target


def extract_face(collection: bytes, face: str) -> bytes:
    """The face with PostScript name ``face`` of a font collection, as a font file of its own.

    Raises:
        FontError: the data are no collection, or it has no such face.
    """
    try:
        if collection[:4] != b"ttcf":
            raise FontError("not a font collection")
        count = struct.unpack_from(">I", collection, 8)[0]
        for offset in struct.unpack_from(f">{count}I", collection, 12):
            tables = _tables(collection, offset)
            if _postscript_name(collection, tables) == face:
                return _font_file(collection, offset, tables)
    except struct.error as error:
        raise FontError("the font collection is damaged") from error
    raise FontError(f"the collection has no face {face}")


Tables = list[tuple[bytes, int, int, int]]
"""Tag, checksum, offset, length."""


def _tables(data: bytes, offset: int) -> Tables:
    count = struct.unpack_from(">H", data, offset + 4)[0]
    return [struct.unpack_from(">4sIII", data, offset + 12 + 16 * index) for index in range(count)]


def _postscript_name(data: bytes, tables: Tables) -> str:
    for tag, _, start, _ in tables:
        if tag == b"name":
            count, strings = struct.unpack_from(">HH", data, start + 2)
            for index in range(count):
                platform, _, _, name, length, offset = struct.unpack_from(">6H", data, start + 6 + 12 * index)
                if (platform, name) == (WINDOWS_PLATFORM, POSTSCRIPT_NAME):
                    begin = start + strings + offset
                    return data[begin : begin + length].decode("utf-16-be", "replace")
    return ""


def _font_file(data: bytes, offset: int, tables: Tables) -> bytes:
    """The face's own header and tables, one behind the other."""
    header = bytearray(data[offset : offset + 12])
    body = bytearray()
    start = 12 + 16 * len(tables)
    for tag, checksum, begin, length in tables:
        header += struct.pack(">4sIII", tag, checksum, start + len(body), length)
        body += data[begin : begin + length] + bytes(-length % 4)
    return bytes(header + body)


def _write_whole(path: Path, data: bytes) -> None:
    """Write so that another process sees the whole file or none."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
