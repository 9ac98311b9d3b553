"""What the controller asks of the appliance and what comes back: the language between the screen side and the network thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import msgspec

from appliance.api.messages import (
    ApplianceInfo,
    ApproveRequest,
    CommandRequest,
    CorrectionRequest,
    Dominance,
    DominanceRequest,
    Entered,
    ErrorReply,
    Event,
    Grade,
    ModifiersRequest,
    ProtectRequest,
    RenameRequest,
    RetryRequest,
    SegmentName,
    SelfTestInfo,
    SendAgainRequest,
    ServiceReply,
    ServiceRequest,
    Session,
    SetUpReply,
    SetUpRequest,
    Snapshot,
    StudyDetail,
    StudyPage,
    StudyState,
    UpdateInfo,
    UpdateRequest,
    UpdateWish,
)
from kiosk.state import Picture

# what can be asked


@dataclass(frozen=True)
class Ask:
    """Base of all requests.

    Attributes:
        deadline_s: after so long it is lost.
        insists: sent again, with the same key, until it is answered or its time is up; a lost connection does not end it.
    """

    deadline_s: ClassVar[float] = 15.0
    insists: ClassVar[bool] = False


@dataclass(frozen=True)
class SignIn(Ask):
    """Answered by ``Session``."""

    pin: str


@dataclass(frozen=True)
class SignOut(Ask):
    """Ends the session; there is no answer to wait for."""


@dataclass(frozen=True)
class FetchStudy(Ask):
    """Answered by ``StudyDetail``."""

    key: str


@dataclass(frozen=True)
class FindStudies(Ask):
    """Answered by ``StudyPage``. ``since`` is a study date, YYYYMMDD; empty values mean any."""

    text: str
    states: tuple[StudyState, ...]
    since: str
    urgent: bool
    offset: int
    limit: int


@dataclass(frozen=True)
class FetchPicture(Ask):
    """Answered by ``Picture``, or None if the one with ``tag`` is still the right one."""

    key: str
    picture: str
    tag: str | None = None


@dataclass(frozen=True)
class Command(Ask):
    """Changes a study; answered by ``StudyDetail``."""

    deadline_s = 30.0
    insists = True
    key: str
    verb: Literal["corrections", "names", "dominance", "modifiers", "approve", "undo", "retry", "send-again", "protect"]
    command: str
    revision: int = 0
    lesion: int = 0
    grade: Grade = "none"
    protected: bool = False
    waiting: bool = False
    to: str = ""
    branch: int = 0
    segment: int | None = None
    name: SegmentName = "other"
    dominance: Dominance | None = None
    entered: Entered = field(default_factory=Entered)

    def body(self) -> msgspec.Struct:
        """The message that the API expects."""
        if self.verb == "corrections":
            return CorrectionRequest(command=self.command, revision=self.revision, lesion=self.lesion, grade=self.grade)
        if self.verb == "names":
            return RenameRequest(command=self.command, revision=self.revision, branch=self.branch, segment=self.segment, name=self.name)
        if self.verb == "dominance":
            return DominanceRequest(command=self.command, revision=self.revision, dominance=self.dominance)
        if self.verb == "modifiers":
            return ModifiersRequest(
                command=self.command,
                revision=self.revision,
                ischaemia=self.entered.ischaemia,
                grafts=self.entered.grafts,
                exceptions=self.entered.exceptions,
            )
        if self.verb == "approve":
            return ApproveRequest(command=self.command, revision=self.revision)
        if self.verb == "protect":
            return ProtectRequest(command=self.command, protected=self.protected)
        if self.verb == "send-again":
            return SendAgainRequest(command=self.command, to=self.to)
        if self.verb == "retry":
            return RetryRequest(command=self.command, waiting=self.waiting)
        return CommandRequest(command=self.command)


@dataclass(frozen=True)
class BoxAsk(Ask):
    """About the box itself: a path of the API, what is sent to it (None: nothing, it is only read), and the shape of the answer."""

    path: ClassVar[str]
    reply: ClassVar[type[UpdateInfo] | type[SetUpReply] | type[ServiceReply] | type[SelfTestInfo]]

    def body(self) -> msgspec.Struct | None:
        """The message that the API expects."""
        return None


@dataclass(frozen=True)
class FetchUpdate(BoxAsk):
    """Answered by ``UpdateInfo``."""

    path = "/v1/update"
    reply = UpdateInfo


@dataclass(frozen=True)
class SendWish(BoxAsk):
    """What the person wants of the update; answered by ``UpdateInfo``."""

    path = "/v1/update"
    reply = UpdateInfo
    wish: UpdateWish
    command: str

    def body(self) -> msgspec.Struct:
        """The message that the API expects."""
        return UpdateRequest(command=self.command, wish=self.wish)


@dataclass(frozen=True)
class SendSetUp(BoxAsk):
    """The settings of a new box; answered by ``SetUpReply``."""

    path = "/v1/set-up"
    reply = SetUpReply
    wanted: SetUpRequest

    def body(self) -> msgspec.Struct:
        """The message that the API expects."""
        return self.wanted


@dataclass(frozen=True)
class SendService(BoxAsk):
    """Carry out the order on a service engineer's stick; answered by ``ServiceReply``."""

    path = "/v1/service"
    reply = ServiceReply
    deadline_s = 900.0  # a key goes into a TPM; what it shows is shown once
    insists = True
    command: str

    def body(self) -> msgspec.Struct:
        """The message that the API expects."""
        return ServiceRequest(command=self.command)


