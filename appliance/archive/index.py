"""The index of the instances: which study and series each belongs to. Written by intake, read by everyone."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance.archive.database import Database
from appliance.archive.instance_files import instance_name
from appliance.errors import Reason


@dataclass(frozen=True)
class Instance:
    """One kept instance. ``study`` and ``series_uid`` are None until intake has read its header."""

    id: int
    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    sha256: str
    received_at: float
    association: int | None
    study: str | None
    series_uid: str | None
    problem: Reason | None


class InstanceIndex:
    """Rows of the instances.

    Args:
        database: the archive's database.
        root: folder of the instance files (the spool).
    """

    def __init__(self, *, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def unsorted(self, *, limit: int) -> list[Instance]:
        """Instances whose header nobody has read yet, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM instances WHERE study IS NULL AND problem IS NULL ORDER BY id LIMIT ?", (limit,))
            return [self._instance(row) for row in rows]

    def sort(self, instance: int, *, study: str, series_uid: str) -> None:
        """Record which study and series an instance belongs to."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE instances SET study = ?, series_uid = ? WHERE id = ?", (study, series_uid, instance))

    def quarantine(self, instance: int, *, problem: Reason, study: str | None = None) -> None:
        """Record why an instance cannot be used; its file stays."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE instances SET study = ?, problem = ? WHERE id = ?", (study, msgspec.json.encode(problem), instance))

    def quarantined(self) -> list[Instance]:
        """All instances that cannot be used."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM instances WHERE problem IS NOT NULL ORDER BY id")
            return [self._instance(row) for row in rows]

    def of_study(self, study: str, *, series_uid: str | None = None) -> list[Instance]:
        """Usable instances of a study, or of one of its series, in the order of arrival."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM instances WHERE study = ? AND problem IS NULL AND (? IS NULL OR series_uid = ?) ORDER BY id",
                (study, series_uid, series_uid),
            )
            return [self._instance(row) for row in rows]

    def association_open(self, study: str) -> bool:
        """Whether an association that brought images of the study is still open."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM associations WHERE closed_at IS NULL AND id IN (SELECT association FROM instances WHERE study = ?)", (study,)
            ).fetchone()
            return row is not None

    def titles_of(self, association: int | None) -> tuple[str, str]:
        """Calling and called AE title of an association; empty where it is not known."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT calling_ae_title, called_ae_title FROM associations WHERE id = ?", (association,)).fetchone()
        return ("", "") if row is None else (row["calling_ae_title"], row["called_ae_title"])

    def called_titles(self, study: str) -> set[str]:
        """The titles of ours that the images of a study were sent to; one that is empty stands for images that no association brought."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT coalesce(called_ae_title, '') AS title FROM instances"
                " LEFT JOIN associations ON associations.id = instances.association WHERE study = ?",
                (study,),
            )
            return {row["title"] for row in rows}

    def with_unrelayed(self) -> list[str]:
        """Keys of the studies with images that have not been offered to the outbox yet."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT DISTINCT study FROM instances WHERE relayed = 0 AND study IS NOT NULL AND problem IS NULL")
            return [row["study"] for row in rows]

    def unrelayed(self, study: str) -> list[Instance]:
        """Usable images of a study that were not taken yet, in the order of arrival."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM instances WHERE study = ? AND relayed = 0 AND problem IS NULL ORDER BY id", (study,))
            return [self._instance(row) for row in rows]

    def take_unrelayed(self, study: str, *, most: int | None = None) -> list[Instance]:
        """The images that `unrelayed` gives, or the first ``most`` of them, once; part of the transaction that enlists them."""
        with self._database.transaction() as connection:
            images = self.unrelayed(study)[:most]
            connection.executemany("UPDATE instances SET relayed = 1 WHERE id = ?", [(image.id,) for image in images])
            return images

    def _instance(self, row: sqlite3.Row) -> Instance:
        return Instance(
            id=row["id"],
            sop_instance_uid=row["sop_instance_uid"],
            sop_class_uid=row["sop_class_uid"],
            path=self._root / instance_name(row["sop_instance_uid"]),
            sha256=row["sha256"],
            received_at=row["received_at"],
            association=row["association"],
            study=row["study"],
            series_uid=row["series_uid"],
            problem=None if row["problem"] is None else msgspec.json.decode(row["problem"], type=Reason),
        )
