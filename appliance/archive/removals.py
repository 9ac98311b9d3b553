"""Files whose rows have gone, until the files are gone too.

A row goes first, in one transaction with its place in this list; the file follows. After a crash in between the list says what is left to
do, so that no row claims a file that is not there and no file without a row is taken for a new image (`Spool.recover` adopts such files).

An image may come again while its old file waits here. Only the process that holds the spool can tell the two apart, so it removes image
files (`Sweeper`); folders of drafts are removed by the coordinator.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from appliance.archive.database import Database
from appliance.archive.files import sync_folder
from appliance.errors import ArchiveError

log = logging.getLogger(__name__)

Kind = Literal["image", "draft"]

BATCH = 200
PAUSE_S = 0.05
"""Between two batches, so that removing does not compete with receiving."""
IDLE_S = 30.0


@dataclass(frozen=True)
class Removal:
    """One file (an image, by its SOP Instance UID) or folder (a draft, relative to the drafts) to remove."""

    kind: Kind
    name: str
    bytes: int


class Removals:
    """Rows of the list."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def enlist(self, removals: Iterable[Removal]) -> None:
        """Part of the transaction that takes the rows away."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO removals (kind, name, bytes) VALUES (?, ?, ?)",
                [(each.kind, each.name, each.bytes) for each in removals],
            )

    def waiting(self, kind: Kind, *, limit: int = BATCH) -> list[Removal]:
        """The oldest ones."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM removals WHERE kind = ? ORDER BY id LIMIT ?", (kind, limit))
            return [Removal(kind, row["name"], row["bytes"]) for row in rows]

    def waiting_bytes(self) -> int:
        """What the disk gets back once all of them are gone."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT coalesce(sum(bytes), 0) AS bytes FROM removals").fetchone()["bytes"])

    def done(self, removals: Sequence[Removal]) -> None:
        """They are gone, durably."""
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM removals WHERE kind = ? AND name = ?", [(each.kind, each.name) for each in removals])

    def remove_drafts(self, drafts: Path) -> int:
        """Remove the folders of drafts that are listed; returns how many."""
        waiting = self.waiting("draft")
        for each in waiting:
            folder = drafts / each.name
            shutil.rmtree(folder, ignore_errors=True)
            if folder.parent.is_dir():
                sync_folder(folder.parent)
        self.done([each for each in waiting if not (drafts / each.name).exists()])
        return len(waiting)


class ImageFiles(Protocol):
    """What the sweeper needs of the spool."""

    def remove(self, sop_instance_uid: str) -> bool:
        """Remove the file of an instance that has no row; False, with nothing done, if it has come again."""
        ...

    def path(self, sop_instance_uid: str) -> Path:
        """Where the file of an instance lies."""
        ...


class Sweeper:
    """Removes the image files of the list; lives in the process that holds the spool.

    Args:
        database: the archive's database.
        spool: knows whether an image has come again.
    """

    def __init__(self, *, database: Database, spool: ImageFiles) -> None:
        self._database = database
        self._removals = Removals(database=database)
        self._spool = spool

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        watcher = self._database.watcher()
        while not stop.is_set():
            try:
                busy = bool(self.step())
            except (ArchiveError, OSError) as error:
                # what stays listed is removed later; a full or failing disk must not end the receiver
                log.error("files wait to be removed: %s", type(error).__name__)  # noqa: TRY400
                stop.wait(IDLE_S)
                continue
            if busy:
                stop.wait(PAUSE_S)
            else:
                watcher.wait(IDLE_S, stopped=stop.wait)
        watcher.close()

    def finish(self) -> int:
        """Remove everything that is listed; returns how many files. At start, before whole files without a row are taken in."""
        total = 0
        while count := self.step():
            total += count
        return total

    def step(self) -> int:
        """Remove one batch; returns how many entries it had."""
        waiting = self._removals.waiting("image")
        for each in waiting:
            self._spool.remove(each.name)
        # a file whose removal the power cut undoes must still be listed then
        for folder in {self._spool.path(each.name).parent for each in waiting}:
            sync_folder(folder)
        if waiting:
            self._removals.done(waiting)
        return len(waiting)
