"""The font of the report and the captures, and line breaking for mixed Chinese and Latin text.

PDF files embed TrueType outlines only, so the CFF fonts of Noto CJK cannot serve; WenQuanYi Micro Hei (Apache-2.0, Debian package
``fonts-wqy-microhei``) has both Chinese and Latin TrueType outlines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.errors import ImagingError

FONT_PLACES: tuple[Path, ...] = (
    Path("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),
    Path("/usr/local/share/fonts/wqy-microhei.ttc"),
)
_TOKEN = re.compile(r"\d[\d.]* (?:mm³|mm|HU|kVp|mg|%)|[A-Za-z0-9][A-Za-z0-9.,:%/+\-<>~_³²]*|\s+|.")
_NEVER_FIRST = frozenset("\uff0c\u3002\uff1b\uff1a\uff01\uff1f\u3001\uff09\u300d\u300f\u300b\u3011\u201d\u2019%,.;:!?)]")
_NEVER_LAST = frozenset("\uff08\u300c\u300e\u300a\u3010\u201c\u2018([<")


def find_font(places: Sequence[Path] = FONT_PLACES) -> Path:
    """The font file; face 0 is the proportional regular face.

    Raises:
        ImagingError: IMG-201, the font is not installed.
    """
    for place in places:
        if place.is_file():
            return place
    raise ImagingError(
        "IMG-201",
        zh="未安装报告字体(软件包 fonts-wqy-microhei),无法生成报告。",
        en="the report font is not installed (package fonts-wqy-microhei), so no report can be made",
    )


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break ``text`` into lines no wider than ``width``.

    Lines break between Chinese characters and at spaces, never inside a Latin word or number; closing punctuation does not begin a line and
    opening punctuation does not end one. A single word wider than a line is cut.

    Args:
        text: one paragraph.
        width: the longest line, in the unit of ``measure``.
        measure: width of a string in the font used.
    """
    if text and measure(text) <= width:
        return [text.strip()]
    lines = [""]
    for unit in _units(text):
        if not lines[-1] or measure((lines[-1] + unit).rstrip()) <= width:
            lines[-1] = (lines[-1] + unit).lstrip() if not lines[-1] else lines[-1] + unit
        else:
            lines.append(unit.lstrip())
        while measure(lines[-1].rstrip()) > width and len(lines[-1]) > 1:
            fits = _longest_start(lines[-1], width, measure)
            lines[-1:] = [lines[-1][:fits], lines[-1][fits:]]
    return [line.rstrip() for line in lines if line.strip()]


def _units(text: str) -> list[str]:
    """The pieces that must not be parted: words with the punctuation that sticks to them."""
    units: list[str] = []
    sticks = False
    for token in _TOKEN.findall(text):
        if units and (sticks or token in _NEVER_FIRST):
            units[-1] += token
        else:
            units.append(token)
        sticks = token in _NEVER_LAST
    return units


def _longest_start(text: str, width: float, measure: Callable[[str], float]) -> int:
    """How many characters of ``text`` fit, at least one."""
    return max([count for count in range(1, len(text)) if measure(text[:count]) <= width], default=1)
