"""Retention: which studies may go, and how they go.

What may go: images of studies that nobody works on (delivered, or declined), that are not protected, of which no outbox row is open, and of
which every image was accepted by an archive. For want of room (above the high watermark) the oldest go first, and only as many as bring the
disk below the low watermark; by age where the site says so. Results stay longer than images, if the site says so.

How it goes: one transaction takes the rows away, enlists the files in `removals`, and writes the audit entry; the files follow. The study's
own row stays, with no images; images that come again begin a new generation of it.

Ages are differences of wall clock times. After a start, and after a step of the clock, nothing goes by age for an hour: a clock that is
years ahead is put right by then, or a person has seen it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from appliance.archive.audit import AuditTrail
from appliance.archive.clock import Clock
from appliance.archive.components import ComponentStore
from appliance.archive.database import Database
from appliance.archive.found import FoundObjects
from appliance.archive.index import InstanceIndex
from appliance.archive.instance_files import instance_name
from appliance.archive.outbox import Outbox
from appliance.archive.removals import Removal, Removals
from appliance.archive.studies import StudyRecord, StudyStore
from appliance.errors import ArchiveError, Reason
from appliance.settings import RetentionSettings

log = logging.getLogger(__name__)

COMPONENT = "disk"
DAY_S = 86400.0
CLOCK_STEP_S = 300.0
CLOCK_SETTLES_S = 3600.0
AT_REST = ("delivered", "declined")
"""States in which nobody works on a study. A failed one waits for a person, and so does a draft."""

COUNTED = 200

Kept = Literal["protected", "in_work", "undelivered", "not_archived", "recent"]
KEPT_ZH: dict[Kept, str] = {
    "protected": "受保护",
    "in_work": "处理中或待审核",
    "undelivered": "尚未送达",
    "not_archived": "原始影像未归档",
    "recent": "时间过近",
}
KEPT_EN: dict[Kept, str] = {
    "protected": "protected",
    "in_work": "in work or waiting for a person",
    "undelivered": "not delivered yet",
    "not_archived": "images in no archive",
    "recent": "too recent",
}
Why = Literal["room", "age", "person"]


@dataclass(frozen=True)
class Room:
    """A disk, in bytes."""

    total: int
    free: int


def room_of(folder: Path) -> Room:
    """The disk that a folder lies on, as far as this process may use it."""
    disk = os.statvfs(folder)
    return Room(total=disk.f_blocks * disk.f_frsize, free=disk.f_bavail * disk.f_frsize)


_FETCHED_PRIOR = (
    "SELECT 1 FROM studies JOIN priors ON priors.study_uid = studies.study_uid"
    " WHERE studies.key = ? AND studies.state = 'declined' AND priors.state = 'fetched' LIMIT 1"
)
"""An earlier examination that the box has fetched for comparison: the archive that it came from has it."""


class Retention:
    """Decides and carries out.

    Args:
        database: for transactions over several stores.
        studies: their states.
        index: their images.
        found: results that a query may find.
        outbox: what is not delivered yet.
        audit: every removal is recorded.
        components: where the operator is told that the disk is nearly full.
        clock: ages (wall) and the pace (monotonic).
        drafts: folder of drafts and releases.
        settings: ``[retention]``.
        refuse_below: free bytes below which the receiver takes no new association.
        room: the data disk.
        archive_name: the destination that is the long-term archive; empty: any that takes the source counts.
    """

    def __init__(
        self,
        *,
        database: Database,
        studies: StudyStore,
        index: InstanceIndex,
        found: FoundObjects,
        outbox: Outbox,
        audit: AuditTrail,
        components: ComponentStore,
        clock: Clock,
        drafts: Path,
        settings: RetentionSettings,
        refuse_below: int,
        room: Callable[[], Room],
        archive_name: str = "",
    ) -> None:
        self._database = database
        self._studies = studies
        self._index = index
        self._found = found
        self._outbox = outbox
        self._audit = audit
        self._components = components
        self._clock = clock
        self._drafts = drafts
        self._settings = settings
        self._refuse_below = refuse_below
        self._room = room
        self._archive_name = archive_name
        self._removals = Removals(database=database)
        self._clocks = (clock.wall(), clock.monotonic())
        self._steady_since = clock.monotonic()
        self._said: Reason | Literal["nothing"] | None = "nothing"

    def run(self, stop: threading.Event) -> None:
        """Look now and then until told to stop."""
        while not stop.wait(self._settings.check_seconds):
            try:
                self.step()
            except ArchiveError as error:  # the database is full or busy: the next look may find it otherwise
                log.error("retention waits: %s", error)  # noqa: TRY400 - the typed error says it all

    def step(self) -> int:
        """Remove what has to go now and tell the operator how the disk is; returns how many studies lost images or results."""
        gone = 0
        steady = self._clock_is_steady()
        if self._settings.enabled:
            gone += self._make_room()
            if steady:
                gone += self._remove_old()
            self._removals.remove_drafts(self._drafts)
        self._report()
        return gone

    def protect(self, key: str, *, actor: str, protected: bool = True) -> None:
        """Keep a study whatever happens, or no longer.

        Raises:
            ArchiveError: no such study.
        """
        with self._database.transaction() as connection:
            self._studies.get(key)
            connection.execute(
                "INSERT INTO keeping (study, protected) VALUES (?, ?) ON CONFLICT (study) DO UPDATE SET protected = excluded.protected",
                (key, int(protected)),
            )
            self._audit.record(actor=actor, action="protect" if protected else "unprotect", study=key)

    def remove(self, key: str, *, actor: str, why: Why = "person", age_s: float = 0.0) -> int:
        """Remove the images of one study, if that may be; returns the bytes that the disk gets back.

        Args:
            key: the study.
            actor: who decided it: user id, or ``coronet``.
            why: what for, kept in the audit entry.
            age_s: it must not have changed for so long.

        Raises:
            ArchiveError: ARC-052 it must be kept (``details["kept"]``), or no such study.
        """
        with self._database.transaction() as connection:
            study = self._studies.get(key)
            kept = self.kept(study, age_s=age_s)
            if kept is not None:
                raise ArchiveError(
                    "ARC-052", zh=f"检查影像须保留:{KEPT_ZH[kept]}", en=f"the images must be kept: {KEPT_EN[kept]}", kept=kept
                )
            rows = connection.execute(
                "SELECT sop_instance_uid, bytes FROM instances WHERE study = ? AND problem IS NULL", (key,)
            ).fetchall()
            freed = sum(int(row["bytes"]) for row in rows)
            self._removals.enlist(Removal("image", row["sop_instance_uid"], row["bytes"]) for row in rows)
            connection.execute("DELETE FROM instances WHERE study = ? AND problem IS NULL", (key,))
            self._note(key, "images_removed_at")
            self._studies.save(msgspec.structs.replace(study, images=0))
            self._audit.record(actor=actor, action="images-removed", study=key, details={"images": len(rows), "bytes": freed, "why": why})
        log.info("study %s: %d images removed (%s)", key, len(rows), why)
        return freed

    def kept(self, study: StudyRecord, *, age_s: float = 0.0) -> Kept | None:
        """Why the images of a study must stay; None if they may go."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT protected FROM keeping WHERE study = ?", (study.key,)).fetchone()
            if row is not None and row["protected"]:
                return "protected"
            if study.state not in AT_REST or self._index.association_open(study.key):
                return "in_work"
            if self._outbox.unsettled(study.key) or self._unrelayed(study.key):
                return "undelivered"
            if self._settings.images_must_be_archived and not self._archived(study.key):
                return "not_archived"
            return "recent" if self._clock.wall() - study.updated_at < age_s else None

    # -- what goes

    def _make_room(self) -> int:
        """The oldest delivered images, down to the low watermark."""
        room = self._room()
        used = room.total - room.free - self._removals.waiting_bytes()
        if used <= self._settings.high_watermark * room.total:
            return 0
        return self._remove_images(used - self._settings.low_watermark * room.total, age_s=self._settings.minimum_days * DAY_S, why="room")

    def _remove_old(self) -> int:
        """What has been kept long enough."""
        gone = 0
        if self._settings.images_days:
            gone += self._remove_images(float("inf"), age_s=self._settings.images_days * DAY_S, why="age")
        if self._settings.results_days:
            gone += self._remove_results(self._settings.results_days * DAY_S)
        return gone

    def _remove_images(self, needed: float, *, age_s: float, why: Why) -> int:
        gone = 0
        for key in self._with_images():
            if needed <= 0:
                break
            try:
                needed -= self.remove(key, actor="coronet", why=why, age_s=age_s)
            except ArchiveError as error:
                if error.code != "ARC-052":
                    raise
            else:
                gone += 1
        return gone

    def _remove_results(self, age_s: float) -> int:
        with self._database.reading() as connection:
            marks = ", ".join("?" * len(AT_REST))
            keys = [
                row["key"]
                for row in connection.execute(
                    f"SELECT key FROM studies WHERE state IN ({marks}) AND draft IS NOT NULL AND images = 0"  # noqa: S608 - only marks
                    " AND updated_at < ? ORDER BY received_at",
                    (*AT_REST, self._clock.wall() - age_s),
                )
            ]
        return sum(self._remove_results_of(key, age_s=age_s) for key in keys)

    def _remove_results_of(self, key: str, *, age_s: float) -> bool:
        with self._database.transaction():
            study = self._studies.get(key)
            if study.images or study.draft is None or self.kept(study, age_s=age_s) is not None:
                return False
            folders = sorted((self._drafts / key).glob("g*"))
            sizes = {folder: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in folders}
            self._removals.enlist(Removal("draft", f"{key}/{folder.name}", size) for folder, size in sizes.items())
            self._found.replace_results([], study=key)
            self._note(key, "results_removed_at")
            self._studies.save(msgspec.structs.replace(study, draft=None))
            self._audit.record(actor="coronet", action="results-removed", study=key, details={"bytes": sum(sizes.values()), "why": "age"})
        return True

    def _with_images(self) -> list[str]:
        """Studies at rest that have images, the oldest first."""
        marks = ", ".join("?" * len(AT_REST))
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT key FROM studies WHERE state IN ({marks}) AND images > 0 ORDER BY received_at, rowid",  # noqa: S608 - only marks
                AT_REST,
            )
            return [row["key"] for row in rows]

    def _unrelayed(self, key: str) -> bool:
        """Whether intake has still to enlist images of a study for the archives."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM instances WHERE study = ? AND relayed = 0 AND problem IS NULL LIMIT 1", (key,)
            ).fetchone()
            return row is not None

    def _archived(self, key: str) -> bool:
        """Whether an archive (the long-term one, if the site names one) took every image of a study, or they came from there."""
        with self._database.reading() as connection:
            if connection.execute(_FETCHED_PRIOR, (key,)).fetchone() is not None:
                return True
            images = {
                f"spool/{instance_name(row['sop_instance_uid'])}"
                for row in connection.execute("SELECT sop_instance_uid FROM instances WHERE study = ? AND problem IS NULL", (key,))
            }
            accepted = {
                row["path"]
                for row in connection.execute(
                    "SELECT path FROM outbox_files JOIN outbox ON outbox.id = outbox_files.outbox"
                    " WHERE outbox.study = ? AND outbox.purpose = 'source' AND outbox_files.accepted = 1 AND outbox_files.left_out = 0"
                    # a pseudonymised copy for research is no archive
                    " AND coalesce(json_extract(CAST(outbox.treatment AS TEXT), '$.pseudonymise'), 0) = 0"
                    " AND (? = '' OR outbox.destination = ?)",
                    (key, self._archive_name, self._archive_name),
                )
            }
        return images <= accepted

    def _note(self, key: str, column: Literal["images_removed_at", "results_removed_at"]) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT INTO keeping (study, {column}) VALUES (?, ?) ON CONFLICT (study) DO UPDATE SET {column} = excluded.{column}",  # noqa: S608
                (key, self._clock.wall()),
            )

    # -- clock and operator

    def _clock_is_steady(self) -> bool:
        """False for an hour after the start and after each step of the wall clock."""
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        passed = (wall - self._clocks[0], monotonic - self._clocks[1])
        self._clocks = (wall, monotonic)
        if abs(passed[0] - passed[1]) > CLOCK_STEP_S:
            log.warning("the clock was set by %.0f s: nothing is removed by age for an hour", passed[0] - passed[1])
            self._steady_since = monotonic
        return monotonic - self._steady_since >= CLOCK_SETTLES_S

    def _report(self) -> None:
        """Tell the operator, once for each change."""
        reason = self._condition()
        if reason != self._said:
            self._components.report(COMPONENT, ready=reason is None, reason=reason)
            self._said = reason

    def _condition(self) -> Reason | None:
        room = self._room()
        if room.free < self._refuse_below:
            zh, en = self._why_kept()
            return Reason(
                code="ARC-051", zh=f"磁盘已满,不再接收新检查(保留:{zh})", en=f"the disk is full, new studies are refused (kept: {en})"
            )
        used = room.total - room.free - self._removals.waiting_bytes()
        if used > self._settings.high_watermark * room.total:
            zh, en = self._why_kept()
            return Reason(
                code="ARC-050",
                zh=f"磁盘即将用满,没有可删除的影像(保留:{zh})",
                en=f"the disk is nearly full and no images may be removed (kept: {en})",
            )
        return None

    def _why_kept(self) -> tuple[str, str]:
        """How many studies must stay and why, in both languages; the oldest `COUNTED` are looked at."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT key FROM studies WHERE images > 0 ORDER BY received_at LIMIT ?", (COUNTED,)).fetchall()
            kept = Counter(self.kept(self._studies.get(row["key"]), age_s=self._settings.minimum_days * DAY_S) for row in rows)
        counts = [(why, number) for why, number in kept.most_common() if why is not None]
        zh = ",".join(f"{KEPT_ZH[why]} {number}" for why, number in counts)
        en = ", ".join(f"{KEPT_EN[why]} {number}" for why, number in counts)
        return zh or "无", en or "none"
