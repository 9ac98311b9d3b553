"""Orders of the RIS (modality worklist items), kept so that a study can be joined with its order whenever it comes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database

KEPT_S = 7 * 86400.0
"""Orders that the worklist no longer shows are forgotten after this time."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One scheduled procedure step (PS3.4 annex K); empty string where the worklist says nothing."""

    study_uid: str = ""
    accession_number: str = ""
    step_id: str = ""
    patient_id: str = ""
    patient_name: str = ""
    requested_procedure: str = ""
    referring_physician: str = ""
    study_description: str = ""
    scheduled_at: str = ""
    """YYYYMMDDHHMMSS."""
    urgent: bool = False
    """Requested Procedure Priority (0040,1003) is STAT or HIGH."""


class OrderStore:
    """Rows of the orders."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def keep(self, orders: Sequence[Order]) -> None:
        """Keep what the worklist said, the newest word of each order; forget what it has not shown for `KEPT_S`."""
        now = self._clock.wall()
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO orders (step_id, accession_number, study_uid, patient_id, seen_at, content)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [(each.step_id, each.accession_number, each.study_uid, each.patient_id, now, msgspec.json.encode(each)) for each in orders],
            )
            connection.execute("DELETE FROM orders WHERE seen_at < ?", (now - KEPT_S,))

    def find(self, *, study_uid: str, accession_number: str, patient_id: str) -> Order | None:
        """The order of a study: that with its Study Instance UID, else the one with its accession number; of this patient in any case."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT content FROM orders WHERE patient_id = ? AND ((study_uid = ? AND study_uid <> '')"
                " OR (accession_number = ? AND accession_number <> '')) ORDER BY study_uid = ? DESC, seen_at DESC, step_id",
                (patient_id, study_uid, accession_number, study_uid),
            ).fetchall()
        return msgspec.json.decode(rows[0]["content"], type=Order) if rows else None
