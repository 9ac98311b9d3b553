"""Looking studies, series and instances up: a page of the worklist for people, and rows in batches for DICOM queries.

Nothing is found of a study while its images arrive, nor results whose release no longer stands. Answers for peers come in batches of one
short transaction each, so that neither memory nor the database's log grows with a slow peer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from appliance.archive.database import Database
from appliance.archive.folding import phrase, terms
from appliance.archive.instance_files import instance_name

Level = Literal["patient", "study", "series", "instance"]
LEVELS: tuple[Level, ...] = ("patient", "study", "series", "instance")
BATCH = 200
DENSE = 2000
"""With more matches of a text than this a page is found sooner by walking the list in its order."""
MANY = 20_000
"""Likewise where there are further conditions, so that matches in the order of the list may be far apart."""


@dataclass(frozen=True)
class Criterion:
    """One condition on a column; several are joined by AND.

    Attributes:
        column: name in the table of `COLUMNS`.
        kind: ``is`` one of ``values``; ``like`` a pattern of ``*`` and ``?``; ``between`` two inclusive limits, None for an open one;
            ``has``: some series (instance) of the study has one of the values.
        values: texts to compare with.
    """

    column: str
    kind: Literal["is", "like", "between", "has"]
    values: tuple[str | int | None, ...]


@dataclass(frozen=True)
class PageQuery:
    """What a person looks for; None and empty mean any.

    Attributes:
        text: words that must all be in name, ID or accession number, in any script, case and width.
        patient: likewise, in name or ID only.
        accession: likewise, in the accession number only.
        states: states of the study.
        from_date, to_date: study date, YYYYMMDD, inclusive.
        urgent: only urgent ones.
    """

    text: str = ""
    patient: str = ""
    accession: str = ""
    states: tuple[str, ...] = ()
    from_date: str = ""
    to_date: str = ""
    urgent: bool = False


@dataclass(frozen=True)
class Page:
    """Keys of the studies of one page, urgent ones first, then the newest; ``total`` counts all that match."""

    total: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class FoundInstance:
    """An instance to hand out; its file lies at ``path``."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str
    frames: int
    path: Path


@dataclass(frozen=True)
class Keeping:
    """Whether a person wants a study kept, and whether its images have been removed."""

    protected: bool = False
    images_removed: bool = False


_STUDY_COLUMNS = (
    "study_uid", "patient_name", "patient_id", "patient_birth_date", "patient_sex", "accession_number", "study_id", "study_date",
    "study_time", "study_description", "referring_physician", "institution", "names",
)  # fmt: skip
_SERIES_COLUMNS = (
    "series_uid", "modality", "series_number", "series_description", "body_part", "protocol", "series_date", "series_time",
)  # fmt: skip
_INSTANCE_COLUMNS = (
    "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid", "instance_number", "rows", "columns", "frames", "content_date",
    "content_time", "path", "result",
)  # fmt: skip
COLUMNS: Mapping[str, str] = {
    **{name: f"s.{name}" for name in _STUDY_COLUMNS},
    **{name: f"e.{name}" for name in _SERIES_COLUMNS},
    **{name: f"i.{name}" for name in _INSTANCE_COLUMNS},
}
_SHOWN = "(e.result = 0 OR s.state IN ('delivering', 'delivered'))"
_OF_PATIENT = (
    "JOIN found_studies o ON o.study = e.study WHERE o.patient_id = s.patient_id AND o.state <> 'receiving'"
    " AND (e.result = 0 OR o.state IN ('delivering', 'delivered'))"
)
_STUDIES_OF_PATIENT = (
    "FROM found_studies o WHERE o.patient_id = s.patient_id AND o.state <> 'receiving' AND EXISTS (SELECT 1 FROM found_series e"
    " WHERE e.study = o.study AND (e.result = 0 OR o.state IN ('delivering', 'delivered')))"
)
_SERIES_OF_STUDY = f"FROM found_series e WHERE e.study = s.study AND {_SHOWN}"
_INSTANCES_OF_STUDY = f"FROM found_instances e WHERE e.study = s.study AND {_SHOWN}"
COUNTED: Mapping[str, str] = {
    "modalities": f"(SELECT group_concat(DISTINCT e.modality) {_SERIES_OF_STUDY} AND e.modality <> '')",
    "sop_classes": f"(SELECT group_concat(DISTINCT e.sop_class_uid) {_INSTANCES_OF_STUDY})",
    "study_series": f"(SELECT count(*) {_SERIES_OF_STUDY})",
    "study_instances": f"(SELECT count(*) {_INSTANCES_OF_STUDY})",
    "series_instances": "(SELECT count(*) FROM found_instances x WHERE x.study = e.study AND x.series_uid = e.series_uid)",
    "patient_studies": f"(SELECT count(*) {_STUDIES_OF_PATIENT})",
    "patient_series": f"(SELECT count(*) FROM found_series e {_OF_PATIENT})",  # noqa: S608 - constants
    "patient_instances": f"(SELECT count(*) FROM found_instances e {_OF_PATIENT})",  # noqa: S608 - constants
}
_STUDY_OF_INSTANCE = "JOIN found_studies s ON s.study = i.study"
_HAS: Mapping[str, str] = {
    "modalities": f"EXISTS (SELECT 1 {_SERIES_OF_STUDY} AND e.modality IN ({{marks}}))",
    "sop_classes": f"EXISTS (SELECT 1 {_INSTANCES_OF_STUDY} AND e.sop_class_uid IN ({{marks}}))",
}
_SOURCE: Mapping[Level, tuple[str, str, tuple[str, ...]]] = {
    "patient": ("s", "found_studies s", _STUDY_COLUMNS),
    "study": ("s", "found_studies s", _STUDY_COLUMNS),
    "series": ("e", "found_series e JOIN found_studies s ON s.study = e.study", _STUDY_COLUMNS + _SERIES_COLUMNS),
    "instance": (
        "i",
        f"found_instances i JOIN found_series e ON e.study = i.study AND e.series_uid = i.series_uid {_STUDY_OF_INSTANCE}",
        _STUDY_COLUMNS + _SERIES_COLUMNS + _INSTANCE_COLUMNS,
    ),
}


