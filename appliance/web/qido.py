"""QIDO-RS (PS3.18 10.6): the search of the query keys by URL, answered in DICOM JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from appliance.archive.search import Criterion, Level, SearchIndex
from appliance.dicom.query_answer import answer_of
from appliance.dicom.query_keys import KEYS, LEVEL_NAMES, KeyMismatchError, Query, belongs, criteria_of
from appliance.errors import ApiError

_STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "StudyDescription", "PatientName",
    "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "BodyPartExamined", "SeriesDate", "SeriesTime",
    "NumberOfSeriesRelatedInstances",
)  # fmt: skip
_INSTANCE = ("SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames")
RETURNED: Mapping[Level, tuple[str, ...]] = {"study": _STUDY, "series": _SERIES, "instance": _INSTANCE}
"""Attributes of every answer (PS3.18 tables 10.6.3-3 to 10.6.3-5)."""
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_LEVEL_OF = {level: name for name, level in LEVEL_NAMES.items()}


@dataclass(frozen=True)
class WebQuery:
    """A search: what is asked, which part of the matches is wanted, and a warning for the head of the answer."""

    query: Query
    limit: int
    offset: int
    warning: str = ""


def parse(level: Level, parameters: Sequence[tuple[str, str]], path: Mapping[str, str], *, maximum: int) -> WebQuery:
    """The search of a URL.

    Args:
        level: what an answer is.
        parameters: names and values of the query component.
        path: ``study`` and ``series`` of the path, where it has them.
        maximum: more matches are never given at once.

    Raises:
        ApiError: API-042 a parameter cannot be understood.
    """
    criteria: list[Criterion] = []
    returned = [*(_STUDY if level != "study" and "study" not in path else ()), *RETURNED[level], "StudyInstanceUID"]
    if level == "instance" and "series" not in path:
        returned += ["SeriesInstanceUID", "Modality"]
    limit, offset, warning = maximum, 0, ""
    for name, value in parameters:
        if name == "limit":
            limit = min(_whole(name, value), maximum)
        elif name == "offset":
            offset = _whole(name, value)
        elif name == "fuzzymatching":
            warning = "fuzzymatching is not supported, only literal matching was done" if value.lower() == "true" else ""
        elif name == "includefield":
            returned += [keyword for keyword in map(_keyword, value.split(",")) if keyword in KEYS]
        else:
            criteria += _criteria(level, name, value)
            returned.append(_keyword(name))
    for place, keyword in (("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID")):
        if place in path:
            criteria.append(Criterion(KEYS[keyword].column, "is", (path[place],)))
            returned.append(keyword)
    kept = tuple(dict.fromkeys(keyword for keyword in returned if keyword in KEYS and belongs(KEYS[keyword], level, "study")))
    return WebQuery(Query(level, tuple(criteria), kept), limit, offset, warning)


def answers(search: SearchIndex, asked: WebQuery, *, base: str) -> Iterator[bytes]:
    """A JSON array of the matches, piece by piece.

    Args:
        search: the index.
        asked: the search.
        base: URL of the service, for Retrieve URL (0008,1190).
    """
    yield b"["
    rows = search.find(asked.query.level, asked.query.criteria, counted=asked.query.counted, offset=asked.offset)
    for number, row in enumerate(rows):
        if number >= asked.limit:
            break
        yield (b"," if number else b"") + json.dumps(_answer(asked.query, row, base), ensure_ascii=False).encode()
    yield b"]"


def _answer(query: Query, row: Mapping[str, Any], base: str) -> dict[str, Any]:
    dataset: Dataset = answer_of(query, row, ae_title="CORONET", character_sets=("ISO_IR 192",))
    del dataset.QueryRetrieveLevel
    del dataset.RetrieveAETitle
    url = f"{base}/studies/{row['study_uid']}"
    if query.level != "study":
        url += f"/series/{row['series_uid']}"
    if query.level == "instance":
        url += f"/instances/{row['sop_instance_uid']}"
    dataset.RetrieveURL = url
    return dict(dataset.to_json_dict())


def _criteria(level: Level, name: str, value: str) -> list[Criterion]:
    keyword = _keyword(name)
    if keyword not in KEYS or not belongs(KEYS[keyword], level, "study"):
        raise ApiError("API-042", zh=f"不支持按 {name[:40]} 查询", en=f"{name[:40]} cannot be searched for", status=400)
    try:
        return criteria_of(keyword, value.replace(",", "\\") if KEYS[keyword].kind in {"uid", "has"} else value)
    except KeyMismatchError as error:
        raise ApiError("API-042", zh=f"参数有误:{error}", en=str(error), status=400) from error


def _keyword(name: str) -> str:
    name = name.strip()
    return keyword_for_tag(int(name, 16)) if _TAG.fullmatch(name) else name


def _whole(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 9:
        raise ApiError("API-042", zh=f"参数 {name} 有误", en=f"the parameter {name} is no whole number", status=400)
    return int(value)
