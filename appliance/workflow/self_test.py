"""The self-test on the kiosk: what `appliance doctor` says, for who may update the box. It takes up to a minute, so it runs beside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

from appliance.archive.archive import Archive
from appliance.errors import WorkflowError
from appliance.worklist import SelfTestInfo, SelfTestRow, Session


class SelfTest:
    """May be used by several threads; one test runs at a time.

    Args:
        archive: for the audit trail.
        run: tries every part (`appliance.maintenance.examination.examine`); a part that fails is a row, never an exception.
        roles: who may ask for it.
    """

    def __init__(self, *, archive: Archive, run: Callable[[], Sequence[SelfTestRow]], roles: Collection[str]) -> None:
        self._archive = archive
        self._run = run
        self._roles = roles
        self._lock = threading.Lock()
        self._info = SelfTestInfo()

    def info(self, session: Session) -> SelfTestInfo:
        """The last one, or that one is running. Raises WorkflowError WF-104 (kind ``forbidden``)."""
        self._check(session)
        return self._info

    def start(self, session: Session) -> SelfTestInfo:
        """Begin one, if none runs. Raises WorkflowError WF-104 (kind ``forbidden``)."""
        self._check(session)
        with self._lock:
            if not self._info.running:
                self._archive.audit.record(actor=session.user_id, action="self-test")
                self._info = SelfTestInfo(running=True)
                threading.Thread(target=self._work, name="self-test", daemon=True).start()
        return self._info

    def _work(self) -> None:
        rows: Sequence[SelfTestRow] = ()
        try:
            rows = self._run()
        finally:
            self._info = SelfTestInfo(rows=tuple(rows))

    def _check(self, session: Session) -> None:
        if session.role not in self._roles:
            raise WorkflowError("WF-104", zh="您的角色无权更新系统", en="your role may not update the box", kind="forbidden")