class SearchIndex:
    """Reads the search index.

    Args:
        database: the archive's database.
        data: the data folder.
    """

    def __init__(self, *, database: Database, data: Path) -> None:
        self._database = database
        self._data = data

    def page(self, query: PageQuery, *, offset: int, limit: int) -> Page:
        """One page of the studies that match, and how many there are."""
        with self._database.reading() as connection:
            where, values = _conditions(query)
            match, exact = _match(query)
            matches = 0 if match is None else _matches(connection, match)
            only_words = match is not None and exact and query == PageQuery(text=query.text)
            if match is not None and matches <= (DENSE if only_words else MANY):
                where = f"id IN (SELECT rowid FROM found_words WHERE found_words MATCH ?) AND {where}"  # noqa: S608 - our own texts
                keys = _keys(connection, where, (match, *values), limit=-1, offset=0)
                return Page(total=len(keys), keys=keys[offset : offset + limit])
            if only_words:
                total = matches
            else:
                total = int(connection.execute(f"SELECT count(*) FROM found_studies WHERE {where}", values).fetchone()[0])  # noqa: S608
            return Page(total=total, keys=_keys(connection, where, values, limit=limit, offset=offset))

    def find(
        self, level: Level, criteria: Sequence[Criterion], *, counted: Sequence[str] = (), offset: int = 0
    ) -> Iterator[Mapping[str, Any]]:
        """Rows of one level that match, by arrival.

        Args:
            level: what a row is.
            criteria: all must hold; each column must belong to the level or one above.
            counted: names of `COUNTED` to work out for each row.
            offset: so many rows are left out first.
        """
        alias, source, columns = _SOURCE[level]
        selected = ", ".join(
            [f"{alias}.id AS number", *(COLUMNS[name] for name in columns), *(f"{COUNTED[name]} AS {name}" for name in counted)]
        )
        where, values = _where(level, criteria)
        statement = f"SELECT {selected} FROM {source} WHERE {alias}.id > ? AND {where} ORDER BY {alias}.id LIMIT ? OFFSET ?"  # noqa: S608
        last = 0
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(statement, (last, *values, BATCH, offset)).fetchall()
            yield from rows
            if len(rows) < BATCH:
                return
            last, offset = rows[-1]["number"], 0

    def count(self, level: Level, criteria: Sequence[Criterion]) -> int:
        """How many rows of one level match."""
        _, source, _ = _SOURCE[level]
        where, values = _where(level, criteria)
        with self._database.reading() as connection:
            return int(connection.execute(f"SELECT count(*) FROM {source} WHERE {where}", values).fetchone()[0])  # noqa: S608

    def kept(self, keys: Sequence[str]) -> dict[str, Keeping]:
        """What retention has noted of studies, for those of which it has noted something."""
        marks = ", ".join("?" * len(keys))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT study, protected, images_removed_at FROM keeping WHERE study IN ({marks})",  # noqa: S608 - only marks
                tuple(keys),
            )
            return {row["study"]: Keeping(bool(row["protected"]), row["images_removed_at"] is not None) for row in rows}

    def instances(self, criteria: Sequence[Criterion]) -> Iterator[FoundInstance]:
        """The instances that match, with their files, by arrival."""
        for row in self.find("instance", criteria):
            received = Path("spool") / instance_name(row["sop_instance_uid"])
            yield FoundInstance(
                sop_instance_uid=row["sop_instance_uid"],
                sop_class_uid=row["sop_class_uid"],
                transfer_syntax_uid=row["transfer_syntax_uid"],
                study_uid=row["study_uid"],
                series_uid=row["series_uid"],
                frames=row["frames"] or 1,
                path=self._data / (row["path"] if row["result"] else received),
            )


