"""Signing in by badge: the reader's thread presents badges, the kiosk that is locked waits for one.

A badge counts only while a kiosk waits for it, and only for a moment: one that was shown to a screen on which somebody is at work, or to no
screen at all, signs nobody in later.
"""

from __future__ import annotations

import threading

from appliance.archive.archive import Archive
from appliance.archive.users import User
from appliance.errors import WorkflowError


class BadgeDesk:
    """May be used by several threads.

    Args:
        archive: badges and the audit trail.
    """

    def __init__(self, *, archive: Archive) -> None:
        self._archive = archive
        self._changed = threading.Condition()
        self._waiting = 0
        self._badge: str | None = None

    def present(self, badge: str) -> None:
        """A badge was shown to the reader."""
        with self._changed:
            if self._waiting:
                self._badge = badge
                self._changed.notify()

    def wait(self, timeout_s: float) -> User | None:
        """The person whose badge is shown within ``timeout_s`` seconds; None if none is shown.

        Raises:
            WorkflowError: WF-081 nobody has that badge (kind ``unauthenticated``).
        """
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._badge is not None, timeout=timeout_s)
                badge, self._badge = self._badge, None
            finally:
                self._waiting -= 1
        if badge is None:
            return None
        user = self._archive.badges.check(badge)
        if user is None:
            self._archive.audit.record(actor="coronet", action="badge refused")
            raise WorkflowError("WF-081", zh="胸卡未登记", en="nobody has this badge", kind="unauthenticated")
        return user
