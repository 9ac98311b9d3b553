"""Line breaking of mixed text, and the font."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ImagingError
from appliance.report.fonts import find_font, wrap


def columns(text: str) -> float:
    """Chinese characters two columns wide, others one."""
    return sum(2 if ord(character) > 0x2E7F else 1 for character in text)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("左前降支近段", 8, ["左前降支", "近段"]),
        ("管腔狭窄 CAD-RADS 3", 13, ["管腔狭窄", "CAD-RADS 3"]),  # a word is never parted
        ("长约 12 mm宽", 7, ["长约", "12 mm宽"]),  # nor a number from its unit
        ("左主干狭窄\uff0c轻度", 10, ["左主干狭", "窄\uff0c轻度"]),  # a comma never begins a line
        ("管腔狭窄\uff08重度\uff09", 10, ["管腔狭窄", "\uff08重度\uff09"]),  # a bracket never ends one
        ("mild stenosis of the LAD", 13, ["mild stenosis", "of the LAD"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),  # a word longer than a line is cut
        ("", 10, []),
    ],
)
def test_wrap(text: str, width: float, lines: list[str]) -> None:
    assert wrap(text, width, columns) == lines


def test_nothing_is_lost_and_no_line_is_too_wide() -> None:
    text = "左前降支近段可见混合斑块\uff0c中度狭窄约 62%\uff08最小管腔直径 1.1 mm\uff09。 Mixed plaque in the LAD."
    for width in range(8, 60):
        lines = wrap(text, width, columns)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(columns(line) <= width for line in lines)


def test_a_missing_font_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(ImagingError, match="IMG-201") as caught:
        find_font([tmp_path / "none.ttc"])
    assert "fonts-wqy-microhei" in caught.value.zh
