"""Values as TOML (toml.io, 1.0.0), for the few files that the product itself writes; reading is `tomllib`'s."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml_value(value: Any) -> str:
    """A text, number, truth, list or table as it stands behind the ``=``.

    JSON's texts and numbers are TOML's but for two things: halves of a character beyond U+FFFF, so none is written as an escape, and DEL.
    A table is an inline one.
    """
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_value(str(key))} = {toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_text(tree: Mapping[str, Any]) -> str:
    """A tree of such values as a file, one top-level key a line."""
    return "".join(f"{toml_value(key)} = {toml_value(value)}\n" for key, value in tree.items())