def _match(query: PageQuery) -> tuple[str | None, bool]:
    """What to ask the index of words, None if it cannot help; and whether that is all that was asked."""
    phrases = [phrase(term) for text in (query.text, query.patient, query.accession) for term in terms(text)]
    known = [each for each in phrases if each is not None]
    return " AND ".join(known) or None, len(known) == len(phrases)


def _keys(connection: sqlite3.Connection, where: str, values: Sequence[str | int], *, limit: int, offset: int) -> tuple[str, ...]:
    statement = f"SELECT study FROM found_studies WHERE {where} ORDER BY urgent DESC, received_at DESC LIMIT ? OFFSET ?"  # noqa: S608
    return tuple(row["study"] for row in connection.execute(statement, (*values, limit, offset)))


def _matches(connection: sqlite3.Connection, match: str) -> int:
    return int(connection.execute("SELECT count(*) FROM found_words WHERE found_words MATCH ?", (match,)).fetchone()[0])


def _conditions(query: PageQuery) -> tuple[str, list[str | int]]:
    """The conditions of a page; the index of words only narrows them down."""
    parts, values = ["1"], list[str | int]()
    for term in terms(query.text):
        parts.append("(instr(patient, ?) OR instr(accession, ?))")
        values += [term, term]
    for column, text in (("patient", query.patient), ("accession", query.accession)):
        for term in terms(text):
            parts.append(f"instr({column}, ?)")
            values.append(term)
    if query.states:
        parts.append(f"state IN ({', '.join('?' * len(query.states))})")
        values += query.states
    if query.from_date:
        parts.append("study_date >= ?")
        values.append(query.from_date)
    if query.to_date:
        parts.append("study_date <= ?")
        values.append(query.to_date)
    if query.urgent:
        parts.append("urgent = 1")
    return " AND ".join(parts), values


def _where(level: Level, criteria: Sequence[Criterion]) -> tuple[str, list[str | int | None]]:
    parts, values = ["s.state <> 'receiving'"], list[str | int | None]()
    if level == "patient":
        parts.append(f"s.id = (SELECT max(o.id) {_STUDIES_OF_PATIENT})")
    else:
        parts.append(_SHOWN if level != "study" else f"EXISTS (SELECT 1 {_SERIES_OF_STUDY})")
    for criterion in criteria:
        part, more = _condition(criterion)
        parts.append(part)
        values += more
    return " AND ".join(parts), values


def _condition(criterion: Criterion) -> tuple[str, list[str | int | None]]:
    marks = ", ".join("?" * len(criterion.values))
    if criterion.kind == "has":
        return _HAS[criterion.column].format(marks=marks), list(criterion.values)
    column = COLUMNS[criterion.column]
    if criterion.kind == "is":
        return (f"{column} = ?" if len(criterion.values) == 1 else f"{column} IN ({marks})"), list(criterion.values)
    if criterion.kind == "like":
        # GLOB would take brackets for sets of characters
        patterns = [str(value).replace("[", "[[]") for value in criterion.values]
        return "(" + " OR ".join(f"{column} GLOB ?" for _ in patterns) + ")", list(patterns)
    low, high = criterion.values
    bounds = [(f"{column} >= ?", low), (f"{column} <= ?", high)]
    given = [(part, value) for part, value in bounds if value is not None]
    return " AND ".join([f"{column} <> ''", *(part for part, _ in given)]), [value for _, value in given]
