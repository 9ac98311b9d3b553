"""Names and numbers as people search for them: the same letters whatever their case, width or grouping.

A study's texts are kept as tokens of two neighbouring characters, so that any part of a name, Chinese names of two characters too, is
found by an index instead of by looking at every study: a part is there where its tokens follow one another.
"""

from __future__ import annotations

import re
import unicodedata

_GAPS = re.compile(r"[\s^=,]+")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


def fold(text: str) -> str:
    """Text without differences of case and width (Unicode NFKC and case folding), separators of names and numbers as one space."""
    return _GAPS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def fold_name(name: str) -> str:
    """A DICOM person name (PS3.5 section 6.2.1) for searching: each component group in words, and once more without gaps.

    ``Wang^XiaoDong=王^小东`` gives ``wang xiaodong``, ``wangxiaodong`` and ``王小东``, one a line.
    """
    forms: dict[str, None] = {}
    for group in name.split("="):
        folded = fold(group)
        if _WIDE.search(folded) is None:
            forms[folded] = None
        forms[folded.replace(" ", "")] = None
    return "\n".join(form for form in forms if form)


def tokens(text: str) -> str:
    """Tokens of two neighbouring characters of folded lines, for the index; lines stay apart. Then those of single Chinese characters."""
    pairs = [_token(line[at : at + 2]) for line in text.split("\n") for at in range(max(len(line) - 1, 0))]
    return " ".join([*pairs, *dict.fromkeys(_token(character) for character in text if _WIDE.match(character))])


def phrase(term: str) -> str | None:
    """The index query for a folded term; None for a single letter or digit, which the index cannot find."""
    if len(term) == 1:
        return _token(term) if _WIDE.match(term) else None
    return '"' + " ".join(_token(term[at : at + 2]) for at in range(len(term) - 1)) + '"'


def terms(text: str) -> list[str]:
    """What a person typed, folded, in words that must all be there."""
    return fold(text).split()


def _token(pair: str) -> str:
    """Letters and digits only, whatever the characters are."""
    return "x" + pair.encode("utf-16-be", "surrogatepass").hex()
