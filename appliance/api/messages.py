"""What crosses the API: the worklist and findings types, the requests, and the shape of an error.

The kiosk imports this module, ``anatomy`` and ``findings`` of the appliance and nothing else, so everything that it needs of the ground
floor is re-exported here. All messages are JSON objects; unknown fields of a reply are ignored, so that a kiosk one version older keeps
working, and unknown fields of a request are refused, so that a misspelt command is never taken for another one.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from appliance.anatomy import Dominance, SegmentName
from appliance.errors import ApiError, CoronetError, Reason
from appliance.findings import GRADES, Branch, CadRads, Entered, Findings, Grade, Ischaemia, Lesion
from appliance.study import (
    DRAFT_NOTICE,
    NOT_VALIDATED_NOTICE,
    Approval,
    ReportSection,
    ReportText,
    Role,
    StudyHeader,
)
from appliance.worklist import (
    STUDY_STATES,
    DeliveryRow,
    Event,
    Health,
    Message,
    PictureInfo,
    PriorRow,
    SelfTestInfo,
    SelfTestRow,
    ServiceReply,
    Session,
    SetUpPeer,
    SetUpRequest,
    Snapshot,
    StudyDetail,
    StudyPage,
    StudyRow,
    StudyState,
    UpdateInfo,
    UpdateState,
)

API_VERSION = 1
"""Counts breaking changes of the API; additive ones leave it."""

MAXIMUM_POLL_S = 20.0
"""Longest time that the server holds a long poll."""

Pin = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4,12}$")]
CommandKey = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{8,64}$")]
"""Made by the client, once per wish of the person: the same key sent again is the same command, done once."""
Revision = Annotated[int, msgspec.Meta(ge=0)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all request bodies."""


class SignInRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/sign-in``."""

    pin: Pin


class CorrectionRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/corrections``: set the grade of one lesion of the draft at ``revision``."""

    command: CommandKey
    revision: Revision
    lesion: int
    grade: Grade


class RenameRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/names``: name one segment (its number within a branch; null: the whole branch) of the draft."""

    command: CommandKey
    revision: Revision
    branch: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    segment: Annotated[int, msgspec.Meta(ge=0, le=1_000)] | None
    name: SegmentName


class DominanceRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/dominance``: say which side dominates in the draft at ``revision``; null: what the names say."""

    command: CommandKey
    revision: Revision
    dominance: Dominance | None


class ModifiersRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/modifiers``: what a physician enters for CAD-RADS, in place of what was entered before; null: nothing."""

    command: CommandKey
    revision: Revision
    ischaemia: Ischaemia | None
    grafts: bool | None = None
    exceptions: bool | None = None


class ApproveRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/approve``: approve the draft at ``revision``, the one that the person saw."""

    command: CommandKey
    revision: Revision


class CommandRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/undo``."""

    command: CommandKey


class RetryRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/retry``; ``waiting``: send what waits, and do nothing else, even if nothing waits any more."""

    command: CommandKey
    waiting: bool = False


class ProtectRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/protect``: keep a study whatever happens, or no longer."""

    command: CommandKey
    protected: bool


class SendAgainRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/studies/{key}/send-again``: store once more what destination ``to`` has already; empty: every one that has it."""

    command: CommandKey
    to: Annotated[str, msgspec.Meta(max_length=200)] = ""


UpdateWish = Literal["look", "install", "restart", "dismiss"]


class UpdateRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/update``."""

    command: CommandKey
    wish: UpdateWish


class ServiceRequest(Request, frozen=True, kw_only=True):
    """``POST /v1/service``: carry out the signed order on the stick."""

    command: CommandKey


class SetUpReply(Message, frozen=True, kw_only=True):
    """It was taken; whether the box restarts by itself now."""

    restarts: bool


class ApplianceInfo(Message, frozen=True, kw_only=True):
    """``GET /v1/info``, the only thing that is told without a session: which appliance this is and what the site wants of the kiosk."""

    api_version: int = API_VERSION
    institution: str = ""
    idle_lock_seconds: float = 600.0
    stenosis_bands: Literal["scct", "cn2011"] = "scct"
    badge_reader: bool = False
    """Whether ``GET /v1/badge`` waits for badges."""
    version: str = ""
    """Of the running slot."""
    update_roles: tuple[Role, ...] = ()
    """Who may install updates; nobody where the box has no second slot."""
    set_up: bool = False
    """Nobody can sign in yet: the box is new and wants to be set up."""
    service_code: str = ""
    """What an order on a service engineer's stick must name; shown while a stick is plugged in, or nobody can sign in."""


class EventsReply(Message, frozen=True, kw_only=True):
    """``GET /v1/events?after=N``: the changes after N in order; empty when nothing changed within the poll."""

    events: tuple[Event, ...]


class ErrorReply(Message, frozen=True, kw_only=True):
    """Body of every 4xx and 5xx reply: operator code and the sentence for a person."""

    code: str
    zh: str
    en: str


__all__ = [
    "API_VERSION",
    "DRAFT_NOTICE",
    "GRADES",
    "MAXIMUM_POLL_S",
    "NOT_VALIDATED_NOTICE",
    "STUDY_STATES",
    "ApiError",
    "ApplianceInfo",
    "Approval",
    "ApproveRequest",
    "Branch",
    "CadRads",
    "CommandKey",
    "CommandRequest",
    "CoronetError",
    "CorrectionRequest",
    "DeliveryRow",
    "Dominance",
    "DominanceRequest",
    "Entered",
    "ErrorReply",
    "Event",
    "EventsReply",
    "Findings",
    "Grade",
    "Health",
    "Ischaemia",
    "Lesion",
    "Message",
    "ModifiersRequest",
    "PictureInfo",
    "Pin",
    "PriorRow",
    "ProtectRequest",
    "Reason",
    "RenameRequest",
    "ReportSection",
    "ReportText",
    "Request",
    "RetryRequest",
    "Revision",
    "Role",
    "SegmentName",
    "SelfTestInfo",
    "SelfTestRow",
    "SendAgainRequest",
    "ServiceReply",
    "ServiceRequest",
    "Session",
    "SetUpPeer",
    "SetUpReply",
    "SetUpRequest",
    "SignInRequest",
    "Snapshot",
    "StudyDetail",
    "StudyHeader",
    "StudyPage",
    "StudyRow",
    "StudyState",
    "UpdateInfo",
    "UpdateRequest",
    "UpdateState",
    "UpdateWish",
]
