"""Line breaking of Chinese and English; a Han character is two wide, a letter one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiosk.screens.text import NOT_FIRST, break_lines


def width(piece: str) -> float:
    return sum(1 if ord(letter) < 0x2E80 else 2 for letter in piece)


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 10, [""]),
        ("one two three", 8, ["one two", "three"]),
        ("左前降支近段斑块", 8, ["左前降支", "近段斑块"]),
        ("1. 左前降支近段", 10, ["1. 左前降", "支近段"]),
        ("左前降支,近段", 8, ["左前降", "支,近段"]),
        ("左前(降支)近段", 6, ["左前", "(降支)", "近段"]),
        ("管腔 CAD-RADS 4A 级", 9, ["管腔", "CAD-RADS", "4A 级"]),
        ("左前降支，近段", 8, ["左前降", "支，近段"]),
        ("左前（降支）近段", 6, ["左前", "（降", "支）近", "段"]),
        ("斑块 长 15\u00a0mm", 11, ["斑块 长", "15\u00a0mm"]),
        ("a\nb", 10, ["a", "b"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
    ],
)
def test_lines(text: str, columns: float, lines: list[str]) -> None:
    assert break_lines(text, width=columns, measure=width) == lines


def test_what_does_not_fit_is_cut_with_an_ellipsis() -> None:
    assert break_lines("左前降支近段斑块", width=9, measure=width, maximum_lines=1) == ["左前降支…"]
    assert break_lines("左前降支", width=9, measure=width, maximum_lines=1) == ["左前降支"]


@given(st.text(alphabet="左前降支ab1 ,，。（）()./", max_size=60), st.integers(min_value=6, max_value=30))
def test_nothing_is_lost_and_every_line_fits(text: str, columns: int) -> None:
    lines = break_lines(text, width=columns, measure=width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width(line) <= columns for line in lines)


@given(st.from_regex(r"[左前降支]([,，；：][左前降支]|[左前降支])*[。）]?", fullmatch=True))
def test_closing_punctuation_never_begins_a_line(text: str) -> None:
    lines = break_lines(text, width=10, measure=width)
    assert not any(line[0] in NOT_FIRST for line in lines[1:] if line)
