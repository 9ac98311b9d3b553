"""The Chinese face of the installed font collection."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import ImageFont

from kiosk.fonts import FOLDERS, FontError, extract_face, find_fonts

COLLECTION = next(folder / "NotoSansCJK-Regular.ttc" for folder in FOLDERS if (folder / "NotoSansCJK-Regular.ttc").exists())
JAPANESE, CHINESE = 0, 2


def glyph(path: Path, index: int, text: str) -> bytes:
    return bytes(ImageFont.truetype(str(path), 64, index=index).getmask(text))


def test_fonts_are_the_simplified_chinese_faces(tmp_path: Path) -> None:
    fonts = find_fonts(tmp_path)
    assert ImageFont.truetype(str(fonts.regular), 20).getname() == ("Noto Sans CJK SC", "Regular")
    assert ImageFont.truetype(str(fonts.bold), 20).getname() == ("Noto Sans CJK SC", "Bold")


def test_letters_have_the_chinese_shape_not_the_japanese(tmp_path: Path) -> None:
    face = find_fonts(tmp_path).regular
    for letter in "直骨角":
        assert glyph(face, 0, letter) == glyph(COLLECTION, CHINESE, letter)
        assert glyph(face, 0, letter) != glyph(COLLECTION, JAPANESE, letter)


def test_faces_are_taken_out_once(tmp_path: Path) -> None:
    first = find_fonts(tmp_path)
    written = first.regular.stat().st_mtime_ns
    assert find_fonts(tmp_path) == first
    assert first.regular.stat().st_mtime_ns == written
    assert len(list(tmp_path.iterdir())) == 2


def test_missing_and_damaged_fonts_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(FontError, match="fonts-noto-cjk"):
        find_fonts(tmp_path, folders=(tmp_path,))
    for data in (b"", b"not a font", b"ttcf\x00\x01", COLLECTION.read_bytes()[:40]):
        with pytest.raises(FontError):
            extract_face(data, "NotoSansCJKsc-Regular")
    with pytest.raises(FontError, match="no face"):
        extract_face(COLLECTION.read_bytes(), "Nothing")
