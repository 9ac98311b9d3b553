"""Chinese punctuation: sentences are kept with the marks that every keyboard has, and get full-width ones where a person reads them.

GB/T 15834-2011 asks for full-width commas, colons, semicolons and brackets in Chinese text.
"""

from __future__ import annotations

import re

_FULL_WIDTH = str.maketrans({",": "\uff0c", ";": "\uff1b", ":": "\uff1a", "(": "\uff08", ")": "\uff09"})
_MARK = re.compile(r"(?<!\d)[,;:]|[,;:](?!\d)|[()]")
_HAN = re.compile(r"[\u4e00-\u9fff]")


def chinese_punctuation(text: str) -> str:
    """A Chinese sentence with full-width commas, colons, semicolons and brackets.

    Marks between two digits (numbers, times, ports) stay as they are, and so does a text without a Chinese character.
    """
    return _MARK.sub(lambda match: match.group().translate(_FULL_WIDTH), text) if _HAN.search(text) else text
