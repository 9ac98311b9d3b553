"""The receiver process: the DICOM door of `appliance.dicom` in front of the spool of `appliance.archive`. No numeric code."""

from __future__ import annotations

import logging
import threading

from appliance.archive.archive import open_archive
from appliance.archive.removals import Sweeper
from appliance.archive.repair import mark_missing, put_aside
from appliance.dicom.receiver import run_receiver
from appliance.settings import Settings
from appliance.workflow.relay import relay_services

log = logging.getLogger(__name__)


def run_reception(settings: Settings) -> int:
    """Bring the spool in order, then receive until told to stop; returns the exit status.

    Raises:
        ArchiveError: another receiver holds the spool, or the database cannot be used.
    """
    archive = open_archive(settings.data)
    spool = archive.spool(
        minimum_free_bytes=settings.receiver.minimum_free_bytes, series_reserve_bytes=settings.retention.series_reserve_bytes
    )
    sweeper = Sweeper(database=archive.database, spool=spool)
    sweeper.finish()  # what is to go must not be taken for images without a row
    found = spool.recover()
    log.info("spool: %d unfinished files removed, %d whole ones taken in", found.swept, found.adopted)
    if found.missing or found.foreign:
        log.error("spool: %d images have lost their file, %d files are not ours", len(found.missing), len(found.foreign))
        mark_missing(archive, found.missing)
        put_aside(found.foreign, settings.data / "foreign")
    stop = threading.Event()
    threading.Thread(target=sweeper.run, args=(stop,), name="sweeper", daemon=True).start()
    try:
        return run_receiver(
            settings.receiver,
            spool,
            ready=lambda port: archive.components.report("receiver", ready=True, detail=str(port)),
            services=relay_services(settings, archive),
        )
    finally:
        stop.set()
        archive.components.report("receiver", ready=False)
        spool.close()
        archive.close()
