"""Breaking Chinese and English text into lines.

Kivy breaks at spaces only, which leaves Chinese ragged and lets a comma begin a line. Here a line may end between any two Han characters,
closing punctuation never begins a line and opening punctuation never ends one (the usual kinsoku rules, W3C 'Requirements for Chinese Text
Layout').
"""

from __future__ import annotations

import re
from collections.abc import Callable

NOT_FIRST = set("、。》」』】〕…,.;:?!)]}%°·\uff0c\uff1a\uff1b\uff1f\uff01\uff09")
NOT_LAST = set("《「『【〔([{\uff08")
TOKEN = re.compile(r"[^\S\u00a0]+|(?:[^\s\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|\u00a0)+|.", re.DOTALL)


def break_lines(text: str, *, width: float, measure: Callable[[str], float], maximum_lines: int | None = None) -> list[str]:
    """The lines of ``text`` in a column.

    Args:
        text: may hold line breaks of its own.
        width: of the column, in the unit of ``measure``.
        measure: width of a piece of text.
        maximum_lines: what does not fit is cut with an ellipsis; None: no limit.
    """
    lines = [line for paragraph in text.split("\n") for line in _paragraph(paragraph, width, measure)]
    if maximum_lines is not None and len(lines) > maximum_lines:
        last = lines[maximum_lines - 1]
        while last and measure(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: maximum_lines - 1], last.rstrip() + "…"]
    return lines


def _paragraph(paragraph: str, width: float, measure: Callable[[str], float]) -> list[str]:
    lines: list[str] = []
    line = ""
    for unit in _units(paragraph):
        if not line or measure(line + unit.rstrip()) <= width:
            line += unit
            continue
        lines.append(line.rstrip())
        line = unit.lstrip()
    lines.append(line.rstrip())
    return [piece for whole in lines for piece in _cut(whole, width, measure)]


def _units(paragraph: str) -> list[str]:
    """Pieces that stay together: words, Han characters with the punctuation that belongs to them."""
    units: list[str] = []
    for token in TOKEN.findall(paragraph):
        joins = bool(units) and (token[0] in NOT_FIRST or units[-1][-1] in NOT_LAST or token.isspace())
        if joins:
            units[-1] += token
        else:
            units.append(token)
    return units


def _cut(line: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A single piece that is wider than the column, cut where it must be."""
    pieces = []
    while len(line) > 1 and measure(line) > width:
        end = len(line) - 1
        while end > 1 and measure(line[:end]) > width:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return [*pieces, line]