@dataclass(frozen=True)
class FetchSelfTest(BoxAsk):
    """Answered by ``SelfTestInfo``."""

    path = "/v1/self-test"
    reply = SelfTestInfo


@dataclass(frozen=True)
class StartSelfTest(BoxAsk):
    """Begin a self-test; answered by ``SelfTestInfo``."""

    path = "/v1/self-test"
    reply = SelfTestInfo
    command: str

    def body(self) -> msgspec.Struct:
        """The message that the API expects."""
        return CommandRequest(command=self.command)


@dataclass(frozen=True)
class SendRecoveryKey(Ask):
    """Unlock the data partition, in the place of an appliance that could not start; answered by ``KeyReply``."""

    deadline_s = 900.0
    words: str


class KeyReply(msgspec.Struct, frozen=True):
    """The box restarts and opens its data. ``tpm``: whether its TPM took a key; else one lies beside the loader."""

    tpm: bool


# what can be received


@dataclass(frozen=True)
class Received:
    """Base of everything that the thread reports."""


@dataclass(frozen=True)
class Online(Received):
    """Connected; the appliance said who it is."""

    info: ApplianceInfo


@dataclass(frozen=True)
class Offline(Received):
    """Not connected; the thread goes on trying.

    Attributes:
        fault: code of what stopped the box's start before the appliance could come up; empty where nothing did.
    """

    fault: str = ""


@dataclass(frozen=True)
class SnapshotReceived(Received):
    """The whole worklist."""

    snapshot: Snapshot


@dataclass(frozen=True)
class EventsReceived(Received):
    """Changes of the worklist; empty: nothing happened, the appliance is alive."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class SessionEnded(Received):
    """The appliance no longer knows the session."""


@dataclass(frozen=True)
class Answered(Received):
    """The answer to a request."""

    id: int
    ask: Ask
    value: Session | StudyDetail | StudyPage | Picture | UpdateInfo | SetUpReply | ServiceReply | SelfTestInfo | KeyReply | None


@dataclass(frozen=True)
class Refused(Received):
    """The appliance said no, and why."""

    id: int
    ask: Ask
    error: ErrorReply


@dataclass(frozen=True)
class Lost(Received):
    """No answer before the deadline or the end of the connection."""

    id: int
    ask: Ask


class ClientPort(Protocol):
    """What the controller needs of the network."""

    def send(self, ask: Ask) -> int:
        """Hand a request over, return its id; never waits."""
        ...

    def drain(self) -> list[Received]:
        """Everything received since the last call, in order; never waits."""
        ...
