"""Writing the search index: one row per study, series and instance, beside the rows that own the state.

The study's row follows `StudyStore` within the same transaction; series and instances are added by intake when it sorts what has arrived,
and by the analyst when an approval releases results. Removing a study removes them all (``ON DELETE CASCADE``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.archive.database import Database
from appliance.archive.folding import fold, fold_name, tokens
from appliance.study import StudyHeader

BATCH = 500


@dataclass(frozen=True)
class InstanceEntry:
    """What a query may ask of one instance (PS3.4 C.6.1.1.5, C.6.2.1.4) and of its series; empty or None where its header says nothing.

    Attributes:
        path: relative to the data folder.
        result: made by this appliance; found only while the study's release stands.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    series_uid: str
    path: str
    modality: str = ""
    series_number: int | None = None
    series_description: str = ""
    body_part: str = ""
    protocol: str = ""
    series_date: str = ""
    series_time: str = ""
    instance_number: int | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int | None = None
    content_date: str = ""
    content_time: str = ""
    result: bool = False


_STUDY_TEXTS = (
    "study_uid", "patient_name", "patient_id", "patient_birth_date", "patient_sex", "accession_number", "study_id", "study_date",
    "study_time", "study_description", "referring_physician", "institution",
)  # fmt: skip
_SERIES = (
    "series_uid", "modality", "series_number", "series_description", "body_part", "protocol", "series_date", "series_time", "result",
)  # fmt: skip
_INSTANCE = (
    "sop_instance_uid", "series_uid", "sop_class_uid", "transfer_syntax_uid", "path", "instance_number", "rows", "columns", "frames",
    "content_date", "content_time", "result",
)  # fmt: skip
_INSERT_STUDY = (
    f"INSERT INTO found_studies (study, state, urgent, received_at, names, patient, accession, {', '.join(_STUDY_TEXTS)})"  # noqa: S608 - constants
    f" VALUES (?, ?, ?, ?, ?, ?, ?, {', '.join('?' * len(_STUDY_TEXTS))})"
)
_INSERT_SERIES = f"INSERT OR IGNORE INTO found_series (study, {', '.join(_SERIES)}) VALUES (?, {', '.join('?' * len(_SERIES))})"  # noqa: S608 - constants
_INSERT_INSTANCE = (
    f"INSERT INTO found_instances (study, {', '.join(_INSTANCE)}) VALUES (?, {', '.join('?' * len(_INSTANCE))})"  # noqa: S608 - constants
    " ON CONFLICT (sop_instance_uid) DO NOTHING"
)


def write_study(connection: sqlite3.Connection, *, key: str, state: str, urgent: bool, received_at: float, header: StudyHeader) -> None:
    """Bring the row of one study up to date; part of the transaction that changes the study."""
    texts = [getattr(header, name) for name in _STUDY_TEXTS]
    row = connection.execute("SELECT * FROM found_studies WHERE study = ?", (key,)).fetchone()
    if row is not None and [row[name] for name in _STUDY_TEXTS] == texts:
        if (row["state"], row["urgent"]) != (state, int(urgent)):
            connection.execute("UPDATE found_studies SET state = ?, urgent = ? WHERE id = ?", (state, int(urgent), row["id"]))
        return
    if row is not None:
        connection.execute("DELETE FROM found_studies WHERE id = ?", (row["id"],))
    names = fold_name(header.patient_name)
    patient = "\n".join(filter(None, (names, fold(header.patient_id))))
    accession = fold(header.accession_number)
    cursor = connection.execute(_INSERT_STUDY, (key, state, int(urgent), received_at, f"\n{names}\n", patient, accession, *texts))
    connection.execute("INSERT INTO found_words (rowid, words) VALUES (?, ?)", (cursor.lastrowid, tokens(f"{patient}\n{accession}")))


class FoundObjects:
    """Series and instances of the search index.

    Args:
        database: the archive's database.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def add(self, entries: Sequence[InstanceEntry], *, study: str) -> None:
        """Add instances of one study, with their series; what is there already stays as it is."""
        with self._database.transaction() as connection:
            connection.executemany(_INSERT_SERIES, [(study, *_values(entry, _SERIES)) for entry in entries])
            connection.executemany(_INSERT_INSTANCE, [(study, *_values(entry, _INSTANCE)) for entry in entries])

    def replace_results(self, entries: Sequence[InstanceEntry], *, study: str) -> None:
        """The results that stand for a study from now on; those of an earlier release are no longer found."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM found_instances WHERE study = ? AND result = 1", (study,))
            connection.execute("DELETE FROM found_series WHERE study = ? AND result = 1", (study,))
            self.add(entries, study=study)

    def missing(self) -> Iterator[list[tuple[str, str]]]:
        """Sorted, usable instances without an entry (from before there was an index), as (study, SOP Instance UID), in batches."""
        last = 0
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(
                    "SELECT id, study, sop_instance_uid FROM instances WHERE id > ? AND study IS NOT NULL AND problem IS NULL"
                    " AND sop_instance_uid NOT IN (SELECT sop_instance_uid FROM found_instances) ORDER BY id LIMIT ?",
                    (last, BATCH),
                ).fetchall()
            if not rows:
                return
            last = rows[-1]["id"]
            yield [(row["study"], row["sop_instance_uid"]) for row in rows]


def _values(entry: InstanceEntry, names: Sequence[str]) -> list[str | int | None]:
    return [int(value) if isinstance(value, bool) else value for value in (getattr(entry, name) for name in names)]
