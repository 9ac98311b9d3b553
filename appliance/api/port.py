"""What the API needs of the workflow: a protocol, so that the API is tested against a workflow in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from appliance.anatomy import Dominance, SegmentName
from appliance.findings import Entered, Grade
from appliance.worklist import Event, Session, Snapshot, StudyDetail, StudyPage, StudyState


class WorkflowPort(Protocol):
    """The workflow as the API sees it. All methods may block (they are called on worker threads, several at once).

    Every method raises a :class:`~appliance.errors.CoronetError` for what it cannot do. ``error.details["kind"]`` chooses the HTTP status:
    ``"not_found"`` 404, ``"forbidden"`` 403, ``"unauthenticated"`` 401, ``"busy"`` 429; anything else is a conflict with the state (409)
    for a WorkflowError and a fault of the appliance (500) for the other errors.

    Commands are idempotent by ``command``: the same key again answers what the first did, without doing it again.
    """

    def sign_in(self, pin: str) -> Session:
        """Open a session; raises for a PIN that nobody has."""
        ...

    def sign_in_by_badge(self, *, timeout_s: float) -> Session | None:
        """Open a session for the person whose badge is shown within ``timeout_s``; None if none is; raises for an unknown badge."""
        ...

    def session(self, token: str) -> Session | None:
        """The open session with that token, None if there is none."""
        ...

    def sign_out(self, token: str) -> None:
        """Close the session; nothing happens if it is closed already."""
        ...

    def snapshot(self) -> Snapshot:
        """The whole worklist and the number of the last event in it."""
        ...

    def events_after(self, number: int, *, timeout_s: float) -> Sequence[Event] | None:
        """Events numbered above ``number``, waiting up to ``timeout_s`` for the first; None: a gap, take a new snapshot."""
        ...

    def study(self, key: str) -> StudyDetail:
        """Everything of one study."""
        ...

    def picture(self, key: str, picture_id: str) -> Path:
        """The PNG file of a key view."""
        ...

    def correct(self, *, session: Session, study: str, revision: int, lesion: int, grade: Grade, command: str) -> StudyDetail:
        """Set a lesion's grade; text, scores and CAD-RADS follow."""
        ...

    def rename(
        self, *, session: Session, study: str, revision: int, branch: int, segment: int | None, name: SegmentName, command: str
    ) -> StudyDetail:
        """Give a segment of a branch (None: the whole branch) another name; lesions, dominance, text, scores and CAD-RADS follow."""
        ...

    def set_dominance(self, *, session: Session, study: str, revision: int, dominance: Dominance | None, command: str) -> StudyDetail:
        """Say which side dominates; None: what the names say."""
        ...

    def enter_modifiers(self, *, session: Session, study: str, revision: int, entered: Entered, command: str) -> StudyDetail:
        """Enter what a physician knows for CAD-RADS, in place of what was entered before."""
        ...

    def approve(self, *, session: Session, study: str, revision: int, command: str) -> StudyDetail:
        """Approve the draft; the undo window opens."""
        ...

    def undo(self, *, session: Session, study: str, command: str) -> StudyDetail:
        """Take the approval back while the window is open."""
        ...

    def retry(self, *, session: Session, study: str, command: str, waiting: bool = False) -> StudyDetail:
        """Queue a failed study again, or send what waits; ``waiting``: the latter alone."""
        ...

    def send_again(self, *, session: Session, study: str, to: str, command: str) -> StudyDetail:
        """Store once more what a destination has already; ``to`` empty: every one that has it."""
        ...

    def search(
        self, *, text: str, states: Sequence[StudyState], from_date: str, to_date: str, urgent: bool, offset: int, limit: int
    ) -> StudyPage:
        """A page of the studies that match; empty values mean any."""
        ...

    def protect(self, *, session: Session, study: str, protected: bool, command: str) -> StudyDetail:
        """Keep a study whatever happens, or no longer."""
        ...
