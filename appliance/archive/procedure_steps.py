"""Performed procedure steps of the CT (PS3.4 annex F): each message kept until the RIS has it, and what a completed step says it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance.archive.clock import Clock
from appliance.archive.database import Database
from appliance.errors import Reason

Kind = Literal["create", "set"]
IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"


@dataclass(frozen=True)
class StepMessage:
    """An N-CREATE or N-SET as it came: ``content`` is its data set, in its transfer syntax."""

    id: int
    step: str
    kind: Kind
    transfer_syntax_uid: str
    content: bytes
    attempts: int


class ProcedureSteps:
    """Rows of the procedure steps and their messages."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def status(self, step: str) -> str | None:
        """IN PROGRESS, COMPLETED or DISCONTINUED; None if there is no such step."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT status FROM procedure_steps WHERE sop_instance_uid = ?", (step,)).fetchone()
            return None if row is None else str(row["status"])

    def create(self, step: str, *, study_uid: str, transfer_syntax_uid: str, content: bytes) -> None:
        """Keep an N-CREATE; the caller has looked that there is no such step."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO procedure_steps (sop_instance_uid, status, study_uid, updated_at) VALUES (?, ?, ?, ?)",
                (step, IN_PROGRESS, study_uid, self._clock.wall()),
            )
            self._keep(step, "create", transfer_syntax_uid, content)

    def change(self, step: str, *, status: str | None, images: Sequence[tuple[str, str]], transfer_syntax_uid: str, content: bytes) -> None:
        """Keep an N-SET; ``images``: (series, SOP instance) UIDs that it says were made, replacing those said before if there are any."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE procedure_steps SET status = coalesce(?, status), updated_at = ? WHERE sop_instance_uid = ?",
                (status, self._clock.wall(), step),
            )
            if images:
                connection.execute("DELETE FROM procedure_step_images WHERE step = ?", (step,))
                connection.executemany(
                    "INSERT OR IGNORE INTO procedure_step_images (step, series_uid, sop_instance_uid) VALUES (?, ?, ?)",
                    [(step, *image) for image in images],
                )
            self._keep(step, "set", transfer_syntax_uid, content)

    def awaited(self, study_uid: str, *, study: str) -> int:
        """How many images of series that have begun to arrive are still to come, by what completed steps of the study say.

        Args:
            study_uid: Study Instance UID.
            study: key of the study in the index.
        """
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*) AS number FROM procedure_steps AS step JOIN procedure_step_images AS image"
                " ON image.step = step.sop_instance_uid WHERE step.study_uid = ? AND step.status = ?"
                " AND image.series_uid IN (SELECT DISTINCT series_uid FROM instances WHERE study = ?)"
                " AND NOT EXISTS (SELECT 1 FROM instances WHERE instances.sop_instance_uid = image.sop_instance_uid)",
                (study_uid, COMPLETED, study),
            ).fetchone()
            return int(row["number"])

    def waiting(self) -> list[StepMessage]:
        """Messages that the RIS does not have yet: of each step the oldest, in the order in which they came."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT * FROM procedure_step_messages WHERE id IN"
                " (SELECT min(id) FROM procedure_step_messages WHERE done_at IS NULL GROUP BY step) ORDER BY id"
            )
            return [
                StepMessage(row["id"], row["step"], row["kind"], row["transfer_syntax_uid"], row["content"], row["attempts"])
                for row in rows
            ]

    def done(self, message: int) -> None:
        """The RIS has it."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE procedure_step_messages SET done_at = ? WHERE id = ?", (self._clock.wall(), message))

    def failed(self, message: int, *, reason: Reason) -> None:
        """The RIS has not taken it; it stays."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE procedure_step_messages SET attempts = attempts + 1, last_error = ? WHERE id = ?",
                (msgspec.json.encode(reason), message),
            )

    def _keep(self, step: str, kind: Kind, transfer_syntax_uid: str, content: bytes) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO procedure_step_messages (step, kind, transfer_syntax_uid, content, received_at) VALUES (?, ?, ?, ?, ?)",
                (step, kind, transfer_syntax_uid, content, self._clock.wall()),
            )
