"""Earlier examinations of a patient: which were found in an archive for which study, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import Reason
from appliance.worklist import PriorRow


@dataclass(frozen=True)
class FoundPrior:
    """An earlier study as an archive described it."""

    study_uid: str
    study_date: str
    description: str
    modalities: str


class PriorStore:
    """Rows of the earlier examinations.

    Args:
        database: the archive's database.
        clock: wall time of the records.
    """

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def unasked(self, source: str, *, limit: int) -> list[str]:
        """Keys of complete studies, not priors themselves, for which the archive has not been asked yet, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT study FROM found_studies WHERE state <> 'receiving' AND patient_id <> ''"
                " AND study NOT IN (SELECT study FROM prior_searches WHERE source = ?)"
                " AND study_uid NOT IN (SELECT study_uid FROM priors) ORDER BY received_at DESC LIMIT ?",
                (source, limit),
            )
            return [row["study"] for row in rows]

    def found(self, study: str, priors: Sequence[FoundPrior], *, source: str) -> None:
        """Note what an archive has for a study, before anything is fetched: intake must know a prior by its UID when it comes."""
        now = self._clock.wall()
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO priors (study, study_uid, source, study_date, description, modalities, state, asked_at)"
                " VALUES (?, ?, ?, ?, ?, ?, 'found', ?)",
                [(study, each.study_uid, source, each.study_date, each.description, each.modalities, now) for each in priors],
            )
            connection.execute("INSERT OR REPLACE INTO prior_searches (study, source, at) VALUES (?, ?, ?)", (study, source, now))

    def settle(self, study: str, study_uid: str, *, reason: Reason | None) -> None:
        """Note that a prior has been fetched, or why it has not."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE priors SET state = ?, reason = ? WHERE study = ? AND study_uid = ?",
                ("fetched" if reason is None else "failed", None if reason is None else msgspec.json.encode(reason), study, study_uid),
            )

    def is_prior(self, study_uid: str) -> bool:
        """Whether a study is one that was asked for as an earlier examination, and did not come by itself before."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM priors WHERE study_uid = ?", (study_uid,)).fetchone() is not None

    def of_study(self, study: str) -> tuple[PriorRow, ...]:
        """The earlier examinations of a study, newest first: those found in archives, and those that this box has itself."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT priors.*, studies.key AS here, studies.cad_rads AS cad_rads FROM priors"
                " LEFT JOIN studies ON studies.study_uid = priors.study_uid WHERE priors.study = ?",
                (study,),
            ).fetchall()
            own = connection.execute(
                "SELECT e.study_uid, e.study_date, e.study_description, e.study, studies.cad_rads FROM found_studies s"
                " JOIN found_studies e ON e.patient_id = s.patient_id AND e.study <> s.study AND e.study_date < s.study_date"
                " JOIN studies ON studies.key = e.study WHERE s.study = ? AND s.patient_id <> '' ORDER BY e.study_date DESC LIMIT 20",
                (study,),
            ).fetchall()
        asked = {row["study_uid"] for row in rows}
        found = [
            PriorRow(
                study_date=row["study_date"], description=row["description"], modalities=row["modalities"], source=row["source"],
                state=row["state"], here=row["here"], cad_rads=row["cad_rads"],
            )
            for row in rows
        ]  # fmt: skip
        found += [
            PriorRow(
                study_date=row["study_date"], description=row["study_description"], modalities="CT", source="", state="fetched",
                here=row["study"], cad_rads=row["cad_rads"],
            )
            for row in own
            if row["study_uid"] not in asked
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda each: each.study_date, reverse=True))
