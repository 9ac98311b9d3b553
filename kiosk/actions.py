"""What a person can want on the kiosk: a closed set. Screens send these, the controller carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.anatomy import Vessel
from appliance.api.messages import Dominance, Grade, Ischaemia, SegmentName, UpdateWish
from kiosk.state import EditTab, Tab


@dataclass(frozen=True)
class Action:
    """Base of all actions."""


@dataclass(frozen=True)
class PressDigit(Action):
    """A key of the PIN pad."""

    digit: str


@dataclass(frozen=True)
class ErasePin(Action):
    """Take the last digit away."""


@dataclass(frozen=True)
class SubmitPin(Action):
    """Sign in with the digits typed."""


@dataclass(frozen=True)
class SwitchLanguage(Action):
    """Chinese to English and back."""


@dataclass(frozen=True)
class SignOut(Action):
    """End the session."""


@dataclass(frozen=True)
class ChooseTab(Action):
    """Show one group of the worklist."""

    tab: Tab


@dataclass(frozen=True)
class OpenStudy(Action):
    """Go to the review of a study."""

    key: str


@dataclass(frozen=True)
class RetryStudy(Action):
    """Queue a failed study again; with ``waiting`` send what waits, and nothing else."""

    key: str
    waiting: bool = False


@dataclass(frozen=True)
class GoBack(Action):
    """From the review to the worklist."""


@dataclass(frozen=True)
class ChooseVessel(Action):
    """Show lesions and pictures of one vessel; None: all."""

    vessel: Vessel | None


@dataclass(frozen=True)
class ChooseLesion(Action):
    """Mark a lesion and show its picture."""

    lesion: int


@dataclass(frozen=True)
class ChoosePicture(Action):
    """Show a key view."""

    picture: str


@dataclass(frozen=True)
class StepPicture(Action):
    """The next (1) or previous (-1) key view."""

    step: int


@dataclass(frozen=True)
class AskGrade(Action):
    """Open the choice of degrees for a lesion."""

    lesion: int


@dataclass(frozen=True)
class ChooseGrade(Action):
    """Set the degree of the lesion that is asked about."""

    grade: Grade


@dataclass(frozen=True)
class OpenEdit(Action):
    """Open the corrections of names, dominance and modifiers."""


@dataclass(frozen=True)
class ChooseEditTab(Action):
    """Show one kind of corrections."""

    tab: EditTab


@dataclass(frozen=True)
class ChoosePlace(Action):
    """Choose what to rename: a segment of a branch; None: the whole branch."""

    branch: int
    segment: int | None


@dataclass(frozen=True)
class ChooseName(Action):
    """Give the chosen place a name, or learn why it cannot have it."""

    name: SegmentName


@dataclass(frozen=True)
class ChooseDominance(Action):
    """Set the dominance; None: what the names say."""

    dominance: Dominance | None


@dataclass(frozen=True)
class EnterModifiers(Action):
    """Enter what a physician knows for CAD-RADS, in place of what was entered before."""

    ischaemia: Ischaemia | None
    grafts: bool | None
    exceptions: bool | None


@dataclass(frozen=True)
class ShowReport(Action):
    """Open the full report."""


@dataclass(frozen=True)
class Dismiss(Action):
    """Close the choice of degrees or the full report, nothing changed."""


@dataclass(frozen=True)
class Approve(Action):
    """Approve the draft as it is shown."""


@dataclass(frozen=True)
class Undo(Action):
    """Take the approval back."""


@dataclass(frozen=True)
class OpenSearch(Action):
    """From the worklist to the search."""


@dataclass(frozen=True)
class TypeText(Action):
    """A character for the search field."""

    text: str


@dataclass(frozen=True)
class EraseText(Action):
    """Take the last character away."""


@dataclass(frozen=True)
class ClearText(Action):
    """Empty the search field."""


@dataclass(frozen=True)
class ShowKeyboard(Action):
    """Show or hide the on-screen keyboard."""

    shown: bool


@dataclass(frozen=True)
class FilterTab(Action):
    """Find only one group of states."""

    tab: Tab


@dataclass(frozen=True)
class FilterDays(Action):
    """Find only studies of the last days; None: of any date."""

    days: int | None


@dataclass(frozen=True)
class FilterUrgent(Action):
    """Find only urgent ones, or all again."""


@dataclass(frozen=True)
class TurnPage(Action):
    """The next (1) or previous (-1) page."""

    step: int


@dataclass(frozen=True)
class ShowDetails(Action):
    """Open the details of a study that was found."""

    key: str


@dataclass(frozen=True)
class Protect(Action):
    """Keep a study whatever happens, or no longer."""

    key: str
    protected: bool


@dataclass(frozen=True)
class SendAgain(Action):
    """Store once more what a destination has already; empty: every one that has it."""

    key: str
    to: str


@dataclass(frozen=True)
class ShowTroubles(Action):
    """Open the list of what is wrong with the appliance."""


@dataclass(frozen=True)
class OpenUpdate(Action):
    """From the worklist to the update of the box."""


@dataclass(frozen=True)
class OrderUpdate(Action):
    """What the person wants of the update."""

    wish: UpdateWish


@dataclass(frozen=True)
class ChooseField(Action):
    """Type into this field of the set-up."""

    field: str


@dataclass(frozen=True)
class ChooseValue(Action):
    """One of the values that a field of the set-up may have."""

    field: str
    value: str


@dataclass(frozen=True)
class TurnStep(Action):
    """The next (1) or previous (-1) step of the set-up."""

    step: int


@dataclass(frozen=True)
class RunSelfTest(Action):
    """Have every part of the box tried."""


@dataclass(frozen=True)
class ReadServiceStick(Action):
    """Carry out the order on the service engineer's stick."""


@dataclass(frozen=True)
class FinishSetUp(Action):
    """Hand the settings over."""
