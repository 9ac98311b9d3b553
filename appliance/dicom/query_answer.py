"""One answer to a query: the attributes that were asked for, in a character set that can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pydicom.charset
from pydicom.dataset import Dataset

from appliance.dicom.query_keys import LEVEL_NAMES, Query, value_of

UTF8 = "ISO_IR 192"
_NAME_OF_LEVEL = {level: name for name, level in LEVEL_NAMES.items()}


def answer_of(query: Query, row: Mapping[str, Any], *, ae_title: str, character_sets: Sequence[str]) -> Dataset:
    """The identifier of one C-FIND response (PS3.4 C.4.1.1.3.2).

    Args:
        query: what was asked.
        row: a match, from the index.
        ae_title: ours, from which the match can be retrieved.
        character_sets: wanted ones in their order (Specific Character Set (0008,0005)); the first that can hold the answer is used, UTF-8
            if none can.
    """
    answer = Dataset()
    values = {keyword: value_of(keyword, row) for keyword in query.returned}
    answer.SpecificCharacterSet = character_set_for("".join(map(str, values.values())), character_sets)
    answer.QueryRetrieveLevel = _NAME_OF_LEVEL[query.level]
    answer.RetrieveAETitle = ae_title
    answer.InstanceAvailability = "ONLINE"
    for keyword, value in values.items():
        setattr(answer, keyword, value)
    return answer


def character_set_for(text: str, wanted: Sequence[str]) -> str:
    """The first of the wanted character sets that can hold a text.

    Only sets without code extensions are considered (PS3.3 C.12.1.1.2): others switch within a value, which few peers read alike.
    """
    for name in wanted:
        codec = pydicom.charset.python_encoding.get(name) if name else "ascii"
        if "2022" in name or codec is None:
            continue
        try:
            text.encode(codec)
        except UnicodeEncodeError:
            continue
        if name:
            return name
    return UTF8
