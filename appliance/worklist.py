"""What people see of a study on the kiosk: rows, details, sessions, events.

Plain data that the archive keeps, the workflow changes, the API carries and the kiosk shows.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from appliance.errors import Reason
from appliance.findings import Findings
from appliance.study import Approval, ReportText, Role, StudyHeader, ViewKind

StudyState = Literal[
    "receiving",  # images are arriving
    "queued",  # complete, waiting for the analyst
    "analysing",
    "draft",  # the AI draft waits for a person
    "approving",  # approved, the undo window is open
    "approved",  # the window has closed; films and objects are being made
    "delivering",  # outbox rows are on their way
    "delivered",
    "declined",  # not a study for the analysis; reason given; still stored and relayed
    "failed",  # the analysis failed; reason given; can be retried
]
STUDY_STATES: tuple[StudyState, ...] = get_args(StudyState)


UpdateState = Literal[
    "idle",
    "looking",  # the stick is mounted and read
    "offered",  # checked whole; waits for a person
    "installing",  # the other slot is written
    "installed",  # waits for a quiet moment
    "restarting",  # the restart was ordered
    "trying",  # the new version runs and has to prove itself
    "returning",  # it did not; the restart into the old one was ordered
    "good",
    "back",  # the old version runs again
    "refused",  # what is on the stick must not be installed; nothing was written
    "failed",  # nothing of the running version was changed
]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything that crosses the API."""


class StudyRow(Message, frozen=True, kw_only=True):
    """A line of the worklist. Times are seconds since the epoch (UTC); ``revision`` counts changes of the draft and guards commands."""

    key: str
    state: StudyState
    revision: int
    header: StudyHeader
    images: int
    received_at: float
    updated_at: float
    urgent: bool = False
    stage: str | None = None
    """The analysis stage that runs, by its name in ``timing_s``."""
    progress: float | None = None
    """Fraction 0..1 of the analysis."""
    cad_rads: str | None = None
    reason: Reason | None = None
    approval: Approval | None = None
    undo_seconds: float | None = None
    """Seconds left to undo, while ``approving``."""


class PictureInfo(Message, frozen=True, kw_only=True):
    """A key view that can be fetched as PNG."""

    id: str
    kind: ViewKind
    title_zh: str
    title_en: str
    width: int
    height: int
    vessel: str | None = None
    segment: str | None = None
    lesion: int | None = None


class DeliveryRow(Message, frozen=True, kw_only=True):
    """One outbox row as a person sees it."""

    id: int
    destination: str
    kind: Literal["store", "print"]
    description: str
    state: Literal["pending", "sending", "done", "retrying"]
    attempts: int
    last_error: Reason | None = None
    next_attempt_at: float | None = None
    route: str | None = None
    """The route of the settings that sends it; None for films."""
    files: int = 0
    sent: int = 0
    """How many of the files the destination has answered to, whatever it said."""
    accepted: int = 0
    committed: int | None = None
    """How many it has committed (PS3.4 annex J); None where it does not offer that."""
    left_out: int = 0
    """How many the profile of a pseudonymised route did not let go."""


class PriorRow(Message, frozen=True, kw_only=True):
    """An earlier examination of the patient: ``here`` has the key of the study on this box, once it is."""

    study_date: str
    description: str
    modalities: str
    source: str
    state: Literal["found", "fetched", "failed"]
    here: str | None = None
    cad_rads: str | None = None


class StudyPage(Message, frozen=True, kw_only=True):
    """A part of what was searched for: urgent ones first, then the newest; ``total`` counts all."""

    total: int
    offset: int
    rows: tuple[StudyRow, ...]


class StudyDetail(Message, frozen=True, kw_only=True):
    """Everything that the review screen shows of one study."""

    row: StudyRow
    findings: Findings | None = None
    report: ReportText | None = None
    pictures: tuple[PictureInfo, ...] = ()
    deliveries: tuple[DeliveryRow, ...] = ()
    notices: tuple[str, ...] = ()
    protected: bool = False
    """A person wants it kept whatever happens."""
    images_removed: bool = False
    """Retention has removed its images from this disk."""
    priors: tuple[PriorRow, ...] = ()
    """Earlier examinations of the patient, newest first."""


class Session(Message, frozen=True, kw_only=True):
    """A signed-in person."""

    token: str
    user_id: str
    user_name: str
    role: Role
    may_approve: bool
    """Whether site policy lets this role release films and images."""
    may_finalise: bool
    """Whether this role makes the report final."""


class Health(Message, frozen=True, kw_only=True):
    """The strip at the top of the kiosk."""

    receiver_ready: bool
    analyst_ready: bool
    engine: str
    disk_free_fraction: float
    warnings: tuple[Reason, ...] = ()


class Event(Message, frozen=True, kw_only=True):
    """A numbered change: the row as it is now (None if the study is gone)."""

    number: int
    key: str
    row: StudyRow | None


class Snapshot(Message, frozen=True, kw_only=True):
    """The whole worklist as of event ``number``."""

    number: int
    rows: tuple[StudyRow, ...]
    health: Health


class UpdateInfo(Message, frozen=True, kw_only=True):
    """Where the update of the box stands."""

    installed: str
    """The running version."""
    state: UpdateState = "idle"
    stick: bool = False
    """Whether a stick is plugged in."""
    available: bool = False
    """Whether this box has two slots at all, and the service that writes them."""
    version: str = ""
    notes_zh: str = ""
    notes_en: str = ""
    progress: float | None = None
    """Fraction 0..1 of the installation."""
    waiting: tuple[Literal["receiving", "analysis", "delivery"], ...] = ()
    """What has to end before the restart."""
    reason: Reason | None = None
    may: bool = False
    """Whether the person who asks may order it."""


Line = Annotated[str, msgspec.Meta(max_length=64)]


class SelfTestRow(Message, frozen=True, kw_only=True):
    """What the self-test says of one part. ``absent``: not there, and need not be."""

    part: str
    state: Literal["good", "absent", "bad"]
    zh: str
    en: str
    code: str = ""


class SelfTestInfo(Message, frozen=True, kw_only=True):
    """The last self-test since the service started; no rows: there was none."""

    running: bool = False
    rows: tuple[SelfTestRow, ...] = ()


class ServiceReply(Message, frozen=True, kw_only=True):
    """What became of the order on a service engineer's stick; it may hold a PIN, which is shown once."""

    zh: str
    en: str


class SetUpPeer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A printer or an archive; without a host there is none."""

    host: Line = ""
    port: int = 104
    ae_title: Line = ""


class SetUpRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a new box, and its first person (``POST /v1/set-up``). An empty ``address`` means DHCP.

    ``clock``: local time, ``YYYY-MM-DD HH:MM``; empty where the clock is right.
    """

    language: Literal["zh", "en"]
    institution: Line
    ae_title: Line
    port: int
    address: Line = ""
    gateway: Line = ""
    dns: Line = ""
    ntp: Line = ""
    time_zone: Line = "Asia/Shanghai"
    clock: Line = ""
    archive: SetUpPeer = SetUpPeer()
    printer: SetUpPeer = SetUpPeer()
    user: Line
    role: Role
    pin: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4,12}$")]
