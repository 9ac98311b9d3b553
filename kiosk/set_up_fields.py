"""The fields of the set-up: what each is called, what may be typed, and what is wrong with it. The appliance checks it all once more."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kiosk import box_words, words
from kiosk.words import Language, Words

StepName = Literal["site", "dicom", "network", "person", "check"]
STEPS: tuple[StepName, ...] = ("site", "dicom", "network", "person", "check")
DIGITS = "0123456789"
TITLE_KEYS = re.compile(r"[A-Z0-9 _-]\Z")
HOST_KEYS = re.compile(r"[a-z0-9.:/-]\Z")


@dataclass(frozen=True)
class Field:
    """One thing that is typed or chosen. ``choices``: the only values; ``keys``: what a key must match."""

    id: str
    step: StepName
    label: Words
    hint: Words = words.NOTHING
    keys: re.Pattern[str] | None = None
    longest: int = 64
    choices: tuple[tuple[str, Words], ...] = ()
    secret: bool = False
    first: str = ""

    @property
    def small(self) -> bool:
        """Typed in small letters."""
        return self.keys is HOST_KEYS

    def takes(self, text: str) -> bool:
        """Whether a key may be typed here."""
        # Kivy tells a letter for the shift key itself, one that no keyboard has
        return not self.choices and text.isascii() and text.isprintable() and (self.keys is None or self.keys.match(text) is not None)


_DIGIT = re.compile(r"[0-9]\Z")
_TIME = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9]\Z")
_CLOCK = re.compile(r"[0-9 :T-]\Z")
_ALL = (
    Field("language", "site", box_words.SET_UP_LANGUAGE, choices=(("zh", Words("中文", "中文")), ("en", Words("English", "English")))),
    Field("institution", "site", box_words.SET_UP_INSTITUTION, box_words.SET_UP_INSTITUTION_HINT, longest=40),
    Field("ae_title", "dicom", box_words.SET_UP_AE_TITLE, keys=TITLE_KEYS, longest=16, first="CORONET"),
    Field("port", "dicom", box_words.SET_UP_PORT, keys=_DIGIT, longest=5, first="11112"),
    Field("archive_host", "dicom", box_words.SET_UP_ARCHIVE, box_words.SET_UP_NONE, keys=HOST_KEYS),
    Field("archive_port", "dicom", box_words.SET_UP_PEER_PORT, keys=_DIGIT, longest=5, first="104"),
    Field("archive_title", "dicom", box_words.SET_UP_PEER_TITLE, keys=TITLE_KEYS, longest=16),
    Field("printer_host", "dicom", box_words.SET_UP_PRINTER, box_words.SET_UP_NONE, keys=HOST_KEYS),
    Field("printer_port", "dicom", box_words.SET_UP_PEER_PORT, keys=_DIGIT, longest=5, first="104"),
    Field("printer_title", "dicom", box_words.SET_UP_PEER_TITLE, keys=TITLE_KEYS, longest=16),
    Field("address", "network", box_words.SET_UP_ADDRESS, box_words.SET_UP_DHCP, keys=HOST_KEYS, longest=49),
    Field("gateway", "network", box_words.SET_UP_GATEWAY, keys=HOST_KEYS, longest=45),
    Field("dns", "network", box_words.SET_UP_DNS, keys=HOST_KEYS, longest=45),
    Field("ntp", "network", box_words.SET_UP_NTP, keys=HOST_KEYS),
    Field("clock", "network", box_words.SET_UP_CLOCK, box_words.SET_UP_CLOCK_HINT, keys=_CLOCK, longest=16),
    Field(
        "time_zone",
        "network",
        box_words.SET_UP_TIME_ZONE,
        choices=tuple((zone, Words(zone, zone)) for zone in ("Asia/Shanghai", "Asia/Hong_Kong", "Asia/Singapore", "UTC")),
        first="Asia/Shanghai",
    ),
    Field("user", "person", box_words.SET_UP_USER, longest=40),
    Field(
        "role", "person", box_words.SET_UP_ROLE, choices=(("engineer", words.ROLE["engineer"]), ("physician", words.ROLE["physician"])),
        first="engineer",
    ),
    Field("pin", "person", box_words.SET_UP_PIN, box_words.SET_UP_PIN_HINT, keys=_DIGIT, longest=12, secret=True),
    Field("pin_again", "person", box_words.SET_UP_PIN_AGAIN, keys=_DIGIT, longest=12, secret=True),
)  # fmt: skip
FIELDS: Mapping[str, Field] = {field.id: field for field in _ALL}


_ROWS: Mapping[StepName, tuple[tuple[str, ...], ...]] = {
    "site": (("language", "institution"),),
    "dicom": (
        ("ae_title", "port"),
        ("archive_host", "archive_port", "archive_title"),
        ("printer_host", "printer_port", "printer_title"),
    ),
    "network": (("address", "gateway", "dns"), ("ntp", "clock"), ("time_zone",)),
    "person": (("user", "role"), ("pin", "pin_again")),
    "check": (),
}


def rows_of(step: StepName) -> tuple[tuple[Field, ...], ...]:
    """The fields of a step, line by line; three lines fit above the keyboard."""
    return tuple(tuple(FIELDS[name] for name in row) for row in _ROWS[step])


def first_values(language: Language) -> dict[str, str]:
    """What stands there before anything is typed."""
    return {field.id: field.first for field in _ALL} | {"language": language}


def fits(step: StepName, values: Mapping[str, str]) -> Words | None:
    """What is wrong with a step; None if it may be left."""
    checks = {"dicom": _dicom, "network": _network, "person": _person}
    return checks[step](values) if step in checks else None


def _dicom(values: Mapping[str, str]) -> Words | None:
    if not values["ae_title"].strip():
        return box_words.SET_UP_BAD_TITLE
    for who in ("archive", "printer"):
        if values[f"{who}_host"] and not values[f"{who}_title"].strip():
            return box_words.SET_UP_BAD_PEER
    ports = [values["port"], *(values[f"{who}_port"] for who in ("archive", "printer") if values[f"{who}_host"])]
    return None if all(port and 1 <= int(port) <= 65535 for port in ports) else box_words.SET_UP_BAD_PORT


def _network(values: Mapping[str, str]) -> Words | None:
    try:
        if values["address"]:
            if "/" not in values["address"]:
                return box_words.SET_UP_BAD_PREFIX
            ipaddress.ip_interface(values["address"])
        for name in ("gateway", "dns"):
            if values[name]:
                ipaddress.ip_address(values[name])
    except ValueError:
        return box_words.SET_UP_BAD_ADDRESS
    clock = values["clock"]
    return (
        None
        if not clock or re.fullmatch(r"20[0-9]{2}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9]", clock)
        else box_words.SET_UP_BAD_CLOCK
    )


def _person(values: Mapping[str, str]) -> Words | None:
    if not values["user"].strip():
        return box_words.SET_UP_BAD_USER
    if len(values["pin"]) < 4:
        return words.PIN_TOO_SHORT
    return None if values["pin"] == values["pin_again"] else box_words.SET_UP_PINS_DIFFER
