"""What the kiosk knows and where the person stands in it: plain data, changed by the controller alone."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from appliance.anatomy import Vessel
from appliance.api.messages import ApplianceInfo, Health, SegmentName, SelfTestInfo, Session, StudyDetail, StudyRow, UpdateInfo
from kiosk.words import Language, Words

ScreenName = Literal["sign_in", "worklist", "search", "review", "update"]
Tab = Literal["all", "review", "working", "done", "trouble"]
EditTab = Literal["names", "dominance", "modifiers"]
EDIT_TABS: tuple[EditTab, ...] = ("names", "dominance", "modifiers")

PICTURE_CACHE_BYTES = 256 << 20


@dataclass(frozen=True)
class Pixels:
    """A decoded picture: RGB, 8 bit, rows from top to bottom."""

    width: int
    height: int
    rgb: bytes = field(repr=False)


@dataclass(frozen=True)
class Picture:
    """A key view as it came over the API, with a small copy for the strip. ``pixels`` is None when the file cannot be read."""

    tag: str
    pixels: Pixels | None
    thumbnail: Pixels | None

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(len(each.rgb) for each in (self.pixels, self.thumbnail) if each)


class PictureCache:
    """The pictures seen last, up to a number of bytes."""

    def __init__(self, *, maximum_bytes: int = PICTURE_CACHE_BYTES) -> None:
        self._maximum = maximum_bytes
        self._pictures: OrderedDict[tuple[str, str], Picture] = OrderedDict()
        self._bytes = 0

    def get(self, study: str, picture: str) -> Picture | None:
        """The picture, or None if it is not (or no longer) here."""
        found = self._pictures.get((study, picture))
        if found is not None:
            self._pictures.move_to_end((study, picture))
        return found

    def put(self, study: str, picture: str, content: Picture) -> None:
        """Keep a picture; the ones not looked at for longest go when there is no room."""
        old = self._pictures.pop((study, picture), None)
        self._bytes += content.size - (old.size if old else 0)
        self._pictures[study, picture] = content
        while self._bytes > self._maximum and len(self._pictures) > 1:
            _, gone = self._pictures.popitem(last=False)
            self._bytes -= gone.size

    def clear(self) -> None:
        """Forget everything, as at sign-out."""
        self._pictures.clear()
        self._bytes = 0


@dataclass(frozen=True)
class Edit:
    """The open pop-up of corrections: its tab, the branch and segment (None: the whole branch) chosen, the name that was refused."""

    tab: EditTab = "names"
    place: tuple[int, int | None] | None = None
    refused: SegmentName | None = None


@dataclass
class Review:
    """The study that is open."""

    key: str
    detail: StudyDetail | None = None
    asked_at: float = 0.0
    """When the detail was last read or asked for."""
    fetching: bool = False
    stale: bool = False
    """Something changed while it was being read: read it again."""
    vessel: Vessel | None = None
    lesion: int | None = None
    picture: str | None = None
    grading: int | None = None
    """The lesion whose choice of degrees is open."""
    report_open: bool = False
    edit: Edit | None = None
    """The pop-up of corrections to names, dominance and modifiers."""
    pending: Literal["correct", "edit", "approve", "undo"] | None = None
    asked: set[str] = field(default_factory=set)
    """Pictures that were asked for and have not come."""
    current: set[str] = field(default_factory=set)
    """Pictures known to be those of ``pictures_revision``."""
    pictures_revision: int | None = None
    pictures_at: float = 0.0
    """When missing pictures were last asked for without a cause."""


@dataclass
class Finder:
    """The search that is open."""

    PAGE: ClassVar[int] = 10
    """Studies of one page."""

    text: str = ""
    tab: Tab = "all"
    days: int | None = None
    """Only studies of the last so many days, today among them."""
    urgent: bool = False
    offset: int = 0
    typing: bool = True
    """The on-screen keyboard is shown."""
    rows: tuple[StudyRow, ...] | None = None
    """The page as it was answered last; None before the first answer."""
    total: int = 0
    asking: bool = False
    stale: bool = False
    """Something was changed while a question was under way: ask again."""
    asked_at: float = 0.0
    details: str | None = None
    """The study whose details are open."""
    detail: StudyDetail | None = None
    pending: str | None = None
    """The study for which a command is under way."""


@dataclass
class Updating:
    """The update screen that is open."""

    info: UpdateInfo | None = None
    asked_at: float = 0.0
    asking: bool = False
    pending: bool = False
    """A wish is under way."""
    test: SelfTestInfo | None = None
    """The self-test that was asked for on this screen."""


@dataclass
class Service:
    """The service engineer's stick, on the sign-in screen: what became of its order stands there until somebody signs in."""

    pending: bool = False
    said: Words | None = None
    error: bool = False


@dataclass
class Recovery:
    """The recovery key that is typed on a box whose TPM does not open its data."""

    digits: str = ""
    sending: bool = False
    over: bool = False
    """It was right: the box restarts."""
    said: Words | None = None
    error: bool = False


@dataclass
class SettingUp:
    """The set-up of a new box: what was typed so far."""

    values: dict[str, str]
    step: int = 0
    field: str = ""
    """The field that is typed into; empty: none, and no keyboard."""
    error: Words | None = None
    sending: bool = False
    restarts: bool | None = None
    """Taken; whether the box restarts by itself."""


@dataclass
class KioskState:
    """Everything. Times are the injected monotonic clock's."""

    language: Language
    screen: ScreenName = "sign_in"
    info: ApplianceInfo = field(default_factory=ApplianceInfo)
    online: bool = False
    boot_fault: str = ""
    """Code of what stopped the box's start before the appliance could come up; empty: nothing did."""
    heard_at: float | None = None
    """When the appliance was last heard."""
    session: Session | None = None
    pin: str = ""
    pin_message: Words | None = None
    signing_in: bool = False
    locked_study: tuple[str, str] | None = None
    """User and study to come back to after a lock."""
    tab: Tab = "all"
    rows: dict[str, StudyRow] = field(default_factory=dict)
    health: Health | None = None
    review: Review | None = None
    finder: Finder | None = None
    updating: Updating | None = None
    setting_up: SettingUp | None = None
    service: Service = field(default_factory=Service)
    recovery: Recovery | None = None
    """There while the box waits for its recovery key."""
    troubles_open: bool = False
    """The list of what is wrong with the appliance is open."""
    undo_ends: dict[str, float] = field(default_factory=dict)
    undo_lengths: dict[str, float] = field(default_factory=dict)
    retrying: set[str] = field(default_factory=set)
    message: Words | None = None
    message_is_error: bool = False
    message_until: float = 0.0
    pictures: PictureCache = field(default_factory=PictureCache)
