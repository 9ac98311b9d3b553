"""Safe mode: what is said of it, and when it ends by itself so that the box heals without a service engineer."""

from __future__ import annotations

import logging
import threading

from appliance.archive.archive import Archive
from appliance.errors import Reason

log = logging.getLogger(__name__)

SAFE_MODE_S = 1800.0
POLL_S = 1.0
SAFE_MODE = Reason(
    code="WF-080",
    zh="安全模式:仅接收并保存影像,不分析、不发送。请联系维修人员",
    en="safe mode: images are received and kept, nothing is analysed or sent. Call the service engineer",
)


class SafeMode:
    """One worker of the daemon calls `run`; the daemon ends when it returns, and systemd tries the normal service.

    Args:
        archive: its associations tell whether somebody is sending.
        lasts_s: how long safe mode lasts at least.
    """

    def __init__(self, *, archive: Archive, lasts_s: float = SAFE_MODE_S) -> None:
        self._archive = archive
        self._lasts_s = lasts_s

    def run(self, stop: threading.Event) -> None:
        """Return after `lasts_s`, as soon as no association is open."""
        if stop.wait(self._lasts_s):
            return
        while self._sending() and not stop.wait(POLL_S):
            pass
        log.info("safe mode ends, the normal service is tried again")

    def _sending(self) -> bool:
        with self._archive.database.reading() as connection:
            return connection.execute("SELECT 1 FROM associations WHERE closed_at IS NULL LIMIT 1").fetchone() is not None
