"""Who is signed in: sessions in memory, so that a restart of the coordinator signs everybody out."""

from __future__ import annotations

import secrets
import threading

from appliance.archive.clock import Clock
from appliance.archive.users import User
from appliance.settings import PolicySettings
from appliance.worklist import Session

LONGEST_S = 12 * 3600.0
"""No session outlives a shift."""
MAXIMUM_SESSIONS = 64


class Sessions:
    """The open sessions; may be used by several threads.

    A session ends when its token has not been used for the idle time of the policy (the kiosk went away; the kiosk itself signs out when
    nobody touches it), after 12 hours, or by signing out.

    Args:
        clock: its monotonic time counts.
        policy: who may approve, and the idle time.
    """

    def __init__(self, *, clock: Clock, policy: PolicySettings) -> None:
        self._clock = clock
        self._policy = policy
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Session, float, float]] = {}

    def open(self, user: User) -> Session:
        """Begin a session."""
        session = Session(
            token=secrets.token_urlsafe(32),
            user_id=user.id,
            user_name=user.name,
            role=user.role,
            may_approve=user.role == "physician" or (user.role == "radiographer" and self._policy.approval == "radiographer"),
            may_finalise=user.role == "physician",
        )
        now = self._clock.monotonic()
        with self._lock:
            self._drop_ended(now)
            while len(self._open) >= MAXIMUM_SESSIONS:
                del self._open[min(self._open, key=lambda token: self._open[token][2])]
            self._open[session.token] = (session, now, now)
        return session

    def use(self, token: str) -> Session | None:
        """The session with that token, which counts as used now; None if there is none."""
        now = self._clock.monotonic()
        with self._lock:
            self._drop_ended(now)
            entry = self._open.get(token)
            if entry is None:
                return None
            self._open[token] = (entry[0], entry[1], now)
            return entry[0]

    def close(self, token: str) -> None:
        """End a session; nothing happens if it has ended already."""
        with self._lock:
            self._open.pop(token, None)

    def _drop_ended(self, now: float) -> None:
        idle_s = self._policy.idle_lock_seconds
        self._open = {token: entry for token, entry in self._open.items() if now - entry[2] < idle_s and now - entry[1] < LONGEST_S}
