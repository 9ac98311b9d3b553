"""What the coordinator does now and then for the archive's health: retention and snapshots of the database."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from appliance.archive.archive import Archive
from appliance.archive.backup import SnapshotKeeper
from appliance.archive.retention import Retention
from appliance.settings import Settings


def make_retention(archive: Archive, settings: Settings) -> Retention:
    """Retention as the site's settings want it."""
    # where the CT was told that the box itself is the storage, what the box holds is no copy
    rules = msgspec.structs.replace(
        settings.retention, images_must_be_archived=settings.retention.images_must_be_archived or settings.commitment.local_storage
    )
    return archive.retention(
        rules,
        refuse_below=settings.receiver.minimum_free_bytes + settings.retention.series_reserve_bytes,
        archive_name=settings.archive.destination,
    )


def housekeeping(archive: Archive, settings: Settings) -> dict[str, Callable[[threading.Event], None]]:
    """The workers, by name."""
    snapshots = SnapshotKeeper(
        database=archive.database.path,
        folder=settings.backup.folder or settings.data / "snapshots",
        clock=archive.clock,
        components=archive.components,
        hours=settings.backup.snapshot_hours,
        keep=settings.backup.snapshots,
    )
    return {"retention": make_retention(archive, settings).run, "snapshots": snapshots.run}
