r"""The states of an update, as data: every transition is written to the disk before what it stands for is done.

    idle -> looking -> offered -> installing -> installed -> restarting -> trying -> good
                 \-> refused          \-> refused, failed                    \-> returning -> back

`advance` looks a transition up; `resume` says where to go on after a start of the process or of the machine, from what the machine shows:
which slot runs, which one the loader would start, and whether this is still the boot in which the last transition was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from appliance.errors import Reason, WorkflowError
from appliance.worklist import UpdateState

Slot = Literal["A", "B"]
UpdateEvent = Literal[
    "asked",  # a person wants the stick looked at
    "checked",  # one good update was found
    "refused",
    "accepted",  # a person wants it installed
    "again",  # the installation is begun once more
    "failed",
    "written",
    "quiet",  # nothing under way: restart
    "booted_new",
    "booted_old",
    "proved",
    "disproved",
    "dismissed",  # a person has read it
    "given_up",
]

_AT_REST: tuple[UpdateState, ...] = ("idle", "offered", "good", "back", "refused", "failed")
TRANSITIONS: dict[tuple[UpdateState, UpdateEvent], UpdateState] = {
    **{(state, "asked"): "looking" for state in _AT_REST},
    **{(state, "dismissed"): "idle" for state in _AT_REST if state != "idle"},
    ("looking", "checked"): "offered",
    ("looking", "refused"): "refused",
    ("looking", "given_up"): "idle",
    ("offered", "accepted"): "installing",
    ("installing", "again"): "installing",
    ("installing", "refused"): "refused",
    ("installing", "failed"): "failed",
    ("installing", "written"): "installed",
    ("installing", "booted_new"): "trying",
    ("installed", "quiet"): "restarting",
    ("installed", "booted_new"): "trying",
    ("installed", "booted_old"): "back",
    ("restarting", "booted_new"): "trying",
    ("restarting", "booted_old"): "back",
    ("trying", "booted_new"): "trying",
    ("trying", "booted_old"): "back",
    ("trying", "proved"): "good",
    ("trying", "disproved"): "returning",
    ("returning", "booted_new"): "returning",
    ("returning", "booted_old"): "back",
}
MAXIMUM_ATTEMPTS = 3
"""Of one installation that is cut off again and again."""

INTERRUPTED = Reason(
    code="WF-100", zh="安装多次中断,请重新插入 U 盘再试", en="the installation was cut off several times, try again with the stick"
)
DID_NOT_START = Reason(
    code="WF-101", zh="新版本未能启动,系统已自动恢复原版本", en="the new version did not start, the box went back to the old one by itself"
)
FELL_BACK = Reason(
    code="WF-102",
    zh="当前版本无法启动,系统已自动改用另一分区的版本,请联系维修人员",
    en="the version in use no longer starts, the box has changed to the other slot by itself: call the service engineer",
)


class UpdateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of the update; one file.

    Attributes:
        number: counts the transitions.
        bundle: its name on the stick.
        digest: root hash of its payload: what was shown is what is installed.
        target: the slot that it goes to.
        proven: the slot that has proved itself last.
        boot: identity of the boot in which the last transition was made.
        attempts: installations begun.
        order: the last order of a person that was carried out, so that none is carried out twice.
    """

    state: UpdateState = "idle"
    number: int = 0
    at: float = 0.0
    version: str = ""
    former: str = ""
    bundle: str = ""
    digest: str = ""
    notes_zh: str = ""
    notes_en: str = ""
    target: Slot | None = None
    proven: Slot | None = None
    boot: str = ""
    attempts: int = 0
    progress: float | None = None
    waiting: tuple[Literal["receiving", "analysis", "delivery"], ...] = ()
    reason: Reason | None = None
    by: str = ""
    order: str = ""


@dataclass(frozen=True)
class Machine:
    """What the machine shows.

    Attributes:
        booted: the slot that runs.
        primary: the slot that the loader would start next.
        boot: identity of this boot.
    """

    booted: Slot
    primary: Slot
    boot: str


def advance(state: UpdateState, event: UpdateEvent) -> UpdateState:
    """The state after an event.

    Raises:
        WorkflowError: WF-103, the event does not fit the state.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise WorkflowError("WF-103", zh="当前不能进行此更新操作", en=f"an update that is {state} cannot be {event}")
    return after


def resume(record: UpdateRecord, machine: Machine) -> tuple[UpdateEvent, Reason | None] | None:
    """The event that brings the record up to what the machine shows; None: it is, go on.

    The other slot becomes the next one to start (`primary`) as the very last step of an installation, so that it tells whether an
    installation that was cut off was complete.
    """
    state, same_boot = record.state, record.boot == machine.boot
    if state == "looking":
        return "given_up", None
    if state in {"installing", "installed", "restarting", "trying", "returning"} and record.target is not None:
        if machine.booted == record.target:
            return None if state in {"trying", "returning"} and same_boot else ("booted_new", None)
        if state == "installing":
            if machine.primary == record.target:
                return "written", None
            return ("again", None) if record.attempts < MAXIMUM_ATTEMPTS else ("failed", INTERRUPTED)
        if same_boot and state in {"installed", "restarting"}:
            return None
        return "booted_old", record.reason or DID_NOT_START
    return None


def fell_back(record: UpdateRecord, machine: Machine) -> bool:
    """Whether the loader has left a slot that had proved itself, with no update under way."""
    return record.proven is not None and record.proven != machine.booted and record.state in _AT_REST


STATES: tuple[UpdateState, ...] = get_args(UpdateState)
EVENTS: tuple[UpdateEvent, ...] = get_args(UpdateEvent)
