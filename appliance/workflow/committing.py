"""The workers of storage commitment: one asks each archive that offers it, one tells the CT.

What an archive has accepted is asked about at once. Without a report in time it is asked about again; what it could not commit is sent
again (the delivery worker sees to it) and then asked about again, at growing intervals. A request of the CT is answered when the long-term
archive has committed all of it, or has failed for good; the report is tried again for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from appliance.archive.archive import Archive
from appliance.archive.commitments import SETTLING_S, CommitmentRequest
from appliance.dicom.commitment_scu import Report, ask_commitment, report_commitment
from appliance.errors import DicomError, Reason
from appliance.settings import ArchiveSettings, CommitmentSettings, DestinationSettings, PeerSettings
from appliance.workflow.delivery import BackOff

log = logging.getLogger(__name__)

IDLE_S = 5.0
PAUSE_S = 1.0
"""While images arrive the database changes all the time; so often is enough to look at what the CT waits for."""
SAME_ASSOCIATION_S = 5.0
"""How long to stay on the association for a report."""
ASKED_AT_ONCE = 1000

LOCAL_ONLY = Reason(
    code="WF-070",
    zh="存储确认仅以本机为准:尚未归档的影像只有一份",
    en="storage is committed on this box alone: images that are not archived yet exist once",
)


class CommitmentAsker:
    """Asks one destination. One thread calls `step` or `run`.

    Args:
        destination: it offers storage commitment.
        archive: what was accepted.
        back_off: waits after failures.
        new_uid: makes transaction UIDs.
        stay_s: how long to wait for a report on the same association.
    """

    def __init__(
        self,
        *,
        destination: DestinationSettings,
        archive: Archive,
        back_off: BackOff,
        new_uid: Callable[[], str],
        stay_s: float = SAME_ASSOCIATION_S,
    ) -> None:
        self._destination = destination
        self._archive = archive
        self._back_off = back_off
        self._new_uid = new_uid
        self._stay_s = stay_s
        self._deadlines: dict[str, float] = {}
        self._not_before = 0.0
        self._failures = 0
        self._failed_asked_at: float | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        self._archive.commitments.forget_all(self._destination.name)
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            wait_s = self.step()
            if wait_s > 0:
                watcher.wait(wait_s, stopped=stop.wait)
        watcher.close()

    def step(self) -> float:
        """Ask once if there is something to ask; seconds until it is worth looking again (0: at once)."""
        now = self._archive.clock.monotonic()
        for transaction, deadline in list(self._deadlines.items()):
            if self._archive.commitments.answered(transaction):
                del self._deadlines[transaction]
            elif now >= deadline:
                log.warning("%s: no storage commitment report in time, asking again", self._destination.name)
                self._archive.commitments.forget(transaction)
                del self._deadlines[transaction]
        if now < self._not_before:
            return min(self._not_before - now, IDLE_S)
        waiting = self._archive.commitments.to_ask(self._destination.name, limit=ASKED_AT_ONCE)
        failures = max((each.failures for each in waiting), default=0)
        if failures and self._failed_asked_at is not None:
            due = self._failed_asked_at + self._back_off.wait_s(failures)
            if now < due:
                waiting = [each for each in waiting if not each.failures]
        if not waiting:
            return IDLE_S
        if any(each.failures for each in waiting):
            self._failed_asked_at = now
        transaction = self._new_uid()
        self._archive.commitments.asked(transaction, destination=self._destination.name, items=waiting)
        self._deadlines[transaction] = now + self._destination.commitment_timeout_s
        items = [(each.sop_class_uid, each.sop_instance_uid) for each in waiting]
        try:
            ask_commitment(self._destination, transaction_uid=transaction, items=items, reported=self._reported, wait_s=self._stay_s)
        except DicomError as error:
            log.warning("%s: storage commitment: %s", self._destination.name, error)
            self._archive.commitments.forget(transaction)
            self._deadlines.pop(transaction, None)
            self._failures += 1
            self._not_before = now + self._back_off.wait_s(self._failures)
            return 0.0
        self._failures = 0
        return 0.0

    def _reported(self, report: Report) -> bool:
        transaction, committed, failed = report
        return self._archive.commitments.report(transaction, committed=committed, failed=failed)


class CommitmentReporter:
    """Answers the requests of the CT. One thread calls `step` or `run`.

    Args:
        archive: requests, and what the long-term archive has committed.
        long_term: which destination that is.
        commitment: whether this box alone is enough.
        peers: where reports go.
        back_off: waits after failures.
    """

    def __init__(
        self,
        *,
        archive: Archive,
        long_term: ArchiveSettings,
        commitment: CommitmentSettings,
        peers: Sequence[PeerSettings],
        back_off: BackOff,
    ) -> None:
        self._archive = archive
        self._long_term = long_term.destination
        self._local = commitment.local_storage
        self._peers = {each.ae_title: each for each in peers}
        self._back_off = back_off
        self._seen: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        self._archive.components.report("commitment", ready=not self._local, reason=LOCAL_ONLY if self._local else None)
        watcher = self._archive.database.watcher()
        while not stop.is_set():
            self.step()
            if not stop.wait(PAUSE_S):
                watcher.wait(IDLE_S, stopped=stop.wait)
        watcher.close()

    def step(self) -> None:
        """Decide what can be decided, and report what is decided."""
        now = self._archive.clock.monotonic()
        for request in self._archive.commitments.open_requests():
            first_seen = self._seen.setdefault(request.id, now)
            decided = request
            if not request.decided:
                settled = now - first_seen >= SETTLING_S
                decided = self._archive.commitments.decide(request, archive=self._long_term, local=self._local, settled=settled)
            if decided.decided and now >= self._due.get(request.id, now):
                self._report(decided, now)

    def _report(self, request: CommitmentRequest, now: float) -> None:
        peer = self._peers.get(request.requester)
        if peer is None:  # its address has left the settings; it is told when the address is back
            return
        try:
            report_commitment(peer, request)
        except DicomError as error:
            log.warning("storage commitment report: %s", error)
            failures = self._failures[request.id] = self._failures.get(request.id, 0) + 1
            self._due[request.id] = now + self._back_off.wait_s(failures)
            return
        self._archive.commitments.told(request.id)
        for kept in (self._seen, self._failures, self._due):
            kept.pop(request.id, None)
        log.info("storage commitment reported: %d instances", len(request.items))
