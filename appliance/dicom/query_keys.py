"""Keys of the query information models: which attributes may be asked for at which level, and what asking for a value means.

Patient Root and Study Root (PS3.4 C.6.1, C.6.2) and the search of DICOMweb (PS3.18 10.6) share this table. Matching is PS3.4 C.2.2.2:
single value, list of UIDs, universal, wild cards, ranges of dates and times. Names are compared without regard to case, width and component
marks; sequences, private attributes and attributes that are not in the table are not matched on and not returned, which PS3.4 C.2.2.1.3
allows for optional keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydicom.dataset import Dataset

from appliance.archive.folding import fold
from appliance.archive.search import LEVELS, Criterion, Level

Kind = Literal["text", "uid", "date", "time", "name", "number", "has", "counted"]
MOST_VALUES = 1000
"""UIDs of one list."""

LEVEL_NAMES: Mapping[str, Level] = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
UNIQUE_KEYS: Mapping[Level, str] = {
    "patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID",
}  # fmt: skip


class KeyMismatchError(ValueError):
    """An identifier that cannot be answered (status A900); the text names the attribute, never its value."""


@dataclass(frozen=True)
class Key:
    """An attribute that can be asked for.

    Attributes:
        level: the level that it belongs to.
        column: where its value comes from (`appliance.archive.search.COLUMNS` or ``COUNTED``).
        kind: how it is matched.
    """

    level: Level
    column: str
    kind: Kind = "text"


KEYS: Mapping[str, Key] = {
    "PatientName": Key("patient", "patient_name", "name"),
    "PatientID": Key("patient", "patient_id"),
    "PatientBirthDate": Key("patient", "patient_birth_date", "date"),
    "PatientSex": Key("patient", "patient_sex"),
    "NumberOfPatientRelatedStudies": Key("patient", "patient_studies", "counted"),
    "NumberOfPatientRelatedSeries": Key("patient", "patient_series", "counted"),
    "NumberOfPatientRelatedInstances": Key("patient", "patient_instances", "counted"),
    "StudyInstanceUID": Key("study", "study_uid", "uid"),
    "StudyDate": Key("study", "study_date", "date"),
    "StudyTime": Key("study", "study_time", "time"),
    "AccessionNumber": Key("study", "accession_number"),
    "StudyID": Key("study", "study_id"),
    "StudyDescription": Key("study", "study_description"),
    "ReferringPhysicianName": Key("study", "referring_physician"),
    "ModalitiesInStudy": Key("study", "modalities", "has"),
    "SOPClassesInStudy": Key("study", "sop_classes", "has"),
    "NumberOfStudyRelatedSeries": Key("study", "study_series", "counted"),
    "NumberOfStudyRelatedInstances": Key("study", "study_instances", "counted"),
    "SeriesInstanceUID": Key("series", "series_uid", "uid"),
    "Modality": Key("series", "modality"),
    "SeriesNumber": Key("series", "series_number", "number"),
    "SeriesDescription": Key("series", "series_description"),
    "BodyPartExamined": Key("series", "body_part"),
    "ProtocolName": Key("series", "protocol"),
    "SeriesDate": Key("series", "series_date", "date"),
    "SeriesTime": Key("series", "series_time", "time"),
    "NumberOfSeriesRelatedInstances": Key("series", "series_instances", "counted"),
    "SOPInstanceUID": Key("instance", "sop_instance_uid", "uid"),
    "SOPClassUID": Key("instance", "sop_class_uid", "uid"),
    "InstanceNumber": Key("instance", "instance_number", "number"),
    "Rows": Key("instance", "rows", "number"),
    "Columns": Key("instance", "columns", "number"),
    "NumberOfFrames": Key("instance", "frames", "number"),
    "ContentDate": Key("instance", "content_date", "date"),
    "ContentTime": Key("instance", "content_time", "time"),
}
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"(\d\d){1,3}(\.\d{1,6})?")
_LATEST = "235959.999999"


@dataclass(frozen=True)
class Query:
    """What is asked of the index.

    Attributes:
        level: what an answer is.
        criteria: what must hold.
        returned: keywords to answer with, from `KEYS`.
    """

    level: Level
    criteria: tuple[Criterion, ...]
    returned: tuple[str, ...]

    @property
    def counted(self) -> tuple[str, ...]:
        """Columns that are worked out for each answer."""
        return tuple(KEYS[keyword].column for keyword in self.returned if KEYS[keyword].kind in {"counted", "has"})


def parse_query(identifier: Dataset, *, root: Level) -> Query:
    """The query of a C-FIND identifier.

    Args:
        identifier: as the peer sent it.
        root: ``patient`` or ``study``: the top of the information model.

    Raises:
        KeyMismatchError: no level or one that the model does not have, or a value that its attribute cannot have.
    """
    level = level_of(identifier, root=root)
    criteria: list[Criterion] = []
    returned = []
    for keyword, value in _elements(identifier):
        key = KEYS.get(keyword)
        if key is None or not belongs(key, level, root):
            continue
        returned.append(keyword)
        criteria += criteria_of(keyword, value)
    uniques = [UNIQUE_KEYS[each] for each in LEVELS[LEVELS.index(root) : LEVELS.index(level) + 1]]
    return Query(level, tuple(criteria), tuple(dict.fromkeys([*returned, *uniques])))


def parse_retrieval(identifier: Dataset, *, root: Level) -> list[Criterion]:
    """Which instances a C-MOVE or C-GET identifier names (PS3.4 C.4.2.1.4.1): unique keys only, those of its level given.

    Raises:
        KeyMismatchError: no level, or the unique key of the level is missing, empty or a pattern.
    """
    level = level_of(identifier, root=root)
    criteria: list[Criterion] = []
    for each in LEVELS[LEVELS.index(root) : LEVELS.index(level) + 1]:
        keyword = UNIQUE_KEYS[each]
        values = [value for value in _texts(identifier.get(keyword)) if value]
        if any("*" in value or "?" in value for value in values) or (each == level and not values):
            raise KeyMismatchError(f"{keyword} must name what is to be retrieved")
        if values:
            criteria.append(Criterion(KEYS[keyword].column, "is", tuple(values[:MOST_VALUES])))
    return criteria


def level_of(identifier: Dataset, *, root: Level) -> Level:
    """The level of an identifier.

    Raises:
        KeyMismatchError: there is none, or the information model does not have it.
    """
    level = LEVEL_NAMES.get(str(identifier.get("QueryRetrieveLevel", "")).strip())
    if level is None or LEVELS.index(level) < LEVELS.index(root):
        raise KeyMismatchError("QueryRetrieveLevel is missing or not one of the information model")
    return level


def belongs(key: Key, level: Level, root: Level) -> bool:
    """Whether a key can be asked for at a level: its own or one above; counts of a patient only at the level of patients."""
    if key.kind == "counted" and key.level == "patient":
        return level == "patient"
    if key.kind in {"counted", "has"} and key.level != level:
        return key.level == "study" and root == "study" and level == "study"
    return LEVELS.index(key.level) <= LEVELS.index(level)


def criteria_of(keyword: str, value: Any) -> list[Criterion]:
    """What must hold for one key; nothing for an empty value (universal matching) and for counts.

    Raises:
        KeyMismatchError: the value is not one that the attribute can have.
    """
    key = KEYS[keyword]
    values = [text for text in _texts(value) if text.strip("*")][:MOST_VALUES]
    if not values or key.kind == "counted":
        return []
    match key.kind:
        case "uid":
            return [Criterion(key.column, "is", tuple(values))]
        case "has":
            plain = tuple(text for text in values if not _is_pattern(text))
            return [Criterion(key.column, "has", plain)] if len(plain) == len(values) else []
        case "number":
            return [Criterion(key.column, "is", tuple(_whole(keyword, text) for text in values))]
        case "date":
            return [_range(keyword, values[0], _DATE, "")]
        case "time":
            return [_range(keyword, values[0], _TIME, _LATEST)]
        case "name":
            return [Criterion("names", "like", (f"*\n{pattern}\n*",)) for pattern in _name_patterns(values[0])]
    if any(_is_pattern(text) for text in values):
        return [Criterion(key.column, "like", tuple(values))]
    return [Criterion(key.column, "is", tuple(values))]


def value_of(keyword: str, row: Mapping[str, Any]) -> str | int | list[str]:
    """The value to answer with; empty text where the index holds none."""
    key = KEYS[keyword]
    value = row[key.column]
    if key.kind == "has":
        return sorted(value.split(",")) if value else ""
    return "" if value is None else value


def _elements(identifier: Dataset) -> Iterator[tuple[str, Any]]:
    for element in identifier:
        if element.VR != "SQ" and element.keyword:
            yield element.keyword, element.value


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        value = str(value).split("\\")
    return [str(each).strip(" \0") for each in value]


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _whole(keyword: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise KeyMismatchError(f"{keyword} is not a number") from error


def _name_patterns(value: str) -> list[str]:
    """A pattern for each component group that is given, as the index keeps names."""
    patterns = []
    for group in value.split("="):
        folded = fold(group)
        if folded.strip("* "):
            patterns.append(folded if folded.isascii() or re.search(r"[a-z\u00c0-\u024f]", folded) else folded.replace(" ", ""))
    return patterns


def _range(keyword: str, text: str, form: re.Pattern[str], latest: str) -> Criterion:
    """A single date or time, or a range of them open at one side (PS3.4 C.2.2.2.5); a time stands for all of its second or minute."""
    low, dash, high = text.partition("-")
    if any(part and form.fullmatch(part) is None for part in (low, high)) or not (low or high):
        raise KeyMismatchError(f"{keyword} is not a date, a time, or a range of them")
    high = high if dash else low
    upper = (high + latest[len(high) :] if latest and "." not in high else high) or None
    return Criterion(KEYS[keyword].column, "between", (low or None, upper))
