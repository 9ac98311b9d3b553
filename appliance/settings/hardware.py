"""Settings of what is screwed to the box: front panel, badge reader, UPS, GPU. Each is off until it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from appliance.settings.base import Port, Positive, Section

Baud = Annotated[int, msgspec.Meta(ge=300, le=4000000)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class PanelSettings(Section, frozen=True, kw_only=True):
    """``[panel]``: lights, buzzer, buttons."""

    device: Path | None = None
    baud: Baud = 115200


class BadgeSettings(Section, frozen=True, kw_only=True):
    """``[badge]``: the badge reader."""

    device: Path | None = None
    baud: Baud = 9600
    format: Literal["em4100", "wiegand", "line"] = "em4100"


class UpsSettings(Section, frozen=True, kw_only=True):
    """``[ups]``: the UPS, through NUT's upsd."""

    name: str | None = None
    """As upsd knows it."""
    host: str = "127.0.0.1"
    port: Port = 3493
    low_charge: Percent = 50.0
    """Percent; below it no new analysis is begun on battery."""
    end_charge: Percent = 20.0
    """Percent; at it the box switches off."""
    end_runtime_s: Positive = 180.0
    """Seconds that the UPS must still last; with less the box switches off."""
    switch: Path = Path("/run/coronet-power.sock")


class GpuSettings(Section, frozen=True, kw_only=True):
    """``[gpu]``: its health."""

    watch: bool = False
    maximum_celsius: Positive = 88.0


def hardware_faults(ups: UpsSettings) -> list[tuple[str, str]]:
    """What does not fit together, in Chinese and English."""
    if ups.end_charge >= ups.low_charge:
        return [("[ups] end_charge 必须小于 low_charge", "[ups] end_charge must be less than low_charge")]
    return []
